"""Images that are asked again, because nobody knows any more what their answers say or a manager wants it: before all
that the queue holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from django.db.models import Count, Max, Min, Q

from labeler.models import Candidate, CandidateState, Image, ImageState, Outcome, Project, Reason
from labeler.services.draw import LOOKUP
from labeler.services.races import lock_queue, not_in_work


def ask_again(
    *, project: Project, image_ids: Sequence[int], details: Mapping[str, object], reason: str = Reason.CLASS_GONE
) -> int:
    """Give the queue the places that those images lack, in the caller's transaction, which has locked the images.

    Only those of the pool; all of them, the holdout too, for its draw was random when they were asked first. Without a
    queue nothing is to be done: the first one has them. Publishing carries over what is not answered.
    """
    lock_queue(project.pk)
    queue = Project.objects.values_list("queue_round_id", flat=True).get(pk=project.pk)
    if queue is None:
        return 0
    missing = _missing(project, image_ids, queue)
    lowest = Candidate.objects.filter(round=queue).aggregate(rank=Min("rank"))["rank"]
    first = min(1, 1 if lowest is None else lowest) - len(missing)
    rows = (
        Candidate(
            project=project, round_id=queue, image_id=image_id, rank=rank, slot=slot, reason=reason,
            details=dict(details),
        )
        for rank, (image_id, slots) in enumerate(missing.items(), start=first)
        for slot in slots
    )  # fmt: skip
    Candidate.objects.bulk_create(rows, batch_size=500)
    return len(missing)


def answers_on(image_ids: Iterable[int]) -> dict[int, int]:
    """How many answers that count each of these images has, if it has any."""
    counted = [Outcome.LABEL, Outcome.UNSURE, Outcome.BAD_IMAGE]
    live = Q(annotations__retracted_at__isnull=True, annotations__outcome__in=counted)
    ids = sorted(image_ids)
    found: dict[int, int] = {}
    for start in range(0, len(ids), LOOKUP):
        rows = Image.objects.filter(pk__in=ids[start : start + LOOKUP]).annotate(n=Count("annotations", filter=live))
        found.update(rows.filter(n__gt=0).order_by().values_list("pk", "n"))
    return found


def lacking_answers(overlap: int, answered: int) -> int:
    """Of an image that waits: one that a manager has put back needs one more, however many it has."""
    return max(1, overlap - answered)


def _missing(project: Project, image_ids: Sequence[int], queue: int) -> dict[int, range]:
    """For each image the slots of the places that it still needs, in the order of the ids."""
    found = {}
    for start in range(0, len(image_ids), LOOKUP):
        images = Image.objects.filter(pk__in=image_ids[start : start + LOOKUP], state=ImageState.POOL).order_by("pk")
        waiting = list(images.values_list("pk", flat=True))
        answered = answers_on(waiting)
        places = Candidate.objects.filter(project=project, image__in=waiting).order_by()
        is_open = Q(state=CandidateState.OPEN)
        open_ = dict(places.values_list("image").annotate(n=Count("pk", filter=is_open)))
        last = dict(places.filter(round=queue).values_list("image").annotate(last=Max("slot")))
        for pk in waiting:
            lacking = lacking_answers(project.learning.overlap, answered.get(pk, 0)) - open_.get(pk, 0)
            if lacking > 0:
                first = last.get(pk, -1) + 1
                found[pk] = range(first, first + lacking)
    return found


def close_questions(*, image_ids: Sequence[int]) -> int:
    """Nobody is asked any more about what was to be asked again, but who has it on the screen: about the image, for
    the classes that the question named are gone."""
    places = Candidate.objects.filter(image__in=image_ids, reason=Reason.CLASS_GONE, state=CandidateState.OPEN)
    closed = not_in_work(places.filter(leased_to__isnull=True)).update(state=CandidateState.SUPERSEDED)
    places.update(details={})
    return closed


def wait_again(*, image_ids: Sequence[int]) -> None:
    """What one more person was to be asked about beside the pool waits in it again: its places are as those that a
    manager picks, or no page would count them."""
    places = Candidate.objects.filter(image__in=image_ids, reason=Reason.RELABEL, state=CandidateState.OPEN)
    places.update(reason=Reason.PICKED)
