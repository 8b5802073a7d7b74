"""What all operations share: how one is declared, and what its values look like."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Annotated, Any, TypeVar
from uuid import UUID

from ninja import Router, Schema
from pydantic import BeforeValidator, ConfigDict, Field, Strict

from labeler.api.authentication import Token
from labeler.models import Scope

ViewT = TypeVar("ViewT", bound=Callable[..., Any])
BIGGEST = 2**63 - 1

# NUL is the one character that PostgreSQL cannot keep.
PATTERN = r"^[^\x00]*$"
Id = Annotated[int, Field(ge=1, le=BIGGEST)]
Position = Annotated[int, Field(ge=0, le=2**31 - 1)]
Key = Annotated[UUID, Strict(False)]


def _day(value: object) -> object:
    """JSON has no dates: they are text, and a number is none."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        raise ValueError("Write the day as 2026-11-26.")
    return date.fromisoformat(value)


Day = Annotated[date, BeforeValidator(_day)]
Line = Annotated[str, Field(min_length=1, max_length=100, pattern=PATTERN)]
Text = Annotated[str, Field(max_length=20_000, pattern=PATTERN)]


def unset() -> Any:
    """The default of a value that may be left out, and is then told apart from any that there is."""
    return Field(default_factory=lambda: None)


class In(Schema):
    """A body: JSON types are meant, and unknown names are mistakes."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Out(Schema):
    pass


class Nothing(In):
    """A body without anything in it, or none at all."""


NONE = Nothing()
"""The default of such a body: nothing has to be sent."""


class Operations(Router):
    """The operations of one noun. Each says which scope its token needs and, for people, who may do it.

    The first line of a view's docstring is its summary, all of it its description; its name is its id.
    """

    def __init__(self, tag: str) -> None:
        super().__init__(tags=[tag])

    def read(self, path: str, out: Any, *, who: str = "member", media: Sequence[str] = ()) -> Callable[[ViewT], ViewT]:
        """`media`: it returns a file of one of these types."""
        return self._add("GET", path, {200: out}, who, Scope.READ, {"x-media": list(media)} if media else {})

    def make(
        self, path: str, out: Any, *, who: str = "manager", scope: Scope = Scope.MANAGE, status: int = 201
    ) -> Callable[[ViewT], ViewT]:
        """A POST; with an Idempotency-Key it is done once."""
        return self._add("POST", path, {status: out}, who, scope)

    def act(
        self, path: str, out: Any, *, who: str = "manager", scope: Scope = Scope.MANAGE
    ) -> Callable[[ViewT], ViewT]:
        return self._add("POST", path, {200: out}, who, scope)

    def change(self, path: str, out: Any, *, method: str = "PATCH", body: str = "") -> Callable[[ViewT], ViewT]:
        """`body`: it takes a file of this type."""
        schema = {"type": "string", "format": "binary"}
        extra = {"requestBody": {"required": True, "content": {body: {"schema": schema}}}} if body else {}
        return self._add(method, path, {200: out}, "manager", Scope.MANAGE, extra)

    def bytes(
        self, path: str, out: Any, *, bodies: Mapping[str, Any], scope: Scope, who: str = "member"
    ) -> Callable[[ViewT], ViewT]:
        """A POST of a file as one of the media types `bodies`, which changes nothing."""
        extra = {"requestBody": {"required": True, "content": dict(bodies)}}
        return self._add("POST", path, {200: out}, who, scope, extra)

    def remove(self, path: str) -> Callable[[ViewT], ViewT]:
        return self._add("DELETE", path, {204: None}, "manager", Scope.MANAGE)

    def _add(
        self, method: str, path: str, response: Any, who: str, scope: Scope, extra: Mapping[str, Any] | None = None
    ) -> Callable[[ViewT], ViewT]:
        def add(view: ViewT) -> ViewT:
            words = " ".join((view.__doc__ or "").split())
            self.add_api_operation(
                path,
                [method],
                view,
                auth=Token(scope),
                response=response,
                operation_id=view.__name__.rstrip("_"),
                summary=words.partition(". ")[0].rstrip("."),
                description=words,
                openapi_extra={"x-scope": str(scope), "x-who": who, **(extra or {})},
                url_name=view.__name__.rstrip("_"),
            )
            return view

        return add
