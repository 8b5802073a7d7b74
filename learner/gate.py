"""Whether a new representation may take over from the present one (`judge`): measured on labels that neither has
learned from, and, as those are few at first, by what can be told without labels. Whether a round's model may
(`judge_round`): by the labels of the holdout alone. numpy only.

What is told without labels rests on the graph, and where that knows little it says little. So it gives way to a proof:
a holdout on which the new model is better, with the whole interval of the difference above 0, or answers that were kept
back from both and of which it is right about more than chance explains. One that taught itself needs such a proof.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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

CHANCE = 0.15
"""One-sided, of the sign test on answers that were kept back. Few are: three gains and no loss are enough, for what was
accepted by luck is gone back on by a click, and rounds have a gate of their own."""

CONTESTED = 5
"""Images that the two disagree about, which people are asked about before the next network."""

LEAST_HELD = 50
"""Images of the lesson that were kept back; with fewer nothing can be told."""

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
        agreement: With the lesson, about images of it that were kept back; None where none was.
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
        held_m: What the new one predicts of images of its lesson that were kept back from it.
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


def contested(positions_S: Integers, old_S: Integers, new_S: Integers, *, seed: int) -> Integers:
    """Images to ask people about, so that the next network can be told from the present model: on all others the two
    are right or wrong together, or nearly so, and answers about those prove nothing.

    Args:
        positions_S: int64, of a random sample of what may be asked about.
        old_S: What the present model predicts of them.
        new_S: What the new one does.
        seed: Of the draw.

    Returns:
        int64, at most `CONTESTED`, drawn at random from those that the two disagree about: neither is favoured.

    Reference:
        Seung, Opper, Sompolinsky, 1992, Query by committee, with a committee of these two.
    """
    differing = positions_S[old_S != new_S]
    return np.random.default_rng(seed).permutation(differing)[:CONTESTED]


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


LOST_CLASS = "lost_class"
ROUND_OBJECTIONS = (FEWER_RIGHT, LOST_CLASS)
"""Why a round's model is refused: it is right about significantly fewer images; it finds significantly fewer of the
images of some class."""

ROUND_ERROR = 0.05
"""How often, at most, a model that is as good as the one in charge is refused. Half of it is spent on all images, half
on the classes together."""


@dataclass(frozen=True)
class ClassChange:
    """One class on the images that people say are of it.

    Args:
        number: Of the class.
        n: Images, at least 1.
        old_right: Of these the model in charge finds.
        new_right: Of these the new one finds.
        difference: New less old recall, paired.
        p: Of the exact one-sided sign test, corrected for all classes on which the two differ; 1 where they do not.
        is_lost: Whether that is less than the classes' half of `ROUND_ERROR`.
    """

    number: int
    n: int
    old_right: int
    new_right: int
    difference: Interval
    p: float
    is_lost: bool


@dataclass(frozen=True)
class RoundVerdict:
    """What speaks against a round's model.

    Args:
        n: Images that both were measured on.
        old_right: Of these the model in charge is right about.
        new_right: Of these the new one is right about.
        difference: New less old accuracy, paired; None of no image.
        p: Of the exact one-sided sign test on all images.
        classes: Those that have images, in their order.
        objections: Of `ROUND_OBJECTIONS`; none: it is accepted.
    """

    n: int
    old_right: int
    new_right: int
    difference: Interval | None
    p: float
    classes: tuple[ClassChange, ...]
    objections: tuple[str, ...]

    @property
    def is_accepted(self) -> bool:
        """Whether it may take charge."""
        return not self.objections


def judge_round(*, old_n: Integers, new_n: Integers, labels_n: Integers) -> RoundVerdict:
    """Whether a round's model is significantly worse than the model in charge, on the same images of a random holdout.

    Overall it is if the whole paired interval is below 0 and the exact sign test agrees: on few images the interval is
    approximate, and alone would refuse too often. By class it is if the sign test says so, corrected over the classes
    on which the two differ. Given how many images the two differ about, which decides nothing, a model that is as good
    has each difference for or against it with probability 1/2; so it is refused with a probability of at most
    `ROUND_ERROR`, whatever the number of images and classes.

    Args:
        old_n: What the model in charge predicts, class numbers, int64 `[n]`; there may be none.
        new_n: What the new one predicts.
        labels_n: What people say; neither model has learned from these images.

    Raises:
        LabelError: If lengths differ.

    Reference:
        McNemar, 1947, Note on the sampling error of the difference between correlated proportions or percentages, in
        its exact form: the binomial test of the discordant pairs. Holm, 1979, A simple sequentially rejective multiple
        test procedure. The interval: `paired_accuracy`.
    """
    if not len(old_n) == len(new_n) == len(labels_n):
        raise LabelError("predictions and labels differ in number")
    is_old_right, is_new_right = old_n == labels_n, new_n == labels_n
    numbers = np.unique(labels_n).tolist()
    counts = [_pairs(is_old_right[labels_n == c], is_new_right[labels_n == c]) for c in numbers]
    corrected = holm([sign_test(lost, gained) if gained + lost else None for gained, lost, _, _ in counts])
    classes = tuple(
        ClassChange(
            c, n, old_right, old_right + gained - lost, paired_accuracy(gained, lost, n), p, p < ROUND_ERROR / 2
        )
        for c, (gained, lost, old_right, n), p in zip(numbers, counts, corrected, strict=True)
    )
    gained, lost, old_right, n = _pairs(is_old_right, is_new_right)
    difference, p = (paired_accuracy(gained, lost, n), sign_test(lost, gained)) if n else (None, 1.0)
    found = {
        FEWER_RIGHT: difference is not None and difference.high < 0 and p < ROUND_ERROR / 2,
        LOST_CLASS: any(each.is_lost for each in classes),
    }
    objections = tuple(name for name in ROUND_OBJECTIONS if found[name])
    return RoundVerdict(n, old_right, old_right + gained - lost, difference, p, classes, objections)


def _pairs(is_old_right: npt.NDArray[np.bool_], is_new_right: npt.NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Images that only the new model is right about, only the old one; that the old one is right about; and all."""
    gained, lost = int((is_new_right & ~is_old_right).sum()), int((is_old_right & ~is_new_right).sum())
    return gained, lost, int(is_old_right.sum()), len(is_old_right)


def holm(values: Sequence[float | None]) -> list[float]:
    """Holm's adjusted p-values, in the order given. None stands for what cannot be tested: it counts for nothing, and
    gets 1.

    >>> holm([0.01, None, 0.03, 0.02])
    [0.03, 1.0, 0.04, 0.04]
    """
    tested = sorted((value, index) for index, value in enumerate(values) if value is not None)
    adjusted, least = [1.0] * len(values), 0.0
    for rank, (value, index) in enumerate(tested):
        least = max(least, min(1.0, (len(tested) - rank) * value))
        adjusted[index] = least
    return adjusted
