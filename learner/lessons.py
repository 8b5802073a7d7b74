"""What a full network is taught: what the graph is sure of, or answers; and what is kept back to measure it by.

What is taught has to hold all shapes of a class. A part that is left out for want of certainty goes by a wrong name
afterwards, and all of it (docs/log.md).
"""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from learner.config import Report, ignore
from learner.errors import LabelError
from learner.graph.hypotheses import Answers
from learner.graph.model import Graph, Prediction, is_bearable, predict
from learner.graph.propagation import SURE, is_sure
from learner.seeds import derive

Integers = npt.NDArray[np.int64]

HELD_SHARE, MOST_HELD = 0.1, 2000
"""Of the images that are to be taught without an answer so many are kept back, to see whether the student agrees."""

ANSWERS_COUNT = 5
"""An answer is drawn as often as so many labels of the graph."""

KEPT_SHARE, LEAST_KEPT_OF = 0.2, 3
"""Of the answers that a network would learn from by itself so many are kept back to measure it by, of classes that
have `LEAST_KEPT_OF` at least."""


@dataclass(frozen=True)
class Opinion:
    """Of a network that is in use.

    Args:
        of: Gives the likeliest classes of some images, by their positions in ascending order; -1 where it is a class
            that is gone.
        knows: int64, the classes that it was taught, by the numbers that they have now.
    """

    of: Callable[[Integers], Integers]
    knows: Integers


@dataclass(frozen=True)
class Lesson:
    """What a network is taught.

    Args:
        positions: int64 `[n]`, images to learn from; where the graph teaches, those with an answer `ANSWERS_COUNT`
            times.
        labels: int64 `[n]`, 0 to C - 1.
        held_positions: int64 `[m]`, in ascending order: images that would be taught as well, and that are not learned
            from.
        held_labels: int64 `[m]`.
        shares_C: float64, the share of each class in the pool as the graph believes, or among the answers; sum 1.
        named: int64, the classes that have answers, in ascending order.
        unlabelled: int64 `[u]`, images that the network teaches itself with; none where the graph does.
    """

    positions: Integers
    labels: Integers
    held_positions: Integers
    held_labels: Integers
    shares_C: npt.NDArray[np.float64]
    named: Integers
    unlabelled: Integers = field(default_factory=lambda: np.empty(0, np.int64))


def lesson_of(graph: Graph, answers: Answers, to_positions: npt.ArrayLike, *, opinion: Opinion | None = None, seed: int,
              report: Report = ignore) -> Lesson:  # fmt: skip
    """Ask the graph what it is sure of, and a network that is in use already what else is so.

    Args:
        graph: Of the pool.
        answers: All that count, each image once.
        to_positions: int64, images that may be learned from without an answer. Those that accuracy is measured on must
            not be among them.
        opinion: Of a network that is in use. It is asked about images that the graph is not sure of; where both say the
            same, that is taught. Of classes that it does not know, and of all where there is no such network, what is
            clear is taught beside what is sure (`CLEAR` in `learner.graph.propagation`).
        seed: Of what is kept back.
        report: Called with the phase `"spread"`, in steps.

    Raises:
        LabelError: If fewer than two classes have answers, or there are too many classes for the graph to say
            (`learner.graph.model.MOST_BELIEFS`).

    Reference:
        Lee, 2013, Pseudo-label, section 2.2, with the graph's labels in place of the network's own; Hinton, Vinyals,
        Dean, 2015, Distilling the knowledge in a neural network, section 2 at temperature 0; Blum and Mitchell, 1998,
        Combining labeled and unlabeled data with co-training, for two views that teach where they agree.
    """
    named = _named(answers)
    known = answers.within(len(graph))
    if not is_bearable(graph, known):
        raise LabelError("there are too many classes for the graph to say which images belong to which")
    prediction = predict(graph, known, report=report)
    best_N = prediction.best()
    candidates = np.setdiff1d(np.asarray(to_positions, np.int64), answers.said_of)
    candidates = candidates[candidates < len(graph)]
    candidates = candidates[best_N[candidates] < answers.n_classes]  # not what is to be rejected
    sure = candidates[_is_taught(prediction, candidates, opinion)]
    shuffled = np.random.default_rng(derive(seed, "held back")).permutation(sure)
    n_held = min(MOST_HELD, int(HELD_SHARE * len(sure)))
    held, learned = np.sort(shuffled[:n_held]), np.sort(shuffled[n_held:])
    return Lesson(
        np.concatenate([learned, np.tile(answers.positions_A, ANSWERS_COUNT)]),
        np.concatenate([best_N[learned], np.tile(answers.labels_A, ANSWERS_COUNT)]),
        held,
        best_N[held],
        prediction.class_probs().mean(0, dtype=np.float64),
        named,
    )


def _is_taught(prediction: Prediction, candidates: Integers, opinion: Opinion | None) -> npt.NDArray[np.bool_]:
    is_clear_n = is_sure(prediction, candidates)
    if opinion is None:
        return is_clear_n
    best_n, is_taught_n = prediction.best()[candidates], prediction.probs_N_K1[candidates, :-1].max(1) >= SURE
    is_taught_n |= is_clear_n & ~np.isin(best_n, opinion.knows)
    is_taught_n[~is_taught_n] = opinion.of(candidates[~is_taught_n]) == best_n[~is_taught_n]
    return np.asarray(is_taught_n)


def lesson_of_answers(answers: Answers, to_positions: npt.ArrayLike) -> Lesson:
    """The answers alone, and images to learn from by itself.

    Args:
        answers: All that count, each image once.
        to_positions: int64, images that may be learned from without an answer, as of `lesson_of`.

    Raises:
        LabelError: If fewer than two classes have answers.
    """
    named, nothing = _named(answers), np.empty(0, np.int64)
    shares_C = np.bincount(answers.labels_A, minlength=answers.n_classes) / len(answers.labels_A)
    unlabelled = np.setdiff1d(np.union1d(np.asarray(to_positions, np.int64), answers.positions_A), answers.rejected_R)
    return Lesson(answers.positions_A, answers.labels_A, nothing, nothing, shares_C, named, unlabelled)


def keep_back(answers: Answers, *, seed: int, first: npt.ArrayLike = ()) -> tuple[Answers, Answers]:
    """Divide answers in those to learn from and `KEPT_SHARE` of them to measure by.

    A class keeps its answers where it has fewer than `LEAST_KEPT_OF`.

    Args:
        answers: Each image once.
        seed: Of the draw.
        first: int64, images to be kept back before others: those that two models disagreed about, which tell most about
            which of the two is right (`learner.gate.contested`).
    """
    counts_C = np.bincount(answers.labels_A, minlength=answers.n_classes)
    order = np.random.default_rng(derive(seed, "kept back")).permutation(len(answers.labels_A))
    is_later = ~np.isin(answers.positions_A[order], np.asarray(first, np.int64))
    order = order[np.argsort(is_later, kind="stable")]
    kept: list[int] = []
    for index in order[counts_C[answers.labels_A[order]] >= LEAST_KEPT_OF].tolist():
        label = answers.labels_A[index]
        if len(kept) < round(KEPT_SHARE * len(order)) and counts_C[label] >= LEAST_KEPT_OF:
            kept.append(index)
            counts_C[label] -= 1
    is_kept = np.isin(np.arange(len(order)), kept)
    positions_A, labels_A, n_classes = answers.positions_A, answers.labels_A, answers.n_classes
    learned = Answers(positions_A[~is_kept], labels_A[~is_kept], n_classes, answers.rejected_R)
    return learned, Answers(positions_A[is_kept], labels_A[is_kept], n_classes)


def _named(answers: Answers) -> Integers:
    named = answers.classes_K
    if len(named) < 2:
        raise LabelError(f"a network needs answers of two classes at least, there are those of {len(named)}")
    return named
