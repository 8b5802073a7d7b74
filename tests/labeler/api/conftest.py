"""A client of the API: JSON in and out, with a token of a person."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from labeler.models import Scope, User
from labeler.services.tokens import make_token


class ApiClient:
    """`path` is from /api/v1 on."""

    def __init__(self, token: str = "") -> None:
        self.client = Client()
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        data = {} if body is None else {"data": body, "content_type": "application/json"}
        return self.client.generic(
            method.upper(),
            f"/api/v1{path}",
            headers={**self.headers, **sent},
            **({"data": _json(body), "content_type": "application/json"} if data else {}),
        )

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
