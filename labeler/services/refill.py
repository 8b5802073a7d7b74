"""Nobody waits for a round: a queue that is empty while one runs goes on with images drawn at random."""

from __future__ import annotations

import numpy as np
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from labeler.models import Candidate, CandidateState, Image, Project, Reason, Round, User
from labeler.models.rounds import UNFINISHED
from labeler.selectors.pool import pool_counts
from labeler.services.draw import draw_positions
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
    locked = Project.objects.select_for_update(of=("self",)).get(pk=project.pk)
    queue = locked.queue_round_id
    if queue is None or not Round.objects.filter(project=locked, state__in=UNFINISHED).exists():
        return 0
    places = Candidate.objects.filter(round_id=queue)
    free = places.filter(state=CandidateState.OPEN).exclude(leased_until__gt=timezone.now())
    if free.exists():
        return 0  # somebody else was first, or others may still answer what this person may not
    without = set(places.values_list("image__position", flat=True)) | held_positions(locked)
    waiting = max(0, pool_counts(locked).eligible)
    last = places.aggregate(last=Max("rank"))["last"] or 0
    rng = np.random.default_rng([queue, last])
    positions = draw_positions(
        project=locked, count=REFILL, rng=rng, is_holdout=False, without=without, waiting=waiting
    )
    images = Image.objects.filter(project=locked, position__in=positions).order_by()
    ids = dict(images.values_list("position", "id"))
    Candidate.objects.bulk_create(
        Candidate(
            project=locked,
            round_id=queue,
            image_id=ids[position],
            rank=last + 1 + number,
            slot=slot,
            reason=Reason.RANDOM,
            selection_probability=min(1.0, len(positions) / max(waiting, 1)),
        )
        for number, position in enumerate(positions)
        for slot in range(project.learning.overlap)
    )
    return len(positions)
