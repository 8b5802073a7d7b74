"""Where a learning curve leads: a power law fitted to measured rounds, with everything that is not known about it.

numpy only, for pages. The error of a model after a answers is taken to be f(a) = c + b (a / r)^-k with b, k > 0 and
c >= 0 (Hestness et al. 2017, "Deep Learning Scaling is Predictable, Empirically", eq. 1; r: the median of the answers).
Instead of one best fit it keeps all triples of a grid with their posterior weights: what the rounds leave open stays
open in what is said of the future. Rounds are measured on much the same images, so their errors go up and down
together; the covariance says so (a rank-one update of a diagonal, by Sherman and Morrison's formula).

Where a network took over, the error fell at once. The rounds before it tell how fast such errors fall, and not where
they stand now: each stretch of rounds that saw the images in one way has a factor of its own, which is summed over.
"""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
LEAST_ROUNDS, LEAST_IMAGES, LEAST_GROWTH = 4, 30, 2.0
"""Fewer rounds or measured images, or answers that have not doubled since the first round: too early to say."""

MOST_ROUNDS = 24
"""Of more rounds, some evenly spaced in the logarithm of their answers are taken: neighbours say much the same."""

ALIKE = 0.7
"""Correlation of the sampling errors of two rounds that are measured on the same images: what one model gets wrong the
next mostly gets wrong, too."""

LEVELS = (0.025, 0.5, 0.975)
FACTORS = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 16.0)
"""How large the error of an older stretch may be, in parts of what the newest would have had: all alike beforehand."""

SPREADS = (0.02, 0.06, 0.15, 0.3)
"""Standard deviation of a round's true error around the curve, in parts of that error."""

DRAWS = 4000


@dataclass(frozen=True)
class Span:
    """A median with its 95 % interval; `high` is infinite where more than 2.5 % of the curves never get there."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Forecast:
    """What is known of a curve after `now` answers: G curves with their weights.

    Args:
        now: Answers at the newest round.
        reference: r of the power law, in answers.
        floor_G: c, the error that no number of answers takes away, 0 to 1.
        scale_G: b, the error above the floor after r answers.
        power_G: k.
        spread_G: Standard deviation of a round around the curve, in parts of its error.
        weight_G: Posterior probabilities; they sum to 1.
    """

    now: float
    reference: float
    floor_G: Floats
    scale_G: Floats
    power_G: Floats
    spread_G: Floats
    weight_G: Floats

    def error_at(self, answers: float) -> Span:
        """The error of the curve itself after so many answers, 0 to 1."""
        return self._span(self._curves(answers))

    def answers_to(self, accuracy: float) -> Span:
        """Answers in all until the curve reaches this accuracy (0 to 1); infinite: never."""
        room_G = 1 - accuracy - self.floor_G
        with np.errstate(over="ignore"):
            needed_G = self.reference * (self.scale_G / np.maximum(room_G, 1e-12)) ** (1 / self.power_G)
        return self._span(np.where(room_G > 0, needed_G, np.inf))

    def chance_of(self, accuracy: float) -> float:
        """Probability that this accuracy is reached with any number of answers."""
        return float(self.weight_G[1 - accuracy - self.floor_G > 0].sum())

    def worth(self, more: int) -> Span:
        """How far the curve's own error falls with `more` answers, 0 to 1: what they bring, whatever luck a single
        round has. Never negative."""
        return self._span(self._curves(self.now) - self._curves(self.now + more))

    def gain(self, more: int) -> Span:
        """Accuracy of the next round's model less that of the present one, `more` answers apart.

        Both lie by chance above or below the curve, so it may be negative though the curve only falls.
        """
        rng = np.random.default_rng(0)
        picked = rng.choice(len(self.weight_G), DRAWS, p=self.weight_G)
        before, after = self._curves(self.now)[picked], self._curves(self.now + more)[picked]
        noise = self.spread_G[picked] * (before * rng.standard_normal(DRAWS) - after * rng.standard_normal(DRAWS))
        low, value, high = np.quantile(before - after + noise, LEVELS)
        return Span(float(np.median(before - after)), float(min(low, value)), float(max(high, value)))

    def _curves(self, answers: float) -> Floats:
        curves: Floats = self.floor_G + self.scale_G * (max(answers, 1.0) / self.reference) ** -self.power_G
        return np.minimum(curves, 1.0)

    def _span(self, values_G: Floats) -> Span:
        order = np.argsort(values_G, kind="stable")
        reached = np.cumsum(self.weight_G[order])
        low, value, high = (
            float(values_G[order[min(int(np.searchsorted(reached, level)), len(order) - 1)]]) for level in LEVELS
        )
        return Span(value, low, high)


def forecast(
    answers: Sequence[int], wrong: Sequence[int], measured: Sequence[int], sees: Sequence[str] | None = None
) -> Forecast | None:
    """Fit the curve to rounds in the order of their answers. None: too early to say.

    Args:
        answers: Answers that each round had.
        wrong: Images of the random holdout that its model got wrong.
        measured: Images that it was measured on.
        sees: In which way it saw the images, by any name; None: all in the same.

    Raises:
        ValueError: They differ in length, or more is wrong than was measured.
    """
    sees = [""] * len(answers) if sees is None else sees
    if not len(answers) == len(wrong) == len(measured) == len(sees):
        raise ValueError("answers, wrong, measured and sees differ in length")
    if any(not 0 <= k <= n for k, n in zip(wrong, measured, strict=True)):
        raise ValueError("more is wrong than was measured")
    ways = list(dict.fromkeys(reversed(sees)))  # the newest is 0
    rows = [
        (n_answers, n_wrong, n, ways.index(way))
        for n_answers, n_wrong, n, way in zip(answers, wrong, measured, sees, strict=True)
        if n_answers > 0 and n >= LEAST_IMAGES
    ]
    if lacking(answers, measured).any:
        return None
    return _forecast(tuple(_thinned(rows)), max(row[0] for row in rows))


@dataclass(frozen=True)
class Lacking:
    """What it takes before anything is said: measured images, rounds measured on so many, and answers of the last."""

    images: int
    rounds: int
    answers: int

    @property
    def any(self) -> bool:
        """Whether it takes anything."""
        return bool(self.images or self.rounds or self.answers)


def lacking(answers: Sequence[int], measured: Sequence[int]) -> Lacking:
    """What is missing, of the arguments of `forecast`. Answers: until there are twice those of the first round that
    counts."""
    counting = [n for n, images in zip(answers, measured, strict=True) if n > 0 and images >= LEAST_IMAGES]
    images = 0 if counting else LEAST_IMAGES - max(measured, default=0)
    most = math.ceil(LEAST_GROWTH * min(counting)) - max(counting) if counting else 0
    return Lacking(max(0, images), max(0, LEAST_ROUNDS - len(counting)), max(0, most))


Row = tuple[int, int, int, int]  # answers, wrong, measured, the way of seeing


def _thinned(rows: list[Row]) -> list[Row]:
    if len(rows) <= MOST_ROUNDS:
        return rows
    logs = np.log([row[0] for row in rows])
    wanted = np.linspace(logs.min(), logs.max(), MOST_ROUNDS - 4)
    kept = {int(np.abs(logs - at).argmin()) for at in wanted} | set(range(len(rows) - 4, len(rows)))
    return [rows[at] for at in sorted(kept)]


@lru_cache(maxsize=32)
def _forecast(rows: tuple[Row, ...], now: int) -> Forecast:
    """Pages ask again and again about the same rounds: a tenth of a second each time."""
    answers_R, wrong_R, n_R, way_R = (np.array(column, np.float64) for column in zip(*rows, strict=True))
    reference = float(np.median(answers_R))
    floor_G, scale_G, power_G, prior_G = _grid()
    curve_G_R = np.minimum(
        floor_G[:, None] + scale_G[:, None] * (answers_R / reference)[None] ** -power_G[:, None], 1.0
    )
    stretches = [(np.flatnonzero(way_R == way), (1.0,) if way == 0 else FACTORS) for way in np.unique(way_R)]
    logs = [
        prior_G
        + sum(
            _log_mean(
                [
                    _log_likelihood(wrong_R[at] / n_R[at], np.minimum(factor * curve_G_R[:, at], 1.0), n_R[at], spread)
                    for factor in factors
                ]
            )
            for at, factors in stretches
        )
        for spread in SPREADS
    ]
    log_S_G = np.stack(logs)
    weight_S_G = np.exp(log_S_G - log_S_G.max())
    weight_S_G /= weight_S_G.sum()
    kept = np.flatnonzero(weight_S_G.ravel() > 1e-9)
    spread, at = np.divmod(kept, len(floor_G))
    weight_G = weight_S_G.ravel()[kept]
    return Forecast(
        now=float(now),
        reference=reference,
        floor_G=floor_G[at],
        scale_G=scale_G[at],
        power_G=power_G[at],
        spread_G=np.array(SPREADS)[spread],
        weight_G=weight_G / weight_G.sum(),
    )


@lru_cache(maxsize=1)
def _grid() -> tuple[Floats, Floats, Floats, Floats]:
    """Floor, scale, power and the logarithm of their prior: three in ten for no floor at all, else all orders of
    magnitude alike; powers from 0.1 to 2.5, likeliest around 0.5."""
    floors = np.concatenate([[0.0], np.geomspace(0.001, 0.6, 15)])
    floor_prior = np.concatenate([[0.3], np.full(15, 0.7 / 15)])
    scales = np.geomspace(0.001, 1.0, 44)
    powers = np.geomspace(0.1, 2.5, 18)
    power_prior = np.exp(-0.5 * ((np.log(powers) - math.log(0.5)) / 0.8) ** 2)
    floor_G, scale_G, power_G = (grid.ravel() for grid in np.meshgrid(floors, scales, powers, indexing="ij"))
    prior = floor_prior[:, None, None] * np.ones(len(scales))[None, :, None] * power_prior[None, None, :]
    return floor_G, scale_G, power_G, np.log(prior.ravel() / prior.sum())


def _log_mean(logs: Sequence[Floats]) -> Floats:
    """The logarithm of the mean of what these are logarithms of."""
    total_G: Floats = np.logaddexp.reduce(logs) - math.log(len(logs))
    return total_G


def _log_likelihood(observed_R: Floats, curve_G_R: Floats, n_R: Floats, spread: float) -> Floats:
    """Of all curves at once. The covariance is that of each curve itself, not of what was observed: else rounds with a
    luckily small error would count most. It is a diagonal D plus s s': what is each round's own (sampling, and its
    luck), and what all share because they are measured on the same images."""
    sampling_G_R = np.maximum(curve_G_R * (1 - curve_G_R), 0.25 / n_R) / n_R
    own_G_R = (1 - ALIKE) * sampling_G_R + (spread * curve_G_R) ** 2
    shared_G_R = np.sqrt(ALIKE * sampling_G_R * n_R / n_R.max())
    residual_G_R = observed_R - curve_G_R
    inside_G = 1 + (shared_G_R**2 / own_G_R).sum(1)
    along_G = (shared_G_R * residual_G_R / own_G_R).sum(1)
    squares_G = (residual_G_R**2 / own_G_R).sum(1) - along_G**2 / inside_G
    log_G: Floats = -0.5 * (squares_G + np.log(own_G_R).sum(1) + np.log(inside_G))
    return log_G
