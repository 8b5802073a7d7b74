"""How many images are where, and which may be asked about. Nothing here reads an ORM object an image.

What has left the pool and what is holdout stand in partial indexes; the rest is their complement.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from django.db.models import Count, Exists, Max, OuterRef, Q, QuerySet, Sum

from labeler.models import Annotation, Candidate, Chunk, Image, ImageState, Outcome, Project, Round
from labeler.models.images import CHUNK_SIZE

Positions = npt.NDArray[np.int64]


NEAR_THE_END = 500  # images
LOOKUP = 500  # positions a query
LEAST_HOLDOUT = 10  # answers on holdout images before any page shows an accuracy: fewer would say nothing


def says_something(metrics: Mapping[str, Any] | None) -> bool:
    """Whether what was measured, as `Round.metrics` has it, may be shown. The one rule for all pages."""
    return metrics is not None and int(metrics.get("n", 0)) >= LEAST_HOLDOUT


def shown_accuracy(metrics: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The accuracy as programs get it, wherever that is: `value`, `low` and `high` of the 95 % interval, `n` holdout
    images, and the `method` of the interval. None: it says too little to be shown."""
    stored = (metrics or {}).get("accuracy")
    if not isinstance(stored, dict) or not says_something(metrics):
        return None
    return {
        "value": stored["value"],
        "low": stored["low"],
        "high": stored["high"],
        "n": int(stored.get("n", (metrics or {})["n"])),
        "method": stored.get("method", "wilson"),
    }


def shown_offered(round_: Round | None) -> dict[str, Any] | None:
    """How right a round's model is by labels that came with the images, where that may be shown."""
    return round_.offered if round_ is not None and says_something(round_.offered) else None


@dataclass(frozen=True)
class PoolCounts:
    total: int
    holdout: int
    holdout_labelled: int
    holdout_left: int  # holdout images that are no longer waiting for an answer, labelled or not
    labelled: int  # not holdout
    left: int  # not holdout, no longer in the pool: labelled, disputed, set aside, bad
    holdout_disputed: int = 0
    holdout_set_aside: int = 0
    disputed: int = 0  # not holdout, as the next
    set_aside: int = 0

    @property
    def eligible(self) -> int:
        return self.total - self.holdout - self.left

    @property
    def holdout_waiting(self) -> int:
        return self.holdout - self.holdout_left


def pool_counts(project: Project) -> PoolCounts:
    """Three queries whose cost grows with the answers and the holdout, not with the pool."""
    images = Image.objects.filter(project=project).order_by()
    left = {True: 0, False: 0}
    labelled = {True: 0, False: 0}
    states: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    by_state = images.exclude(state=ImageState.POOL).values_list("is_holdout", "state").annotate(n=Count("id"))
    for is_holdout, state, n in by_state:
        left[is_holdout] += n
        states[is_holdout][state] += n
        if state == ImageState.LABELLED:
            labelled[is_holdout] += n
    return PoolCounts(
        total=total_images(project),
        holdout=images.filter(is_holdout=True).count(),
        holdout_labelled=labelled[True],
        holdout_left=left[True],
        labelled=labelled[False],
        left=left[False],
        holdout_disputed=states[True][ImageState.DISPUTED],
        holdout_set_aside=states[True][ImageState.SET_ASIDE],
        disputed=states[False][ImageState.DISPUTED],
        set_aside=states[False][ImageState.SET_ASIDE],
    )


def holdout_to_ask(counts: PoolCounts, target: int) -> int:
    """Holdout images that may be asked about: as many as its target lacks, and all that wait once no other image does.

    Else a project would end with images that nobody is ever asked about.
    """
    if counts.eligible <= 0:
        return counts.holdout_waiting
    return max(0, min(target - counts.holdout_labelled, counts.holdout_waiting))


def images_to_ask(counts: PoolCounts, target: int) -> int:
    """Images that wait for an answer and that somebody will be asked about; `target`: holdout answers wanted."""
    return counts.eligible + holdout_to_ask(counts, target)


def answers_to_ask(project: Project, counts: PoolCounts) -> int:
    """Answers that images still wait for, past those of people who are asked about disputed ones. Of many images, which
    take more than one answer each, as if none had any yet: exact, by one statement, where the end is near."""
    learning = project.learning
    holdout = holdout_to_ask(counts, learning.holdout_target)
    if learning.overlap == 1 or counts.eligible + holdout > NEAR_THE_END:
        return (counts.eligible + holdout) * learning.overlap
    counted = [Outcome.LABEL, Outcome.UNSURE, Outcome.BAD_IMAGE]
    live = Q(annotations__retracted_at__isnull=True, annotations__outcome__in=counted)
    images = Image.objects.filter(project=project, state=ImageState.POOL).order_by()
    answered = images.annotate(n=Count("annotations", filter=live)).values_list("is_holdout", "n")
    lacking = [(is_holdout, max(1, learning.overlap - n)) for is_holdout, n in answered]
    of_holdout = sorted(each for is_holdout, each in lacking if is_holdout)[:holdout]
    return sum(each for is_holdout, each in lacking if not is_holdout) + sum(of_holdout)


def labelled_images(project: Project, *, is_holdout: bool) -> QuerySet[Image]:
    """In no order, by the partial index: SQLite does not see by itself that what is labelled is not in the pool."""
    images = Image.objects.filter(project=project, state=ImageState.LABELLED, is_holdout=is_holdout)
    return images.exclude(state=ImageState.POOL).order_by()


def positions_since(project: Project, annotation_id: int) -> Positions:
    """Positions of images that have an answer, or lost one, since some answer; in ascending order, none twice."""
    since = Annotation.objects.filter(project=project, pk__gt=annotation_id).order_by()
    return np.unique(np.array(since.values_list("image__position", flat=True), np.int64))


def total_images(project: Project) -> int:
    return Chunk.objects.filter(project=project).aggregate(n=Sum("count"))["n"] or 0


def end_of_positions(project: Project) -> int:
    """One past the last position."""
    last = Chunk.objects.filter(project=project).aggregate(n=Max("number"))["n"]
    if last is None:
        return 0
    return int(last) * CHUNK_SIZE + Chunk.objects.filter(project=project, number=last).values_list("count")[0][0]


def waiting_positions(project: Project, *, is_holdout: bool, without: Iterable[int] = ()) -> Positions:
    """Sorted positions of all images that wait for an answer; a byte an image on the way, whatever the pool."""
    images = Image.objects.filter(project=project).order_by()
    end = end_of_positions(project)
    holdout = _mask(end, images.filter(is_holdout=True).values_list("position", flat=True).iterator(20_000))
    waiting = holdout if is_holdout else ~holdout
    left = images.filter(is_holdout=is_holdout).exclude(state=ImageState.POOL)
    waiting &= ~_mask(end, left.values_list("position", flat=True).iterator(20_000))
    waiting &= ~_mask(end, without)
    return np.flatnonzero(waiting).astype(np.int64)


def pending_positions(project: Project, held: Iterable[int]) -> Positions:
    """Sorted positions of images whose answers are on their way to the learner: of those `held` on somebody's screen
    what is not of the holdout, and images of the queue that have some answers and wait for others.
    """
    on_screens = sorted(held)
    found: list[int] = []
    images = Image.objects.filter(project=project, is_holdout=False).order_by()
    for start in range(0, len(on_screens), LOOKUP):
        found += images.filter(position__in=on_screens[start : start + LOOKUP]).values_list("position", flat=True)
    if project.learning.overlap > 1:
        live = Annotation.objects.filter(image=OuterRef("pk"), retracted_at__isnull=True, outcome=Outcome.LABEL)
        queued = Candidate.objects.filter(round=project.queue_round_id).order_by().values("image")
        waiting = images.filter(state=ImageState.POOL, pk__in=queued)
        found += waiting.filter(Exists(live)).values_list("position", flat=True)
    return np.unique(np.array(found, np.int64))


def rejected_positions(project: Project, *, without: Iterable[int]) -> Positions:
    """Sorted positions of what people found to be bad images; of the holdout none, and none that was read as labelled a
    moment ago: answers come in between the two statements."""
    images = Image.objects.filter(project=project, state=ImageState.BAD, is_holdout=False).order_by()
    left = images.exclude(state=ImageState.POOL)  # for the partial index, which SQLite does not see by itself
    found = np.fromiter(left.values_list("position", flat=True).iterator(20_000), np.int64)
    return np.setdiff1d(found, np.fromiter(without, np.int64))


def open_to_learning(project: Project, *, aside: Sequence[int]) -> Positions:
    """Sorted positions of all images that may be learned from, labelled or not: neither holdout nor `aside`."""
    images, end = Image.objects.filter(project=project).order_by(), end_of_positions(project)
    is_open = ~_mask(end, images.filter(is_holdout=True).values_list("position", flat=True).iterator(20_000))
    is_open &= ~_mask(end, (position for position in aside if position < end))
    return np.flatnonzero(is_open).astype(np.int64)


def aside_positions(project: Project) -> list[int]:
    """Sorted positions of what has neither a label nor waits for one: disputed, set aside, bad."""
    images = Image.objects.filter(project=project).exclude(state=ImageState.POOL).exclude(state=ImageState.LABELLED)
    return sorted(images.order_by().values_list("position", flat=True).iterator(20_000))


def _mask(end: int, positions: Iterable[int]) -> npt.NDArray[np.bool_]:
    mask = np.zeros(end, dtype=np.bool_)
    mask[np.fromiter(positions, dtype=np.int64)] = True
    return mask
