"""A round that was run again, for its page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from labeler.models import JobState, Rerun, Round, RoundState
from labeler.models.jobs import UNFINISHED_JOB
from labeler.round_files import has_file
from labeler.selectors.workers import Missing, doings, missing_workers

TRAINING = "training.npz"  # in the round's folder: what it learned from, see learning/kept.py


@dataclass(frozen=True)
class RerunState:
    """What the last rerun found, the one that runs, what became of one that found nothing, and why there is none."""

    shown: Rerun | None
    made: Rerun | None
    failed: Rerun | None  # or stopped by a person
    why_not: str
    missing_workers: Sequence[Missing]
    behind: Sequence[str] = ()  # what the workers do while it waits for them

    @property
    def percent(self) -> int:
        return round(100 * self.made.done / self.made.total) if self.made and self.made.total else 0

    @property
    def result(self) -> dict[str, Any]:
        return self.shown.result or {} if self.shown else {}


def rerun_state(round_: Round) -> RerunState:
    rows = list(Rerun.objects.filter(round=round_).select_related("created_by")[:5])
    made = next((row for row in rows if row.state in UNFINISHED_JOB), None)
    newest = rows[0] if rows else None
    return RerunState(
        shown=next((row for row in rows if row.state == JobState.DONE), None),
        made=made,
        failed=newest if newest and newest.state in (JobState.FAILED, JobState.CANCELLED) else None,
        why_not="" if made else why_no_rerun(round_),
        missing_workers=missing_workers(["background"]) if made else [],
        behind=doings("background") if made and made.state == JobState.QUEUED else [],
    )


def why_no_rerun(round_: Round) -> str:
    """Empty if it can be tried, else what is missing; what else may be gone is found by the one who tries."""
    if round_.state != RoundState.DONE or not round_.folder:
        return _("It has no model to run again.")
    if not has_file(round_, TRAINING):
        return _("What it learned from was not kept, so it cannot be run again.")
    return ""
