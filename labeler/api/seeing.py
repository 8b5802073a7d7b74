"""How images are seen (features of a backbone, networks of the pool's own), and when rounds start by the clock.
Managers only."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Literal

from django.conf import settings
from django.db import transaction
from django.http import Http404, HttpRequest
from pydantic import Field

from labeler.access import Access, manager_access
from labeler.api.jobs import JobOut, job_of
from labeler.api.operations import NONE, In, Nothing, Operations, Out
from labeler.api.problems import invalid
from labeler.api.shapes import Measured, Outcome, of_interval
from labeler.models import PoolNetwork
from labeler.selectors.features import features_state
from labeler.selectors.networks import network_state
from labeler.services.features import request_features, stop_features
from labeler.services.networks import leave_network, request_network, stop_network, take_network
from labeler.services.schedule import WEEK, schedule_of, schedule_words, set_schedule

router = Operations("How it learns")
LEARNING = "/projects/{slug:slug}/learning"
FEATURES, NETWORK = f"{LEARNING}/features", f"{LEARNING}/network"
NAMES = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
Day = Literal[NAMES]  # type: ignore[valid-type]


class FeaturesOut(Out):
    wanted: str = Field(description="What images are to be seen by, in words.")
    reason: str
    meanwhile: str = Field(description="What they are seen by until then.")
    is_ready: bool = Field(description="What is wanted is there, or needs nothing made.")
    running: JobOut | None
    failed: JobOut | None = Field(description="The newest, where it failed or was stopped.")


class NetworkRow(Out):
    id: int
    state: str
    answers: int = Field(description="That it was trained on.")
    is_accepted: bool | None = Field(description="By the gate; null: it was not judged.")
    error: str


class NetworkOut(Out):
    used: NetworkRow | None
    running: JobOut | None
    last: NetworkRow | None = Field(description="The last that ended.")
    difference: Measured | None = Field(description="Of the last: its accuracy less the present model's.")
    objections: list[str] = Field(description="Why the last was refused.")
    can_be_taken: int | None = Field(description="The id of one that was accepted once and left.")
    next_answers: int = Field(description="Labels from which on the next begins by itself.")
    why_not: str = Field(description="Why none can be trained; empty: one can.")


class ScheduleIn(In):
    at: Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")] | None = Field(
        description="A time of day such as 02:00, in the site's time zone; null: no schedule."
    )
    days: list[Day] = Field(default=[NAMES[day] for day in WEEK], max_length=len(NAMES))


class ScheduleOut(Out):
    at: str | None
    days: list[str]
    time_zone: str
    words: str


@router.read(FEATURES, FeaturesOut, who="manager")
def read_features(request: HttpRequest, slug: str) -> FeaturesOut:
    """What images are seen by, and how far that is."""
    return _features(manager_access(request, slug))


@router.act(f"{FEATURES}/start", FeaturesOut)
def start_features(request: HttpRequest, slug: str, body: Nothing = NONE) -> FeaturesOut:  # noqa: ARG001
    """Have the features made that are wanted; what is being made already goes on."""
    access = manager_access(request, slug)
    request_features(project=access.project, by=access.user)
    return _features(access)


@router.act(f"{FEATURES}/stop", FeaturesOut)
def stop_features_(request: HttpRequest, slug: str, body: Nothing = NONE) -> FeaturesOut:  # noqa: ARG001
    """Stop making them. What there is stays."""
    access = manager_access(request, slug)
    stop_features(project=access.project)
    return _features(access)


@router.read(NETWORK, NetworkOut, who="manager")
def read_network(request: HttpRequest, slug: str) -> NetworkOut:
    """The network of the project's own that is in use, the one that is trained, and what came of the last."""
    return _network(manager_access(request, slug))


@router.act(f"{NETWORK}/start", NetworkOut)
def start_network(request: HttpRequest, slug: str, body: Nothing = NONE) -> NetworkOut:  # noqa: ARG001
    """Train one on the answers of now; one that is trained already goes on."""
    access = manager_access(request, slug)
    request_network(project=access.project, by=access.user)
    return _network(access)


@router.act(f"{NETWORK}/stop", NetworkOut)
def stop_network_(request: HttpRequest, slug: str, body: Nothing = NONE) -> NetworkOut:  # noqa: ARG001
    """Stop training."""
    access = manager_access(request, slug)
    stop_network(project=access.project, by=access.user)
    return _network(access)


@router.act(f"{NETWORK}/leave", Outcome)
def leave_network_(request: HttpRequest, slug: str, body: Nothing = NONE) -> Outcome:  # noqa: ARG001
    """See images as before the network in use. None is trained by itself any more."""
    access = manager_access(request, slug)
    changed = leave_network(project=access.project, by=access.user)
    return Outcome(changed=changed, detail="Images will be seen as before it." if changed else "None was in use.")


@router.act(f"{LEARNING}/networks/{{int:network_id}}/take", Outcome)
def take_network_(request: HttpRequest, slug: str, network_id: int, body: Nothing = NONE) -> Outcome:  # noqa: ARG001
    """See images by a network that was accepted once."""
    access = manager_access(request, slug)
    row = access.project.networks.filter(pk=network_id).first()
    if row is None:
        raise Http404("No such network")
    changed = take_network(network=row, by=access.user)
    words = f"Images will be seen by network {row.pk}." if changed else "It was never accepted, or its file is gone."
    return Outcome(changed=changed, detail=words)


@router.read(f"{LEARNING}/schedule", ScheduleOut, who="manager")
def read_schedule(request: HttpRequest, slug: str) -> ScheduleOut:
    """When a round starts by the clock."""
    return _schedule(manager_access(request, slug))


@router.change(f"{LEARNING}/schedule", ScheduleOut, method="PUT")
def put_schedule(request: HttpRequest, slug: str, body: ScheduleIn) -> ScheduleOut:
    """Start a round at that time of those days. It is left out when there is nothing new to learn from."""
    access = manager_access(request, slug)
    if body.at is not None and not body.days:
        raise invalid("days", "Choose at least one day, or send null as the time.")
    at = time.fromisoformat(body.at) if body.at is not None else None
    days = sorted({NAMES.index(day) for day in body.days})
    with transaction.atomic():
        set_schedule(project=access.project, at=at, days=days, by=access.user)
        access.project.learning.refresh_from_db()
    return _schedule(access)


def _features(access: Access) -> FeaturesOut:
    state = features_state(access.project)
    return FeaturesOut(
        wanted=state.wanted.words,
        reason=state.wanted.reason,
        meanwhile=state.meanwhile,
        is_ready=not state.wanted.backbone or state.ready is not None,
        running=job_of(state.made),
        failed=job_of(state.failed),
    )


def _network(access: Access) -> NetworkOut:
    state = network_state(access.project)
    return NetworkOut(
        used=_row(state.used),
        running=job_of(state.made),
        last=_row(state.last),
        difference=of_interval(state.difference, "paired"),
        objections=list(state.objections),
        can_be_taken=state.returnable.pk if state.returnable is not None else None,
        next_answers=state.next_answers,
        why_not=state.why_not,
    )


def _row(row: PoolNetwork | None) -> NetworkRow | None:
    return NetworkRow(**{name: getattr(row, name) for name in NetworkRow.model_fields}) if row is not None else None


def _schedule(access: Access) -> ScheduleOut:
    found = schedule_of(access.project.learning)
    return ScheduleOut(
        at=f"{found.at:%H:%M}" if found else None,
        days=[NAMES[day] for day in found.days] if found else [],
        time_zone=settings.TIME_ZONE,
        words=schedule_words(access.project.learning),
    )
