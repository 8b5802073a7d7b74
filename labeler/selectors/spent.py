"""Answers that were spent: what the curve, the rounds and the costs count."""

from __future__ import annotations

from django.db.models import Exists, Max, OuterRef, Q, QuerySet

from labeler.models import Annotation, Outcome, Project, Round


def spent_answers(project: Project) -> QuerySet[Annotation]:
    """Answers that people have given, but those that their own person has taken back or replaced.

    Whatever else becomes of one (its class was split or refused, its image is asked again), it was given.
    """
    replaced = Exists(Annotation.objects.filter(retracts=OuterRef("pk")))
    given = Annotation.objects.filter(project=project).exclude(outcome=Outcome.UNDO)
    return given.filter(Q(retracted_at__isnull=True) | ~replaced)


def answers_spent(project: Project) -> int:
    """Those that were given one by one: a page of tiles costs about as much as one of them.

    It never falls: an answer that a round has counted stays counted, though its person takes it back afterwards.
    """
    counted = Round.objects.filter(project=project).aggregate(most=Max("answers_spent"))["most"] or 0
    return max(counted, spent_answers(project).filter(is_grid=False).count())
