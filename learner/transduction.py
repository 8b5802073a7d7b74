"""Labels for images that nobody has answered, where groups mean little: what a few answers and the whole pool say
together.

A linear model of two or three answers a class is wrong mostly about how far each class reaches. The pool tells: classes
part where there are few images between them, and none of them holds next to nothing.
"""

from __future__ import annotations

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

STEPS = 100
TINY = 1e-12

MOST_CELLS = 4_000_000
"""Images times classes; with more it takes too long for a round."""


def is_bearable(n_images: int, n_classes: int) -> bool:
    """Whether so many images and classes take seconds and not minutes."""
    return n_images * n_classes <= MOST_CELLS


def transduce(
    answered_A_D: Floats, labels_A: Integers, others_U_D: Floats, *, report: Report = ignore
) -> tuple[Integers, Floats]:
    """Class probabilities by a prototype a class, which answers and other images share in forming.

    Prototypes make the mutual information between the other images and their classes large, and the cross entropy of
    the answers small. The sizes of classes are drawn towards each other, not made the same: of classes as unequal as
    20 to 1 it is right about more than a model of the answers alone, too (docs/log.md).

    Args:
        answered_A_D: float32, of the images with an answer; only directions count.
        labels_A: int64, any numbers.
        others_U_D: float32, of images without an answer, a random sample or all.
        report: Called every step with the phase `"spread"`.

    Returns:
        `classes_K`, the labels that occur, in ascending order, and float32 `probs_U_K`, rows of sum 1.

    Reference:
        Boudiaf et al., 2020, Transductive information maximization for few-shot learning, section 3, by the alternating
        steps of its proposition 1 (TIM-ADM), each half as long: of classes that are predicted more often than they are
        answered the whole step can lead away for good (docs/log.md).
    """
    answered_A_D, others_U_D = of_length_1(answered_A_D), of_length_1(others_U_D)
    classes_K = np.unique(labels_A)
    is_of_A_K = (labels_A[:, None] == classes_K).astype(np.float32)
    prototypes_K_D = (is_of_A_K.T @ answered_A_D) / is_of_A_K.sum(0)[:, None]
    of_answers, of_others = ANSWERS_WEIGH / (1 + SURENESS), len(answered_A_D) / max(1, len(others_U_D))
    for step in range(STEPS):
        probs_A_K, probs_U_K = _probs(answered_A_D, prototypes_K_D), _probs(others_U_D, prototypes_K_D)
        wanted_U_K = probs_U_K ** (1 + SURENESS)
        wanted_U_K /= np.sqrt(wanted_U_K.sum(0) + TINY)
        wanted_U_K /= wanted_U_K.sum(1, keepdims=True) + TINY
        pull_K_D = of_answers * _pull(answered_A_D, is_of_A_K - probs_A_K, prototypes_K_D)
        pull_K_D += of_others * _pull(others_U_D, wanted_U_K - probs_U_K, prototypes_K_D)
        weight_K = of_answers * (is_of_A_K + probs_A_K).sum(0) + of_others * (wanted_U_K + probs_U_K).sum(0)
        prototypes_K_D = prototypes_K_D + pull_K_D / weight_K[:, None]
        report("spread", step + 1, STEPS)
    return classes_K, _probs(others_U_D, prototypes_K_D)


def _probs(vectors_n_D: Floats, prototypes_K_D: Floats) -> Floats:
    logits_n_K = SHARPNESS * (vectors_n_D @ prototypes_K_D.T - np.square(prototypes_K_D).sum(1) / 2)
    probs_n_K = np.exp(logits_n_K - logits_n_K.max(1, keepdims=True))
    return np.asarray(probs_n_K / probs_n_K.sum(1, keepdims=True), np.float32)


def _pull(vectors_n_D: Floats, lacking_n_K: Floats, prototypes_K_D: Floats) -> Floats:
    """Towards the images of which a class has too little, and away from those of which it has too much."""
    return np.asarray(lacking_n_K.T @ vectors_n_D - prototypes_K_D * lacking_n_K.sum(0)[:, None], np.float32)
