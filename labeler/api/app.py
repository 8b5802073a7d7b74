"""The API as one thing: its routers, what becomes of errors, its document, and what stands before every operation."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache, partial, wraps
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied
from django.core.exceptions import ValidationError as DjangoRefusal
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path
from django.utils.cache import add_never_cache_headers
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.parser import Parser

from labeler.api import (
    classes,
    comments,
    evidence,
    explore,
    exports,
    gold,
    grid,
    images,
    imports,
    model,
    people,
    predictions,
    projects,
    quality,
    queue,
    record,
    review,
    rounds,
    seeing,
    serving,
    webhooks,
    worth,
)
from labeler.api.authentication import token_of
from labeler.api.document import document
from labeler.api.once import once
from labeler.api.parameters import Known, known_parameters, refuse_unknown
from labeler.api.problems import FieldError, Problem, invalid, problem_response
from labeler.body_limit import takes_body
from labeler.services.comments import ExampleRefused
from labeler.services.decide import DecisionRefused
from labeler.services.exporting import ExportRefused
from labeler.services.gold import GoldRefused
from labeler.services.grid import GridRefused
from labeler.services.picks import PickRefused
from labeler.services.rounds import RoundRefused
from labeler.services.uploads import UploadRefused, WrongOffset
from labeler.storage import StorageAway, StorageError, StorageFull
from labeler.throttle import Rate, RateLimit
from labeler.told import said
from labeler.views.errors import WORDS

VERSION = "1"
JSON = "application/json"
REFUSALS = (
    RoundRefused,
    ExportRefused,
    GoldRefused,
    ExampleRefused,
    DecisionRefused,
    PickRefused,
    GridRefused,
    StorageError,
)
NO_OBJECT = f"Send a JSON object, {{…}}, as {JSON}; the document says what belongs into it."
RATE_SECONDS = 60
LARGE_BODIES = {  # by operation; all of an address take as much
    "put_import_part": "DATA_UPLOAD_MAX_MEMORY_SIZE",
    "predict": "DATA_UPLOAD_MAX_MEMORY_SIZE",
    "predict_archive": "IMPORT_MAX_FILE_BYTES",
}
requests_of_a_token = RateLimit("api", seconds=RATE_SECONDS)


class JsonBody(Parser):
    """JSON, said to be JSON: another site's form cannot send that, and a mistake is named."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        if not request.body:
            return {}
        if request.content_type != JSON:
            raise Problem(415, f"Send the body as {JSON}; this one says it is “{str(request.content_type)[:100]}”.")
        try:
            body = json.loads(request.body, parse_float=_number)
        except (ValueError, RecursionError) as error:  # brackets in brackets in brackets
            raise Problem(400, f"The body is not JSON: {error}") from error
        return body  # type: ignore[no-any-return]


def _number(text: str) -> int | float:
    """To JSON 1.0 is as much of an integer as 1 is, and some languages write it so."""
    number = float(text)
    return int(number) if number.is_integer() else number


class Api(NinjaAPI):
    """With problem details for all that goes wrong. What nobody foresaw is raised: it may be a race, to be run again
    (api/once.py), or the database that is away (views/errors.py)."""

    def set_default_exception_handlers(self) -> None:
        handlers: dict[type[Exception], Callable[[Any], HttpResponse]] = {
            Problem: lambda error: error.response(),
            Http404: lambda _: problem_response(404, str(WORDS[HTTPStatus.NOT_FOUND])),
            PermissionDenied: lambda error: problem_response(403, str(error) or str(WORDS[HTTPStatus.FORBIDDEN])),
            DjangoRefusal: _refusal,
            ValidationError: _invalid,
            HttpError: _of_ninja,
            WrongOffset: lambda error: problem_response(409, str(error), received=error.received),
            **dict.fromkeys(REFUSALS, lambda error: problem_response(409, str(error))),
            UploadRefused: _of_upload,
            StorageFull: lambda error: problem_response(507, said(str(error))),
            StorageAway: lambda error: problem_response(503, said(str(error))),
        }
        for kind, handler in handlers.items():
            self.add_exception_handler(kind, partial(_handled, handler))


def _handled(handler: Callable[[Any], HttpResponse], _request: HttpRequest, error: Any) -> HttpResponse:
    return handler(error)


def _of_ninja(error: HttpError) -> HttpResponse:
    """It wraps what the parser of bodies raises."""
    if isinstance(error.__cause__, Problem):
        return error.__cause__.response()
    return problem_response(error.status_code, str(error))


def _invalid(error: ValidationError) -> HttpResponse:
    """What the schema of an operation says."""
    errors = []
    for found in error.errors:
        source, *where = found["loc"]
        if source == "body" and len(where) > 0:
            where = where[1:]  # the name of the view's argument
        field = ".".join(str(part) for part in where)
        errors.append(FieldError(field, found["msg"]) if field else FieldError("body", NO_OBJECT))
    first = errors[0]
    words = f"{first.field}: {first.detail}" if first.field else first.detail
    return problem_response(422, words, errors=errors)


def _of_upload(error: UploadRefused) -> HttpResponse:
    """A value that is named, or how things are."""
    return (invalid(error.field, str(error)) if error.field else Problem(409, str(error))).response()


def _refusal(error: DjangoRefusal) -> HttpResponse:
    """What a service says."""
    if hasattr(error, "error_dict"):
        named = error.message_dict.items()
        errors = [FieldError("" if at == NON_FIELD_ERRORS else at, words) for at, all_ in named for words in all_]
    else:
        errors = [FieldError("", words) for words in error.messages]
    return problem_response(422, errors[0].detail, errors=errors)


api = Api(
    title="PlusMinus",
    version=VERSION,
    description="Label images with people and a model that says how unsure it is. See /api/v1/docs/.",
    openapi_url=None,
    docs_url=None,
    urls_namespace="api",
    parser=JsonBody(),
)
MODULES = (
    projects,
    classes,
    people,
    imports,
    images,
    queue,
    predictions,
    rounds,
    evidence,
    model,
    worth,
    seeing,
    serving,
    exports,
    comments,
    gold,
    review,
    quality,
    explore,
    grid,
    webhooks,
    record,
)
for module in MODULES:
    api.add_router("", module.router)


@lru_cache(maxsize=1)
def openapi() -> dict[str, Any]:
    return document(api)


def openapi_json(request: HttpRequest) -> HttpResponse:
    """The document, for programs; nothing in it is secret."""
    if request.method not in ("GET", "HEAD"):
        return problem_response(405, "This address is only read.", headers={"Allow": "GET, HEAD"})
    return JsonResponse(openapi())


def guarded(view: Callable[..., HttpResponse], known: Known) -> Callable[..., HttpResponse]:
    """The rate limit and a look at the parameters before an operation, an Idempotency-Key around it, and headers behind
    it."""

    @wraps(view)
    def run(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        token = token_of(request)
        rate = requests_of_a_token.count(str(token.pk), settings.API_RATE) if token is not None else None
        if rate is not None and rate.remaining < 0:
            reply = _too_many(rate)
        else:
            try:
                if token is not None:  # without one the operation says that first
                    refuse_unknown(request, known)
                reply = once(request, lambda: view(request, *args, **kwargs))
            except Problem as problem:
                reply = problem.response()
        if reply.status_code == 405:
            allowed = reply["Allow"]
            words = f"This address takes {allowed}, not {request.method}."
            reply = problem_response(405, words, headers={"Allow": allowed})
        if rate is not None:
            _tell(reply, rate)
        if not reply.has_header("Cache-Control"):
            add_never_cache_headers(reply)
        return reply

    run.csrf_exempt = True  # type: ignore[attr-defined]
    return run


def _too_many(rate: Rate) -> HttpResponse:
    words = f"This token has made more than {rate.limit:,} requests in a minute. Wait {rate.seconds} s."
    return problem_response(429, words, headers={"Retry-After": str(rate.seconds)})


def _tell(reply: HttpResponse, rate: Rate) -> None:
    reply["RateLimit-Limit"] = str(rate.limit)
    reply["RateLimit-Remaining"] = str(max(0, rate.remaining))
    reply["RateLimit-Reset"] = str(rate.seconds)


def _urls() -> list[Any]:
    found: list[Any] = list(api.urls[0])
    return found


def _patterns() -> list[URLPattern]:
    found, known = [], known_parameters(module.router for module in MODULES)
    patterns = [pattern for pattern in _urls() if pattern.name != "api-root"]
    large = {str(each.pattern): LARGE_BODIES[each.name] for each in patterns if each.name in LARGE_BODIES}
    for pattern in patterns:
        run = guarded(pattern.callback, known[pattern.name or ""])
        if (setting := large.get(str(pattern.pattern))) is not None:
            run = takes_body(setting)(run)
        found.append(URLPattern(pattern.pattern, run, pattern.default_args, pattern.name))
    return found


app_name = "api"
urlpatterns = [path("openapi.json", openapi_json, name="openapi"), *_patterns()]
