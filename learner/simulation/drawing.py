"""Accuracy against answers as SVG: medians over the seeds, bands between the quartiles, for light and dark pages."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from xml.sax.saxutils import escape

import numpy as np

from learner.errors import ConfigError
from learner.simulation.summary import Curves, shared_answers

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 400, 56, 744, 44, 340
ROW = 20  # of the legend
COLOURS = (
    ("#0072b2", "#56b4e9"), ("#6f6f6f", "#a6a6a6"), ("#b35900", "#e69f00"), ("#00795a", "#2fc79a"),
    ("#a3497a", "#d995ba"), ("#8a7a00", "#e0d24a"),
)  # fmt: skip
"""After Okabe and Ito, on light and on dark. Past six, colours begin again with other dashes."""
DASHES = ("", "7 4", "2 3", "9 3 2 3")

Points = dict[str, list[tuple[int, float]]]
"""Figures of others: answers, and the share that is right after them, by the name of the method."""


@dataclass(frozen=True)
class Line:
    """A strategy's curve, in the order of answers, with its name for people."""

    words: str
    medians: list[float]
    low: list[float]
    high: list[float]


def read_points(path: Path) -> Points:
    """Figures to draw beside, from a CSV with the columns `name`, `answers` and `accuracy`.

    Raises:
        ConfigError: If it cannot be read, or a row is none; the message says which and why.
    """
    points: Points = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row, of in enumerate(csv.DictReader(file), start=2):
                try:
                    name, answers, accuracy = of["name"].strip(), int(of["answers"]), float(of["accuracy"])
                except (KeyError, ValueError, TypeError, AttributeError) as error:
                    raise ConfigError(f"{path}, line {row}: expected the columns name, answers and accuracy") from error
                if not name or answers < 0 or not 0 <= accuracy <= 1:
                    raise ConfigError(f"{path}, line {row}: expected a name, answers from 0, accuracy from 0 to 1")
                points.setdefault(name, []).append((answers, accuracy))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    return {name: sorted(found) for name, found in points.items()}


def drawing(curves: Curves, *, title: str, words: dict[str, str] | None = None, beside: Points | None = None) -> str:
    """Draw curves.

    Args:
        curves: At least one curve of each strategy.
        title: Above the picture, and for screen readers.
        words: What strategies are called; by their names where there are none.
        beside: Figures of others, drawn as dots; those outside the range of answers are left out.

    Returns:
        An SVG document. The lines differ in dashes, too, never in colour alone.
    """
    answers = shared_answers(curves)
    lines = [_line((words or {}).get(name, name), [[curve[n] for n in answers] for curve in of_seed.values()])
             for name, of_seed in curves.items()]  # fmt: skip
    others = {name: [each for each in found if answers[0] <= each[0] <= answers[-1]]
              for name, found in (beside or {}).items()}  # fmt: skip
    others = {name: found for name, found in others.items() if found}
    floor = math.floor(min(min(line.low) for line in lines) * 10) / 10
    span = max(1, answers[-1] - answers[0])

    def at(count: float, value: float) -> tuple[float, float]:
        x = LEFT + (RIGHT - LEFT) * (count - answers[0]) / span
        return round(x, 1), round(BOTTOM - (BOTTOM - TOP) * (value - floor) / (1 - floor), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-size="13" '
        'font-family="system-ui, sans-serif">',
        f"<title>{escape(title)}</title>",
        _style(len(lines) + len(others)),
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
        f'<text x="{LEFT}" y="24" class="ink">{escape(title)}</text>',
        *_axes(floor, answers, at),
    ]
    for row, line in enumerate(lines):
        upper = [at(n, value) for n, value in zip(answers, line.high, strict=True)]
        lower = [at(n, value) for n, value in zip(answers, line.low, strict=True)]
        middle = [at(n, value) for n, value in zip(answers, line.medians, strict=True)]
        parts.append(f'<polygon class="band line-{row}" points="{_points([*upper, *reversed(lower)])}"/>')
        parts.append(f'<polyline class="line line-{row}" points="{_points(middle)}"/>')
    for row, found in enumerate(others.values(), start=len(lines)):
        parts += [_dot(row, *at(*each)) for each in found if each[1] >= floor]
    return "\n".join([*parts, *_legend([line.words for line in lines], list(others)), "</svg>", ""])


def _dot(row: int, x: float, y: float) -> str:
    """A mark whose shape says whose it is, as the dashes of a line do."""
    size = 4
    shapes = (
        f'<circle class="dot line-{row}" cx="{x}" cy="{y}" r="{size}"/>',
        f'<rect class="dot line-{row}" x="{x - size:.1f}" y="{y - size:.1f}" width="{2 * size}" height="{2 * size}"/>',
        f'<polygon class="dot line-{row}" points="{x},{y - size - 1:.1f} {x - size - 1:.1f},{y + size:.1f} '
        f'{x + size + 1:.1f},{y + size:.1f}"/>',
        f'<polygon class="dot line-{row}" points="{x},{y - size - 1:.1f} {x - size - 1:.1f},{y} {x},{y + size + 1:.1f} '
        f'{x + size + 1:.1f},{y}"/>',
    )
    return shapes[row % len(shapes)]


def _line(words: str, values_S_A: list[list[float]]) -> Line:
    low, high = np.quantile(np.array(values_S_A), [0.25, 0.75], axis=0).tolist()
    return Line(words, [median(column) for column in zip(*values_S_A, strict=True)], low, high)


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in points)


def _style(n_lines: int) -> str:
    def rules(which: int, paper: str, ink: str, soft: str, grid: str) -> str:
        colours = "".join(
            f".line-{row}{{stroke:{COLOURS[row % len(COLOURS)][which]};fill:{COLOURS[row % len(COLOURS)][which]};}}"
            for row in range(n_lines)
        )
        return f".paper{{fill:{paper}}}.ink{{fill:{ink}}}.soft{{fill:{soft}}}.grid{{stroke:{grid}}}{colours}"

    dashes = "".join(f".line.line-{row}{{stroke-dasharray:{DASHES[row % len(DASHES)] or 'none'}}}"
                     for row in range(n_lines))  # fmt: skip
    return (
        f"<style>{rules(0, '#ffffff', '#333333', '#5f5f5f', '#e3e3e3')}"
        f"@media (prefers-color-scheme: dark){{{rules(1, '#17181a', '#ececea', '#a6a8ab', '#34363a')}}}"
        f".line{{fill:none !important;stroke-width:2.5}}.band{{stroke:none !important;opacity:.16}}"
        f".dot{{stroke:none !important}}{dashes}</style>"
    )


def _axes(floor: float, answers: list[int], at: Callable[[float, float], tuple[float, float]]) -> list[str]:
    parts = []
    for tenth in range(round(floor * 10), 11):
        y = at(answers[0], tenth / 10)[1]
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="soft" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tenth * 10} %</text>')
    for count in ticks(answers[0], answers[-1]):
        x = at(count, floor)[0]
        parts.append(f'<text class="soft" x="{x}" y="{BOTTOM + 20}" text-anchor="middle">{count:,}</text>')
    middle = (LEFT + RIGHT) // 2
    parts.append(f'<text class="soft" x="{middle}" y="{BOTTOM + 42}" text-anchor="middle">answers</text>')
    return parts


def ticks(low: int, high: int) -> list[int]:
    """At most ten round numbers from low to high, or low alone.

    >>> ticks(5, 100), ticks(7, 7)
    ([20, 40, 60, 80, 100], [7])
    """
    wanted = max(1, (high - low) / 8)
    size = 10 ** math.floor(math.log10(wanted))
    step = max(1, next(int(part * size) for part in (1, 2, 5, 10) if part * size >= wanted))
    return list(range(-(-low // step) * step, high + 1, step)) or [low]


def _legend(lines: list[str], others: list[str]) -> list[str]:
    """In the lower right corner, where curves seldom are."""
    names = [*lines, *others]
    parts, left = [], RIGHT - 60 - 7.2 * max(map(len, names))
    for row, name in enumerate(names):
        y = BOTTOM - 12 - ROW * (len(names) - 1 - row)
        if row < len(lines):
            parts.append(f'<line class="line line-{row}" x1="{left:.0f}" x2="{left + 32:.0f}" y1="{y}" y2="{y}"/>')
        else:
            parts.append(_dot(row, round(left + 16), y))
        parts.append(f'<text class="ink" x="{left + 40:.0f}" y="{y + 4}">{escape(name)}</text>')
    return parts
