"""Who sends a request to the API: the person of its token, and nobody else.

A session is never taken there: a browser sends its cookie along with whatever another site makes it ask for, and a
token it does not. So no request to the API needs a CSRF token, and none is made by who only signed in.
"""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from ninja.security import HttpBearer

from labeler.addresses import client_address
from labeler.api.problems import Problem, is_api, problem_response
from labeler.models import ApiToken, Scope
from labeler.services.tokens import find_token
from labeler.throttle import Throttle

WINDOW = 600
NOBODY = (
    "Send a token: “Authorization: Bearer pm_…”. People make one under their name, API tokens. "
    "If you sent one, it is unknown, expired or revoked."
)


class TokenPerson:
    """Sets `request.user` and `request.api_token` of requests to the API. Stands behind AuthenticationMiddleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if is_api(request):
            request.user = AnonymousUser()
            request.api_token = None  # type: ignore[attr-defined]
            if (refusal := _sign_in(request)) is not None:
                return refusal
        return self.get_response(request)


def _sign_in(request: HttpRequest) -> HttpResponse | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return None
    unknown = Throttle("api-token", limit=settings.API_UNKNOWN_TOKENS, seconds=WINDOW)
    address = client_address(request)
    found = find_token(token.strip())
    if found is None and unknown.is_over(address):
        words = "Too many unknown tokens came from your address. Wait ten minutes."
        return problem_response(429, words, headers={"Retry-After": str(WINDOW)})
    if found is None:
        unknown.note_failure(address)
        return None
    request.user, request.api_token = found.user, found  # type: ignore[attr-defined]
    return None


class Token(HttpBearer):
    """What an operation asks of the token: this scope."""

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self.scope = scope

    def __call__(self, request: HttpRequest) -> ApiToken:
        token = token_of(request)
        if token is None:
            raise Problem(401, NOBODY, headers={"WWW-Authenticate": 'Bearer realm="PlusMinus"'})
        if self.scope not in token.scopes:
            words = f"This token may not do that: it needs the scope “{self.scope}” and has {_listed(token.scopes)}."
            raise Problem(403, words)
        return token

    def authenticate(self, request: HttpRequest, token: str) -> ApiToken | None:
        raise NotImplementedError  # the middleware has done it


def token_of(request: HttpRequest) -> ApiToken | None:
    token: ApiToken | None = getattr(request, "api_token", None)
    return token


def _listed(scopes: list[str]) -> str:
    return ", ".join(f"“{scope}”" for scope in scopes)
