"""Whether a new representation may take over from the present one: measured on labels that neither has learned from,
and, as those are few at first, by what can be told without labels. numpy only.

What is told without labels rests on the graph, and where that knows little it says little. So it gives way to a proof:
a holdout on which the new model is better, with the whole interval of the difference above 0, or answers that were kept
back from both and of which it is right about more than chance explains. One that taught itself needs such a proof.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from learner.errors import LabelError
from learner.metrics import Z_95, Interval, sign_test, wilson

Integers = npt.NDArray[np.int64]

FEWER_RIGHT, UNPROVEN, UNTAUGHT, DISAGREES, FORGETS, SHIFTED = (
    "fewer_right", "unproven", "untaught", "disagrees", "forgets", "shifted",
)  # fmt: skip
OBJECTIONS = (FEWER_RIGHT, UNPROVEN, UNTAUGHT, DISAGREES, FORGETS, SHIFTED)
"""Why it is refused: it is right about fewer measured images; there is no proof and it needs one; the graph is sure of
too few images to tell; it disagrees with the graph where that is sure; it hardly predicts a class that has answers; its
classes are of other sizes."""

CHANCE = 0.05
"""One-sided, of the sign test on answers that were kept back."""

LEAST_HELD = 50
"""Images that the graph is sure of and that were kept back; with fewer nothing can be told."""

AGREES = 0.97
"""It has to agree with the graph about this share of them. See docs/log.md for what networks reach that are better, and
that are not."""

REMEMBERED = 0.2
"""Each class with answers has to be predicted at least so often, as a part of what the graph believes."""

MOST_SHIFT = 0.1
"""At most this share of all images may go to other classes than the graph believes, in sum."""


@dataclass(frozen=True)
class Verdict:
    """What speaks for and against.

    Args:
        n: Measured images.
        old_right: Of these the present model is right about.
        new_right: Of these the new one is right about.
        difference: New less old accuracy, paired; None of no image.
        is_proven: Whether images drawn at random, or answers that were kept back, show that the new one is better.
        agreement: With the graph, about images that it is sure of; None where none was kept back.
        forgotten: Classes with answers that it hardly predicts.
        shift: Share of images that go to other classes than the graph believes, in sum.
        objections: Of `OBJECTIONS`; none: it is accepted.
    """

    n: int
    old_right: int
    new_right: int
    difference: Interval | None
    is_proven: bool
    agreement: Interval | None
    forgotten: tuple[int, ...]
    shift: float
    objections: tuple[str, ...]

    @property
    def is_accepted(self) -> bool:
        """Whether it may take over."""
        return not self.objections


def judge(
    *,
    old_n: Integers,
    new_n: Integers,
    labels_n: Integers,
    is_random_n: npt.NDArray[np.bool_],
    is_kept_n: npt.NDArray[np.bool_] | None = None,
    held_m: Integers,
    held_labels_m: Integers,
    sample_S: Integers,
    shares_C: npt.NDArray[np.float64],
    named: Integers,
    needs_proof: bool = False,
) -> Verdict:
    """Weigh a new model against the present one. All predictions are class numbers, int64.

    Args:
        old_n: What the present model predicts of the measured images; there may be none.
        new_n: What the new one predicts of them.
        labels_n: What people say of them. Neither model has learned from these answers.
        is_random_n: bool, which of them were drawn at random. Others were asked about because the present model was
            unsure, which speaks for the new one: they prove nothing.
        is_kept_n: bool, which of them had been answered before and were kept back from both. Earlier models chose some
            of them: they prove something only together with those at random, of which it may not be right about fewer.
            None: none.
        held_m: What the new one predicts of images that the graph is sure of and that were kept back from it.
        held_labels_m: What the graph says of them.
        sample_S: What the new one predicts of a random sample of the pool, or of all of it.
        shares_C: Of each class, as the graph believes.
        named: Classes that have answers.
        needs_proof: Whether nothing but a proof speaks for it: the graph has not taught it.

    Raises:
        LabelError: If lengths differ, or the sample is empty.
    """
    is_whole = len(old_n) == len(new_n) == len(labels_n) == len(is_random_n) and len(held_m) == len(held_labels_m)
    if not is_whole or not len(sample_S):
        raise LabelError("predictions and labels differ in number, or there are none to compare")
    difference, gain = _difference(old_n, new_n, labels_n)
    at_random, gain_at_random = _difference(old_n[is_random_n], new_n[is_random_n], labels_n[is_random_n])
    kept_n = is_random_n if is_kept_n is None else is_random_n | is_kept_n
    is_beyond_chance = sign_test(*_only(old_n[kept_n], new_n[kept_n], labels_n[kept_n])) < CHANCE
    is_shown = is_kept_n is not None and is_beyond_chance and gain_at_random >= 0
    is_proven = is_shown or (at_random is not None and at_random.low > 0)
    rests_on_graph = not is_proven and not needs_proof
    predicted_C = np.bincount(sample_S, minlength=len(shares_C)) / len(sample_S)
    forgotten = tuple(c for c in named.tolist() if predicted_C[c] < REMEMBERED * shares_C[c])
    agreement = wilson(int((held_m == held_labels_m).sum()), len(held_m)) if len(held_m) else None
    shift = float(np.abs(predicted_C - shares_C).sum() / 2)
    found = {
        FEWER_RIGHT: gain < 0,
        UNPROVEN: needs_proof and not is_proven,
        UNTAUGHT: rests_on_graph and len(held_m) < LEAST_HELD,
        DISAGREES: rests_on_graph and agreement is not None and agreement.value < AGREES,
        FORGETS: bool(forgotten),
        SHIFTED: rests_on_graph and shift > MOST_SHIFT,
    }
    objections = tuple(name for name in OBJECTIONS if found[name])
    n, old_right, new_right = len(labels_n), int((old_n == labels_n).sum()), int((new_n == labels_n).sum())
    return Verdict(n, old_right, new_right, difference, is_proven, agreement, forgotten, shift, objections)


def _difference(old_n: Integers, new_n: Integers, labels_n: Integers) -> tuple[Interval | None, int]:
    """Of the accuracies, with its interval, and in images."""
    gained, lost = _only(old_n, new_n, labels_n)
    return (paired_accuracy(gained, lost, len(labels_n)) if len(labels_n) else None), gained - lost


def _only(old_n: Integers, new_n: Integers, labels_n: Integers) -> tuple[int, int]:
    """Images that only the new model is right about, and that only the old one is."""
    is_old_right, is_new_right = old_n == labels_n, new_n == labels_n
    return int((is_new_right & ~is_old_right).sum()), int((is_old_right & ~is_new_right).sum())


def paired_accuracy(gained: int, lost: int, n: int) -> Interval:
    """The difference of two accuracies on the same images, with its 95 % interval.

    Args:
        gained: Images that only the new model is right about.
        lost: Images that only the old one is right about.
        n: All, at least 1.

    Reference:
        Bonett and Price, 2012, Adjusted Wald confidence interval for a difference of binomial proportions based on
        paired data, equation 5.

    >>> paired_accuracy(8, 2, 100).value, paired_accuracy(8, 2, 100).low > -0.02
    (0.06, True)
    """
    more, less = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    centre, half = more - less, Z_95 * math.sqrt((more + less - (more - less) ** 2) / (n + 2))
    return Interval((gained - lost) / n, max(-1.0, centre - half), min(1.0, centre + half), n, "adjusted wald")
