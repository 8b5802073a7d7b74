"""What went wrong, for programs: problem details (RFC 9457) that name the field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http import HTTPStatus

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext_noop as _

ROOT = "/api/v1/"
MEDIA_TYPE = "application/problem+json"
# Of each status: the name in `type`, and what it means. In English, as the
# document for programs is; the documentation page lists these, translated.
KINDS: dict[int, tuple[str, str]] = {
    400: ("bad-request", _("The request cannot be read: no JSON, or a key that is none.")),
    401: ("no-token", _("No token, or one that is unknown, expired or revoked.")),
    403: ("not-allowed", _("The token's scopes or the person's role do not allow it; the words say which.")),
    404: ("not-found", _("There is nothing there, or it is not shared with the person.")),
    405: ("no-such-method", _("The address is there and does not take this method; `Allow` says which it takes.")),
    409: ("conflict", _("It cannot be done as things are now; the words say what stands against it.")),
    411: ("no-length", _("A body has to come with a Content-Length.")),
    413: ("too-large", _("The body is larger than is taken here.")),
    414: ("address-too-long", _("The address with its parameters is longer than a web server reads.")),
    415: ("wrong-media-type", _("The body has to be of the media type that the operation names.")),
    422: ("invalid", _("A value is not what it has to be; `errors` names each field.")),
    429: ("too-many-requests", _("Too many requests; `Retry-After` says for how many seconds to wait.")),
    431: ("headers-too-large", _("A header is longer than a web server reads.")),
    500: ("broken", _("Something broke on the server.")),
    503: ("away", _("The database or the storage is away: nothing can be shown or saved. Try again in a minute.")),
    507: ("full", _("The server's disk is full.")),
}


@dataclass(frozen=True)
class FieldError:
    field: str  # as the request names it; "body": all of that; empty: the request as a whole
    detail: str


class Problem(Exception):
    """Ends a request. `detail` is for people."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        **extra: object,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors, self.headers, self.extra = status, detail, errors, headers or {}, extra

    def response(self) -> HttpResponse:
        return problem_response(self.status, self.detail, errors=self.errors, headers=self.headers, **self.extra)


def invalid(field: str, detail: str) -> Problem:
    return Problem(422, detail, errors=[FieldError(field, detail)])


@contextmanager
def of_field(name: str, *codes: str) -> Iterator[None]:
    """What a service refuses within is about this field: all that names none, or what has one of the codes."""
    try:
        yield
    except ValidationError as error:
        if hasattr(error, "error_dict") or (codes and error.error_list[0].code not in codes):
            raise
        raise ValidationError({name: error.messages}) from error


def is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/") and not request.path.startswith(f"{ROOT}docs")


def problem_response(
    status: int,
    detail: str,
    *,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
    **extra: object,
) -> HttpResponse:
    name = KINDS[status][0] if status in KINDS else "about:blank"
    body: dict[str, object] = {
        "type": f"{ROOT}docs/#{name}",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
        "errors": [asdict(error) for error in errors],
        **extra,
    }
    return JsonResponse(body, status=status, content_type=MEDIA_TYPE, headers=headers)
