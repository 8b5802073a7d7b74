"""What the API can do, for people: a page made of its document. Everybody may read it; nothing in it is secret."""

from __future__ import annotations

from functools import lru_cache

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_safe

from labeler.api.app import openapi
from labeler.api.reading import Noun, kinds_of_problems, nouns_of


@lru_cache(maxsize=1)
def _nouns() -> list[Noun]:
    return nouns_of(openapi())


@require_safe
def api_docs(request: HttpRequest) -> HttpResponse:
    context = {"nouns": _nouns(), "kinds": kinds_of_problems(), "root": request.build_absolute_uri("/api/v1")}
    return render(request, "api/docs.html", context)


urlpatterns = [path("api/v1/docs/", api_docs, name="api-docs")]
