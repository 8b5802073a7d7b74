"""Who passes answers on to other images, for a round's model to learn from: the graph of the pool, or a model of the
images' own vectors that the whole pool has a part in. Each can say what it would have said with fewer answers, by which
`learner.doubt` tries it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from learner import transduction
from learner.config import Report, ignore
from learner.graph.hypotheses import Answers
from learner.graph.model import Graph, is_bearable, predict
from learner.graph.propagation import MOST, SURE, Propagated, propagate
from learner.pool import Pool
from learner.seeds import derive

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

SEEN, LEAST_SEEN = 4000, 500
"""Images without an answer that have a part in a model of vectors; of a larger pool a random sample. Fewer where there
are many classes (`learner.transduction.bearable`); where fewer than the second were left, there is no such model."""

MOST_LEARNED = 2000
"""Answers that such a model learns from at most, a random sample."""


class Teacher(Protocol):
    """Passes answers on."""

    @property
    def answers(self) -> Answers:
        """Those that it goes by, each image once."""

    @property
    def is_bearable(self) -> bool:
        """Whether there is memory and time for so many classes; if not, it passes nothing on."""

    def tell(self, known: Integers, asked: Integers) -> Integers:
        """The labels of some of its answers, had it only some others: both by their numbers."""

    def pass_on(self) -> Propagated:
        """Labels of images without an answer."""


@dataclass(frozen=True)
class ByGraph:
    """What hangs together with answered images is of their class. See `learner.graph.propagation`.

    Args:
        graph: Of the pool.
        said: All answers that count.
        may_learn: int64, images that may get a label.
        seed: Of the draw among too many.
        report: Called with the phase `"spread"`.
    """

    graph: Graph
    said: Answers
    may_learn: Integers
    seed: int
    report: Report = ignore

    @cached_property
    def answers(self) -> Answers:
        """Those about images that the graph knows."""
        return self.said.within(len(self.graph))

    @property
    def is_bearable(self) -> bool:
        """Whether beliefs about all images have room."""
        return is_bearable(self.graph, self.answers)

    def tell(self, known: Integers, asked: Integers) -> Integers:
        """See `Teacher`; what is rejected stays known."""
        positions_A, labels_A = self.answers.positions_A, self.answers.labels_A
        some = replace(self.answers, positions_A=positions_A[known], labels_A=labels_A[known])
        return predict(self.graph, some, report=self.report).best()[positions_A[asked]]

    def pass_on(self) -> Propagated:
        """See `learner.graph.propagation.propagate`."""
        return propagate(self.graph, self.said, self.may_learn, seed=self.seed, report=self.report)


@dataclass(frozen=True)
class ByPool:
    """Images are of the class whose prototype they are near to, and all images move the prototypes. See
    `learner.transduction`. Rejected images have a prototype, too; what is near to that gets no label.

    Args:
        pool: Of vectors.
        ignored: So many of their first numbers it does not look at.
        answers: All that count.
        may_learn: int64, images that may get a label.
        seed: Of the sample of them.
        report: Called with the phase `"spread"`.
    """

    pool: Pool
    ignored: int
    answers: Answers
    may_learn: Integers
    seed: int
    report: Report = ignore

    @cached_property
    def others(self) -> Integers:
        """Images without an answer that have a part in it, int64, in ascending order."""
        open_ = np.setdiff1d(self.may_learn, self.answers.said_of)
        drawn = np.random.default_rng(derive(self.seed, "transduction")).permutation(open_)
        return np.sort(drawn[: min(SEEN, max(0, self._room))])

    @property
    def is_bearable(self) -> bool:
        """Whether it takes seconds."""
        return self._room >= LEAST_SEEN

    @property
    def _room(self) -> int:
        """For images without an answer."""
        most = transduction.bearable(len(self.answers.kinds_K), self.pool.shape[0] - self.ignored)
        return most - min(len(self.answers.said), MOST_LEARNED)

    def tell(self, known: Integers, asked: Integers) -> Integers:
        """See `Teacher`; what is rejected stays known."""
        n = len(self.answers.labels_A)
        learned = np.concatenate([known, np.arange(n, len(self.answers.said))])
        classes_K, probs_U_K = self._probs(learned, np.concatenate([self._answered_A_D[asked], self._others_U_D]))
        return np.asarray(classes_K[probs_U_K[: len(asked)].argmax(1)])

    def pass_on(self) -> Propagated:
        """Labels of images of which it is sure, by `SURE`; `MOST` of them, drawn at random."""
        nothing = np.empty(0, np.int64)
        if not self.is_bearable or not len(self.others):
            return Propagated(nothing, nothing, 0)
        classes_K, probs_U_K = self._probs(np.arange(len(self.answers.said)), self._others_U_D)
        best_U, is_sure_U = classes_K[probs_U_K.argmax(1)], probs_U_K.max(1) >= SURE
        sure = np.flatnonzero(is_sure_U & (best_U < self.answers.n_classes))
        drawn = np.sort(np.random.default_rng(derive(self.seed, "propagation")).permutation(sure)[:MOST])
        return Propagated(self.others[drawn], best_U[drawn], len(sure))

    def _probs(self, learned: Integers, others_U_D: Floats) -> tuple[Integers, Floats]:
        if len(learned) > MOST_LEARNED:
            learned = np.random.default_rng(derive(self.seed, "answers")).permutation(learned)[:MOST_LEARNED]
        return transduction.transduce(
            self._answered_A_D[learned], self.answers.said[learned], others_U_D, report=self.report
        )

    def vectors_of(self, positions: Integers) -> Floats:
        """float32, of images in any order, without the numbers that it does not look at."""
        order = np.argsort(positions)
        vectors_n_D = np.empty((len(order), self.pool.shape[0] - self.ignored), np.float32)
        if len(order):
            vectors_n_D[order] = self.pool.inputs(positions[order])[:, self.ignored :]
        return vectors_n_D

    @cached_property
    def _answered_A_D(self) -> Floats:  # noqa: N802
        return self.vectors_of(self.answers.said_of)

    @cached_property
    def _others_U_D(self) -> Floats:  # noqa: N802
        return self.vectors_of(self.others)
