"""The learning curve: accuracy against answers spent, as points and as a drawing of plain numbers."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from django.db.models import F
from django.db.models.fields.json import KT
from django.utils.translation import gettext as _

from labeler.models import Project, Round, RoundState, Standing, Trigger
from labeler.numerals import numeral
from labeler.selectors.features import features_words
from labeler.selectors.pool import says_something
from labeler.selectors.verdicts import TAGS

WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 80, 48, 16, 36  # room for the words of the axes as large as a phone has them
ROOM = 11  # between two marks: less, and they and their whiskers would run into each other
CROSS, SMALL_CROSS = 5, 3
OFF = (Standing.REFUSED, Standing.ASIDE, Standing.ROLLED_BACK)
MOST_PASSED = 2  # models in a row that did not take charge, before the line no longer leads past them


@dataclass(frozen=True)
class Point:
    number: int
    answers: int
    value: float
    low: float
    high: float
    n: int
    standing: str = ""
    is_in_charge: bool = False
    sees: str = ""  # by what images were seen, in words

    @property
    def is_off(self) -> bool:
        """Its model is not among those that took charge."""
        return self.standing in OFF

    @property
    def is_aside(self) -> bool:
        return self.standing == Standing.ASIDE

    @property
    def words(self) -> str:
        if self.is_in_charge:
            return _("in charge")
        return str(TAGS[Standing(self.standing)][0]) if self.standing else ""

    @property
    def percent(self) -> str:
        value, low, high = (numeral(share * 100, 1) for share in (self.value, self.low, self.high))
        return _("%(value)s %% (from %(low)s to %(high)s)") % {"value": value, "low": low, "high": high}

    @property
    def title(self) -> str:
        """All that the drawing says of it, for whoever points at it."""
        round_ = ", ".join(filter(None, [_("Round %(number)s") % {"number": self.number}, self.words]))
        values = {"round": round_, "percent": self.percent, "answers": numeral(self.answers), "n": numeral(self.n)}
        return (
            _("%(round)s: %(percent)s after %(answers)s answers (Wilson 95 %% interval, %(n)s holdout images)") % values
        )


@dataclass(frozen=True)
class Shape:
    """Of a drawing, in the units of its view box, which are about pixels where it is shown."""

    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    top: int = TOP
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


WIDE, NARROW = Shape(), Shape(420, 300, 56, 16, 392, 264)  # the second for phones: not the first at half its size


@dataclass(frozen=True)
class Mark:
    """`is_close`: it stands so near to another that it is drawn small. `is_alone`: no band shows its interval."""

    point: Point
    x: float
    y: float
    low: float
    high: float
    is_close: bool = False
    is_alone: bool = False

    @property
    def has_whisker(self) -> bool:
        """Where there is room; else the band has the interval, and of models that were never in charge the table."""
        return not self.is_close or self.is_alone or self.point.is_in_charge

    @property
    def is_small(self) -> bool:
        return self.is_close and not self.point.is_in_charge

    @property
    def cross(self) -> str:
        """The two strokes that stand for a model which did not take charge, or no longer is."""
        x, y, r = self.x, self.y, SMALL_CROSS if self.is_small else CROSS
        return f"M{x - r:g},{y - r:g}L{x + r:g},{y + r:g}M{x - r:g},{y + r:g}L{x + r:g},{y - r:g}"


@dataclass(frozen=True)
class Stretch:
    """A line through models that took charge one after the other, and the band of their intervals."""

    line: str
    band: str


@dataclass(frozen=True)
class Tick:
    at: float
    words: str


@dataclass(frozen=True)
class Change:
    """From here on models see the images in another way, whether they took charge or not."""

    at: float
    number: int
    sees: str

    @property
    def title(self) -> str:
        values = {"number": self.number, "sees": self.sees}
        return _("From round %(number)s on images are seen by %(sees)s") % values


@dataclass(frozen=True)
class Curve:
    """What the template draws, in the units of its view box; `narrow` is the same for a phone."""

    points: list[Point]  # lines lead through those whose models took charge and were not rolled back
    marks: list[Mark]
    stretches: Sequence[Stretch]
    across: list[Tick]
    up: list[Tick]
    changes: Sequence[Change] = ()
    target: float | None = None  # where its line is drawn
    ahead: str = ""  # what is expected of further answers: a line and the band around it
    ahead_band: str = ""
    shape: Shape = WIDE
    narrow: Curve | None = None

    @property
    def drawings(self) -> list[Curve]:
        return [self, self.narrow] if self.narrow else [self]

    @property
    def layers(self) -> list[Mark]:
        """What is small first, what is in charge above all."""
        return sorted(self.marks, key=lambda mark: (mark.point.is_in_charge, not mark.is_small))

    @property
    def has_close(self) -> bool:
        return any(mark.is_small for drawing in self.drawings for mark in drawing.marks)

    @property
    def has_aside(self) -> bool:
        return any(point.is_aside for point in self.points)

    @property
    def has_crosses(self) -> bool:
        return any(point.is_off and not point.is_aside for point in self.points)


Ahead = tuple[float, float, float, float]  # answers, and the accuracy then: low, middle, high


def learning_curve(project: Project) -> Curve:
    points = measured_rounds(project)
    return with_outlook(Curve(points, [], [], [], []), None, [])


def with_outlook(curve: Curve, target: float | None, ahead: Sequence[Ahead]) -> Curve:
    """The same, with a line for the target and what is expected of further answers."""
    if not curve.points:
        return curve
    wide, narrow = (_drawn(curve.points, target, ahead, shape) for shape in (WIDE, NARROW))
    return replace(wide, narrow=narrow)


def _drawn(points: list[Point], target: float | None, ahead: Sequence[Ahead], shape: Shape) -> Curve:
    across = round_ticks(math.ceil(max([point.answers for point in points] + [row[0] for row in ahead])))
    most, least = across[-1], math.floor(min([point.low for point in points] + [target or 1.0]) * 5) / 5

    def x(answers: float) -> float:
        return round(shape.left + (shape.right - shape.left) * answers / most, 1)

    def y(share: float) -> float:
        return round(shape.top + (shape.bottom - shape.top) * (1 - (share - least) / (1 - least or 1)), 1)

    def stretch(part: Sequence[Point]) -> Stretch:
        upper = [f"{x(point.answers)},{y(point.high)}" for point in part]
        lower = [f"{x(point.answers)},{y(point.low)}" for point in reversed(part)]
        return Stretch(" ".join(f"{x(point.answers)},{y(point.value)}" for point in part), " ".join(upper + lower))

    steps = [least + (1 - least) * i / 4 for i in range(5)]
    parts = _parted(points)
    marks = [Mark(point, x(point.answers), y(point.value), y(point.low), y(point.high)) for point in points]
    drawn = Curve(
        points=points,
        marks=_with_room(marks, alone={part[0].number for part in parts if len(part) == 1}),
        stretches=[stretch(part) for part in parts],
        across=[Tick(x(answers), numeral(answers)) for answers in across],
        up=[Tick(y(step), f"{numeral(step * 100)} %") for step in steps],
        changes=[
            Change(x((before.answers + after.answers) / 2), after.number, after.sees)
            for before, after in pairwise(points)
            if before.sees != after.sees
        ],
        target=None if target is None else y(target),
        shape=shape,
    )
    if not ahead:
        return drawn
    band = [f"{x(at)},{y(max(least, high))}" for at, _, _, high in ahead]
    band += [f"{x(at)},{y(max(least, low))}" for at, low, _, _ in reversed(ahead)]
    line = " ".join(f"{x(at)},{y(max(least, middle))}" for at, _, middle, _ in ahead)
    return replace(drawn, ahead=line, ahead_band=" ".join(band))


def _with_room(marks: Sequence[Mark], *, alone: Collection[int]) -> list[Mark]:
    """`alone`: rounds that are a line by themselves."""
    close = {mark.point.number for pair in pairwise(marks) if pair[1].x - pair[0].x < ROOM for mark in pair}
    return [replace(mark, is_close=mark.point.number in close, is_alone=mark.point.number in alone) for mark in marks]


def _parted(points: Sequence[Point]) -> list[list[Point]]:
    """Models that took charge, parted where a line between two of them would pass over what was measured there.

    That is where a person kept the former while others were made aside, where several in a row were refused or rolled
    back, and where models begin to see the images in another way: there nothing lies between.
    """
    parts: list[list[Point]] = []
    passed: list[Point] = []
    for point in points:
        if point.is_off:
            passed.append(point)
            continue
        is_broken = len(passed) > MOST_PASSED or any(each.is_aside for each in passed)
        if not parts or is_broken or parts[-1][-1].sees != point.sees:
            parts.append([])
        parts[-1].append(point)
        passed = []
    return parts


def measured_rounds(project: Project) -> list[Point]:
    """Rounds with a model that was measured well enough, oldest first. Of their metrics only the accuracy is read."""
    parts = {name: KT(f"metrics__accuracy__{name}") for name in ("value", "low", "high", "n")}
    rows = (
        Round.objects.filter(project=project, state=RoundState.DONE, metrics__has_key="accuracy")
        .exclude(trigger=Trigger.COMPARISON)
        .order_by("number")
        .annotate(**parts, at=F("answers_spent"))
        .values_list("number", "at", *parts, "standing", "pk", "config__features", "config__has_likeness")
    )
    return [
        Point(
            number, at, float(value), float(low), float(high), int(n), standing, pk == project.model_round_id,
            sight_words(features, is_alike=bool(is_alike)),
        )
        for number, at, value, low, high, n, standing, pk, features, is_alike in rows
        if says_something({"n": n})
    ]  # fmt: skip


def sight_words(features: str | None, *, is_alike: bool) -> str:
    """By what images are seen: `pixels`, or `likeness by features of efficientnet_lite0`."""
    seen = features_words(features)
    return _("likeness by %(seen)s") % {"seen": seen} if is_alike else seen


def round_ticks(most: int) -> list[int]:
    """From 0 to `most` or a little more in at most six round numbers.

    >>> round_ticks(240), round_ticks(3)
    ([0, 50, 100, 150, 200, 250], [0, 1, 2, 3])
    """
    wanted = max(most, 1) / 5
    size = 10 ** math.floor(math.log10(wanted))
    step = max(1, next(int(part * size) for part in (1, 2, 5, 10) if part * size >= wanted))
    return list(range(0, max(most, 1) + step, step))
