"""Which images stand in a round's queue, and in what order: seeded draws, each with its selection probability."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from labeler import storage
from labeler.models import Image, ImageState, PoolGraph, Project, Reason, Round
from labeler.selectors.alike import group_details, hold_any
from labeler.selectors.graphs import CannotRead, first_questions
from labeler.selectors.pool import (
    PoolCounts,
    end_of_positions,
    holdout_to_ask,
    labelled_images,
    pending_positions,
    pool_counts,
    waiting_positions,
)

ALONE = 10  # answers before the holdout has its turn: these teach most, and measure nothing for long
LOOKUP = 500  # positions a query
TRIES = 8
SPARSE = 0.02  # fewer positions than this share wait: list them


@dataclass(frozen=True)
class Place:
    """An image on its way into the queue. `remaining` answers are still to be given."""

    position: int
    reason: str
    selection_probability: float | None = None
    score: float | None = None
    percentile: float | None = None
    details: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Draw:
    """What chance decided for a round before its scores were looked at."""

    kinds: tuple[str, ...]  # a reason for each rank; "acquired" is the round's own main kind
    random: tuple[Place, ...]
    holdout: tuple[Place, ...]

    @property
    def to_acquire(self) -> int:
        return self.kinds.count(Reason.ACQUIRED)


def draw_queue(*, round_: Round, held: Iterable[int] = ()) -> Draw:
    """Draw the kind of each rank, and the random and the holdout images. `held` positions are out of the question.

    The same round (its seed, its config) and the same images give the same draw.
    """
    config, without, counts = round_.config, set(held), pool_counts(round_.project)
    eligible, of_holdout = left_to_draw(round_.project, counts, without)
    kinds = draw_kinds(
        np.random.default_rng([round_.seed, 0]),
        budget=config["budget"],
        eligible=eligible,
        holdout=min(holdout_to_ask(counts, config["holdout_target"]), of_holdout),
        holdout_share=config["holdout_questions"],
        random_share=config["random_share"],
        later=max(0, ALONE - counts.labelled - counts.holdout_labelled),
    )
    random, holdout = (
        tuple(draw_places(round_=round_, reason=kind, count=kinds.count(kind), without=without, counts=counts))
        for kind in (Reason.RANDOM, Reason.HOLDOUT)
    )
    return Draw(tuple(kinds), random, holdout)


def left_to_draw(project: Project, counts: PoolCounts, held: set[int]) -> tuple[int, int]:
    """Images that wait and are not `held`, by position: of the pool, and of the holdout."""
    waiting = Image.objects.filter(project=project, position__in=held, state=ImageState.POOL).order_by()
    by_kind = Counter(waiting.values_list("is_holdout", flat=True))
    return max(0, counts.eligible - by_kind[False]), max(0, counts.holdout_waiting - by_kind[True])


def draw_kinds(
    rng: np.random.Generator,
    *,
    budget: int,
    eligible: int,
    holdout: int,
    holdout_share: float,
    random_share: float,
    later: int = 0,
) -> list[str]:
    """Rank by rank: holdout in its share while any is wanted, after `later` ranks; of the others random in its own
    share, else acquired.

    A share is spread evenly from a beginning drawn at random: each rank is as likely as any other, and people who give
    few answers give the holdout its share and no more. Drawn rank by rank, eight of somebody's first ten went there.
    """
    is_holdout, is_random = _evenly(rng, budget, holdout_share), _evenly(rng, budget, random_share)
    kinds: list[str] = []
    others = 0
    for rank in range(budget):
        if holdout > 0 and (eligible <= 0 or (rank >= later and is_holdout[rank - later])):
            kinds.append(Reason.HOLDOUT)
            holdout -= 1
        elif eligible > 0:
            kinds.append(Reason.RANDOM if is_random[others] else Reason.ACQUIRED)
            others += 1
            eligible -= 1
    return kinds


def _evenly(rng: np.random.Generator, n: int, share: float) -> list[bool]:
    steps = np.floor(rng.random() + share * np.arange(n + 1))
    return [share >= 1 or bool(step) for step in np.diff(steps)]


def draw_places(
    *, round_: Round, reason: str, count: int, without: set[int], counts: PoolCounts | None = None
) -> list[Place]:
    """`count` waiting images at random, each as likely as any other; fewer if there are not so many."""
    counts = counts or pool_counts(round_.project)
    is_holdout = reason == Reason.HOLDOUT
    waiting = counts.holdout_waiting if is_holdout else counts.eligible
    positions = draw_positions(
        project=round_.project,
        count=count,
        rng=np.random.default_rng([round_.seed, list(Reason).index(Reason(reason)) + 1]),
        is_holdout=is_holdout,
        without=without,
        waiting=waiting,
    )
    probability = min(1.0, len(positions) / waiting) if waiting else None
    return [Place(position, reason, selection_probability=probability) for position in positions]


def draw_groups(
    *, project: Project, graph: PoolGraph, count: int, without: set[int], held: Collection[int] = ()
) -> list[Place]:
    """One image of each group that looks alike, as the graph has them in order; fewer if it has not so many. None of a
    group that has a label, or an image that is `held` on a screen. Where groups hang together loosely, images that
    cover the pool.

    The selection probability is that with which the image was drawn from those that are typical of its group, or among
    those that were chosen from. Raises CannotRead.
    """
    questions = [each for each in first_questions(graph) if each.position not in without]
    waiting = set(_waiting_among(project, [each.position for each in questions], is_holdout=False))
    if not graph.is_cohesive:
        return [
            Place(each.position, Reason.COVERS, each.probability, score=each.gain, details={"stands": each.size})
            for each in questions
            if each.position in waiting
        ][:count]
    labelled = labelled_images(project, is_holdout=False).values_list("position", flat=True)[:LOOKUP]
    known = {*labelled, *pending_positions(project, held).tolist()}
    try:
        with storage.local_path(graph.file) as path:
            open_ = [each for each in questions if each.position in waiting]
            is_known = hold_any(path, [(each.position, each.size) for each in open_], known)
            asked = [each for each, is_so in zip(open_, is_known, strict=True) if not is_so][:count]
            details = group_details(project, path, [(each.position, each.size) for each in asked])
    except OSError as error:
        raise CannotRead("the file of the graph cannot be read") from error
    return [
        Place(each.position, Reason.GROUP, each.probability, score=each.gain, details=group)
        for each, group in zip(asked, details, strict=True)
    ]


def draw_positions(
    *, project: Project, count: int, rng: np.random.Generator, is_holdout: bool, without: set[int], waiting: int
) -> list[int]:
    """Positions of waiting images, uniformly at random without replacement.

    Positions are dense, so they are drawn as numbers and looked up by index, and those that do not wait are thrown
    away: the cost does not grow with the pool. Where most would be thrown away, the waiting ones are listed instead.
    """
    end, seen = end_of_positions(project), set(without)
    found: list[int] = []
    if count <= 0 or end == 0:
        return []
    density = waiting / end
    if density > SPARSE and count < waiting / 4:
        for _ in range(TRIES):
            tries = min(end, int((count - len(found)) / density * 1.3) + 16)
            drawn = [p for p in dict.fromkeys(rng.integers(0, end, tries).tolist()) if p not in seen]
            seen.update(drawn)
            found += _waiting_among(project, drawn, is_holdout)
            if len(found) >= count:
                return found[:count]
    listed = waiting_positions(project, is_holdout=is_holdout, without={*without, *found})
    more: list[int] = rng.permutation(listed)[: count - len(found)].tolist()
    return found + more


def mix(*, draw: Draw, main: Sequence[Place]) -> list[Place]:
    """The places in queue order. Where a kind has run out its ranks close up; what is left of `main` goes last."""
    by_kind = {
        Reason.RANDOM: deque(draw.random),
        Reason.HOLDOUT: deque(draw.holdout),
        Reason.ACQUIRED: deque(main),
    }
    queue = [by_kind[Reason(kind)].popleft() for kind in draw.kinds if by_kind[Reason(kind)]]
    return queue + list(by_kind[Reason.ACQUIRED])


def _waiting_among(project: Project, positions: list[int], is_holdout: bool) -> list[int]:
    """Those of `positions` that wait, in the order given."""
    waiting: set[int] = set()
    for start in range(0, len(positions), LOOKUP):
        images = Image.objects.filter(
            project=project,
            position__in=positions[start : start + LOOKUP],
            is_holdout=is_holdout,
            state=ImageState.POOL,
        )
        waiting.update(images.order_by().values_list("position", flat=True))
    return [position for position in positions if position in waiting]
