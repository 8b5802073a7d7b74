"""Which language pages are in: what the browser asks for, until somebody chooses. And the words of scripts."""

from __future__ import annotations

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import path
from django.utils.translation import override
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_POST, require_safe
from django.views.i18n import JavaScriptCatalog, set_language

from labeler.models import User
from labeler.services.language import choose_language

CATALOGUE = JavaScriptCatalog.as_view(packages=["labeler"])


def keep_language(response: HttpResponseBase, language: str) -> None:
    """In a cookie, so that no request has to look it up."""
    response.set_cookie(
        settings.LANGUAGE_COOKIE_NAME,
        language,
        max_age=settings.LANGUAGE_COOKIE_AGE,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=settings.LANGUAGE_COOKIE_HTTPONLY,
        samesite="Lax",
    )


@require_POST
def language(request: HttpRequest) -> HttpResponseBase:
    """Back to where the person was, in another language. Nobody needs an account for that."""
    wanted = request.POST.get("language", "")
    if wanted not in dict(settings.LANGUAGES):
        return redirect("home")
    if isinstance(request.user, User):
        choose_language(person=request.user, language=wanted)
    response = set_language(request)
    keep_language(response, wanted)
    return response


@require_safe
@cache_control(max_age=3600)
def script_words(request: HttpRequest, code: str) -> HttpResponseBase:
    """What `static/base/words.js` looks words up in. The address names the language: browsers may keep it."""
    if code not in dict(settings.LANGUAGES):
        raise Http404
    with override(code):
        return CATALOGUE(request)


urlpatterns = [
    path("language/", language, name="language"),
    path("words/<str:code>.js", script_words, name="script-words"),
]
