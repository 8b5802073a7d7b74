"""Nobody waits for a round: a queue that is empty while one runs goes on with images drawn at random."""

from __future__ import annotations

from collections import deque

import numpy as np
from django.db import transaction
from django.db.models import Max

from labeler import clock
from labeler.models import Candidate, CandidateState, Image, Project, Reason, Round, User
from labeler.models.rounds import UNFINISHED
from labeler.selectors.pool import pool_counts
from labeler.services.draw import Place, draw_kinds, draw_positions, holdout_wanted
from labeler.services.lease import lease_next
from labeler.services.publish import held_positions

REFILL = 20


def lease_or_refill(*, project: Project, annotator: User, want: int) -> list[Candidate]:
    """As `lease_next`; when there is nothing and a round is on its way, after a refill."""
    places = lease_next(project=project, annotator=annotator, want=want)
    if places or not refill_queue(project=project):
        return places
    return lease_next(project=project, annotator=annotator, want=want)


@transaction.atomic
def refill_queue(*, project: Project) -> int:
    """Add up to REFILL random images to the queue, if it is empty and a round is unfinished. Returns how many.

    They are drawn alike from all that wait, with the probability written down, as the random share of a round is.
    """
    locked = Project.objects.select_related("learning").select_for_update(of=("self",), no_key=True).get(pk=project.pk)
    queue = locked.queue_round_id
    if queue is None or not Round.objects.filter(project=locked, state__in=UNFINISHED).exists():
        return 0
    places = Candidate.objects.filter(round_id=queue)
    free = places.filter(state=CandidateState.OPEN).exclude(leased_until__gt=clock.now())
    if free.exists():
        return 0  # somebody else was first, or others may still answer what this person may not
    last = places.aggregate(last=Max("rank"))["last"] or 0
    drawn = _draw(locked, np.random.default_rng([queue, last]), set(places.values_list("image__position", flat=True)))
    images = Image.objects.filter(project=locked, position__in=[place.position for place in drawn]).order_by()
    ids = dict(images.values_list("position", "id"))
    Candidate.objects.bulk_create(
        Candidate(
            project=locked,
            round_id=queue,
            image_id=ids[place.position],
            rank=last + 1 + number,
            slot=slot,
            reason=place.reason,
            selection_probability=place.selection_probability,
        )
        for number, place in enumerate(drawn)
        for slot in range(project.learning.overlap)
    )
    return len(drawn)


def _draw(project: Project, rng: np.random.Generator, queued: set[int]) -> list[Place]:
    """Random images, and those of the holdout in their share: who outruns the rounds goes on measuring, too."""
    held, counts, learning = held_positions(project), pool_counts(project), project.learning
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
