"""When another answer on a labelled image is worth more than one on a new image. numpy only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def skill(right: npt.ArrayLike, n_classes: int) -> Floats:
    """How far somebody is better than guessing: 0 for guessing (or worse), 1 for always right.

    Args:
        right: Probability of being right, 0 to 1, any shape.
        n_classes: C, at least 2.

    >>> skill([0.5, 0.75, 1.0], 2).tolist()
    [0.0, 0.5, 1.0]
    """
    chance = 1.0 / n_classes
    better: Floats = np.clip((np.asarray(right, np.float64) - chance) / (1.0 - chance), 0.0, 1.0)
    return better


def sureness_of_labels(
    model_right: float, model_prob_N: Floats, image_n: npt.NDArray[np.int64], agrees_n: npt.NDArray[np.bool_],
    right_n: Floats, *, n_classes: int, usual_right: float,
) -> Floats:  # fmt: skip
    """How sure the label of each answered image is, in units that compare with `sureness_of_guesses`.

    The mean of what the model, each answer and plain ignorance (1 / C) give the label, weighted by `skill`:
    `(w0 / C + w_M p_M + sum_j w_j p_j) / (w0 + w_M + sum_j w_j)`. `p_j` is the probability that the label is right for
    all that answer j says: `right_j` if it names the label, `(1 - right_j) / (C - 1)` if not. `w0` is the skill of a
    usual person.

    Args:
        model_right: Accuracy of the model, 0 to 1.
        model_prob_N: What it gives each image's label.
        image_n: The image of each answer, 0 to N - 1.
        agrees_n: Whether it names the image's label.
        right_n: How often its person is right.
        n_classes: C, at least 2.
        usual_right: How often people are right on the whole.

    Returns:
        `[N]`, 0 to 1; the lowest gain most from another answer.

    Reference:
        In the manner of Goh and Mueller, 2023, ActiveLab (arXiv 2301.11856), whose weights are made of agreement with
        the consensus; ours of the rates of Dawid and Skene's model and of the holdout.
    """
    w_0, w_m, w_n = (skill(each, n_classes) for each in (usual_right, model_right, right_n))
    p_n = np.where(agrees_n, right_n, (1.0 - right_n) / (n_classes - 1))
    n = len(model_prob_N)
    top = w_0 / n_classes + w_m * model_prob_N + np.bincount(image_n, w_n * p_n, n)
    weight = w_0 + w_m + np.bincount(image_n, w_n, n)
    sure: Floats = np.where(weight > 0, top / np.maximum(weight, 1e-12), 1.0 / n_classes)
    return sure


def sureness_of_guesses(model_right: float, top_prob_N: Floats, *, n_classes: int, usual_right: float) -> Floats:
    """How sure the model's guess of an image without an answer is: `(w0 / C + w_M max p_M) / (w0 + w_M)`.

    Args:
        model_right: Accuracy of the model, 0 to 1.
        top_prob_N: Its largest probability for each image.
        n_classes: C, at least 2.
        usual_right: How often people are right on the whole.
    """
    w_0, w_m = float(skill(usual_right, n_classes)), float(skill(model_right, n_classes))
    if w_0 + w_m <= 0:
        return np.full(len(top_prob_N), 1.0 / n_classes)
    sure: Floats = (w_0 / n_classes + w_m * top_prob_N) / (w_0 + w_m)
    return sure
