"""Rounds that are only looked at: another estimator on the labels of now, scored and measured, without a queue."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from labeler.models import AuditKind, Project, Round, RoundState, Trigger, User
from labeler.services import audit
from labeler.services.claims import RUN
from labeler.services.rounds import (
    PAUSED,
    RoundRefused,
    add_round,
    config_of,
    is_paused,
    newest_round,
    nothing_to_try,
    why_not_trainable,
)
from labeler.told import told
from labeler.wake import wake


@transaction.atomic
def start_comparison(*, project: Project, values: dict[str, Any], reason: str, by: User) -> Round | None:
    """Queue a round that scores the pool with other settings. None: a round is unfinished already.

    `values` replace those of the project's settings. Raises RoundRefused where no model could be fitted.
    Answers that it sees count towards the next learning round as if it had not been.
    """
    if words := str(PAUSED) if is_paused(project) else why_not_trainable(project):
        raise RoundRefused(words)
    last = newest_round(project)
    if last is not None and last.is_unfinished:
        return None
    round_ = add_round(
        project=project,
        trigger=Trigger.COMPARISON,
        reason=reason,
        requested_by=by,
        config={**config_of(project.learning), **values},
        last_annotation_id=last.last_annotation_id if last else 0,
    )
    if round_ is not None:
        words = told("started round %(number)s to compare it: %(reason)s", number=str(round_.number), reason=reason)
        audit.record(project=project, by=by, kind=AuditKind.ROUNDS, words=words, round=round_.number)
        wake(RUN, round_.pk)
    return round_


def repeat_comparison(*, round_: Round, by: User) -> Round | None:
    """The same again, after one that failed or was cancelled."""
    if round_.state not in (RoundState.FAILED, RoundState.CANCELLED):
        raise RoundRefused(nothing_to_try(round_))
    values = {name: round_.config[name] for name in config_of(round_.project.learning) if name in round_.config}
    return start_comparison(project=round_.project, values=values, reason=round_.reason, by=by)
