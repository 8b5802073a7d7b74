"""The learning curve: accuracy against answers spent, as points and as a drawing of plain numbers."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from django.utils.translation import gettext as _

from labeler.models import Project
from labeler.numerals import numeral
from labeler.selectors.measured import Offered, Point, measured_rounds

WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 80, 48, 16, 36  # room for the words of the axes as large as a phone has them
ROOM = 11  # between two marks: less, and they and their whiskers would run into each other
CROSS, SMALL_CROSS = 5, 3
MOST_PASSED = 2  # models in a row that did not take charge, before the line no longer leads past them


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
class Square:
    """An `Offered` as it is drawn, by its centre."""

    offered: Offered
    x: float
    y: float


@dataclass(frozen=True)
class Row:
    """A round in the curve's table."""

    number: int
    answers: int
    point: Point | None
    offered: Offered | None


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
    offered: Sequence[Offered] = ()  # of models that took charge
    squares: Sequence[Square] = ()
    offered_line: str = ""

    @property
    def rows(self) -> list[Row]:
        """What the table says, oldest first."""
        points = {row.number: row for row in self.points}
        offered = {row.number: row for row in self.offered}
        numbers = sorted({*points, *offered})
        return [Row(n, (points.get(n) or offered[n]).answers, points.get(n), offered.get(n)) for n in numbers]

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
    points, offered = measured_rounds(project)
    return with_outlook(Curve(points, [], [], [], [], offered=offered), None, [])


def with_outlook(curve: Curve, target: float | None, ahead: Sequence[Ahead]) -> Curve:
    """The same, with a line for the target and what is expected of further answers."""
    if not curve.points and not curve.offered:
        return curve
    wide, narrow = (_drawn(curve, target, ahead, shape) for shape in (WIDE, NARROW))
    return replace(wide, narrow=narrow)


@dataclass(frozen=True)
class _Scale:
    """From answers and shares to the units of a view box."""

    shape: Shape
    most: float
    least: float

    def x(self, answers: float) -> float:
        return round(self.shape.left + (self.shape.right - self.shape.left) * answers / self.most, 1)

    def y(self, share: float) -> float:
        height, reach = self.shape.bottom - self.shape.top, 1 - self.least or 1
        return round(self.shape.top + height * (1 - (max(self.least, share) - self.least) / reach), 1)

    def line(self, rows: Iterable[tuple[float, float]]) -> str:
        return " ".join(f"{self.x(answers)},{self.y(share)}" for answers, share in rows)

    def band(self, rows: Sequence[tuple[float, float, float]]) -> str:
        """Of answers, low and high: there along the upper edge, back along the lower one."""
        upper = self.line((at, high) for at, _, high in rows)
        return f"{upper} {self.line((at, low) for at, low, _ in reversed(rows))}"


def _drawn(curve: Curve, target: float | None, ahead: Sequence[Ahead], shape: Shape) -> Curve:
    points = curve.points
    every: list[Point | Offered] = [*points, *curve.offered]
    across = round_ticks(math.ceil(max([row.answers for row in every] + [row[0] for row in ahead])))
    least = math.floor(min([row.low for row in every] + [target or 1.0]) * 5) / 5
    scale = _Scale(shape, across[-1], least)
    parts = _parted(points)
    marks = [Mark(row, scale.x(row.answers), scale.y(row.value), scale.y(row.low), scale.y(row.high)) for row in points]
    return Curve(
        points=points,
        marks=_with_room(marks, alone={part[0].number for part in parts if len(part) == 1}),
        stretches=[
            Stretch(
                scale.line((row.answers, row.value) for row in part),
                scale.band([(row.answers, row.low, row.high) for row in part]),
            )
            for part in parts
        ],
        across=[Tick(scale.x(answers), numeral(answers)) for answers in across],
        up=[
            Tick(scale.y(step), f"{numeral(step * 100)} %") for step in (least + (1 - least) * i / 4 for i in range(5))
        ],
        changes=[
            Change(scale.x((before.answers + after.answers) / 2), after.number, after.sees)
            for before, after in pairwise(points)
            if before.sees != after.sees
        ],
        target=None if target is None else scale.y(target),
        ahead=scale.line((at, middle) for at, _, middle, _ in ahead),
        ahead_band=scale.band([(at, low, high) for at, low, _, high in ahead]) if ahead else "",
        shape=shape,
        offered=curve.offered,
        squares=[Square(row, scale.x(row.answers), scale.y(row.value)) for row in curve.offered],
        offered_line=scale.line((row.answers, row.value) for row in curve.offered),
    )


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


def round_ticks(most: int) -> list[int]:
    """From 0 to `most` or a little more in at most six round numbers.

    >>> round_ticks(240), round_ticks(3)
    ([0, 50, 100, 150, 200, 250], [0, 1, 2, 3])
    """
    wanted = max(most, 1) / 5
    size = 10 ** math.floor(math.log10(wanted))
    step = max(1, next(int(part * size) for part in (1, 2, 5, 10) if part * size >= wanted))
    return list(range(0, max(most, 1) + step, step))
