"""The loop with known labels: what a way of asking saves, measured. For benchmarks and the command line."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from learner.config import Report, RoundConfig, RoundRequest, ignore
from learner.errors import LabelError
from learner.metrics import Interval
from learner.pool import Chunk
from learner.round import run_round
from learner.seeds import derive


@dataclass(frozen=True)
class Point:
    """One point of a learning curve.

    Args:
        labels: Labels trained on, the start included; the holdout is not counted.
        accuracy: On the holdout.
        seconds: Of the whole round.
    """

    labels: int
    accuracy: Interval
    seconds: float


def simulate(
    chunks: Sequence[Chunk],
    labels_N: npt.NDArray[np.int64],
    *,
    config: RoundConfig,
    pool_positions: npt.NDArray[np.int64],
    holdout_positions: npt.NDArray[np.int64],
    start: int = 10,
    until: int = 100,
    report: Report = ignore,
) -> list[Point]:
    """Run rounds with an oracle until it has given some number of labels.

    It starts from `start` images drawn uniformly (and on until two classes are seen); each round adds the
    `config.budget` images that `config.acquisition` chooses. Each round trains from scratch with a seed of its own.

    Args:
        chunks: All pixels.
        labels_N: int64, the true class of every position.
        config: Strategy, budget and seed.
        pool_positions: int64, images that may be asked about.
        holdout_positions: int64, a random sample apart from the pool, for the accuracy.
        start: Labels of the first round.
        until: Labels of the last round, at most.
        report: Called through all rounds with their phases.

    Raises:
        LabelError: If pool and holdout overlap, or the whole pool is of one class.
    """
    if np.intersect1d(pool_positions, holdout_positions).size:
        raise LabelError("pool and holdout overlap: accuracy would be measured on training images")
    order = np.random.default_rng(derive(config.seed, "start")).permutation(pool_positions)
    while start < len(order) and len(np.unique(labels_N[order[:start]])) < 2:
        start += 1
    asked, points = order[:start], list[Point]()
    while True:
        round_config = replace(
            config,
            seed=derive(config.seed, f"round {len(points)}"),
            budget=max(1, min(config.budget, until - len(asked))),
        )
        with tempfile.TemporaryDirectory() as folder:
            request = RoundRequest(tuple(chunks), asked, labels_N[asked], round_config, Path(folder))
            result = run_round(
                request,
                eligible_positions=np.setdiff1d(pool_positions, asked),
                holdout_positions=holdout_positions,
                holdout_labels=labels_N[holdout_positions],
                report=report,
            )
        assert result.metrics is not None
        points.append(Point(len(asked), result.metrics.accuracy, sum(result.seconds.values())))
        if len(asked) >= min(until, len(order)):
            return points
        asked = np.concatenate([asked, result.acquired.positions])
