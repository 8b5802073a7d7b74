"""Rounds as people and triggers see them: asked for, drawn before there is a model, cancelled, tried again."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from labeler import clock
from labeler.models import (
    Annotation,
    AuditKind,
    LearningConfig,
    Project,
    Reason,
    Round,
    RoundState,
    Trigger,
    User,
)
from labeler.models.rounds import UNFINISHED
from labeler.selectors.graphs import CannotRead, current_graph
from labeler.selectors.grid import learned_classes
from labeler.selectors.spent import answers_spent
from labeler.services import audit
from labeler.services.claims import RUN, end_round
from labeler.services.draw import Place, draw_groups, draw_places, draw_queue
from labeler.services.publish import held_positions, publish_cold
from labeler.told import told
from labeler.wake import wake

MAX_COUNTDOWN = 600  # seconds; what is later than this is the sweep's to wake


class RoundRefused(Exception):
    """A round that cannot be made now; the message says why, for people."""


def new_seed() -> int:
    return secrets.randbelow(2**31)


def config_of(learning: LearningConfig) -> dict[str, Any]:
    """What a round keeps of the project's learning settings."""
    names = (
        "learns_from", "architecture", "feature_architecture", "estimator", "acquisition", "coldness",
        "posterior_samples", "budget", "propagation", "members", "member_dropout", "temperature_scaling",
        "laplace_prior",
        "random_share", "overlap", "holdout_questions", "holdout_target",
    )  # fmt: skip
    return {name: getattr(learning, name) for name in names}


def last_annotation_id(project: Project) -> int:
    newest = Annotation.objects.filter(project=project).order_by("-id").values_list("id", flat=True).first()
    return newest or 0


BEFORE_THE_FIRST = told("before the first model")
PAUSED = gettext_lazy("The project is paused, so no round starts. Go on with it first.")


def is_paused(project: Project) -> bool:
    """As it is now: the caller's row may be older."""
    return Project.objects.filter(pk=project.pk, paused_at__isnull=False).exists()


def why_not_trainable(project: Project) -> str:
    """Empty if a model can be fitted, else what is missing."""
    classes = learned_classes(project, most=2)
    if classes == 0:
        return _("No image has a label yet that may be learned from. A model needs labels of two classes.")
    if classes == 1:
        return _("All labels that may be learned from are of one class so far. A model needs labels of two classes.")
    return ""


def newest_round(project: Project) -> Round | None:
    """The last one. A comparison that is over does not count: it made no queue and leaves all answers to the next."""
    rounds = Round.objects.filter(project=project).order_by("-number")
    return rounds.filter(~Q(trigger=Trigger.COMPARISON) | Q(state__in=UNFINISHED)).first()


@transaction.atomic
def request_round(*, project: Project, trigger: str, reason: str, requested_by: User | None = None) -> Round | None:
    """Queue a round. None: one is unfinished already. Raises RoundRefused where no model could be fitted.

    A button and a schedule start at once; the other triggers wait for debounce and cool-down.
    """
    last = newest_round(project)
    if last is not None and last.is_unfinished:
        return None
    if words := str(PAUSED) if is_paused(project) else why_not_trainable(project):
        raise RoundRefused(words)
    now = clock.now()
    not_before = now if trigger in (Trigger.BUTTON, Trigger.SCHEDULE) else calm_start(project.learning, last, now)
    round_ = add_round(
        project=project, trigger=trigger, reason=reason, requested_by=requested_by, not_before=not_before
    )
    if round_ is not None and requested_by is not None:
        words = told("started round %(number)s", number=str(round_.number))
        audit.record(project=project, by=requested_by, kind=AuditKind.ROUNDS, words=words, round=round_.number)
    countdown = (not_before - now).total_seconds()
    if round_ is not None and countdown <= MAX_COUNTDOWN:
        wake(RUN, round_.pk, countdown=countdown)
    return round_


def add_round(*, project: Project, **fields: Any) -> Round | None:
    """A row with the next number. None if somebody was faster: the database lets one unfinished round a project be."""
    last = Round.objects.filter(project=project).order_by("-number").values_list("number", flat=True).first()
    fields = {"config": config_of(project.learning), "last_annotation_id": last_annotation_id(project)} | fields
    try:
        with transaction.atomic():
            return Round.objects.create(project=project, number=(last or 0) + 1, seed=new_seed(), **fields)
    except IntegrityError:
        return None


def calm_start(learning: LearningConfig, last: Round | None, now: datetime) -> datetime:
    """After the debounce, and after the cool-down of the last round that ran."""
    start = now + timedelta(seconds=learning.debounce_seconds)
    if last is not None and last.finished_at is not None and last.started_at is not None:
        start = max(start, last.finished_at + timedelta(seconds=learning.cooldown_seconds))
    return start


@transaction.atomic
def cancel_round(*, round_: Round, by: User) -> bool:
    """End an unfinished round. Its worker, if it has one, notices within a second and stops. False: it was over."""
    seen = round_.last_annotation_id
    if round_.trigger not in (Trigger.COMPARISON, Trigger.CHARGE):
        seen = last_annotation_id(round_.project)  # the same answers do not start the next one
    is_over = end_round(
        Q(pk=round_.pk),
        RoundState.CANCELLED,
        told("Cancelled by %(person)s.", person=by.get_username()),
        last_annotation_id=seen,
    )
    if is_over:
        words = told("cancelled round %(number)s", number=str(round_.number))
        audit.record(project=round_.project, by=by, kind=AuditKind.ROUNDS, words=words, round=round_.number)
    return is_over


def nothing_to_try(round_: Round) -> str:
    values = {"number": round_.number, "state": round_.get_state_display()}
    return _("Round %(number)s is %(state)s: there is nothing to try again.") % values


def retry_round(*, round_: Round, by: User) -> Round | None:
    """A new round after one that failed or was cancelled. None: another one is unfinished already."""
    if round_.state not in (RoundState.FAILED, RoundState.CANCELLED):
        raise RoundRefused(nothing_to_try(round_))
    reason = told("%(person)s tried round %(number)s again", person=by.get_username(), number=str(round_.number))
    return request_round(project=round_.project, trigger=Trigger.BUTTON, reason=reason, requested_by=by)


@transaction.atomic
def start_cold_round(*, project: Project, reason: str = BEFORE_THE_FIRST, seen: int | None = None) -> Round | None:
    """The first queue, in one transaction: made and done. None: a round is unfinished, or nothing waits.

    Answers up to `seen` do not count towards the next round; without it, none of those that there are.

    Where it is known which images look alike, one of each group, the largest first, or images that cover the pool,
    among images drawn at random; until then, and once all groups have been asked about, all at random. The holdout has
    its share.
    """
    last = newest_round(project)
    if (last is not None and last.is_unfinished) or is_paused(project):
        return None
    now, graph = clock.now(), current_graph(project)
    alone = {"random_share": 0.0} if graph is None else {"graph": graph.pk}
    round_ = add_round(
        project=project,
        trigger=Trigger.COLD_START,
        reason=reason,
        state=RoundState.DONE,
        config={**config_of(project.learning), **alone},
        last_annotation_id=last_annotation_id(project) if seen is None else seen,
        answers_spent=answers_spent(project),
        started_at=now,
        finished_at=now,
    )
    if round_ is None:
        return None
    held = held_positions(project)
    draw = draw_queue(round_=round_, held=held)
    main: list[Place] = []
    taken = {*held, *(place.position for place in draw.random)}
    if graph is not None:
        try:
            main = draw_groups(project=project, graph=graph, count=draw.to_acquire, without=taken, held=held)
        except CannotRead as error:
            Round.objects.filter(pk=round_.pk).update(
                reason=told("%(reason)s; all at random, for %(why)s", reason=reason, why=str(error))
            )
            graph.delete()  # the sweep has another one made, and that orders the queue
    taken |= {place.position for place in main}
    more = draw.to_acquire - len(main)
    main += draw_places(round_=round_, reason=Reason.COLD_START, count=more, without=taken)
    if not main and not draw.holdout:
        round_.delete()
        return None
    publish_cold(round_=round_, draw=draw, main=main)
    return round_
