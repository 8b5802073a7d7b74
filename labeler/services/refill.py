"""Nobody waits: a queue that has nothing for a person goes on with holdout images that others disagree about, then with
images drawn at random, and at the end with other images that people disagree about.

That is an empty one while a round runs, and one whose places are all on images that the person has answered and that
wait for others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

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
    User,
)
from labeler.models.rounds import NOT_OF_THE_POOL, UNFINISHED
from labeler.selectors.disputes import holdout_disputes, pool_disputes
from labeler.selectors.pool import PoolCounts, holdout_to_ask, images_to_ask, pool_counts
from labeler.services.draw import Place, draw_kinds, draw_positions, left_to_draw
from labeler.services.lease import lease_next
from labeler.services.publish import held_positions
from labeler.services.questions import answers_on, lacking_answers
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
    """Add up to REFILL images to a queue that has none for this person: disputed ones of the holdout, else random ones,
    else, where none is left for them, other disputed ones as far as the settings ask again. Returns how many.

    Random ones are drawn alike from all that wait, with the probability written down, as the random share of a round
    is. An empty queue without a round on its way stays empty while images wait: the sweep makes the next one.
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
    disputed = holdout_disputes(locked, beside=[annotator.pk]).open_
    mine = {each.image_id: each.position for each in disputed if annotator.pk in each.askable}
    if added := _ask_again(locked, places, mine, last):
        return added
    counts = pool_counts(locked)
    is_left = images_to_ask(counts, locked.learning.holdout_target) > 0
    of_the_pool = free.exclude(reason__in=NOT_OF_THE_POOL)
    if is_left and not of_the_pool.exists() and not locked.rounds.filter(state__in=UNFINISHED).exists():
        return 0
    if is_left and _has_more(counts, places):
        return _add_drawn(locked, places, last)
    others = dict(pool_disputes(locked, {annotator.pk}).values_list("pk", "position"))
    return _ask_again(locked, places, others, last)


def _add_drawn(project: Project, places: QuerySet[Candidate], last: int) -> int:
    seed = [project.queue_round_id or 0, last]
    drawn = _draw(project, np.random.default_rng(seed), set(places.values_list("image__position", flat=True)))
    images = Image.objects.filter(project=project, position__in=[place.position for place in drawn]).order_by()
    ids = dict(images.values_list("position", "id"))
    overlap = project.learning.overlap
    answered = answers_on(ids.values()) if overlap > 1 else {}
    rows = []
    for rank, place in enumerate(drawn, start=last + 1):
        pk = ids[place.position]
        rows += [(rank, pk, slot, place) for slot in range(lacking_answers(overlap, answered.get(pk, 0)))]
    _add(project, rows)
    return len(drawn)


def _add(project: Project, rows: Sequence[tuple[int, int, int, Place]]) -> int:
    """Places by their ranks, images and slots."""
    queue = project.queue_round_id
    assert queue is not None
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


def _ask_again(project: Project, places: QuerySet[Candidate], mine: Mapping[int, int], last: int) -> int:
    """A place for each of these images (with their positions) that nobody is asked about now, in a free slot of the
    queue. Here and not only with the next round: where nothing else waits there is none."""
    if not mine:
        return 0
    open_ = Candidate.objects.filter(project=project, state=CandidateState.OPEN)
    asked = set(open_.values_list("image_id", flat=True))
    wanted = [pk for pk in mine if pk not in asked][:REFILL]
    slots = dict(places.filter(image__in=wanted).order_by().values_list("image_id").annotate(last=Max("slot")))
    return _add(
        project,
        [
            (rank, pk, slots.get(pk, -1) + 1, Place(mine[pk], Reason.RELABEL))
            for rank, pk in enumerate(wanted, start=last + 1)
        ],
    )


def _has_more(counts: PoolCounts, places: QuerySet[Candidate]) -> bool:
    """Whether images wait that are not in the queue: to look for them where none are would list the whole pool."""
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
    eligible, of_holdout = left_to_draw(project, counts, held)
    kinds = draw_kinds(
        rng,
        budget=REFILL,
        eligible=eligible,
        holdout=min(holdout_to_ask(counts, learning.holdout_target), of_holdout),
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
