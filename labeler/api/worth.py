"""Is it worth it? What answers cost, where they lead, how right the model's own labels would be, and what the order of
asking has saved: by the numbers of the page. Managers only."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpRequest
from pydantic import Field

from labeler.access import manager_access
from labeler.api.jobs import JobOut, job_of
from labeler.api.operations import NONE, Nothing, Operations, Out
from labeler.api.problems import Problem
from labeler.api.shapes import Measured, Outcome, of_interval
from labeler.models import Replay
from labeler.selectors.curve import learning_curve
from labeler.selectors.forecast import Advice, Reach, advice_of
from labeler.selectors.measured import Point
from labeler.selectors.pool import pool_counts
from labeler.selectors.replays import ReplayState, replay_state
from labeler.selectors.worth import AutoLabels, Costs, auto_labels, costs_of, saved_by_order
from labeler.services.jobs import request_cancel
from labeler.services.replays import request_replay

router = Operations("Worth")
ROOT = "/projects/{slug:slug}"
REPLAY = f"{ROOT}/replay"
PLAYED = "paired over seeds"


class CurvePoint(Out):
    round: int
    answers: int = Field(description="Given by then.")
    accuracy: Measured
    standing: str
    is_in_charge: bool


class ReachOut(Out):
    """Further answers to the target, with the 95 % interval; null: perhaps never."""

    value: int | None
    low: int
    high: int | None
    chance: float = Field(description="That any number of answers reaches it.")
    left: int | None = Field(description="Answers that can still be asked, where those are fewer; null: enough are.")


class AdviceOut(Out):
    kind: str = Field(description="met, early, over (no image waits), worth, not_worth or open.")
    title: str
    reason: str
    gain: Measured | None = Field(description="In accuracy, of the next n answers.")
    reach: ReachOut | None


class CostOut(Out):
    name: str
    words: str
    answers: int
    timed: int
    seconds: float = Field(description="Of those that were timed, without breaks.")
    seconds_each: Measured | None = Field(description="The mean; null: fewer than two were timed.")


class CostsOut(Out):
    answers: int
    seconds: float
    kinds: list[CostOut]


class SavedOut(Out):
    words: str
    answers: Measured | None = Field(description="Saved against asking at random; null: no replay has been played.")


class ThresholdOut(Out):
    probability: float
    images: int = Field(description="That wait, and would be accepted.")
    measured: int = Field(description="Holdout images that it was measured on.")
    right: Measured | None = Field(description="The intervals of all thresholds hold at once.")


class AutoOut(Out):
    round: int | None
    goal: float
    best: float | None = Field(description="The lowest probability that keeps the goal; null: none does.")
    waiting: int
    measured: int
    problem: str = Field(description="Why there is nothing to say; empty: there is.")
    thresholds: list[ThresholdOut]


class WorthOut(Out):
    target: float | None
    curve: list[CurvePoint]
    advice: AdviceOut
    costs: CostsOut
    saved: SavedOut
    auto_labels: AutoOut


class ReplayResult(Out):
    made_at: datetime | None
    answers: list[int] = Field(description="The steps of the curves.")
    own: list[list[float]] = Field(description="Accuracy in the project's order: lower quartile, median, upper one.")
    random: list[list[float]] = Field(description="The same, asked at random.")
    target: float
    saved: Measured = Field(description="Answers to the target.")


class ReplayOut(Out):
    result: ReplayResult | None = Field(description="Of the newest that is done.")
    running: JobOut | None
    failed: JobOut | None = Field(description="The newest, where it failed.")
    why_not: str = Field(description="Why none can be started; empty: it can.")


@router.read(f"{ROOT}/worth", WorthOut, who="manager")
def read_worth(request: HttpRequest, slug: str) -> WorthOut:
    """Whether further answers are worth their while, with the numbers that say so. The target is the project's
    `target_accuracy`."""
    project = manager_access(request, slug).project
    points = learning_curve(project).points
    saved = saved_by_order(project)
    return WorthOut(
        target=project.target_accuracy,
        curve=[_point(row) for row in points],
        advice=_advice(advice_of(project, points, pool_counts(project))),
        costs=_costs(costs_of(project)),
        saved=SavedOut(words=saved.words, answers=of_interval(saved.interval, PLAYED)),
        auto_labels=_auto(auto_labels(project)),
    )


@router.read(REPLAY, ReplayOut, who="manager")
def read_replay(request: HttpRequest, slug: str) -> ReplayOut:
    """What the order of asking has saved, and how far a replay is."""
    return _replay(replay_state(manager_access(request, slug).project))


@router.act(REPLAY, ReplayOut)
def start_replay(request: HttpRequest, slug: str, body: Nothing = NONE) -> ReplayOut:  # noqa: ARG001
    """Play the answers once more in the project's order and at random. It takes a worker some minutes."""
    access = manager_access(request, slug)
    if request_replay(project=access.project, by=access.user) is None:
        raise Problem(409, "The answers are being replayed already.")
    return _replay(replay_state(access.project))


@router.act(f"{REPLAY}/stop", Outcome)
def stop_replay(request: HttpRequest, slug: str, body: Nothing = NONE) -> Outcome:  # noqa: ARG001
    """Stop the one that is being played."""
    played = replay_state(manager_access(request, slug).project).played
    if played is not None:
        request_cancel(job=played)
    return Outcome(changed=played is not None, detail="It is stopped." if played else "None was being played.")


def _point(row: Point) -> CurvePoint:
    accuracy = Measured(value=row.value, low=row.low, high=row.high, n=row.n, method="wilson")
    return CurvePoint(
        round=row.number,
        answers=row.answers,
        accuracy=accuracy,
        standing=row.standing,
        is_in_charge=row.is_in_charge,
    )


def _advice(found: Advice) -> AdviceOut:
    return AdviceOut(
        kind=found.kind,
        title=found.title,
        reason=found.reason,
        gain=of_interval(found.gain, "fitted curve"),
        reach=_reach(found.reach) if found.reach else None,
    )


def _reach(found: Reach) -> ReachOut:
    return ReachOut(value=found.value, low=found.low, high=found.high, chance=found.chance, left=found.left)


def _costs(found: Costs) -> CostsOut:
    kinds = [
        CostOut(
            name=row.name,
            words=row.words,
            answers=row.answers,
            timed=row.timed,
            seconds=row.seconds,
            seconds_each=of_interval(row.each, "normal"),
        )
        for row in found.kinds
    ]
    return CostsOut(answers=found.answers, seconds=found.seconds, kinds=kinds)


def _auto(found: AutoLabels) -> AutoOut:
    rows = [
        ThresholdOut(
            probability=row.probability,
            images=row.images,
            measured=row.measured,
            right=of_interval(row.right, "clopper-pearson"),
        )
        for row in found.rows
    ]
    return AutoOut(
        round=found.model.number if found.model else None,
        goal=found.goal,
        best=found.best.probability if found.best else None,
        waiting=found.waiting,
        measured=found.measured,
        problem=found.problem,
        thresholds=rows,
    )


def _replay(found: ReplayState) -> ReplayOut:
    return ReplayOut(
        result=_result(found.shown) if found.shown is not None else None,
        running=job_of(found.played),
        failed=job_of(found.failed),
        why_not=found.why_not,
    )


def _result(row: Replay) -> ReplayResult:
    result = row.result or {}
    value, low, high = result["saved"]
    return ReplayResult(
        made_at=row.finished_at,
        answers=result["answers"],
        own=result["curves"]["own"],
        random=result["curves"]["random"],
        target=result["target"],
        saved=Measured(value=value, low=low, high=high, n=int(result["answers"][-1]), method=PLAYED),
    )
