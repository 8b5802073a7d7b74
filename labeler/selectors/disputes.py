"""Holdout images that people disagree about: who can still be asked, and which wait for a manager.

What is measured is measured on the others, so each of these has to come to a decision by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from labeler import clock
from labeler.models import Annotation, Candidate, CandidateState, Image, ImageState, Membership, Outcome, Project, User

ACTIVE_DAYS = 14  # who has answered in these is expected to go on
MOST_MORE = 5  # answers on a disputed holdout image past the overlap; one that still is disputed then is a manager's
LOOKUP = 500  # images a query


@dataclass(frozen=True)
class Dispute:
    """`askable`: who is there, and has not answered it."""

    image_id: int
    position: int
    askable: frozenset[int]


@dataclass(frozen=True)
class Disputes:
    """`open_` can be asked about again, `stuck` are for a manager to settle; the oldest images first."""

    open_: Sequence[Dispute]
    stuck: Sequence[Dispute]


def holdout_disputes(project: Project, *, beside: User | None = None) -> Disputes:
    """Who can be asked are those who have answered lately or are there, and `beside`, who comes just now.

    Four statements where there are any, one else; the cost grows with the disputes.
    """
    disputed = Image.objects.filter(project=project, is_holdout=True, state=ImageState.DISPUTED)
    rows = list(disputed.exclude(state=ImageState.POOL).order_by("pk").values_list("pk", "position"))
    if not rows:
        return Disputes([], [])
    people, answered = active_people(project), answered_by([pk for pk, _ in rows])
    if beside is not None:
        people = people | {beside.pk}
    most = project.learning.overlap + MOST_MORE
    left = [Dispute(pk, at, _askable(people, answered[pk], most)) for pk, at in rows]
    return Disputes([each for each in left if each.askable], [each for each in left if not each.askable])


def has_disputes(project: Project) -> bool:
    disputed = Image.objects.filter(project=project, is_holdout=True, state=ImageState.DISPUTED)
    return disputed.exclude(state=ImageState.POOL).exists()


def _askable(people: set[int], answered: set[int], most: int) -> frozenset[int]:
    return frozenset(people - answered) if len(answered) < most else frozenset()


def active_people(project: Project) -> set[int]:
    """Members who have answered lately, or have an image on the screen; all members, while nobody has."""
    active = Membership.objects.filter(project=project, deactivated_at__isnull=True)
    members = set(active.values_list("user_id", flat=True))
    now = clock.now()
    recent = Annotation.objects.filter(project=project, created_at__gte=now - timedelta(days=ACTIVE_DAYS))
    there = Candidate.objects.filter(project=project, state=CandidateState.OPEN, leased_until__gt=now)
    people = recent.order_by().values_list("annotator_id", flat=True)
    return members.intersection(people.union(there.order_by().values_list("leased_to_id", flat=True))) or members


def answered_by(image_ids: Iterable[int]) -> dict[int, set[int]]:
    """Who has a live answer on each of the images, skips included: nobody gets an image twice."""
    ids, found = sorted(image_ids), defaultdict[int, set[int]](set)
    for start in range(0, len(ids), LOOKUP):
        rows = Annotation.objects.filter(image__in=ids[start : start + LOOKUP], retracted_at__isnull=True)
        for image_id, person in rows.exclude(outcome=Outcome.UNDO).order_by().values_list("image_id", "annotator_id"):
            found[image_id].add(person)
    return found
