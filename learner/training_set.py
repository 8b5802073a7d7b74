"""What a round's model learns from: the answers, and labels that are passed on to other images, unless answers speak
against that.

Where groups hang together the graph passes them on; where they do so loosely, as of photographs, or answers show that
it misleads, a model of the images' own vectors does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from learner.config import Report, RoundRequest
from learner.pool import Pool

if TYPE_CHECKING:
    from learner.doubt import Trial
    from learner.graph.pool_graph import PoolGraph
    from learner.teachers import ByGraph, ByPool, Teacher

Integers = npt.NDArray[np.int64]


class TrainingSet(NamedTuple):
    """A request whose positions, labels and config are those to fit with, what people should know of it, and whether
    the graph has no part in it since it tells too little."""

    request: RoundRequest
    notes: tuple[str, ...]
    doubts_graph: bool


def training_set(request: RoundRequest, pool: Pool, report: Report) -> TrainingSet:
    """Add labels that are passed on. Steps stay those of the answers alone: the other labels are easy, and many.

    Where the graph has no part in it, the coordinates in it are left out of vectors of likeness. Where answers show
    that a model of the answers alone tells more (`learner.doubt`), nothing is passed on.
    """
    if request.graph is None:
        return TrainingSet(request, (), False)
    from learner.graph.pool_graph import PoolGraph

    report("fit", 0, 0)
    pool_graph = PoolGraph.load(request.graph)
    ignored = pool_graph.n_coordinates if request.chunks[0].row is not None else 0
    by_graph, by_pool = _teachers(request, pool_graph, pool, ignored, report)
    if len(pool.shape) != 1 or pool.shape[0] <= ignored:  # there are no vectors to try it against
        return _by_graph(request, by_graph)
    notes: list[str] = []
    if pool_graph.is_cohesive:
        trial = _try(by_graph, by_pool, request.config.seed)
        if trial is None or not trial.is_doubted:
            return _by_graph(request, by_graph)
        notes.append(
            f"images that look alike mislead: of {trial.n} answers that were kept back in turn they told "
            f"{trial.told_right}, what is seen of each image by itself {trial.vectors_right}"
        )
    without_graph = replace(request, config=replace(request.config, ignored=ignored))
    learned, note = _by_pool(without_graph, by_pool)
    return TrainingSet(learned, (*notes, note), True)


def _teachers(
    request: RoundRequest, pool_graph: PoolGraph, pool: Pool, ignored: int, report: Report
) -> tuple[ByGraph, ByPool]:
    from learner.graph.hypotheses import Answers
    from learner.teachers import ByGraph, ByPool

    positions, labels, config = request.train_positions, request.train_labels, request.config
    answers = Answers(positions, labels, config.n_classes, request.rejected)
    return (
        ByGraph(pool_graph.graph, answers, request.propagate_to, config.seed, report),
        ByPool(pool, ignored, answers, request.propagate_to, config.seed, report),
    )


def _by_graph(request: RoundRequest, teacher: ByGraph) -> TrainingSet:
    found = teacher.pass_on()
    notes = []
    if n := len(found.positions):
        images, look = ("image", "looks") if n == 1 else ("images", "look")
        notes.append(f"it learned from {n:,} {images} besides, that {look} like those with an answer")
    else:
        why = "images that look alike say too little about each other, or there are too many classes"
        notes.append(f"it learned from answers alone: {why}")
    if found.n_rejected:
        look, are = ("image looks", "it is") if found.n_rejected == 1 else ("images look", "they are")
        rejected = f"{len(request.rejected):,} that people rejected"
        notes.append(f"{found.n_rejected:,} {look} like the {rejected}: {are} asked about last")
    return TrainingSet(_with(request, found.positions, found.labels), tuple(notes), False)


def _by_pool(request: RoundRequest, teacher: ByPool) -> tuple[RoundRequest, str]:
    trial = _try(teacher, teacher, request.config.seed)
    if trial is not None and trial.is_doubted:
        return request, (
            f"it learned from answers alone: of {trial.n} answers that were kept back in turn, answers and pool "
            f"together told {trial.told_right}, answers alone {trial.vectors_right}"
        )
    found = teacher.pass_on()
    if not (n := len(found.positions)):
        why = "answers and pool together make no other image clear, or there are too many classes"
        return request, f"it learned from answers alone: {why}"
    images = "image" if n == 1 else "images"
    note = f"it learned from {n:,} {images} besides, whose class answers and pool together make clear"
    return _with(request, found.positions, found.labels), note


def _with(request: RoundRequest, positions: Integers, labels: Integers) -> RoundRequest:
    if not len(positions):
        return request
    steps = request.config.recipe.steps_for(len(request.train_labels))
    return replace(
        request,
        train_positions=np.concatenate([request.train_positions, positions]),
        train_labels=np.concatenate([request.train_labels, labels]),
        config=replace(request.config, recipe=replace(request.config.recipe, steps=steps)),
    )


def _try(teacher: Teacher, of_vectors: ByPool, seed: int) -> Trial | None:
    """Against a linear model of the images' own vectors, where there are enough answers to say."""
    from learner.doubt import put_to_the_test

    if not teacher.is_bearable:
        return None
    answers = teacher.answers
    return put_to_the_test(teacher.tell, answers.labels_A, of_vectors.vectors_of(answers.positions_A), seed=seed)
