"""How good the answers are, of all together and of each person, with intervals. A person may read their own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from pydantic import Field

from labeler.access import manager_access, member_access
from labeler.api.operations import Operations, Out
from labeler.api.shapes import Measured, Person, of_interval
from labeler.selectors.answers import Kind, PersonQuality, answers_of, person_of

router = Operations("Quality of answers")
ROOT = "/projects/{slug:slug}/quality"
SHARE = "wilson"


class Spent(Out):
    name: str
    words: str
    answers: int
    share: float = Field(description="Of all of them.")


class PersonOut(Out):
    """null: too few answers to say, or not told to the person themselves."""

    person: Person
    answers: int
    labels: int
    skips: int
    unsure: int
    seconds: Measured | None = Field(description="The median of an answer, without breaks.")
    agreement: Measured | None = Field(description="With what most of the others, or a manager, said.")
    adjusted: Measured | None = Field(description="The same on equally hard images.")
    gold: Measured | None = Field(description="Right on gold images. The person: without those of the last day.")
    trust: float | None = Field(description="How often an answer is right, as the labels' probabilities take it.")
    kinds: list[Spent] = Field(description="What the answers were spent on; managers only.")


class QualityOut(Out):
    measured_at: datetime | None
    is_changing: bool = Field(description="There are answers that are not counted yet.")
    answers: int
    kinds: list[Spent]
    paired: int = Field(description="Images with two answers.")
    alpha: Measured | None = Field(description="Krippendorff's alpha; null: see alpha_missing.")
    alpha_missing: str
    gold_images: int
    gold: Measured | None
    contested: int = Field(description="Images where people disagree and nobody has decided.")
    people: list[PersonOut]


@router.read(ROOT, QualityOut, who="manager")
def read_quality(request: HttpRequest, slug: str) -> QualityOut:
    """How far people agree, and how good each one's answers are. A worker measures it whenever they have changed."""
    found = answers_of(manager_access(request, slug).project)
    names = ("measured_at", "is_changing", "answers", "paired", "alpha_missing", "gold_images", "contested")
    return QualityOut(
        **{name: getattr(found, name) for name in names},
        kinds=_kinds(found.kinds),
        alpha=of_interval(found.alpha, "bootstrap"),
        gold=of_interval(found.gold, SHARE),
        people=[_person(row, is_manager=True) for row in found.people],
    )


@router.read(f"{ROOT}/people/{{int:user_id}}", PersonOut)
def read_quality_of(request: HttpRequest, slug: str, user_id: int) -> PersonOut:
    """How good a person's answers are: for managers, and for the person."""
    access = member_access(request, slug)
    if not access.is_manager and user_id != access.user.pk:
        raise PermissionDenied("This is for managers and for the person whom it is about.")
    found = person_of(access.project, user_id)
    if found is None:
        raise Http404("Nobody of that number has answered here")
    return _person(found, is_manager=access.is_manager)


def _person(row: PersonQuality, *, is_manager: bool) -> PersonOut:
    return PersonOut(
        person=Person(id=row.user.pk, username=row.user.get_username()),
        answers=row.answers,
        labels=row.labels,
        skips=row.skips,
        unsure=row.unsure,
        seconds=of_interval(row.seconds, "order statistics"),
        agreement=of_interval(row.agreement, SHARE),
        adjusted=of_interval(row.adjusted, "direct standardisation"),
        gold=of_interval(row.gold if is_manager else row.gold_told, SHARE),
        trust=row.trust if is_manager else None,
        kinds=_kinds(row.kinds) if is_manager else [],
    )


def _kinds(kinds: Sequence[Kind]) -> list[Spent]:
    return [Spent(name=each.name, words=each.words, answers=each.answers, share=each.share) for each in kinds]
