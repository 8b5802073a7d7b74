"""Lists in pages. A cursor says behind which row to go on, so that rows which come meanwhile neither hide nor repeat
any; it is signed, so that it is ours and of that list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.core import signing
from django.db.models import Model, QuerySet
from ninja import Schema
from pydantic import Field

from labeler.api.problems import invalid

SALT = "labeler.api.cursor"
LARGEST, USUAL = 500, 100
T = TypeVar("T")
ModelT = TypeVar("ModelT", bound=Model)


class Paging(Schema):
    cursor: str = Field("", max_length=500, description="`next` of the page before; empty: the first page.")
    limit: int = Field(USUAL, ge=1, le=LARGEST, description="How many at most.")


class Page(Schema, Generic[T]):
    """`next` is the cursor of the page that follows; null: this is the last one."""

    items: list[T]
    next: str | None = Field(None, description="The cursor of the page that follows; null: this is the last.")


@dataclass(frozen=True)
class Rows(Generic[T]):
    items: Sequence[T]
    next: str | None


def position_in(list_name: str, cursor: str) -> int | None:
    """What the cursor says; None: the first page. Raises Problem."""
    if not cursor:
        return None
    try:
        name, position = signing.loads(cursor, salt=SALT)
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise invalid("cursor", "This cursor is not one that a page of this list has given.") from error
    if name != list_name or not isinstance(position, int):
        raise invalid("cursor", "This cursor is of another list.")
    return position


def cursor_of(list_name: str, position: int) -> str:
    return signing.dumps([list_name, position], salt=SALT)


def page_of(
    name: str, rows: QuerySet[ModelT], paging: Paging, *, by: str = "pk", newest_first: bool = False
) -> Rows[ModelT]:
    """A page of the rows in the order of `by`, which is unique among them. `name` is the list's, with its filter."""
    after = position_in(name, paging.cursor)
    if after is not None:
        rows = rows.filter(**{f"{by}__{'lt' if newest_first else 'gt'}": after})
    found = list(rows.order_by(f"-{by}" if newest_first else by)[: paging.limit + 1])
    return rows_of(name, found, paging, by=by)


def rows_of(name: str, found: Sequence[Any], paging: Paging, *, by: str = "pk") -> Rows[Any]:
    """Of up to `limit` + 1 rows, in order."""
    shown = list(found[: paging.limit])
    return Rows(shown, cursor_of(name, getattr(shown[-1], by)) if len(found) > paging.limit else None)
