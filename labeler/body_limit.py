"""How large a request may be, decided by its headers: Django writes uploads to the disk before any view is asked."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _

from labeler.views.errors import error_response

ViewT = TypeVar("ViewT", bound=Callable[..., Any])


def takes_body(setting: str) -> Callable[[ViewT], ViewT]:
    """Of a view that takes more than a form: the setting that says how many bytes, from who is signed in."""

    def mark(view: ViewT) -> ViewT:
        view.body_setting = setting  # type: ignore[attr-defined]
        return view

    return mark


class BodyLimit:
    """413 for who sends more than BODY_MAX_SIGNED_OUT, or, signed in, than the view takes. 411 without a length.

    Stands before CsrfViewMiddleware, which reads the body. The person is known: all middleware has begun by then.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], _args: object, _kwargs: object
    ) -> HttpResponse | None:
        if request.headers.get("Transfer-Encoding"):
            words = _("This request does not say how long it is. Send it with a Content-Length, not in chunks.")
            return error_response(request, HTTPStatus.LENGTH_REQUIRED, words, "400.html")
        size = _length(request)
        if size <= settings.BODY_MAX_SIGNED_OUT:
            return None
        if not request.user.is_authenticated:
            most = settings.BODY_MAX_SIGNED_OUT
            words = _("This request has %(size)s; at most %(most)s are taken here from who is not signed in.")
        else:
            most = getattr(settings, getattr(view, "body_setting", "BODY_MAX"))
            words = _("This request has %(size)s; at most %(most)s are taken here.")
        if size <= most:
            return None
        words %= {"size": filesizeformat(size), "most": filesizeformat(most)}
        return error_response(request, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, words, "400.html")


def _length(request: HttpRequest) -> int:
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return 0  # as Django reads it, which then reads nothing
