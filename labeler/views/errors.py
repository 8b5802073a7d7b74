"""What went wrong, in words: a page for a browser, `{"error": words}` for who asks for JSON, a problem for the API."""

from __future__ import annotations

import sys
from http import HTTPStatus
from typing import TYPE_CHECKING

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext_lazy as _

from labeler.api.problems import is_api, problem_response
from labeler.disk import is_of_full_disk, note_full
from labeler.kept_answers import address_with_answer
from labeler.outages import is_of_database_away
from labeler.storage_errors import StorageAway

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

WORDS = {
    HTTPStatus.BAD_REQUEST: _("The server could not read this request. Nothing was saved."),
    HTTPStatus.FORBIDDEN: _("Your role in this project does not allow this."),
    HTTPStatus.NOT_FOUND: _("There is nothing at this address, or it is not shared with you."),
    HTTPStatus.INTERNAL_SERVER_ERROR: _("Something broke on the server. What you did last may not have been saved."),
    HTTPStatus.SERVICE_UNAVAILABLE: _(
        "The server cannot reach its database, so it can neither show nor save anything. Try again in a minute. "
        "If this stays, whoever runs the server has to start the database."
    ),
    HTTPStatus.INSUFFICIENT_STORAGE: _(
        "The server’s disk is full. What you did last was not saved: try again when there is room. "
        "Whoever runs the server has to make some."
    ),
}
STORAGE_WORDS = _(
    "The server cannot reach the storage of images and models. Answers are kept. Try again in a minute. "
    "If this stays, whoever runs the server has to see to the storage."
)
CSRF_WORDS = _(
    "This page was open for too long, or you signed in or out elsewhere. Nothing was saved: reload and repeat."
)


def wants_json(request: HttpRequest) -> bool:
    return request.get_preferred_type(["text/html", "application/json"]) == "application/json"


def error_response(request: HttpRequest, status: HTTPStatus, words: StrOrPromise, template: str) -> HttpResponse:
    if is_api(request):
        return problem_response(status, str(words))
    if wants_json(request):
        return JsonResponse({"error": str(words)}, status=status)
    return render(request, template, {"words": words}, status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    return error_response(request, HTTPStatus.BAD_REQUEST, WORDS[HTTPStatus.BAD_REQUEST], "400.html")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    own_words = str(exception) if isinstance(exception, PermissionDenied) else ""
    return error_response(request, HTTPStatus.FORBIDDEN, own_words or WORDS[HTTPStatus.FORBIDDEN], "403.html")


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    return error_response(request, HTTPStatus.NOT_FOUND, WORDS[HTTPStatus.NOT_FOUND], "404.html")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001
    """An answer of the Label page's form can be confirmed on a fresh page, which another site's form cannot do, and so
    can a wish to sign out: the page may have been made for somebody else."""
    name = request.resolver_match.url_name if request.resolver_match is not None else ""
    if wants_json(request):
        return JsonResponse({"error": CSRF_WORDS}, status=HTTPStatus.FORBIDDEN)
    if name == "logout" and not request.user.is_authenticated:
        return redirect("login")
    if name == "logout":
        return render(request, "accounts/sign_out.html", status=HTTPStatus.FORBIDDEN)
    context = {"words": CSRF_WORDS, "confirm": address_with_answer(request) if name == "label" else ""}
    return render(request, "403_csrf.html", context, status=HTTPStatus.FORBIDDEN)


def server_error(request: HttpRequest) -> HttpResponse:
    """Renders without the request, and so without session, user and database: they may be what broke.

    Called while the exception is handled, wherever it came from: a view, the session, a commit.
    """
    status, is_storage = HTTPStatus.INTERNAL_SERVER_ERROR, isinstance(sys.exception(), StorageAway)
    if is_of_full_disk(sys.exception()):
        note_full()
        status = HTTPStatus.INSUFFICIENT_STORAGE
    elif is_storage or is_of_database_away(sys.exception()):
        status = HTTPStatus.SERVICE_UNAVAILABLE
    words = STORAGE_WORDS if is_storage else WORDS[status]
    if is_api(request):
        return problem_response(status, str(words))
    if wants_json(request):
        return JsonResponse({"error": words}, status=status)
    return render(None, f"{status:d}.html", {"words": words, "is_storage": is_storage}, status=status)
