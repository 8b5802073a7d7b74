"""Classes that the model in charge finds clearly more seldom than the others, or than the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from labeler.intervals import Interval, wilson
from labeler.models import LabelClass, Project, Round
from labeler.numerals import localised
from labeler.selectors.pool import says_something

MOST = 3  # of more, the weakest
LEAST_IMAGES = 5  # of a class on the holdout: fewer are luck


@dataclass(frozen=True)
class WeakClass:
    """`recall`: the share of its holdout images that the model finds, with the usual interval. `others`: the same of
    all other classes together. `taken_for`: the class that it says most often instead, `taken` times."""

    pk: int
    name: str
    recall: Interval
    others: Interval
    taken_for: int | None = None
    taken_name: str = ""
    taken: int = 0


@dataclass(frozen=True)
class WeakClasses:
    round: Round
    rows: Sequence[WeakClass]
    target: float | None

    @property
    def target_words(self) -> str:
        return "" if self.target is None else f"{localised(f'{100 * self.target:.4g}')} %"


def weak_classes(project: Project, model: Round | None) -> WeakClasses | None:
    """None: nothing is clear, or nothing was measured.

    The worst of many classes looks bad by chance alone. So each is judged by an interval that holds for all of them at
    once (Bonferroni), whose upper end must lie below the interval of the other classes together, or below a target
    that those meet. A target that all classes miss says nothing about one of them.
    """
    confusion = model.metrics.get("confusion") if model is not None and says_something(model.metrics) else None
    if model is None or not confusion:
        return None
    found = [(at, recall, others) for at, recall, others in _measured(confusion) if recall.n >= LEAST_IMAGES]
    confidence = 1 - 0.05 / max(1, len(found))
    weak = [row for row in found if _is_weak(_upper_end(row[1], confidence), row[2], project.target_accuracy)]
    if not weak:
        return None
    names = _names(model, weak, confusion)
    rows = [
        _row(model, confusion, names, at, recall, others)
        for at, recall, others in sorted(weak, key=lambda row: row[1].value)
        if model.classes[at] in names
    ]
    return WeakClasses(model, rows[:MOST], project.target_accuracy) if rows else None


Counts = Sequence[Sequence[int]]
Measured = tuple[int, Interval, Interval]  # the class's number, its recall, that of the others together


def _measured(confusion: Counts) -> list[Measured]:
    totals = [sum(row) for row in confusion]
    right, n = sum(row[at] for at, row in enumerate(confusion)), sum(totals)
    rows = []
    for at, row in enumerate(confusion):
        recall, others = wilson(row[at], totals[at]), wilson(right - row[at], n - totals[at])
        if recall is not None and others is not None:
            rows.append((at, recall, others))
    return rows


def _is_weak(upper: float, others: Interval, target: float | None) -> bool:
    return upper < others.low or (target is not None and upper < target <= others.value)


def _upper_end(recall: Interval, confidence: float) -> float:
    wide = wilson(round(recall.value * recall.n), recall.n, confidence=confidence)
    assert wide is not None
    return wide.high


def _taken_for(row: Sequence[int], at: int) -> int:
    """The number of the class that is said most often instead."""
    return max((other for other in range(len(row)) if other != at), key=row.__getitem__)


def _names(model: Round, weak: Sequence[Measured], confusion: Counts) -> dict[int, str]:
    """Of the classes that are still offered: others are nobody's concern any more."""
    wanted = {model.classes[place] for at, *_ in weak for place in (at, _taken_for(confusion[at], at))}
    return dict(LabelClass.objects.filter(pk__in=wanted, is_archived=False).values_list("pk", "name"))


def _row(
    model: Round, confusion: Counts, names: Mapping[int, str], at: int, recall: Interval, others: Interval
) -> WeakClass:
    pk, other = model.classes[at], _taken_for(confusion[at], at)
    taken_for, taken = model.classes[other], confusion[at][other]
    if not taken or taken_for not in names:
        return WeakClass(pk, names[pk], recall, others)
    return WeakClass(pk, names[pk], recall, others, taken_for, names[taken_for], taken)
