"""A client of the API: JSON in and out, with a token of a person."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from django.test import Client

from labeler.api.app import openapi
from labeler.models import Scope, User
from labeler.services.tokens import make_token

ANYWHERE = {405, 503}  # the document says so of all operations together


@cache
def documented() -> list[tuple[str, re.Pattern[str], frozenset[int]]]:
    """Method, address and statuses of each operation."""
    return [
        (
            method.upper(),
            re.compile(re.sub(r"\\{[^}]+\\}", "[^/]+", re.escape(path))),
            frozenset(map(int, one["responses"])),
        )
        for path, methods in openapi()["paths"].items()
        for method, one in methods.items()
    ]


def check_documented(method: str, path: str, status: int) -> None:
    """No test sees a status that the operation does not list."""
    at = f"/api/v1{path.partition('?')[0]}"
    for of, address, statuses in documented():
        if of == method.upper() and address.fullmatch(at):
            assert status in statuses | ANYWHERE, f"{method} {path} answered {status}, which is not documented"


class ApiClient:
    """`path` is from /api/v1 on."""

    def __init__(self, token: str = "") -> None:
        self.client = Client()
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        data = {} if body is None else {"data": body, "content_type": "application/json"}
        reply = self.client.generic(
            method.upper(),
            f"/api/v1{path}",
            headers={**self.headers, **sent},
            **({"data": _json(body), "content_type": "application/json"} if data else {}),
        )
        check_documented(method, path, reply.status_code)
        return reply

    def get(self, path: str, **headers: str) -> Any:
        return self.send("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.send("POST", path, {} if body is None else body, **headers)

    def patch(self, path: str, body: Any, **headers: str) -> Any:
        return self.send("PATCH", path, body, **headers)


def _json(body: Any) -> str:
    import json

    return body if isinstance(body, str) else json.dumps(body)


@pytest.fixture
def api_of() -> Callable[..., ApiClient]:
    def client(user: User, *scopes: str) -> ApiClient:
        made = make_token(user=user, name="a script", scopes=scopes or Scope.values, days=None)
        return ApiClient(made.token)

    return client


@pytest.fixture
def as_manager(api_of, manager) -> ApiClient:
    return api_of(manager)


@pytest.fixture
def as_annotator(api_of, annotator) -> ApiClient:
    return api_of(annotator)
