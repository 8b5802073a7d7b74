"""What a round's model learns from: the answers, and the labels that the graph passes on, unless answers speak against
the graph."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from learner.config import Report, RoundRequest
from learner.pool import Pool

if TYPE_CHECKING:
    from learner.graph.doubt import Trial
    from learner.graph.hypotheses import Answers
    from learner.graph.pool_graph import PoolGraph


class TrainingSet(NamedTuple):
    """A request whose positions, labels and config are those to fit with, what people should know of it, and whether
    the graph is doubted."""

    request: RoundRequest
    notes: tuple[str, ...]
    doubts_graph: bool


def training_set(request: RoundRequest, pool: Pool, report: Report) -> TrainingSet:
    """Add what the graph passes on. Steps stay those of the answers alone: the other labels are easy, and many.

    Where answers show that vectors tell more by themselves (`learner.graph.doubt`), nothing is passed on, and of
    vectors of likeness the coordinates in the graph are left out.
    """
    if request.graph is None:
        return TrainingSet(request, (), False)
    from learner.graph.hypotheses import Answers
    from learner.graph.pool_graph import PoolGraph
    from learner.graph.propagation import propagate

    config, positions, labels = request.config, request.train_positions, request.train_labels
    report("fit", 0, 0)
    pool_graph = PoolGraph.load(request.graph)
    answers = Answers(positions, labels, config.n_classes, request.rejected)
    is_of_likeness = request.chunks[0].row is not None
    ignored = pool_graph.n_coordinates if is_of_likeness else 0
    trial = _try(pool_graph, answers, pool, ignored, config.seed, report)
    if trial is not None and trial.is_doubted:
        note = (
            f"it learned from answers alone: of {trial.n} answers that were kept back in turn, images that look alike "
            f"told {trial.graph_right}, what is seen of each image by itself {trial.vectors_right}"
        )
        return TrainingSet(replace(request, config=replace(config, ignored=ignored)), (note,), True)
    found = propagate(pool_graph.graph, answers, request.propagate_to, seed=config.seed, report=report)
    notes = _on_rejected(len(request.rejected), found.n_rejected)
    if not len(found.positions):
        why = "images that look alike say too little about each other, or there are too many classes"
        return TrainingSet(request, (f"it learned from answers alone: {why}", *notes), False)
    learned = replace(
        request,
        train_positions=np.concatenate([positions, found.positions]),
        train_labels=np.concatenate([labels, found.labels]),
        config=replace(config, recipe=replace(config.recipe, steps=config.recipe.steps_for(len(labels)))),
    )
    images, look = ("image", "looks") if len(found.positions) == 1 else ("images", "look")
    note = f"it learned from {len(found.positions):,} {images} besides, that {look} like those with an answer"
    return TrainingSet(learned, (note, *notes), False)


def _on_rejected(n_rejected: int, n_alike: int) -> tuple[str, ...]:
    if not n_alike:
        return ()
    look, are = ("image looks", "it is") if n_alike == 1 else ("images look", "they are")
    return (f"{n_alike:,} {look} like the {n_rejected:,} that people rejected: {are} asked about last",)


def _try(pool_graph: PoolGraph, answers: Answers, pool: Pool, ignored: int, seed: int, report: Report) -> Trial | None:
    """None where there is nothing to compare with: pixels are no vectors that a linear model could learn from."""
    from learner.graph.doubt import put_to_the_test
    from learner.graph.model import is_bearable

    graph, is_cohesive = pool_graph.graph, pool_graph.is_cohesive
    known = answers.within(len(graph))
    if len(pool.shape) != 1 or pool.shape[0] <= ignored or not is_bearable(graph, known):
        return None
    order = np.argsort(known.positions_A)
    vectors_A_D = np.empty((len(order), pool.shape[0] - ignored), np.float32)
    vectors_A_D[order] = pool.inputs(known.positions_A[order])[:, ignored:]
    return put_to_the_test(graph, known, vectors_A_D, is_presumed=is_cohesive, seed=seed, report=report)
