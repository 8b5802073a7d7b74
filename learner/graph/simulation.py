"""The loop on a graph with known labels, for benchmarks: how right the model is after so many answers."""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from learner.errors import LabelError
from learner.graph.hypotheses import Answers
from learner.graph.model import Graph, inductive, predict
from learner.graph.neighbours import Floats
from learner.graph.strategy import ask
from learner.seeds import derive

Integers = npt.NDArray[np.int64]
ORDERS = ("gain", "random")


@dataclass(frozen=True)
class Task:
    """A pool whose labels are known, and images outside it.

    Args:
        graph: Of the pool, N images.
        truth_N: int64, 0 to C - 1, or C of an image of no class, which people reject.
        n_classes: C.
        index_M_k: int64, the neighbours in the pool of each image outside, the nearest first.
        squares_M_k: float32, their squared distances.
        truth_M: int64, classes of the images outside. They are only measured on.
    """

    graph: Graph
    truth_N: Integers
    n_classes: int
    index_M_k: Integers
    squares_M_k: Floats
    truth_M: Integers


def learning_curve(
    task: Task, budgets: Sequence[int], *, order: str = "gain", batch: int = 1, error: float = 0.0,
    by_class: bool = False, seed: int = 0,
) -> dict[int, float]:  # fmt: skip
    """Ask, answer and learn until the last budget.

    Args:
        task: What to learn.
        budgets: After how many answers to measure, ascending.
        order: See `ORDERS`: the images that the strategy asks about, or images drawn uniformly.
        batch: Questions between two fits. Random ones need a fit only where it is measured.
        error: The chance of an answer to be another class, drawn uniformly. Images of no class are always known.
        by_class: Whether to give the mean of the classes' shares in place of the share of all.
        seed: Of questions and errors.

    Returns:
        The share of images outside the pool that are right, by budget. Answers to all budgets are those of one run.

    Raises:
        LabelError: If the order is not known, or the pool has fewer images than the last budget.
    """
    if order not in ORDERS:
        raise LabelError(f"no order {order!r}; known: {', '.join(ORDERS)}")
    n = len(task.graph)
    if budgets[-1] > n:
        raise LabelError(f"{budgets[-1]} answers of a pool of {n} images")
    said_N = _answers(task, error, seed)
    shuffled = np.random.default_rng(derive(seed, "random order")).permutation(n)
    asked, accuracy = np.empty(0, np.int64), dict[int, float]()
    while True:
        is_label_A = said_N[asked] < task.n_classes
        labelled, rejected = asked[is_label_A], asked[~is_label_A]
        prediction = predict(task.graph, Answers(labelled, said_N[labelled], task.n_classes, rejected))
        if len(asked) in budgets:
            probs_M_C = inductive(prediction, task.index_M_k, task.squares_M_k)
            accuracy[len(asked)] = _accuracy(probs_M_C.argmax(1) == task.truth_M, task.truth_M, by_class=by_class)
        if len(asked) >= budgets[-1]:
            return accuracy
        left = next(budget for budget in budgets if budget > len(asked)) - len(asked)
        if order == "random":
            asked = shuffled[: len(asked) + left]
            continue
        is_open_N = np.ones(n, np.bool_)
        is_open_N[asked] = False
        questions = ask(prediction, is_open_N, min(batch, left), seed=derive(seed, f"questions {len(asked)}"))
        asked = np.append(asked, [each.position for each in questions])


def _answers(task: Task, error: float, seed: int) -> Integers:
    """What people would say of each image."""
    rng = np.random.default_rng(derive(seed, "errors"))
    is_wrong_N = rng.random(len(task.truth_N)) < error
    other_N = (task.truth_N + rng.integers(1, task.n_classes, len(task.truth_N))) % task.n_classes
    return np.where(is_wrong_N & (task.truth_N < task.n_classes), other_N, task.truth_N)


def _accuracy(is_right_M: npt.NDArray[np.bool_], truth_M: Integers, *, by_class: bool) -> float:
    if not by_class:
        return float(is_right_M.mean())
    of_class = np.bincount(truth_M)
    return float((np.bincount(truth_M, weights=is_right_M)[of_class > 0] / of_class[of_class > 0]).mean())
