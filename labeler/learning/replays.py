"""The answers once more: which order takes how many to what a model of all of them has."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
from django.conf import settings

from labeler.learning.files import CannotLearn, in_chunks, limit_threads, opened
from labeler.learning.pool import cannot_derive
from labeler.models import PoolGraph, Replay
from labeler.models.images import CHUNK_SIZE
from labeler.selectors.features import Seen, architecture_of, seen_by
from labeler.selectors.graphs import current_graph
from labeler.selectors.pool import waiting_positions
from labeler.services.replays import Played
from labeler.storage import local_path
from labeler.told import told

if TYPE_CHECKING:
    from learner.config import RoundConfig
    from learner.simulation.run import Material, Strategy

SEEDS = 4
ORDERS = ("own", "random")
SHARE = 1 / 3  # by which the number of answers grows from model to model


def play(job: Replay, report: Callable[[int, int], None]) -> Played:
    """The next order and seed of a replay; with the last, what all of them say. Raises CannotDerive."""
    seed, which = divmod(len(job.curves), len(ORDERS))
    with cannot_derive(), ExitStack() as stack:
        from learner.simulation.run import Point, growing, simulate

        limit_threads()
        budgets = growing(len(job.labels["positions"]), share=SHARE)
        before, total = len(budgets) * len(job.curves), len(budgets) * len(ORDERS) * SEEDS
        points: list[Point] = []
        graph = current_graph(job.project)
        sees = seen_by(job.project, job.config, graph)
        material = _material(job, sees, graph if job.config.get("propagation") else None, stack)
        simulate(
            material,
            strategy=_strategy(job, ORDERS[which], has_graph=material.graph is not None),
            config=model_config(job.config, sees, n_classes=len(job.labels["classes"]), seed=job.seed + seed),
            budgets=budgets,
            report=lambda _phase, _done, _total: report(before + len(points), total),
            keep=points.append,
        )
        curve = {
            "order": ORDERS[which],
            "seed": seed,
            "answers": [point.answers for point in points],
            "right": [np.packbits(point.is_right_M).tobytes().hex() for point in points],
        }
        curves = [*job.curves, curve]
        is_last = len(curves) == len(ORDERS) * SEEDS
        result = _result(curves, len(material.measured)) if is_last else None
        return Played(curve, result, before + len(points), total)


def _material(job: Replay, sees: Seen, graph: PoolGraph | None, stack: ExitStack) -> Material:
    from learner.simulation.run import Material

    labels, chunks = job.labels, [opened(each, stack) for each in sees.inputs]
    counts = {chunk.number: chunk.count for chunk in chunks}
    labels_N = np.zeros((max(counts) + 1) * CHUNK_SIZE, np.int64)
    asked, measured = (np.array(labels[f"{prefix}positions"], np.int64) for prefix in ("", "holdout_"))
    if any(len(in_chunks(positions, counts)) < len(positions) for positions in (asked, measured)):
        raise CannotLearn(
            told("Which images look like those imported last is not known yet. Try again in a few minutes.")
        )
    labels_N[asked], labels_N[measured] = labels["labels"], labels["holdout_labels"]
    waiting = in_chunks(waiting_positions(job.project, is_holdout=False), counts)
    return Material(
        chunks=tuple(chunks),
        labels_N=labels_N,
        askable=asked,
        measured=measured,
        graph=stack.enter_context(local_path(graph.file)) if graph is not None else None,
        propagate_to=np.setdiff1d(np.union1d(waiting, asked), measured),
    )


def _strategy(job: Replay, order: str, *, has_graph: bool) -> Strategy:
    from learner.simulation.run import Strategy

    if order == "random":
        return Strategy(order, "random", propagates=has_graph)
    config = job.config
    return Strategy(order, config["acquisition"], has_graph, has_graph, random_share=config["random_share"])


def model_config(config: dict[str, Any], sees: Seen, *, n_classes: int, seed: int) -> RoundConfig:
    """The project's model where it is tried out: without its queue."""
    from learner.config import RoundConfig

    names = (
        "estimator", "coldness", "posterior_samples", "members", "member_dropout",
        "temperature_scaling", "laplace_prior",
    )  # fmt: skip
    values = {name: config[name] for name in names}
    network = architecture_of({**config, "features": sees.features, "has_likeness": sees.has_likeness})
    return RoundConfig(
        n_classes=n_classes,
        architecture=network,
        seed=seed,
        device=settings.LEARNER_DEVICE,
        **values,
    )


def _result(curves: list[dict[str, Any]], n: int) -> dict[str, Any]:
    """As JSON: what `learner.simulation.comparison` says, and median and quartiles of each order for the drawing."""
    from learner.simulation.comparison import compare

    answers = curves[0]["answers"]
    rights = [
        np.array([[np.unpackbits(np.frombuffer(bytes.fromhex(bits), np.uint8), count=n) for bits in curve["right"]]
                  for curve in curves if curve["order"] == order], np.bool_)
        for order in ORDERS
    ]  # fmt: skip
    found = compare(answers, *rights)
    quartiles = [np.quantile(right.mean(2), [0.25, 0.5, 0.75], axis=0).round(5).tolist() for right in rights]
    return {
        "answers": answers,
        "measured": n,
        "target": found.target,
        **{name: [each.value, each.low, each.high] for name in ("final", "own", "random", "saved")
           for each in [getattr(found, name)]},
        "curves": dict(zip(ORDERS, quartiles, strict=True)),
    }  # fmt: skip
