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
from labeler.selectors.pool import shown_accuracy
from labeler.selectors.predictions import Bar


class Person(Out):
    id: int
    username: str


class ClassName(Out):
    id: int
    name: str


class Measured(Out):
    """A number with its 95 % interval; all that is measured has this shape."""

    value: float
    low: float
    high: float
    n: int = Field(description="How many it was measured on.")
    method: str = Field(description="How the interval was made, such as wilson or bootstrap.")


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


def accuracy_of(metrics: Mapping[str, Any] | None) -> Measured | None:
    """Of a round, by its metrics; None: too few holdout images have a label."""
    shown = shown_accuracy(metrics)
    return Measured(**shown) if shown else None


def measured(stored: Mapping[str, Any] | None) -> Measured | None:
    """As `Round.metrics` keeps one; None where an end is open, for that is no interval."""
    if not stored or stored["low"] is None or stored["high"] is None:
        return None
    values = {name: stored[name] for name in ("value", "low", "high")}
    return Measured(**values, n=int(stored.get("n", 0)), method=stored.get("method", ""))


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
