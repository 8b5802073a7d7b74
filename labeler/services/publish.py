"""Publishing a round: its places replace what is unleased of the queue, in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from labeler import clock
from labeler.models import (
    Annotation,
    Candidate,
    CandidateState,
    Image,
    ImageState,
    Project,
    Reason,
    Round,
)
from labeler.models.rounds import NOT_OF_THE_POOL
from labeler.services import notices
from labeler.services.charge import Ruling, check_charge, take_charge, takes_over
from labeler.services.claims import mark_done
from labeler.services.draw import LOOKUP, Draw, Place, mix
from labeler.services.extra_places import Found, disputes_first, disputes_last, mixed_in
from labeler.services.questions import answers_on, lacking_answers
from labeler.services.races import lock_queue, not_in_work


def held_positions(project: Project) -> set[int]:
    """Positions of images that somebody has on the screen now."""
    held = _held(project).values_list("image__position", flat=True)
    return set(held)


@transaction.atomic
def publish_round(
    *,
    round_: Round,
    draw: Draw,
    main: Sequence[Place],
    metrics: dict[str, Any],
    ruling: Ruling | None = None,
    again: Sequence[Place] = (),
) -> int:
    """Finish the round and make it the queue. Returns the number of images in it; raises RoundLost and ChargeMoved.

    1. The round is done, on the condition that it is still this worker's. An accepted model takes charge, on the
       condition that the one is in charge that it was compared with.
    2. Open places of older rounds that nobody holds or is just taking are superseded; the others stay until answered or
       expired.
    3. What a manager picked comes first, then images that have some but not enough answers, with those they still need.
    4. The rest is mixed as drawn. Images that were answered, set aside or taken since are left out.
    5. Gold images, and those that are asked about `again`, are mixed in anywhere. Holdout images that people disagree
       about come before all else; of others as many come last as questions are wanting to the budget.
    6. The queue moves to this round.
    """
    project = _locked(round_.project_id)
    if ruling is not None:
        check_charge(project, ruling.seen)
        metrics = {**metrics, "changes": list(ruling.changes)} if ruling.changes else metrics
    mark_done(round_=round_, metrics=metrics, **(ruling.fields if ruling is not None else {}))
    if ruling is not None and takes_over(ruling):
        take_charge(project=project, round_=round_)
    if ruling is not None:
        notices.note_published(project=project, round_=round_, standing=ruling.standing)
    return _publish(project, round_, draw, main, again)


@transaction.atomic
def publish_cold(*, round_: Round, draw: Draw, main: Sequence[Place]) -> int:
    """As `publish_round`, for a round without a model, which is made and done in the caller's transaction."""
    return _publish(_locked(round_.project_id), round_, draw, main)


def _locked(project_id: int) -> Project:
    """Against another publication; not against answers, whose foreign keys only need the project to stay."""
    locked = Project.objects.select_for_update(of=("self",), no_key=True)
    return locked.select_related("learning", "queue_round").get(pk=project_id)


def _publish(project: Project, round_: Round, draw: Draw, main: Sequence[Place], again: Sequence[Place] = ()) -> int:
    lock_queue(project.pk)
    overlap = project.learning.overlap
    carried = _carried_picks(project, overlap)
    picked = {found.image_id for found in carried}
    if overlap > 1:
        carried += [found for found in _carried_over(project, overlap) if found.image_id not in picked]
    supersede_places(project, without=round_)
    waiting = _find(project, mix(draw=draw, main=main), overlap)
    # Read last: an undo that puts an image back also leases it. What is open in older rounds still is on a screen, or
    # passed over just now because somebody is taking it; a second place would give its image to one person too many.
    older = Candidate.objects.filter(project=project, state=CandidateState.OPEN).exclude(round=round_)
    taken = set(older.values_list("image_id", flat=True))
    carried = [found for found in carried if found.image_id not in taken]
    taken |= {found.image_id for found in carried}
    fresh = [found for found in waiting if found.image_id not in taken]
    disputes = disputes_first(project=project, taken=taken)
    taken |= {found.image_id for found in disputes}
    queue = disputes + mixed_in(project=project, round_=round_, queue=carried + fresh, again=again, taken=taken)
    room = project.learning.budget - len({found.image_id for found in queue})
    taken |= {found.image_id for found in queue}
    queue += disputes_last(project=project, room=room, taken=taken)
    Candidate.objects.bulk_create(_candidates(round_, queue), batch_size=500)
    Project.objects.filter(pk=project.pk).update(queue_round=round_)
    return len(queue)


def supersede_places(project: Project, *, without: Round) -> int:
    unheld = Q(leased_to__isnull=True) | Q(leased_until__isnull=True) | Q(leased_until__lte=clock.now())
    old = Candidate.objects.filter(unheld, project=project, state=CandidateState.OPEN).exclude(round=without)
    return not_in_work(old).update(state=CandidateState.SUPERSEDED, leased_to=None, leased_at=None, leased_until=None)


def _held(project: Project) -> QuerySet[Candidate]:
    held = Candidate.objects.filter(project=project, state=CandidateState.OPEN, leased_to__isnull=False)
    return held.filter(leased_until__gt=clock.now())


def _candidates(round_: Round, queue: Sequence[Found]) -> Iterable[Candidate]:
    for rank, found in enumerate(queue, start=1):
        for slot in range(found.first_slot, found.first_slot + found.slots):
            yield Candidate(
                project_id=round_.project_id,
                round=round_,
                image_id=found.image_id,
                rank=rank,
                slot=slot,
                reason=found.place.reason,
                score=found.place.score,
                percentile=found.place.percentile,
                selection_probability=found.place.selection_probability,
                details=found.place.details,
            )


def _find(project: Project, places: Sequence[Place], overlap: int) -> list[Found]:
    """The images of those places that are still in the pool, in the order given, each once."""
    images: dict[int, tuple[int, bool]] = {}
    for start in range(0, len(places), LOOKUP):
        positions = [place.position for place in places[start : start + LOOKUP]]
        rows = Image.objects.filter(project=project, position__in=positions, state=ImageState.POOL)
        for pk, position, is_holdout in rows.order_by().values_list("id", "position", "is_holdout"):
            images[position] = (pk, is_holdout)
    answered = answers_on(pk for pk, _ in images.values()) if overlap > 1 else {}
    found = []
    for place in places:
        image_id, is_holdout = images.pop(place.position, (None, False))
        if image_id is not None and is_holdout == (place.reason == Reason.HOLDOUT):
            found.append(Found(place, image_id, lacking_answers(overlap, answered.get(image_id, 0))))
    return found


def _carried_over(project: Project, overlap: int) -> list[Found]:
    """Images of the queue (or answered since it was made) that have some answers and need more, oldest rank first.

    What is carried over keeps the reason, score and probability of the round that asked first.
    """
    since = project.queue_round.last_annotation_id if project.queue_round else 0
    in_queue = Candidate.objects.filter(round=project.queue_round_id).order_by().values_list("image_id", flat=True)
    recent = Annotation.objects.filter(project=project, id__gt=since).order_by().values_list("image_id", flat=True)
    slots = _missing_answers({*in_queue, *recent}, overlap)
    found: dict[int, Found] = {}
    for candidate in _newest_candidates(slots):
        place = Place(
            position=candidate.image.position,
            # What was gold and is no more waits for answers like any other: its manager wants it asked.
            reason=Reason.PICKED if candidate.reason in NOT_OF_THE_POOL else candidate.reason,
            selection_probability=candidate.selection_probability,
            score=candidate.score,
            percentile=candidate.percentile,
            details=candidate.details,
        )
        found.setdefault(candidate.image_id, Found(place, candidate.image_id, slots[candidate.image_id]))
    return list(found.values())


def _carried_picks(project: Project, overlap: int) -> list[Found]:
    """What a manager picked or had asked again, and nobody has answered or holds, in its order: a new round does not
    undo it."""
    kinds = [Reason.PICKED, Reason.CLASS_GONE]
    open_ = Candidate.objects.filter(round=project.queue_round_id, reason__in=kinds, state=CandidateState.OPEN)
    found: dict[int, Found] = {}
    for candidate in open_.filter(image__state=ImageState.POOL).select_related("image").order_by("rank", "slot"):
        place = Place(candidate.image.position, candidate.reason, details=candidate.details)
        slots = found[candidate.image_id].slots + 1 if candidate.image_id in found else 1
        found[candidate.image_id] = Found(place, candidate.image_id, min(slots, overlap))
    return list(found.values())


def _missing_answers(image_ids: Iterable[int], overlap: int) -> dict[int, int]:
    """Of those images the ones in the pool that have a first answer, and how many more each needs."""
    ids = sorted(image_ids)
    waiting: set[int] = set()
    for start in range(0, len(ids), LOOKUP):
        images = Image.objects.filter(pk__in=ids[start : start + LOOKUP], state=ImageState.POOL)
        waiting.update(images.order_by().values_list("pk", flat=True))
    return {pk: overlap - n for pk, n in answers_on(waiting).items() if n < overlap}


def _newest_candidates(image_ids: Iterable[int]) -> Iterable[Candidate]:
    ids = list(image_ids)
    rows: list[Candidate] = []
    for start in range(0, len(ids), LOOKUP):
        rows += Candidate.objects.filter(image_id__in=ids[start : start + LOOKUP]).select_related("image")
    return sorted(rows, key=lambda row: (-row.round_id, row.rank))
