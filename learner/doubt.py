"""Whether labels that are passed on tell what people answer: tried on the answers themselves, against a model of the
images' own vectors that learns from answers alone.

On MNIST neighbours say far more than a few answers do; of photographs, whose neighbours may share a light or a person
and not a class, they mislead once there are enough answers to learn from. Nothing but answers can tell which it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from learner.graph.neighbours import of_length_1
from learner.metrics import sign_test
from learner.seeds import derive

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

LEAST = 30
"""Answers below which what passes labels on is taken at its word: with fewer, most groups have one answer, and lose it
here."""

FOLDS = 4
MOST_TRIED, MOST_LEARNED = 400, 2000
"""Past so many answers half of `MOST_TRIED` are tried once, and a linear model learns from `MOST_LEARNED` at most."""

AHEAD = 2
"""Once it is right about more than so many answers more, the rest is not tried: of a large pool each fold costs half a
second, and it is not going to be doubted."""

CHANCE = 0.05
"""One-sided, of the sign test: the answers of early rounds were chosen where the graph was unsure."""

STRENGTH = 30.0
"""Inverse of the ridge of the linear model, for vectors of length 1."""


Tell = Callable[[Integers, Integers], Integers]
"""Given the numbers of answers that are known and of others that are not, says the labels of those."""


@dataclass(frozen=True)
class Trial:
    """How answers came out that were kept back.

    Args:
        n: Answers that were tried.
        told_right: Of these, what passes labels on was right about, with the other answers.
        vectors_right: A linear model of the vectors, with the same answers.
        only_told: Only what passes labels on.
        only_vectors: Only the linear model.
    """

    n: int
    told_right: int
    vectors_right: int
    only_told: int
    only_vectors: int

    @property
    def is_doubted(self) -> bool:
        """Whether the vectors by themselves are right about more, and not by chance."""
        return sign_test(self.only_vectors, self.only_told) < CHANCE


def put_to_the_test(tell: Tell, labels_A: Integers, vectors_A_D: Floats, *, seed: int) -> Trial | None:
    """Cross-validate both on the answers.

    Args:
        tell: What passes labels on; asked once a fold.
        labels_A: int64, the answers.
        vectors_A_D: float32, of their images: what the graph was made of, not where images stand in it.
        seed: Of the folds.

    Returns:
        None with fewer than `LEAST` answers.

    Reference:
        Stone, 1974, Cross-validatory choice and assessment of statistical predictions; Dixon, Mood, 1946, The
        statistical sign test.
    """
    n = len(labels_A)
    if n < LEAST:
        return None
    order = np.random.default_rng(derive(seed, "doubt")).permutation(n)
    folds = np.array_split(order, FOLDS) if n <= MOST_TRIED else [order[: MOST_TRIED // 2]]
    unit_A_D = of_length_1(vectors_A_D)
    told, by_vectors = [], []
    for tried in folds:
        others = np.setdiff1d(order, tried)
        truth = labels_A[tried]
        told.append(tell(others, tried) == truth)
        by_vectors.append(_linear(unit_A_D, labels_A, others[:MOST_LEARNED], tried) == truth)
        if sum(int(right.sum()) for right in told) - sum(int(right.sum()) for right in by_vectors) > AHEAD:
            break
    told_n, vectors_n = np.concatenate(told), np.concatenate(by_vectors)
    return Trial(
        len(told_n), int(told_n.sum()), int(vectors_n.sum()),
        int((told_n & ~vectors_n).sum()), int((vectors_n & ~told_n).sum()),
    )  # fmt: skip


def _linear(unit_A_D: Floats, labels_A: Integers, learned: Integers, tried: Integers) -> Integers:
    """What logistic regression predicts; where all labels are alike, that one."""
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels_A[learned])) < 2:
        return np.full(len(tried), labels_A[learned][0])
    model = LogisticRegression(C=STRENGTH, max_iter=200).fit(unit_A_D[learned], labels_A[learned])
    return np.asarray(model.predict(unit_A_D[tried]), np.int64)
