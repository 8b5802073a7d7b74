"""The reliability diagram of a round: confidence against the share that is right, as a drawing of plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from labeler.models import Round
from labeler.numerals import numeral
from labeler.selectors.curve import Tick
from labeler.selectors.pool import says_something

SIDE, LEFT, RIGHT, TOP, BOTTOM = 420, 72, 24, 16, 60
BAR = 22  # the height of the largest bar of counts, below the axis
LEAST_RADIUS, MOST_RADIUS = 3.0, 8.0


@dataclass(frozen=True)
class Bin:
    """A dot: images of about the same confidence. `low`, `high`: ends of the whisker; `bar`: how many, beside the
    fullest bin."""

    words: str
    n: int
    confidence: float
    accuracy: dict[str, Any]
    x: float
    y: float
    low: float
    high: float
    radius: float
    bar_x: float
    bar_width: float
    bar_height: float


@dataclass(frozen=True)
class Diagram:
    bins: Sequence[Bin]
    ticks_across: Sequence[Tick]
    ticks_up: Sequence[Tick]
    images: int
    width: int = SIDE
    height: int = SIDE
    left: int = LEFT
    right: int = SIDE - RIGHT
    top: int = TOP
    bottom: int = SIDE - BOTTOM

    @property
    def verdict(self) -> str:
        """How far, and to which side, in words: bins whose whole interval is off the diagonal speak."""
        sure = sum(each.n for each in self.bins if each.accuracy["high"] < each.confidence)
        shy = sum(each.n for each in self.bins if each.accuracy["low"] > each.confidence)
        if not sure and not shy:
            return _("In no part do the images contradict its confidence.")
        if sure and shy:
            words = _(
                "It is too sure of %(sure)s and not sure enough of %(shy)s of %(images)s images: there the whole "
                "interval is off the line."
            )
        elif sure:
            words = _("It is too sure of %(sure)s of %(images)s images: there the whole interval is off the line.")
        else:
            words = _(
                "It is not sure enough of %(shy)s of %(images)s images: there the whole interval is off the line."
            )
        return words % {"sure": numeral(sure), "shy": numeral(shy), "images": numeral(self.images)}


def reliability_of(round_: Round) -> Diagram | None:
    """None: it was not measured, or before this was."""
    rows = round_.metrics.get("reliability")
    if not rows or not says_something(round_.metrics):
        return None
    fullest = max(row["n"] for row in rows) or 1
    steps = [i / 5 for i in range(6)]
    return Diagram(
        bins=[_bin(row, fullest) for row in rows if row["n"]],
        ticks_across=[Tick(_x(step), f"{step:.0%}".replace("%", " %")) for step in steps],
        ticks_up=[Tick(_y(step), f"{step:.0%}".replace("%", " %")) for step in steps],
        images=sum(row["n"] for row in rows),
    )


def _bin(row: dict[str, Any], fullest: int) -> Bin:
    share, accuracy = row["n"] / fullest, row["accuracy"]
    return Bin(
        words=_("%(low)s to %(high)s %%") % {"low": f"{row['low'] * 100:.0f}", "high": f"{row['high'] * 100:.0f}"},
        n=row["n"],
        confidence=row["confidence"],
        accuracy=accuracy,
        x=_x(row["confidence"]),
        y=_y(accuracy["value"]),
        low=_y(accuracy["low"]),
        high=_y(accuracy["high"]),
        radius=round(LEAST_RADIUS + (MOST_RADIUS - LEAST_RADIUS) * share**0.5, 1),
        bar_x=round(_x(row["low"]) + 1, 1),
        bar_width=round(_x(row["high"]) - _x(row["low"]) - 2, 1),
        bar_height=round(max(1.0, BAR * share), 1),
    )


def _x(share: float) -> float:
    return round(LEFT + (SIDE - LEFT - RIGHT) * share, 1)


def _y(share: float) -> float:
    return round(TOP + (SIDE - TOP - BOTTOM) * (1 - share), 1)
