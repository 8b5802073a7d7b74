"""How good answers are: measured by a worker whenever they have changed, kept for pages and for the consensus.

It is harmless when it runs twice at once, or is lost: the next sweep asks for it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from django.db import connection, transaction
from django.db.models import Count, F, Max, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from labeler import clock
from labeler.models import (
    Annotation,
    AnnotatorQuality,
    AnswerQuality,
    GoldImage,
    Image,
    ImageState,
    Project,
    Reason,
)
from labeler.services.label_probability import MeasuredPeople, Person
from labeler.services.settling import dispute_labels, is_unlikely, votes_of
from labeler.wake import wake

MEASURE = "labeler.measure_answers"
EVERY_SECONDS = 10  # no more often than this
CALM, MOST_PAUSE = 20, 900  # nor more than a twentieth of the time, unless it then were too seldom; in seconds
LOST_SECONDS = 300  # after which an unanswered request is made again
LEAST_IMAGES = 10  # with two answers, or with an answer and a known class: fewer say nothing
LOOKUP = 500
MOVED = 0.005  # a probability that changed by less is left as it is
MOVE = "UPDATE labeler_image SET label_probability = %s WHERE id = %s"
KINDS = {
    "train": _("to learn from"),
    "random": _("drawn at random"),
    "holdout": _("to measure accuracy"),
    "gold": _("gold"),
    "relabel": _("asked again"),
    "grid_check": _("to check the grid"),
    "grid": _("accepted in the grid, by the page"),
    "decision": _("decisions"),
    "other": _("not asked by the queue"),
}
KIND_OF_REASON = {
    Reason.ACQUIRED: "train",
    Reason.GROUP: "train",
    Reason.COVERS: "train",
    Reason.CONTESTED: "train",
    Reason.COLD_START: "train",
    Reason.PICKED: "train",
    Reason.RANDOM: "random",
    Reason.HOLDOUT: "holdout",
    Reason.GOLD: "gold",
    Reason.RELABEL: "relabel",
    Reason.CLASS_GONE: "relabel",
    Reason.GRID_CHECK: "grid_check",
}


@dataclass(frozen=True)
class MeasuredPerson:
    trust: float | None
    confusion: list[list[float]] | None
    stats: Mapping[str, Any]


@dataclass(frozen=True)
class MeasuredAnswers:
    """`right`, `classes` and `prior` as AnswerQuality has them."""

    right: float | None
    classes: list[int]
    prior: list[float]
    stats: Mapping[str, Any]
    people: Mapping[int, MeasuredPerson]


class Measure(Protocol):
    def __call__(self, *, project: Project) -> MeasuredAnswers: ...


def kind_of(reason: str, *, is_decision: bool, is_grid: bool = False) -> str:
    """What an answer was spent on, a key of KINDS. A holdout image that is asked about by itself measures accuracy."""
    if is_grid:
        return "grid"
    if is_decision:
        return "decision"
    return KIND_OF_REASON[Reason(reason)] if reason else "other"


def sweep_quality() -> int:
    """Wake a worker for each project whose answers or gold images have changed. Returns how many."""
    now = clock.now()
    newest = Annotation.objects.filter(project=OuterRef("pk")).order_by("-id").values("id")[:1]
    gold = GoldImage.objects.filter(project=OuterRef("pk")).order_by().values("project").annotate(n=Count("id"))
    changed = Project.objects.annotate(newest=Subquery(newest), gold_now=Coalesce(Subquery(gold.values("n")), 0))
    is_new = Q(quality__isnull=True) | ~Q(quality__last_annotation_id=F("newest")) | ~Q(quality__gold=F("gold_now"))
    rows = changed.filter(is_new, newest__isnull=False)
    sent = 0
    for pk, asked_at, measured_at in rows.values_list("pk", "quality__asked_at", "quality__measured_at"):
        if _is_due(asked_at, measured_at, now):
            AnswerQuality.objects.update_or_create(project_id=pk, defaults={"asked_at": now})
            wake(MEASURE, pk)
            sent += 1
    return sent


def _is_due(asked_at: datetime | None, measured_at: datetime | None, now: datetime) -> bool:
    """Not while it is asked for, unless that was lost; and the longer it takes, the more seldom."""
    if asked_at is None:
        return True
    if measured_at is None or measured_at < asked_at:
        return now > asked_at + timedelta(seconds=LOST_SECONDS)
    pause = max(EVERY_SECONDS, min(MOST_PAUSE, CALM * (measured_at - asked_at).total_seconds()))
    return now > asked_at + timedelta(seconds=pause)


def run_quality(*, project_id: int, measure: Measure) -> None:
    """The task: measure, then keep it all in one transaction. Answers that come meanwhile are the next one's."""
    project = Project.objects.select_related("learning").filter(pk=project_id).first()
    if project is None:
        return
    last = Annotation.objects.filter(project=project).aggregate(last=Max("id"))["last"] or 0
    gold = GoldImage.objects.filter(project=project).count()
    measured = measure(project=project)
    with transaction.atomic():
        AnswerQuality.objects.update_or_create(
            project=project,
            defaults={
                "measured_at": clock.now(),
                "last_annotation_id": last,
                "gold": gold,
                "right": measured.right,
                "classes": measured.classes,
                "prior": measured.prior,
                "stats": measured.stats,
            },
        )
        AnnotatorQuality.objects.filter(project=project).exclude(annotator__in=measured.people).delete()
        AnnotatorQuality.objects.bulk_create(
            [
                AnnotatorQuality(
                    project=project, annotator_id=pk, trust=row.trust, confusion=row.confusion, stats=row.stats
                )
                for pk, row in measured.people.items()
            ],
            update_conflicts=True,
            unique_fields=["project", "annotator"],
            update_fields=["trust", "confusion", "stats"],
        )
    refresh_probabilities(project=project, measured=measured)
    AnswerQuality.objects.filter(project=project).update(measured_at=clock.now())  # how long it took, with that


def refresh_probabilities(*, project: Project, measured: MeasuredAnswers) -> int:
    """What is known of people by now also tells of labels that they gave before. Returns how many moved.

    No label becomes another by that: only an answer or a manager does so. But one that has become less likely than
    another class is believed no more, and the image is disputed. An image that somebody answers at this moment is left
    to that answer.
    """
    if measured.right is None:
        return 0
    people = {pk: Person(row.trust or measured.right, row.confusion) for pk, row in measured.people.items()}
    known = MeasuredPeople(people, Person(measured.right), dict(zip(measured.classes, measured.prior, strict=True)))
    moved, after = 0, 0
    images = Image.objects.filter(project=project, state=ImageState.LABELLED, gold__isnull=True)
    images = images.exclude(state=ImageState.POOL).order_by("pk")
    while rows := list(images.filter(pk__gt=after).values_list("pk", "label_id", "label_probability")[:LOOKUP]):
        after = rows[-1][0]
        votes, newer, doubted = votes_of([pk for pk, _, _ in rows]), {}, []
        for pk, label_id, before in rows:
            if said := votes.get(pk):
                likely = known.shares_of_asked_again(said)
                now = likely.get(label_id, 0.0)
                if is_unlikely(label_id, likely):
                    doubted.append(pk)
                elif before is None or abs(before - now) > MOVED:
                    newer[pk] = (label_id, before, now)
        moved += _keep(newer)
        if doubted:
            moved += dispute_labels(project=project, image_ids=doubted, people=known)
    return moved


@transaction.atomic
def _keep(newer: Mapping[int, tuple[int, float | None, float]]) -> int:
    """Those that are still what they were, and that nobody is just answering."""
    can_skip = connection.features.has_select_for_update_skip_locked
    rows = Image.objects.filter(pk__in=newer).select_for_update(no_key=True, skip_locked=can_skip).order_by("pk")
    still = [row for row in rows.only("label_id", "label_probability") if _is_still(row, newer[row.pk])]
    with connection.cursor() as cursor:  # the ORM's one statement of many cases takes a hundred times as long
        cursor.executemany(MOVE, [(newer[row.pk][2], row.pk) for row in still])
    return len(still)


def _is_still(image: Image, seen: tuple[int, float | None, float]) -> bool:
    return (image.label_id, image.label_probability) == seen[:2]
