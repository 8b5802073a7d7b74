"""How sure several networks may be: one temperature for all, measured on answers that they have not learned from.

The temperature divides the logits of every sample, and the samples are averaged afterwards: so each stays a function
that measures and acquisition can ask. It is measured as it is used: of an answer it makes likely the average, scaled
sample by sample, of those members that left the answer out.

Of an ensemble that is a single member, and the temperature that of one network (Guo et al.). The average of members
that are calibrated each is less sure than they are. Rahaman and Thiery scale after averaging, which keeps no samples,
and takes answers that no member has learned from. Of a bootstrap a third of the members left an answer out.

Reference:
    Guo, Pleiss, Sun, Weinberger, 2017, On calibration of modern neural networks, section 4.2; Rahaman and Thiery, 2021,
    Uncertainty quantification and deep ensembles, section 4.
"""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from learner.errors import LearnerError

TEMPERATURES = (0.05, 20.0)
TEMPERATURE_SPREAD = 0.15  # of the logarithm of the temperature, before any answer
LEFT_OUT_FLOATS = 4 * 2**20  # log-probabilities that a temperature is measured on, at most


@dataclass(frozen=True)
class LeftOut:
    """What the members say of answers that they have not learned from; R predictions of n answers, one or more of each.

    Args:
        log_probs_R_C: Logarithms of probabilities, or logits.
        answers_R: Which answer a prediction is of, 0 to n - 1.
        labels_n: The class of each answer.
    """

    log_probs_R_C: Tensor
    answers_R: Tensor
    labels_n: Tensor

    def nll(self, temperature: float) -> float:
        """The mean negative log-likelihood of the answers, in nats: each prediction scaled, those of one averaged."""
        log_probs_R_C = (self.log_probs_R_C / temperature).log_softmax(1)
        probs_R = log_probs_R_C.gather(1, self.labels_n[self.answers_R].unsqueeze(1))[:, 0].double().exp()
        sums_n = torch.zeros(len(self.labels_n), dtype=torch.float64).index_add_(0, self.answers_R, probs_R)
        return -float((sums_n / self.answers_R.bincount(minlength=len(sums_n))).clamp_min(1e-300).log().mean())


def fit_temperature(left_out: LeftOut, tick: Callable[[], None] = lambda: None) -> float:
    """The most probable temperature given some answers, 0.05 to 20; before them it is log-normal around 1.

    Without the prior a dozen answers that all happen to be right would make the model sure of everything: they are of
    classes that have several answers, and the images to come are of the others too (docs/log.md).

    Args:
        left_out: What is known of such answers.
        tick: Called with each temperature that is tried.

    Raises:
        LearnerError: If there is no such answer, or what is known of them is not finite.
    """
    if not len(left_out.labels_n):
        raise LearnerError(
            "temperature scaling: no class has two answers, so none can be left out to measure on; "
            "take more answers, or leave the temperature as it is"
        )
    if not bool(left_out.log_probs_R_C.isfinite().all()):
        raise LearnerError("temperature scaling: the members' outputs are not finite; fit the round again")

    def cost(logarithm: float) -> float:
        tick()
        prior = (logarithm / TEMPERATURE_SPREAD) ** 2 / (2 * len(left_out.labels_n))
        return prior + left_out.nll(float(np.exp(logarithm)))

    low, high = np.log(TEMPERATURES)
    for _ in range(3):
        grid = np.linspace(low, high, 41)
        best = int(np.argmin([cost(float(each)) for each in grid]))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, 40)]
    return float(np.exp(grid[best]))
