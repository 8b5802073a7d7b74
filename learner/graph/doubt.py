"""Whether the graph tells what people answer: tried on the answers themselves, against the images' own vectors.

On MNIST neighbours say far more than a few answers do; of photographs, whose neighbours may share a light or a person
and not a class, they mislead once there are enough answers to learn from. Nothing but answers can tell which it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from learner.config import Report, ignore
from learner.graph.hypotheses import Answers
from learner.graph.model import Graph, predict
from learner.graph.neighbours import of_length_1
from learner.metrics import sign_test
from learner.seeds import derive

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

LEAST = 30
"""Answers below which the graph is taken at its word: with fewer, most groups have one answer, and lose it here."""

FOLDS = 4
MOST_TRIED, MOST_LEARNED = 400, 2000
"""Past so many answers half of `MOST_TRIED` are tried once, and a linear model learns from `MOST_LEARNED` at most."""

AHEAD = 2
"""Once the graph alone is right about more than so many answers more, the rest is not tried: of a large pool each fold
costs half a second, and it is not going to be doubted."""

CHANCE = 0.05
"""One-sided, of the sign test: the answers of early rounds were chosen where the graph was unsure."""

STRENGTH = 30.0
"""Inverse of the ridge of the linear model, for vectors of length 1."""


@dataclass(frozen=True)
class Trial:
    """How answers came out that were kept back.

    Args:
        n: Answers that were tried.
        graph_right: Of these the graph was right about, with the other answers.
        vectors_right: A linear model of the vectors, with the same answers.
        only_graph: Only the graph.
        only_vectors: Only the linear model.
        is_presumed: Whether the graph is believed until it is shown to be wrong.
    """

    n: int
    graph_right: int
    vectors_right: int
    only_graph: int
    only_vectors: int
    is_presumed: bool = True

    @property
    def is_doubted(self) -> bool:
        """Whether the vectors by themselves are right about more, and not by chance. Of a graph that is not believed
        beforehand: whether they are right about as much."""
        if not self.is_presumed:
            return self.vectors_right >= self.graph_right
        return sign_test(self.only_vectors, self.only_graph) < CHANCE


def put_to_the_test(
    graph: Graph, answers: Answers, vectors_A_D: Floats, *, is_presumed: bool = True, seed: int,
    report: Report = ignore,
) -> Trial | None:  # fmt: skip
    """Cross-validate both on the answers.

    Args:
        graph: Of the pool.
        answers: Each image once, all inside the graph. What is rejected is known to the graph throughout.
        vectors_A_D: float32, of the images with answers in their order: what the graph was made of, not where images
            stand in it.
        is_presumed: Whether the graph is believed until answers speak against it, since its groups hang together.
        seed: Of the folds.
        report: Called with the phase `"spread"`.

    Returns:
        None with fewer than `LEAST` answers.

    Reference:
        Stone, 1974, Cross-validatory choice and assessment of statistical predictions; Dixon, Mood, 1946, The
        statistical sign test.
    """
    n = len(answers.positions_A)
    if n < LEAST:
        return None
    order = np.random.default_rng(derive(seed, "doubt")).permutation(n)
    folds = np.array_split(order, FOLDS) if n <= MOST_TRIED else [order[: MOST_TRIED // 2]]
    unit_A_D = of_length_1(vectors_A_D)
    by_graph, by_vectors = [], []
    for tried in folds:
        others = np.setdiff1d(order, tried)
        known = replace(answers, positions_A=answers.positions_A[others], labels_A=answers.labels_A[others])
        truth = answers.labels_A[tried]
        by_graph.append(predict(graph, known, report=report).best()[answers.positions_A[tried]] == truth)
        by_vectors.append(_linear(unit_A_D, answers.labels_A, others[:MOST_LEARNED], tried) == truth)
        ahead = sum(int(right.sum()) for right in by_graph) - sum(int(right.sum()) for right in by_vectors)
        if is_presumed and ahead > AHEAD:
            break
    graph_n, vectors_n = np.concatenate(by_graph), np.concatenate(by_vectors)
    return Trial(
        len(graph_n), int(graph_n.sum()), int(vectors_n.sum()),
        int((graph_n & ~vectors_n).sum()), int((vectors_n & ~graph_n).sum()), is_presumed,
    )  # fmt: skip


def _linear(unit_A_D: Floats, labels_A: Integers, learned: Integers, tried: Integers) -> Integers:
    """What logistic regression predicts; where all labels are alike, that one."""
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels_A[learned])) < 2:
        return np.full(len(tried), labels_A[learned][0])
    model = LogisticRegression(C=STRENGTH, max_iter=200).fit(unit_A_D[learned], labels_A[learned])
    return np.asarray(model.predict(unit_A_D[tried]), np.int64)
