"""How good answers are, as pages show it: what a worker has measured (services/quality.py), in a few statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, F, Q, QuerySet
from django.db.models.functions import Coalesce
from django.db.models.lookups import Exact
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from labeler.intervals import Interval
from labeler.models import (
    Annotation,
    AnnotatorQuality,
    AnswerQuality,
    GoldImage,
    Image,
    Membership,
    Outcome,
    Project,
    User,
)
from labeler.numerals import numeral
from labeler.selectors.classes import MEANING
from labeler.services.quality import KINDS, LEAST_IMAGES

GOLD_PAGE = 60


@dataclass(frozen=True)
class Kind:
    name: str
    words: str
    answers: int
    share: float  # of all


@dataclass(frozen=True)
class PersonQuality:
    """What a person's answers say. None: too few to say."""

    user: User
    answers: int = 0
    labels: int = 0
    grid: int = 0  # labels that were accepted on pages of tiles
    skips: int = 0
    unsure: int = 0
    kinds: Sequence[Kind] = ()
    seconds: Interval | None = None
    timed: int = 0
    judged: int = 0
    agreement: Interval | None = None
    adjusted: Interval | None = None
    gold_answers: int = 0
    gold: Interval | None = None
    gold_told: Interval | None = None  # without the last day's answers, for the person
    trust: float | None = None


@dataclass(frozen=True)
class Answers:
    """`alpha` is None while it is not measured; `alpha_missing` says what is missing then."""

    measured_at: datetime | None
    is_changing: bool
    answers: int
    kinds: Sequence[Kind]
    paired: int
    alpha: Interval | None
    alpha_missing: str
    right: float | None
    evidence: int
    evidence_wanted: int
    gold_images: int
    gold: Interval | None
    people: Sequence[PersonQuality]
    contested: int
    doubted: int  # of these: were labelled, until people were measured on more answers


def answers_of(project: Project) -> Answers:
    row = AnswerQuality.objects.filter(project=project).first() or AnswerQuality(project=project)
    stats: Mapping[str, Any] = row.stats
    newest = Annotation.objects.filter(project=project).order_by("-id").values_list("id", flat=True).first() or 0
    paired, alpha = int(stats.get("paired", 0)), interval_of(stats.get("alpha"))
    return Answers(
        measured_at=row.measured_at,
        is_changing=newest != row.last_annotation_id,
        answers=int(stats.get("answers", 0)),
        kinds=_kinds(stats),
        paired=paired,
        alpha=alpha,
        alpha_missing="" if alpha else _missing(paired, is_of_one_class=bool(stats.get("of_one_class"))),
        right=row.right,
        evidence=int(stats.get("evidence", 0)),
        evidence_wanted=int(stats.get("evidence_wanted", 10)),
        gold_images=GoldImage.objects.filter(project=project).count(),
        gold=interval_of(stats.get("gold")),
        people=people_of(project),
        **_contested_counts(project),
    )


def people_of(project: Project) -> list[PersonQuality]:
    """Everybody who has answered, most answers first. One statement, whatever their number."""
    rows = AnnotatorQuality.objects.filter(project=project).select_related("annotator").defer("confusion")
    return sorted((_person(row) for row in rows), key=lambda person: (-person.answers, person.user.username))


def person_of(project: Project, user_id: int) -> PersonQuality | None:
    """None: nobody of that number is a member or has answered."""
    row = AnnotatorQuality.objects.filter(project=project, annotator=user_id).select_related("annotator").first()
    if row is not None:
        return _person(row)
    member = Membership.objects.filter(project=project, user=user_id).select_related("user").first()
    return PersonQuality(member.user) if member is not None else None


def contested(project: Project) -> QuerySet[Image]:
    """Images whose answers differ and that nobody has decided, by their partial index."""
    return Image.objects.filter(project=project, is_contested=True).order_by("pk")


def _contested_counts(project: Project) -> dict[str, int]:
    doubted = Count("pk", filter=Q(doubted_label__isnull=False))
    return contested(project).order_by().aggregate(contested=Count("pk"), doubted=doubted)


@dataclass(frozen=True)
class GoldRow:
    gold: GoldImage
    right: int
    wrong: int


def gold_rows(project: Project, page: int) -> tuple[list[GoldRow], int]:
    """A page of the gold images, newest first, with how many people have known them; and how many there are."""
    counted = Q(
        image__annotations__retracted_at__isnull=True,
        image__annotations__outcome__in=[Outcome.LABEL, Outcome.UNSURE, Outcome.BAD_IMAGE],
        image__annotations__created_at__gt=F("created_at"),
    ) & (Q(created_by__isnull=True) | ~Q(image__annotations__annotator=F("created_by")))
    meant = Coalesce("image__annotations__label_class__merged_into", "image__annotations__label_class")
    gold = GoldImage.objects.filter(project=project)
    rows = gold.select_related("image", "label_class__merged_into", "created_by").annotate(
        said=Count("image__annotations", filter=counted),
        right=Count("image__annotations", filter=counted & Q(Exact(meant, MEANING))),
    )
    shown = rows.order_by("-pk")[(page - 1) * GOLD_PAGE : page * GOLD_PAGE]
    return [GoldRow(row, row.right, row.said - row.right) for row in shown], gold.count()


def interval_of(stored: Mapping[str, Any] | None) -> Interval | None:
    return Interval(stored["value"], stored["low"], stored["high"], stored["n"]) if stored else None


def _person(row: AnnotatorQuality) -> PersonQuality:
    stats = row.stats
    counts = ("answers", "labels", "grid", "skips", "unsure", "timed", "judged", "gold_answers")
    intervals = ("seconds", "agreement", "adjusted", "gold", "gold_told")
    values: dict[str, Any] = {name: int(stats.get(name, 0)) for name in counts}
    values |= {name: interval_of(stats.get(name)) for name in intervals}
    return PersonQuality(user=row.annotator, kinds=_kinds(stats), trust=row.trust, **values)


def _kinds(stats: Mapping[str, Any]) -> list[Kind]:
    counts: Mapping[str, int] = stats.get("kinds", {})
    total = max(1, sum(counts.values()))
    return [
        Kind(name, str(words), counts[name], counts[name] / total) for name, words in KINDS.items() if counts.get(name)
    ]


def _missing(paired: int, *, is_of_one_class: bool) -> str:
    if is_of_one_class:
        return _("not measured yet: all answers name one class")
    more = max(1, LEAST_IMAGES - paired)
    words = ngettext(
        "not measured yet: %(count)s more image with two answers",
        "not measured yet: %(count)s more images with two answers",
        more,
    )
    return words % {"count": numeral(more)}
