"""What ordering saved: the last replay, the one that is being played, and the drawing of both orders."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from labeler.models import JobState, Project, Replay
from labeler.models.jobs import UNFINISHED_JOB
from labeler.numerals import numeral
from labeler.selectors.curve import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Tick, round_ticks
from labeler.selectors.grid import learned_classes, training_images
from labeler.selectors.pool import pool_counts
from labeler.selectors.workers import Missing, missing_workers

LEAST_LABELS = 40  # with fewer, both orders are over before a network knows anything
LEAST_HOLDOUT = 30  # with fewer, a step of accuracy is larger than what is looked for
ORDERS = {"own": gettext_lazy("in the project's order"), "random": gettext_lazy("at random")}


@dataclass(frozen=True)
class ReplayState:
    """The replay that is shown, the one that is being played, what became of the last, and why none can be started."""

    shown: Replay | None
    played: Replay | None
    failed: Replay | None
    why_not: str
    missing_workers: Sequence[Missing]

    @property
    def percent(self) -> int:
        return round(100 * self.played.done / self.played.total) if self.played and self.played.total else 0


@dataclass(frozen=True)
class OrderLine:
    """One order in the drawing, in the units of its view box, and its rows for the table."""

    key: str
    words: str
    line: str
    band: str
    values: list[float]


@dataclass(frozen=True)
class ReplayDrawing:
    lines: list[OrderLine]
    rows: list[tuple[int, list[float]]]
    across: list[Tick]
    up: list[Tick]
    target: float
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def replay_state(project: Project) -> ReplayState:
    rows = list(Replay.objects.filter(project=project).defer("curves")[:5])
    played = next((row for row in rows if row.state in UNFINISHED_JOB), None)
    newest = rows[0] if rows else None
    return ReplayState(
        shown=next((row for row in rows if row.state == JobState.DONE), None),
        played=played,
        failed=newest if newest and newest.state == JobState.FAILED else None,
        why_not="" if played else why_no_replay(project),
        missing_workers=missing_workers(["background"]) if played else [],
    )


def why_no_replay(project: Project) -> str:
    """Empty if a replay would say something, else what is missing."""
    if project.learning.acquisition == "random":
        return _("The project asks at random, so there is no order to compare with.")
    counts = pool_counts(project)
    labels = training_images(project).count()
    if labels < LEAST_LABELS:
        words = _("Too few labels to say: %(labels)s of at least %(least)s on images that may be learned from.")
        return words % {"labels": labels, "least": LEAST_LABELS}
    if counts.holdout_labelled < LEAST_HOLDOUT:
        words = _("Too few labels to say: %(labels)s of at least %(least)s on holdout images.")
        return words % {"labels": counts.holdout_labelled, "least": LEAST_HOLDOUT}
    if learned_classes(project, most=2) < 2:
        return _("All labels are of one class so far. A model needs labels of two classes.")
    return ""


def replay_drawing(replay: Replay) -> ReplayDrawing:
    """Medians of both orders, with bands between the quartiles."""
    assert replay.result is not None
    answers: list[int] = replay.result["answers"]
    curves: dict[str, list[list[float]]] = replay.result["curves"]
    across = round_ticks(answers[-1])
    least = math.floor(min(min(low) for low, _, _ in curves.values()) * 5) / 5

    def x(count: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * count / across[-1], 1)

    def y(share: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - (share - least) / (1 - least or 1)), 1)

    def path(values: list[float]) -> list[str]:
        return [f"{x(count)},{y(value)}" for count, value in zip(answers, values, strict=True)]

    lines = [
        OrderLine(key, str(words), " ".join(path(median)), " ".join([*path(high), *reversed(path(low))]), median)
        for key, words in ORDERS.items()
        for low, median, high in [curves[key]]
    ]
    steps = [least + (1 - least) * i / 4 for i in range(5)]
    return ReplayDrawing(
        lines=lines,
        rows=[(count, [line.values[index] for line in lines]) for index, count in enumerate(answers)],
        across=[Tick(x(count), numeral(count)) for count in across],
        up=[Tick(y(step), f"{step * 100:.0f} %") for step in steps],
        target=y(replay.result["target"]),
    )
