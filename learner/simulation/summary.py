"""What many curves say together: answers until a target, with quartiles and the paired difference to another order."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from learner.files import write_bytes
from learner.metrics import Interval, normal_mean

Curve = Mapping[int, float]
"""Accuracy by the number of answers."""

Curves = Mapping[str, Mapping[int, Curve]]
"""Of each strategy, of each seed. Seeds that two strategies share are pairs."""

COLUMNS = ("strategy", "seed", "answers", "accuracy", "class_accuracy", "seconds")
SHOWN = 12
"""Numbers of answers that a table of accuracies shows, at most."""


@dataclass(frozen=True)
class Quantiles:
    """Of counts that may be infinite: a seed that never got there.

    Args:
        median: The middle one, or the mean of the middle two.
        low: Lower end of the median's 95 % interval, by order statistics (binomial).
        high: Upper end.
        first: A quarter of the counts is at most this.
        third: Three quarters are.
        ninth: Nine in ten are.
        worst: All are.
    """

    median: float
    low: float
    high: float
    first: float
    third: float
    ninth: float
    worst: float

    def __str__(self) -> str:
        """As `14 [13 to 15]; 12 to 16; 17; 25`."""
        return (
            f"{self.median:g} [{self.low:g} to {self.high:g}]; {self.first:g} to {self.third:g}; {self.ninth:g}; "
            f"{self.worst:g}"
        )


def quantiles(counts: Iterable[float]) -> Quantiles:
    """Sum counts up.

    >>> print(quantiles([12, 14, 16, math.inf]))
    15 [12 to inf]; 12 to 16; inf; inf
    """
    from scipy import stats

    ordered = np.sort(np.array(list(counts), np.float64))
    n = len(ordered)
    low = int(stats.binom.ppf(0.025, n, 0.5))
    first, third, ninth = (float(ordered[min(n - 1, math.ceil(share * n) - 1)]) for share in (0.25, 0.75, 0.9))
    return Quantiles(
        float(np.median(ordered)), float(ordered[max(0, low - 1)]), float(ordered[min(n - 1, n - low)]), first, third,
        ninth, float(ordered[-1]),
    )  # fmt: skip


def reached(curve: Curve, target: float) -> tuple[float, float]:
    """After how many answers a curve is first at a target, and from how many on it stays there; infinite: never.

    >>> reached({5: 0.5, 10: 0.96, 15: 0.94, 20: 0.97}, 0.95)
    (10, 20)
    """
    first = next((answers for answers in sorted(curve) if curve[answers] >= target), math.inf)
    lasting = math.inf
    for answers in sorted(curve, reverse=True):
        if curve[answers] < target:
            break
        lasting = answers
    return first, lasting


def saved(ours: Mapping[int, Curve], theirs: Mapping[int, Curve], target: float) -> Interval | None:
    """How many answers fewer we need until a lasting target, seed by seed; see `paired_difference`.

    A seed that does not get there counts with the last number of answers: where only they fail, the saving is larger
    than this says.
    """
    seeds = sorted(set(ours) & set(theirs))
    last = max((max(curve) for each in (ours, theirs) for curve in each.values()), default=0)
    counts = [[min(last, reached(each[seed], target)[1]) for seed in seeds] for each in (theirs, ours)]
    return paired_difference(np.array(counts[0], np.float64), np.array(counts[1], np.float64))


def paired_difference(one_S: npt.NDArray[np.float64], other_S: npt.NDArray[np.float64]) -> Interval | None:
    """The mean of one less the other with its 95 % interval (Student); None of fewer than two pairs.

    Args:
        one_S: A value of each seed.
        other_S: The value with the same seed.
    """
    from scipy import stats

    n = len(one_S)
    if n < 2:
        return None
    normal = normal_mean(one_S - other_S)
    half = normal.half_width * stats.t.ppf(0.975, n - 1) / stats.norm.ppf(0.975)
    return Interval(normal.value, normal.value - half, normal.value + half, n, "student")


def table(curves: Curves, targets: Sequence[float], *, baseline: str = "random") -> list[str]:
    """Lines for people: answers until each target, then accuracies, each with the paired difference to a baseline.

    Args:
        curves: At least one curve of each strategy.
        targets: Accuracies, 0 to 1.
        baseline: A strategy; if there is none of that name, there are no differences.
    """
    lines, width, last = [], max(len(name) for name in curves), shared_answers(curves)[-1]
    for target in targets:
        what = f"median [95 % interval]; quartiles; nine in ten; worst; inf: more than {last}"
        lines.append(f"answers until {target:.0%}  ({what})")
        for name, of_seed in curves.items():
            pairs = [reached(curve, target) for curve in of_seed.values()]
            for kind, counts in zip(("first", "lasting"), zip(*pairs, strict=True), strict=True):
                words = f"  {name:{width}s}  {kind:7s}  {quantiles(counts)}"
                is_compared = kind == "lasting" and name != baseline and baseline in curves
                if is_compared and min(counts) < math.inf:
                    words += f"; fewer than {baseline}, counted up to {last}: "
                    words += _in_words(saved(of_seed, curves[baseline], target), ".1f")
                lines.append(words)
        lines.append("")
    lines.append("accuracy  (median; worst; mean of the paired difference)")
    return [*lines, *(_accuracies(curves, answers, baseline) for answers in _shown(curves))]


def _accuracies(curves: Curves, answers: int, baseline: str) -> str:
    words = [f"{answers:6d}"]
    for name, of_seed in curves.items():
        values = np.array([curve[answers] for curve in of_seed.values()])
        words.append(f"{name} {np.median(values):.3f}; {values.min():.3f}")
        if name != baseline and baseline in curves:
            seeds = sorted(set(of_seed) & set(curves[baseline]))
            pairs = np.array([(of_seed[seed][answers], curves[baseline][seed][answers]) for seed in seeds])
            words[-1] += f"; {_in_words(paired_difference(*pairs.reshape(-1, 2).T), '+.3f')}"
    return "   ".join(words)


def _in_words(interval: Interval | None, form: str) -> str:
    if interval is None:
        return "not known of fewer than two pairs"
    return f"{interval.value:{form}} ± {interval.half_width:{form.lstrip('+')}}"


def shared_answers(curves: Curves) -> list[int]:
    """Numbers of answers that all curves have, in ascending order."""
    return sorted(set.intersection(*(set(curve) for of_seed in curves.values() for curve in of_seed.values())))


def _shown(curves: Curves) -> list[int]:
    """Some of them, the last among them: as many again at each step, more or less."""
    answers = shared_answers(curves)
    if len(answers) <= SHOWN:
        return answers
    wanted = np.geomspace(answers[0], answers[-1], SHOWN)
    return sorted({min(answers, key=lambda count: abs(count - each)) for each in wanted})


def write_csv(path: Path, rows: Iterable[Sequence[object]]) -> Path:
    """Write rows of `COLUMNS`, whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return write_bytes(path, text.getvalue().encode())
