"""How unsure a model is about each image, from samples of its posterior.

Every measure is larger where the model is less sure. Entropies are in nats, at most log C. The two kinds that must
not be confused: `expected_entropy` is noise in the data (aleatoric; more labels do not help), `mutual_information` is
ignorance of the model (epistemic; labels do help), and `predictive_entropy` is their sum. `epig` is the part of the
mutual information that matters for other images.

The module works on tensors but does not import torch, so that the names can be read without it.
"""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from learner.config import OWN_MEASURES
from learner.errors import LearnerError

if TYPE_CHECKING:
    from torch import Tensor

EPIG_FLOATS = 2**20
"""What EPIG holds at once beside samples: 4 MiB, which fits a core's cache. At least T = 1 image against one."""

LEAST_RATIO = -1 + 1e-6  # of a joint probability to that of independence, less 1; below, it adds less than rounding


@dataclass(frozen=True)
class Summary:
    """What is left of K posterior samples once they have been summed over: all that the measures need.

    Args:
        mean_probs_N_C: The posterior predictive, mean of the K probabilities.
        std_probs_N_C: Their standard deviation over the samples (of the population: 0 for K = 1), at most 0.5.
        expected_entropy_N: Mean over the samples of the entropy of each, in nats.
        votes_N_C: Share of the samples in which a class has the largest probability; ties share their vote.
    """

    mean_probs_N_C: Tensor
    std_probs_N_C: Tensor
    expected_entropy_N: Tensor
    votes_N_C: Tensor


def summarise(log_probs_N_K_C: Tensor) -> Summary:
    """Sum posterior samples up.

    Args:
        log_probs_N_K_C: Natural logarithms of class probabilities; each row over C is a distribution. -inf is allowed.

    Raises:
        LearnerError: If the tensor is not three-dimensional, or if of some image a value is NaN or the mean
            probabilities do not sum to 1 within 0.001: infinite values, -inf in all classes, logits.
    """
    if log_probs_N_K_C.ndim != 3 or 0 in log_probs_N_K_C.shape[1:]:
        raise LearnerError(f"expected log-probabilities [N, K, C], got {list(log_probs_N_K_C.shape)}")
    # Images last, and no more tensors of that size than are needed: sums along contiguous images take a twentieth of
    # the time, and half of what is left is the memory that the system hands out.
    log_probs_K_C_N = log_probs_N_K_C.permute(1, 2, 0).contiguous()
    probs_K_C_N = log_probs_K_C_N.exp()
    mean_C_N = probs_K_C_N.mean(0)
    if not bool(((mean_C_N.sum(0) - 1).abs() <= 1e-3).all()):  # false for NaN too
        raise LearnerError(
            f"posterior samples are not finite log-probabilities, so there is no {OWN_MEASURES[0]} nor any other "
            "measure: the model is broken; fit it again"
        )
    work_K_C_N = log_probs_K_C_N.clamp_min(-1e6).mul_(probs_K_C_N)  # 0 * -inf would be NaN
    entropy_N = (0.0 - work_K_C_N.sum(1).mean(0)).clamp_min_(0.0)
    work_K_C_N.copy_(log_probs_K_C_N == log_probs_K_C_N.amax(1, keepdim=True))
    votes_C_N = work_K_C_N.div_(work_K_C_N.sum(1, keepdim=True)).mean(0)
    std_C_N = probs_K_C_N.sub_(mean_C_N).square_().mean(0).sqrt_()
    return Summary(mean_C_N.T, std_C_N.T, entropy_N, votes_C_N.T)


def predictive_entropy(summary: Summary) -> Tensor:
    """Total uncertainty: entropy of the posterior predictive, H[E p], in nats, 0 to log C.

    Reference:
        Shannon, 1948; Gal, Islam, Ghahramani, 2017, Deep Bayesian active learning with image data, "Max Entropy".
    """
    probs_N_C = summary.mean_probs_N_C
    entropy_N: Tensor = 0.0 - probs_N_C.xlogy(probs_N_C).sum(1)
    return entropy_N.clamp(0.0, math.log(probs_N_C.shape[1]))


def expected_entropy(summary: Summary) -> Tensor:
    """Aleatoric uncertainty: mean entropy of the samples, E[H p], in nats, 0 to log C.

    Reference:
        Kendall and Gal, 2017, What uncertainties do we need in Bayesian deep learning?
    """
    return summary.expected_entropy_N.clamp(0.0, math.log(summary.mean_probs_N_C.shape[1]))


def mutual_information(summary: Summary) -> Tensor:
    """Epistemic uncertainty (BALD): I(y; w) = H[E p] - E[H p], in nats, 0 to the predictive entropy.

    Reference:
        Houlsby et al., 2011, Bayesian active learning for classification and preference learning, equation 2.
    """
    return (predictive_entropy(summary) - expected_entropy(summary)).clamp_min(0.0)


def variation_ratio(summary: Summary) -> Tensor:
    """Share of the samples that do not vote for the class most voted for, 0 to 1 - 1/C. Many ties when K is small.

    Reference:
        Freeman, 1965; Gal, Islam, Ghahramani, 2017, "Variation Ratios".
    """
    return 1 - summary.votes_N_C.amax(1).clamp_max(1.0)


def mean_std(summary: Summary) -> Tensor:
    """Mean over the classes of the standard deviation of their probability, 0 to 0.5.

    Reference:
        Kampffmeyer et al., 2016; Gal, Islam, Ghahramani, 2017, "Mean STD".
    """
    return summary.std_probs_N_C.mean(1)


def margin(summary: Summary) -> Tensor:
    """One minus the lead of the most probable class over the second, 0 (sure) to 1 (a tie).

    Reference:
        Scheffer, Decomain, Wrobel, 2001, Active hidden Markov models for information extraction.
    """
    best_N_2 = summary.mean_probs_N_C.topk(2, dim=1).values
    return (1 - (best_N_2[:, 0] - best_N_2[:, 1])).clamp(0.0, 1.0)


def least_confidence(summary: Summary) -> Tensor:
    """One minus the largest mean probability, 0 to 1 - 1/C.

    Reference:
        Lewis and Gale, 1994, A sequential algorithm for training text classifiers.
    """
    return (1 - summary.mean_probs_N_C.amax(1)).clamp_min(0.0)


def std_entropy(summary: Summary) -> Tensor:
    """The essay's `-(std * log(std)).sum(classes)`, over probabilities; 0 where all samples agree.

    The essay takes the deviations of the *logits*. There it measures no uncertainty: `-s log s` is largest at
    s = 1/e and falls, below zero, for larger deviations, and the deviation of logits grows with their size, so that
    an image the network is sure about gets the score of one it knows nothing about. Deviations of probabilities are at
    most 1/2, where `-s log s` is nearly monotone.
    """
    return std_entropy_of(summary.std_probs_N_C).clamp_min(0.0)


def std_entropy_of(std_N_C: Tensor) -> Tensor:
    """`-(std * log(std)).sum(classes)` of any deviations, 0 where all are 0; see `std_entropy`."""
    entropy_N: Tensor = 0.0 - std_N_C.xlogy(std_N_C).sum(1)
    return entropy_N


_FUNCTIONS: dict[str, Callable[[Summary], Tensor]] = {
    "predictive_entropy": predictive_entropy,
    "expected_entropy": expected_entropy,
    "mutual_information": mutual_information,
    "variation_ratio": variation_ratio,
    "mean_std": mean_std,
    "margin": margin,
    "least_confidence": least_confidence,
    "std_entropy": std_entropy,
}
assert tuple(_FUNCTIONS) == OWN_MEASURES


def measure(summary: Summary) -> dict[str, Tensor]:
    """All measures of `learner.config.OWN_MEASURES`, each `[N]`.

    >>> import torch
    >>> sure = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]).log()
    >>> torn = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]).log()
    >>> scores = measure(summarise(torch.cat([sure, torn])))
    >>> [round(x, 3) for x in scores["mutual_information"].tolist()]
    [0.0, 0.693]
    """
    return {name: function(summary) for name, function in _FUNCTIONS.items()}


@dataclass(frozen=True)
class Targets:
    """What EPIG needs of the images that it wants to know more about.

    Args:
        ratios_K_T_C: How far each sample is from their mean, `p_k / mean p - 1`, divided by K.
        weights_T_C: The mean of the samples, divided by T.
    """

    ratios_K_T_C: Tensor
    weights_T_C: Tensor

    @classmethod
    def of(cls, log_probs_T_K_C: Tensor) -> Self:
        """Prepare posterior samples of T images, consistent with those that `epig` will be given.

        Raises:
            LearnerError: If they are no log-probabilities.
        """
        _check_samples(log_probs_T_K_C, "epig")
        mean_T_C, ratios_T_K_C = _ratios(log_probs_T_K_C)
        n_targets, n_samples, _ = log_probs_T_K_C.shape
        return cls(ratios_T_K_C.transpose(0, 1).contiguous() / n_samples, mean_T_C / n_targets)


def epig(log_probs_N_K_C: Tensor, targets: Targets) -> Tensor:
    """Expected predictive information gain: E over targets of I(y; y*), in nats, 0 to the mutual information.

    How much the answer to an image would tell about the classes of the targets, a random sample of the pool. Outliers
    have a high mutual information too, but tell nothing about other images.

    The joint probability of two classes is that of independence times 1 + r, where r is the mean over the samples of
    the product of their ratios. So only products of ratios are summed, and not differences of entropies, which would
    round off gains below a millionth of a nat. Time grows with N K T C ** 2, memory not at all: all is done in blocks.

    Args:
        log_probs_N_K_C: Natural logarithms of posterior samples, k the same function as in the targets.
        targets: From `Targets.of`.

    Raises:
        LearnerError: If they are no log-probabilities, or not of as many samples and classes as the targets.

    Reference:
        Bickford Smith, Kirsch, Farquhar, Gal, Foster, Rainforth, 2023, Prediction-oriented Bayesian active learning,
        equation 4.

    >>> import torch
    >>> torn = torch.tensor([[[0.9, 0.1], [0.1, 0.9]]]).log()
    >>> round(float(epig(torn, Targets.of(torn))), 3), float(epig(torn, Targets.of(torn[:, [0, 0]])))
    (0.222, 0.0)
    """
    _check_samples(log_probs_N_K_C, "epig")
    n, n_samples, n_classes = log_probs_N_K_C.shape
    n_targets = targets.ratios_K_T_C.shape[1]
    if (n_samples, n_classes) != (len(targets.ratios_K_T_C), targets.ratios_K_T_C.shape[2]):
        raise LearnerError(
            f"epig: {n_samples} samples of {n_classes} classes, the targets have {len(targets.ratios_K_T_C)} of "
            f"{targets.ratios_K_T_C.shape[2]}"
        )
    mean_N_C, ratios_N_K_C = _ratios(log_probs_N_K_C)
    gains_N = log_probs_N_K_C.new_zeros(n)
    t = max(1, min(n_targets, EPIG_FLOATS // n_classes**2))
    m = max(1, EPIG_FLOATS // (n_classes**2 * t))
    for i in range(0, n, m):
        left = ratios_N_K_C[i : i + m].transpose(1, 2).reshape(-1, n_samples)
        for j in range(0, n_targets, t):
            right = targets.ratios_K_T_C[:, j : j + t].reshape(n_samples, -1)
            r = (left @ right).clamp_min_(LEAST_RATIO)
            terms = r.log1p().mul_(r.add_(1)) @ targets.weights_T_C[j : j + t].reshape(-1)
            gains_N[i : i + m] += (terms.view(-1, n_classes) * mean_N_C[i : i + m]).sum(1)
    return gains_N.clamp_min(0.0)


def _ratios(log_probs_N_K_C: Tensor) -> tuple[Tensor, Tensor]:
    """The mean over the samples `[N, C]`, and each sample over it, less 1: `[N, K, C]`, -1 to K - 1."""
    probs_N_K_C = log_probs_N_K_C.exp()
    mean_N_C = probs_N_K_C.mean(1)
    return mean_N_C, probs_N_K_C / mean_N_C.unsqueeze(1).clamp_min(1e-30) - 1


def _check_samples(log_probs_N_K_C: Tensor, name: str) -> None:
    if log_probs_N_K_C.ndim != 3 or 0 in log_probs_N_K_C.shape[1:]:
        raise LearnerError(f"{name}: expected log-probabilities [N, K, C], got {list(log_probs_N_K_C.shape)}")
    most_N_K = log_probs_N_K_C.amax(2)
    if not bool(((most_N_K <= 0.001) & most_N_K.isfinite()).all()):  # false for NaN too, which is the most there is
        raise LearnerError(
            f"{name}: posterior samples are not finite log-probabilities: the model is broken; fit it again"
        )
