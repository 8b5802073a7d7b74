"""Labels for images that nobody has answered: those whose class the graph is sure of, to train a network on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from learner.config import Report, ignore
from learner.graph.hypotheses import Answers
from learner.graph.model import Graph, Prediction, is_bearable, predict
from learner.seeds import derive

Integers = npt.NDArray[np.int64]

SURE = 0.8
"""A label is passed on where its probability is at least this. Of digits and of
12,000 images of MNIST 98 % or more of such labels are right after 20 answers, of sign photos compared by their pixels
88 to 97 % of the few that there are until 50 answers, then 98 % (docs/log.md)."""

CLEAR, FEW_ANSWERS = 4.0, 3
"""Of a class with fewer answers than that a label is passed on, too, where it is so many times as likely as whatever is
next, another class or none that was named. After ten answers the graph is right about 97 % of MNIST and sure of 5 %:
what is missing to a probability of `SURE` is spread over all classes alike. Where two classes share it nothing is
clear, and with more answers labels that are less sure do harm (docs/log.md)."""

MOST = 2000
"""So many images at most, drawn at random: more do not help a network that is trained for a quarter of a minute."""


LIKELY, FEW = 0.5, 100
"""A class with fewer such labels than the others have, and than `FEW`, gets others of its images from this probability
on. Without, a network forgets a class of whose community the graph has just begun to doubt: on MNIST it fell from 0.97
to 0.79 and back. They are drawn: the likeliest are all of one place (docs/log.md)."""


@dataclass(frozen=True)
class Propagated:
    """Labels that the graph passes on.

    Args:
        positions: int64 `[n]`, in ascending order; none that has an answer.
        labels: int64 `[n]`, 0 to C - 1.
        n_sure: How many there were to draw from.
        n_rejected: How many images that may get a label look like rejected ones; see `Prediction.looks_rejected`.
    """

    positions: Integers
    labels: Integers
    n_sure: int
    n_rejected: int = 0


def propagate(
    graph: Graph, answers: Answers, to_positions: npt.ArrayLike, *, seed: int, report: Report = ignore
) -> Propagated:
    """Pass answers on to images that hang together with them.

    Where answers contradict each other inside communities, or communities mean little, few labels are passed on; none
    where there are too many classes to say (`learner.graph.model.MOST_BELIEFS`). That an image is to be rejected is no
    label.

    Args:
        graph: Of the pool. Positions past its end, of images that came after it, are left out.
        answers: All that count.
        to_positions: int64, images that may get a label; those with an answer do not.
        seed: Of the draw among too many.
        report: Called with the phase `"spread"`, in steps.

    Reference:
        Lee, 2013, Pseudo-label, section 2.2, with the graph's labels in place of the network's own.
    """
    n = len(graph)
    known = answers.within(n)
    candidates = np.setdiff1d(np.asarray(to_positions, np.int64), answers.said_of)
    candidates = candidates[candidates < n]
    if not len(known.positions_A) or not len(candidates) or not is_bearable(graph, known):
        return Propagated(np.empty(0, np.int64), np.empty(0, np.int64), 0)
    prediction = predict(graph, known, report=report)
    best_N = prediction.best()
    looks_rejected_n = prediction.looks_rejected(candidates)
    candidates = candidates[~looks_rejected_n & (best_N[candidates] < answers.n_classes)]
    chance_n, is_sure_n = prediction.probs_N_K1[candidates, :-1].max(1), is_sure(prediction, candidates)
    sure = candidates[is_sure_n]
    rng = np.random.default_rng(derive(seed, "propagation"))
    drawn = rng.permutation(sure)[:MOST]
    likely = rng.permutation(candidates[(chance_n >= LIKELY) & ~is_sure_n])
    more = likely[_of_scarce_classes(known.classes_K, best_N[drawn], best_N[likely])]
    positions = np.sort(np.concatenate([drawn, more]))
    return Propagated(positions, best_N[positions], len(sure), int(looks_rejected_n.sum()))


def is_sure(prediction: Prediction, positions: Integers) -> npt.NDArray[np.bool_]:
    """Of which images the likeliest class may be passed on: bool `[n]`. See `SURE` and `CLEAR`."""
    return np.asarray((prediction.probs_N_K1[positions, :-1].max(1) >= SURE) | _is_clear(prediction, positions))


def _is_clear(prediction: Prediction, positions: Integers) -> npt.NDArray[np.bool_]:
    """Of which images the likeliest class is clearly ahead of all else, and has few answers."""
    beliefs, labels_A = prediction.beliefs, prediction.answers.labels_A
    answers_K = (labels_A[:, None] == beliefs.classes_K).sum(0)
    probs_n_K1 = prediction.probs_N_K1[positions]
    next_n, top_n = np.partition(probs_n_K1, -2, axis=1)[:, -2:].T
    best_n = probs_n_K1[:, :-1].argmax(1)
    is_ahead_n = (probs_n_K1[np.arange(len(positions)), best_n] == top_n) & (top_n >= CLEAR * next_n)
    return np.asarray(is_ahead_n & (answers_K[best_n] < FEW_ANSWERS))


def _of_scarce_classes(classes_K: Integers, drawn_labels: Integers, labels_n: Integers) -> Integers:
    """Which of some images bring the classes that few labels were drawn of up to the mean of those that have any: the
    first of each such class.

    Reference:
        Zou, Yu, Kumar, Wang, 2018, Class-balanced self-training, section 4.2.
    """
    counts_K = (drawn_labels[:, None] == classes_K).sum(0)
    if not counts_K.any():
        return np.empty(0, np.int64)
    wanted = min(FEW, int(counts_K[counts_K > 0].mean()))
    parts = [
        np.flatnonzero(labels_n == label)[: max(0, wanted - count)]
        for label, count in zip(classes_K.tolist(), counts_K.tolist(), strict=True)
    ]
    return np.concatenate(parts)
