"""Labels for images that nobody has answered, where groups mean little: what a few answers and the whole pool say
together.

A linear model of two or three answers a class is wrong mostly about how far each class reaches. The pool tells: classes
part where there are few images between them, and none of them holds next to nothing.
"""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from learner.config import Report, ignore
from learner.graph.neighbours import Floats, of_length_1

Integers = npt.NDArray[np.int64]

SHARPNESS = 15.0
"""How fast a probability falls with the squared distance, for vectors of length 1. From 8 to 25 it hardly matters
(docs/log.md)."""

ANSWERS_WEIGH = 3.0
"""The weight of the answers' cross entropy; that of what the pool says is 1."""

SURENESS = 1.0
"""The weight of being sure of each image, against that of classes of about one size."""

STEPS, HALVINGS = 80, 6
TINY = 1e-12

MOST_PRODUCTS = 50_000_000
"""Images times classes times D, which take about a second of a core; a round that tries it does that five times."""


def bearable(n_classes: int, dimensions: int) -> int:
    """So many images, with an answer or without, may have a part in it."""
    return MOST_PRODUCTS // max(1, n_classes * dimensions)


def transduce(
    answered_A_D: Floats, labels_A: Integers, others_U_D: Floats, *, report: Report = ignore
) -> tuple[Integers, Floats]:
    """Class probabilities by a prototype a class, which answers and other images share in forming.

    Prototypes make the mutual information between the other images and their classes large, and the cross entropy of
    the answers small. The sizes of classes are drawn towards each other, not made the same: of classes as unequal as
    20 to 1 it is right about as much as a model of the answers alone, and of small classes about more (docs/log.md).

    Args:
        answered_A_D: float32, of the images with an answer; only directions count.
        labels_A: int64, any numbers.
        others_U_D: float32, of images without an answer, a random sample or all.
        report: Called every step with the phase `"spread"`.

    Returns:
        `classes_K`, the labels that occur, in ascending order, and float32 `probs_U_K`, rows of sum 1.

    Reference:
        Boudiaf et al., 2020, Transductive information maximization for few-shot learning, section 3, by the alternating
        steps of its proposition 1 (TIM-ADM). A step that makes things worse, as whole ones do now and then, is halved.
    """
    classes_K = np.unique(labels_A)
    is_of_A_K = (labels_A[:, None] == classes_K).astype(np.float32)
    answers = _Side(of_length_1(answered_A_D), ANSWERS_WEIGH / (1 + SURENESS))
    others = _Side(of_length_1(others_U_D), len(answered_A_D) / max(1, len(others_U_D)))
    prototypes_K_D = (is_of_A_K.T @ answers.vectors_n_D) / is_of_A_K.sum(0)[:, None]
    probs_A_K, probs_U_K = answers.probs(prototypes_K_D), others.probs(prototypes_K_D)
    for step in range(STEPS):
        report("spread", step + 1, STEPS)
        wanted_U_K = _wanted(probs_U_K)
        pull_K_D = answers.pull(is_of_A_K, probs_A_K, prototypes_K_D) + others.pull(
            wanted_U_K, probs_U_K, prototypes_K_D
        )
        pull_K_D /= (answers.weight * is_of_A_K.sum(0) + others.weight * wanted_U_K.sum(0))[:, None]
        loss = answers.loss(is_of_A_K, probs_A_K) + others.loss(wanted_U_K, probs_U_K)
        for halving in range(HALVINGS):
            moved_K_D = prototypes_K_D + pull_K_D / 2**halving
            moved_A_K, moved_U_K = answers.probs(moved_K_D), others.probs(moved_K_D)
            if answers.loss(is_of_A_K, moved_A_K) + others.loss(wanted_U_K, moved_U_K) <= loss:
                prototypes_K_D, probs_A_K, probs_U_K = moved_K_D, moved_A_K, moved_U_K
                break
        else:
            break
    return classes_K, probs_U_K


def _wanted(probs_n_K: Floats) -> Floats:
    """Classes of images as they would be best for the mutual information, prototypes left where they are."""
    wanted_n_K = probs_n_K ** (1 + SURENESS)
    wanted_n_K /= np.sqrt(wanted_n_K.sum(0) + TINY)
    return np.asarray(wanted_n_K / (wanted_n_K.sum(1, keepdims=True) + TINY), np.float32)


@dataclass(frozen=True)
class _Side:
    """Images that count alike.

    Args:
        vectors_n_D: Of length 1.
        weight: Of each.
    """

    vectors_n_D: Floats
    weight: float

    def probs(self, prototypes_K_D: Floats) -> Floats:
        """The nearer a prototype, the likelier its class."""
        closeness_n_K = self.vectors_n_D @ prototypes_K_D.T - np.square(prototypes_K_D).sum(1) / 2
        logits_n_K = SHARPNESS * closeness_n_K
        probs_n_K = np.exp(logits_n_K - logits_n_K.max(1, keepdims=True))
        return np.asarray(probs_n_K / probs_n_K.sum(1, keepdims=True), np.float32)

    def pull(self, wanted_n_K: Floats, probs_n_K: Floats, prototypes_K_D: Floats) -> Floats:
        """Towards the images of which a class has too little, away from those of which it has too much."""
        lacking_n_K = self.weight * (wanted_n_K - probs_n_K)
        return np.asarray(lacking_n_K.T @ self.vectors_n_D - prototypes_K_D * lacking_n_K.sum(0)[:, None], np.float32)

    def loss(self, wanted_n_K: Floats, probs_n_K: Floats) -> float:
        """The cross entropy of all, in nats."""
        return -self.weight * float((wanted_n_K * np.log(probs_n_K + TINY)).sum(dtype=np.float64))
