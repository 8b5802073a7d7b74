"""The last round of a project: once no question is left, so many new answers as start a round may never come. Without
it the model in charge would not learn the last answers and decisions, nor be measured on them."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import QuerySet

from labeler import clock
from labeler.models import Annotation, Outcome, Project, Round
from labeler.selectors.work_left import WorkLeft

QUIET_SECONDS = 60  # nobody has answered or decided anything for so long
QUIET_WHILE_ASKED_SECONDS = 600  # where others are still asked about what is disputed: each answer is no round


def unlearned(project: Project, last: Round) -> QuerySet[Annotation]:
    """What was answered or decided since the round took its labels, and stands; of a grid, too. Newest first."""
    new = Annotation.objects.filter(project=project, id__gt=last.last_annotation_id, retracted_at__isnull=True)
    return new.exclude(outcome__in=[Outcome.UNDO, Outcome.SKIP]).order_by("-id")


def is_last_round_due(*, project: Project, last: Round, left: WorkLeft) -> bool:
    """A round that has run has seen all answers, so that none follows it before there is another."""
    if not left.is_all_asked or last.is_unfinished:
        return False
    newest = unlearned(project, last).values_list("created_at", flat=True).first()
    quiet = QUIET_SECONDS if left.is_over else QUIET_WHILE_ASKED_SECONDS
    return newest is not None and newest <= clock.now() - timedelta(seconds=quiet)
