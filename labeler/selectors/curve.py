"""The learning curve: accuracy against answers spent, as points and as a drawing of plain numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from django.db.models import F
from django.db.models.fields.json import KT

from labeler.models import Project, Round, RoundState

WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 48, 16, 12, 36


@dataclass(frozen=True)
class Point:
    number: int
    answers: int
    value: float
    low: float
    high: float
    n: int

    @property
    def percent(self) -> str:
        return f"{self.value * 100:.1f} % (from {self.low * 100:.1f} to {self.high * 100:.1f})"


@dataclass(frozen=True)
class Mark:
    point: Point
    x: float
    y: float


@dataclass(frozen=True)
class Tick:
    at: float
    words: str


@dataclass(frozen=True)
class Curve:
    """What the template draws, in the units of its view box."""

    points: list[Point]
    marks: list[Mark]
    line: str
    band: str
    across: list[Tick]
    up: list[Tick]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def learning_curve(project: Project) -> Curve:
    points = measured_rounds(project)
    if not points:
        return Curve([], [], "", "", [], [])
    most = _round_up(max(point.answers for point in points))
    least = math.floor(min(point.low for point in points) * 10) / 10

    def x(answers: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * answers / most, 1)

    def y(share: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - (share - least) / (1 - least or 1)), 1)

    upper = [f"{x(point.answers)},{y(point.high)}" for point in points]
    lower = [f"{x(point.answers)},{y(point.low)}" for point in reversed(points)]
    steps = [least + (1 - least) * i / 4 for i in range(5)]
    return Curve(
        points=points,
        marks=[Mark(point, x(point.answers), y(point.value)) for point in points],
        line=" ".join(f"{x(point.answers)},{y(point.value)}" for point in points),
        band=" ".join(upper + lower),
        across=[Tick(x(most * i / 4), f"{most * i // 4:,}") for i in range(5)],
        up=[Tick(y(step), f"{step * 100:.0f} %") for step in steps],
    )


def measured_rounds(project: Project) -> list[Point]:
    """Rounds with a model that was measured, oldest first. Of their metrics only the accuracy is read."""
    parts = {name: KT(f"metrics__accuracy__{name}") for name in ("value", "low", "high", "n")}
    rows = (
        Round.objects.filter(project=project, state=RoundState.DONE, metrics__has_key="accuracy")
        .order_by("number")
        .annotate(**parts, at=F("answers_spent"))
        .values_list("number", "at", *parts)
    )
    return [
        Point(number, at, float(value), float(low), float(high), int(n)) for number, at, value, low, high, n in rows
    ]


def _round_up(number: int) -> int:
    """The next of 4, 8, 12, 20, 40, 80, 120, 200...: quarters of it are round."""
    size: int = 10 ** max(0, int(math.log10(max(number, 1))))
    steps = [step * size for step in (1, 2, 4, 8, 12, 20, 40)]
    return next(step for step in steps if step >= max(number, 4) and step % 4 == 0)
