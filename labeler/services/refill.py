"""Nobody waits: a queue that has nothing for a person goes on with holdout images that others disagree about, then with
images drawn at random.

That is an empty one while a round runs, and one whose places are all on images that the person has answered and that
wait for others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from django.db import transaction
from django.db.models import Exists, Max, OuterRef, Q, QuerySet

from labeler import clock
from labeler.models import (
    Annotation,
    Candidate,
    CandidateState,
    GoldImage,
    Image,
    ImageState,
    Outcome,
    Project,
    Reason,
    Round,
    User,
)
from labeler.models.rounds import NOT_OF_THE_POOL, UNFINISHED
from labeler.selectors.disputes import holdout_disputes
from labeler.selectors.pool import pool_counts
from labeler.services.draw import Place, draw_kinds, draw_positions, holdout_wanted
from labeler.services.lease import lease_next
from labeler.services.publish import held_positions
from labeler.services.races import lock_queue, not_in_work

REFILL = 20


def lease_or_refill(*, project: Project, annotator: User, want: int) -> list[Candidate]:
    """As `lease_next`; when there is nothing, after a refill."""
    places = lease_next(project=project, annotator=annotator, want=want)
    if places or not refill_queue(project=project, annotator=annotator):
        return places
    return lease_next(project=project, annotator=annotator, want=want)


@transaction.atomic
def refill_queue(*, project: Project, annotator: User) -> int:
    """Add up to REFILL images to a queue that has none for this person: disputed ones of the holdout, else random ones.
    Returns how many.

    They are drawn alike from all that wait, with the probability written down, as the random share of a round is. An
    empty queue without a round on its way stays empty: the sweep makes the next one.
    """
    locked = Project.objects.select_related("learning").select_for_update(of=("self",), no_key=True).get(pk=project.pk)
    queue = locked.queue_round_id
    if queue is None or locked.paused_at is not None:
        return 0
    lock_queue(project.pk)
    places = Candidate.objects.filter(round_id=queue)
    free = places.filter(state=CandidateState.OPEN).exclude(leased_until__gt=clock.now())
    if _unanswered(free, annotator).exists():
        return 0  # somebody else was first
    last = places.aggregate(last=Max("rank"))["last"] or 0
    if disputed := _disputed(locked, places, annotator):
        return _add(locked, queue, [(rank, *each) for rank, each in enumerate(disputed, start=last + 1)])
    of_the_pool = free.exclude(reason__in=NOT_OF_THE_POOL)
    if not of_the_pool.exists() and not Round.objects.filter(project=locked, state__in=UNFINISHED).exists():
        return 0
    if not _has_more(locked, places):
        return 0
    drawn = _draw(locked, np.random.default_rng([queue, last]), set(places.values_list("image__position", flat=True)))
    images = Image.objects.filter(project=locked, position__in=[place.position for place in drawn]).order_by()
    ids = dict(images.values_list("position", "id"))
    slots = range(project.learning.overlap)
    ranked = enumerate(drawn, start=last + 1)
    _add(locked, queue, [(rank, ids[place.position], slot, place) for rank, place in ranked for slot in slots])
    return len(drawn)


def _add(project: Project, queue: int, rows: Sequence[tuple[int, int, int, Place]]) -> int:
    """Places by their ranks, images and slots."""
    Candidate.objects.bulk_create(
        Candidate(
            project=project,
            round_id=queue,
            image_id=image_id,
            rank=rank,
            slot=slot,
            reason=place.reason,
            selection_probability=place.selection_probability,
        )
        for rank, image_id, slot, place in rows
    )
    return len(rows)


def _unanswered(places: QuerySet[Candidate], annotator: User) -> QuerySet[Candidate]:
    """Those that a claim would give them, see services/lease.py."""
    own = Annotation.objects.filter(image=OuterRef("image"), annotator=annotator, retracted_at__isnull=True)
    waiting = places.filter(Q(image__state=ImageState.POOL) | Q(reason__in=NOT_OF_THE_POOL))
    own_gold = GoldImage.objects.filter(image=OuterRef("image"), created_by=annotator)
    waiting = waiting.exclude(Q(reason=Reason.GOLD) & Exists(own_gold))
    own = own.exclude(outcome=Outcome.UNDO)
    singly = own.filter(is_grid=False)
    return waiting.filter(~Exists(own) | (Q(reason=Reason.GRID_CHECK) & ~Exists(singly)))


def _disputed(project: Project, places: QuerySet[Candidate], annotator: User) -> list[tuple[int, int, Place]]:
    """Disputed holdout images that this person has not answered and nobody is asked about now, each with a free slot of
    the queue. Here and not only with the next round: where nothing else waits there is none."""
    found = holdout_disputes(project, beside=annotator).open_
    mine = {each.image_id: each.position for each in found if annotator.pk in each.askable}
    if not mine:
        return []
    open_ = Candidate.objects.filter(project=project, state=CandidateState.OPEN)
    asked = set(open_.values_list("image_id", flat=True))
    wanted = [pk for pk in mine if pk not in asked][:REFILL]
    slots = dict(places.filter(image__in=wanted).order_by().values_list("image_id").annotate(last=Max("slot")))
    return [(pk, slots.get(pk, -1) + 1, Place(mine[pk], Reason.RELABEL)) for pk in wanted]


def _has_more(project: Project, places: QuerySet[Candidate]) -> bool:
    """Whether images wait that are not in the queue: to look for them where none are would list the whole pool."""
    counts = pool_counts(project)
    queued = places.filter(image__state=ImageState.POOL).order_by().values("image").distinct().count()
    return counts.eligible + counts.holdout_waiting > queued


def _being_taken(project: Project) -> set[int]:
    """Positions of images of which somebody is just taking a place of an older queue, which they still saw."""
    older = Candidate.objects.filter(project=project, state=CandidateState.OPEN).exclude(round=project.queue_round_id)
    places = dict(older.values_list("pk", "image__position"))
    for pk in not_in_work(older).values_list("pk", flat=True):
        places.pop(pk, None)
    return set(places.values())


def _draw(project: Project, rng: np.random.Generator, queued: set[int]) -> list[Place]:
    """Random images, and those of the holdout in their share: who outruns the rounds goes on measuring, too."""
    held = held_positions(project) | _being_taken(project)
    counts, learning = pool_counts(project), project.learning
    eligible = max(0, counts.eligible - len(held))
    kinds = draw_kinds(
        rng,
        budget=REFILL,
        eligible=eligible,
        holdout=holdout_wanted(counts, learning.holdout_target, len(held)),
        holdout_share=learning.holdout_questions,
        random_share=1.0,
    )
    places: dict[str, deque[Place]] = {}
    for kind, waiting in ((Reason.HOLDOUT, counts.holdout_waiting), (Reason.RANDOM, counts.eligible)):
        positions = draw_positions(
            project=project,
            count=kinds.count(kind),
            rng=rng,
            is_holdout=kind == Reason.HOLDOUT,
            without=queued | held,
            waiting=waiting,
        )
        probability = min(1.0, len(positions) / max(waiting, 1))
        places[kind] = deque(Place(position, kind, selection_probability=probability) for position in positions)
    return [places[kind].popleft() for kind in kinds if places[kind]]
