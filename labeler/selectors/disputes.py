"""Images that people disagree about: who can still be asked, and which wait for a manager.

What is measured is measured on the holdout that has labels, so each disputed one of it has to come to a decision by
itself, whatever the settings say. The others are asked about again as far as the settings want that: beside new images
those that are worth it (learning/relabel.py), and once no new one is left all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Count, Q, QuerySet

from labeler import clock
from labeler.models import (
    Annotation,
    Candidate,
    CandidateState,
    Image,
    ImageState,
    LearningConfig,
    Membership,
    Outcome,
    Project,
    Reason,
    Role,
)

ACTIVE_DAYS = 14  # who has answered in these is expected to go on
MOST_MORE = 5  # answers on a disputed holdout image past the overlap; one that still is disputed then is a manager's
MOST_MORE_POOL = 2  # on any other image
LOOKUP = 500  # images a query


@dataclass(frozen=True)
class Dispute:
    """`askable`: who is there, and has not answered it."""

    image_id: int
    position: int
    askable: frozenset[int]


@dataclass(frozen=True)
class Again:
    """Images that somebody can be asked about though they have all their answers: `disputed` ones, and `others`, which
    stand in the queue as their label is in doubt."""

    disputed: int = 0
    others: int = 0


@dataclass(frozen=True)
class Away:
    """Annotators of whom nobody waits, and how many of the disputed images that nobody else can be asked about they
    would get. `have_answered`: whether one of them has ever answered here."""

    people: tuple[str, ...] = ()
    images: int = 0
    have_answered: bool = False


NOBODY, NOBODY_AWAY = Again(), Away()


@dataclass(frozen=True)
class Disputes:
    """`open_` can be asked about again, `stuck` are for a manager to settle; the oldest images first."""

    open_: Sequence[Dispute]
    stuck: Sequence[Dispute]


def holdout_disputes(project: Project, *, beside: Iterable[int] = ()) -> Disputes:
    """Who can be asked are those who have answered lately or are there, and `beside`, who come just now; about what
    stands in the queue already, any annotator.

    Six statements where there are any, one else; the cost grows with the disputes.
    """
    disputed = Image.objects.filter(project=project, is_holdout=True, state=ImageState.DISPUTED)
    rows = list(disputed.exclude(state=ImageState.POOL).order_by("pk").values_list("pk", "position"))
    if not rows:
        return Disputes([], [])
    people, answered = active_people(project).union(beside), answered_by([pk for pk, _ in rows])
    most = project.learning.overlap + MOST_MORE
    queued = queued_again(project, people)
    left = [Dispute(pk, at, queued.get(pk) or _askable(people, answered[pk], most)) for pk, at in rows]
    return Disputes([each for each in left if each.askable], [each for each in left if not each.askable])


@dataclass(frozen=True)
class StillOpen:
    """What may be asked about though it has its answers, read once for whoever might be there. `queued`: images that
    stand in the queue or on a screen to be answered once more, with their state and whether they are holdout."""

    active: set[int]
    annotators: Mapping[int, str]  # their names, in this order
    queued: Mapping[int, tuple[str, bool]]
    holdout: Sequence[int]  # disputed
    answered: Mapping[int, set[int]]


def still_open(project: Project) -> StillOpen:
    """At most eight statements; their cost grows with the disputes and the queue."""
    disputed = Image.objects.filter(project=project, is_holdout=True, state=ImageState.DISPUTED)
    disputed = disputed.exclude(state=ImageState.POOL).order_by()
    places = _places_again(project).order_by()
    annotators = _members(project).filter(role=Role.ANNOTATOR).order_by("user__username")
    rows = places.values_list("image_id", "image__state", "image__is_holdout")
    queued = {pk: (state, is_holdout) for pk, state, is_holdout in rows}
    holdout = list(disputed.values_list("pk", flat=True))
    answered = _answered_on(disputed.values("pk")) if holdout else {}
    answered |= _answered_on(places.values("image_id")) if queued else {}
    return StillOpen(
        active=active_people(project),
        annotators=dict(annotators.values_list("user_id", "user__username")),
        queued=queued,
        holdout=holdout,
        answered=defaultdict(set, answered),
    )


def not_there(project: Project, image_ids: Collection[int]) -> tuple[str, ...]:
    """Annotators of whom nobody waits and who have not answered all of some images, by name."""
    annotators = _members(project).filter(role=Role.ANNOTATOR).exclude(user__in=active_people(project))
    names = list(annotators.order_by("user__username").values_list("user_id", "user__username"))
    answered = answered_by(image_ids) if names else {}
    return tuple(name for pk, name in names if any(pk not in answered[image] for image in image_ids))


def again_of(project: Project, open_: StillOpen, *, beside: Collection[int] = ()) -> Again:
    """Of the holdout and of the others, were `beside` there, too. One statement."""
    people, answered = open_.active.union(beside), open_.answered
    all_ = people.union(open_.annotators)
    queued = {pk: facts for pk, facts in open_.queued.items() if all_ - answered[pk]}
    disputed = {pk for pk, facts in queued.items() if facts == (ImageState.DISPUTED, False)}
    others = sum(state == ImageState.LABELLED for state, _ in queued.values())
    most = project.learning.overlap + MOST_MORE
    holdout = sum(pk in queued or bool(_askable(people, answered[pk], most)) for pk in open_.holdout)
    more = pool_disputes(project, people).exclude(pk__in=disputed).count()
    return Again(holdout + len(disputed) + more, others)


def away_of(project: Project, open_: StillOpen, again: Again) -> Away:
    """Who would be asked on opening Label, beside `again`. Two statements."""
    names = {pk: name for pk, name in open_.annotators.items() if pk not in open_.active}
    images = again_of(project, open_, beside=names).disputed - again.disputed if names else 0
    if images <= 0:
        return NOBODY_AWAY
    former = Annotation.objects.filter(project=project, annotator__in=names)
    return Away(tuple(names.values()), images, former.exists())


def asks_again(learning: LearningConfig) -> bool:
    """Whether the settings have images asked about again that are no holdout."""
    is_wanted = learning.relabel == "always" or (learning.relabel == "overlap" and learning.overlap > 1)
    return is_wanted and learning.relabel_share > 0


def pool_disputes(project: Project, people: set[int]) -> QuerySet[Image]:
    """Disputed images that are no holdout and that one of `people` can be asked about, the oldest first."""
    if not (people and asks_again(project.learning)):
        return Image.objects.none()
    live = Q(annotations__retracted_at__isnull=True) & ~Q(annotations__outcome=Outcome.UNDO)
    disputed = Image.objects.filter(project=project, is_holdout=False, state=ImageState.DISPUTED)
    counted = disputed.exclude(state=ImageState.POOL).annotate(  # for the partial index
        n=Count("annotations", filter=live),
        of_them=Count("annotations", filter=live & Q(annotations__annotator__in=people)),
    )
    most = project.learning.overlap + MOST_MORE_POOL
    return counted.filter(n__lt=most, of_them__lt=len(people)).order_by("pk")


def queued_again(project: Project, people: set[int]) -> dict[int, frozenset[int]]:
    """Images that stand in the queue, or on a screen, to be answered once more, with those of `people` and of all
    annotators who have not answered them. Managers need not be ones who answer."""
    ids = set(_places_again(project).order_by().values_list("image_id", flat=True))
    if not ids:
        return {}
    annotators = _members(project).filter(role=Role.ANNOTATOR).values_list("user_id", flat=True)
    people, answered = people | set(annotators), answered_by(ids)
    return {pk: left for pk in ids if (left := frozenset(people - answered[pk]))}


def _places_again(project: Project) -> QuerySet[Candidate]:
    here = Q(round=project.queue_round_id) | Q(leased_until__gt=clock.now())
    return Candidate.objects.filter(here, project=project, state=CandidateState.OPEN, reason=Reason.RELABEL)


def has_disputes(project: Project) -> bool:
    disputed = Image.objects.filter(project=project, is_holdout=True, state=ImageState.DISPUTED)
    return disputed.exclude(state=ImageState.POOL).exists()


def _askable(people: set[int], answered: set[int], most: int) -> frozenset[int]:
    return frozenset(people - answered) if len(answered) < most else frozenset()


def active_people(project: Project) -> set[int]:
    """Members who have answered lately, or have an image on the screen; all members, while nobody has."""
    members, now = set(_members(project).values_list("user_id", flat=True)), clock.now()
    recent = Annotation.objects.filter(project=project, created_at__gte=now - timedelta(days=ACTIVE_DAYS))
    there = Candidate.objects.filter(project=project, state=CandidateState.OPEN, leased_until__gt=now)
    people = recent.order_by().values_list("annotator_id", flat=True)
    return members.intersection(people.union(there.order_by().values_list("leased_to_id", flat=True))) or members


def _members(project: Project) -> QuerySet[Membership]:
    return Membership.objects.filter(project=project, deactivated_at__isnull=True)


def answered_by(image_ids: Iterable[int]) -> dict[int, set[int]]:
    """Who has a live answer on each of the images, skips included: nobody gets an image twice."""
    ids, found = sorted(image_ids), defaultdict[int, set[int]](set)
    for start in range(0, len(ids), LOOKUP):
        found |= _answered_on(ids[start : start + LOOKUP])
    return found


def _answered_on(images: Any) -> dict[int, set[int]]:
    """The same of ids, or of a statement for them. One statement."""
    found = defaultdict[int, set[int]](set)
    rows = Annotation.objects.filter(image__in=images, retracted_at__isnull=True).exclude(outcome=Outcome.UNDO)
    for image_id, person in rows.order_by().values_list("image_id", "annotator_id"):
        found[image_id].add(person)
    return found
