"""What several operations return: people, classes, measured numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import Http404, HttpRequest
from pydantic import Field

from labeler.access import Access
from labeler.api.operations import Out
from labeler.intervals import Interval
from labeler.models import LabelClass, User
from labeler.selectors.predictions import Bar


class Person(Out):
    id: int
    username: str


class ClassName(Out):
    id: int
    name: str


class Measured(Out):
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int | None = Field(default=None, description="How many it was measured on.")
    method: str = Field(default="", description="How the interval was made.")


class Likely(Out):
    """A class, the mean of its probability over the posterior samples, and the standard deviation."""

    name: str
    mean: float
    std: float


class Outcome(Out):
    """Whether anything changed: doing again what was done changes nothing."""

    changed: bool
    detail: str = Field(default="", description="What happened, for people.")


def person_of(user: User | None) -> Person | None:
    return Person(id=user.pk, username=user.get_username()) if user is not None else None


def class_name(row: LabelClass | None) -> ClassName | None:
    return ClassName(id=row.pk, name=row.name) if row is not None else None


def measured(stored: Mapping[str, Any] | None) -> Measured | None:
    return Measured(**{name: stored[name] for name in Measured.model_fields if name in stored}) if stored else None


def of_interval(found: Interval | None, method: str) -> Measured | None:
    """Of a number that pages compute."""
    if found is None:
        return None
    return Measured(value=found.value, low=found.low, high=found.high, n=found.n, method=method)


def likely(bar: Bar) -> Likely:
    return Likely(name=bar.name, mean=bar.mean, std=bar.std)


def class_in(access: Access, pk: int) -> LabelClass:
    """A class of the project, archived or not."""
    row = access.project.classes.select_related("merged_into", "project").filter(pk=pk).first()
    if row is None:
        raise Http404("No such class")
    return row


def user_of(request: HttpRequest) -> User:
    user = request.user
    assert isinstance(user, User)
    return user
