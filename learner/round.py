"""A round, step by step: fit, score, acquire, evaluate. Each step can run in a process of its own.

All that passes from one step to the next is files in the round's directory:

    model.json  model.safetensors  masks.safetensors  targets.npz  scores/000000.npz  scores/000001.npz  ...

Importing this module does not load torch; `fit`, `Scorer`, `score_chunk` and some of `acquire` do.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from learner.candidates import Acquired, acquire
from learner.config import Report, RoundConfig, RoundRequest, check_labels, ignore
from learner.errors import ArtifactError, naming
from learner.files import digest
from learner.metrics import Metrics, metrics
from learner.pool import CHUNK_SIZE, Chunk, Pool
from learner.scores import read_scores, scores_at
from learner.training_set import training_set

if TYPE_CHECKING:
    from learner.scoring import Scorer

__all__ = [
    "Acquired",
    "FitResult",
    "Report",
    "RoundConfig",
    "RoundRequest",
    "RoundResult",
    "Scorer",
    "acquire",
    "evaluate",
    "fit",
    "ignore",
    "read_scores",
    "run_round",
    "score_chunk",
    "training_digest",
]


def __getattr__(name: str) -> Any:  # `from learner.round import Scorer` loads torch, importing the module does not
    if name == "Scorer":
        from learner.scoring import Scorer

        return Scorer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@dataclass(frozen=True)
class FitResult:
    """How a fit went.

    Args:
        seconds: Wall time.
        steps: Optimiser steps.
        loss: Mean training loss near the end, in nats.
        training_digest: SHA-256 of the training positions, labels and images.
        model_digest: SHA-256 of the weight files.
        files: Names of all files of the model, in the round's directory.
        notes: What a person should know about it, each a sentence.
        temperature: That the logits of all members are divided by; None where none was measured.
        doubts_graph: Whether the graph had no part in what it learned from, since it tells too little of answers; then
            questions are better not chosen by the graph either. See `learner.training_set`.
        ignored: So many of the first numbers of a vector it did not look at; who asks by where images lie had better
            not either (`RoundConfig.ignored`).
    """

    seconds: float
    steps: int
    loss: float
    training_digest: str
    model_digest: str
    files: tuple[str, ...]
    notes: tuple[str, ...]
    temperature: float | None
    doubts_graph: bool = False
    ignored: int = 0


@dataclass(frozen=True)
class RoundResult:
    """All that a round produced beside its files; `metrics` is None without holdout labels."""

    fit: FitResult
    acquired: Acquired
    metrics: Metrics | None
    seconds: dict[str, float]


def fit(request: RoundRequest, report: Report) -> FitResult:
    """Train the model of a round and write it.

    Args:
        request: The labels, the images, the config, the directory.
        report: Called with the phase `"fit"`; see `learner.config.Report`.

    Returns:
        What there is to know; the same request and seed write the same weights on a CPU.

    Raises:
        DivergedError: If the loss stops being finite. No model is written.
        LearnerError: If the estimator refuses these labels or settings, or its matrices are of no use. As of all that
            stops a fit but missing images, the message names the estimator and the network.
        ChunkError: If images are missing, damaged or of different shapes.
    """
    from learner.estimators import estimator_class
    from learner.model import MODEL_FILE, save_model
    from learner.targets import write_targets

    started = time.perf_counter()
    pool, config = Pool(request.chunks), request.config
    learned, notes, doubts_graph = training_set(request, pool, report)
    files: tuple[str, ...] = ()
    with naming(config.model):
        estimator = estimator_class(config.estimator).fit(
            pool, learned.train_positions, learned.train_labels, learned.config, report
        )
        trained_on = training_digest(pool, learned)
        if "epig" in config.measures:  # before the model, whose file says that all is there
            files = (write_targets(estimator, pool, request, trained_on, report).name,)
    model = save_model(request.directory, estimator, config, trained_on)
    return FitResult(
        seconds=time.perf_counter() - started,
        steps=int(model.saved["steps"]),
        loss=float(model.saved["loss"]),
        training_digest=model.training_digest,
        model_digest=model.digest,
        files=(MODEL_FILE, *model.saved["files"], *files),
        notes=(*_notes(request), *notes, *model.saved.get("notes", ())),
        temperature=model.saved.get("temperature") if config.temperature_scaling else None,
        doubts_graph=doubts_graph,
        ignored=learned.config.ignored,
    )


def training_digest(pool: Pool, request: RoundRequest) -> str:
    """SHA-256 of what a model is trained on: positions, labels and images, in the order of the positions."""
    order = np.argsort(request.train_positions)
    positions, labels = request.train_positions[order], request.train_labels[order]
    inputs = (pool.inputs(positions[start : start + CHUNK_SIZE]) for start in range(0, len(positions), CHUNK_SIZE))
    return digest(positions.astype("<i8"), labels.astype("<i8"), *inputs)


def score_chunk(directory: Path, chunk: Chunk, report: Report) -> Path:
    """Load a round's model and score one chunk; for several, make one `Scorer`. See `Scorer.score`."""
    from learner.scoring import Scorer

    return Scorer(directory).score(chunk, report)


def evaluate(directory: Path, positions: npt.ArrayLike, labels: npt.ArrayLike, *, n_classes: int) -> Metrics:
    """Compare a round's predictions with known labels, from the score files; torch is not needed.

    Args:
        directory: The round's.
        positions: int64 `[n]`, a random sample of images that were not trained on.
        labels: int64 `[n]`, 0 to C - 1.
        n_classes: C.

    Raises:
        LabelError: If there are no labels, or they do not fit.
        ArtifactError: If a position has not been scored, or the model has another number of classes.
    """
    where, classes = np.asarray(positions, dtype=np.int64), np.asarray(labels, dtype=np.int64)
    check_labels(where, classes, n_classes, "holdout")
    probs_n_C = scores_at(directory, where, "mean_probs_N_C")
    if probs_n_C.shape[1] != n_classes:
        raise ArtifactError(f"the scores are of {probs_n_C.shape[1]} classes, expected {n_classes}")
    return metrics(probs_n_C, classes)


def run_round(
    request: RoundRequest,
    *,
    eligible_positions: npt.ArrayLike,
    holdout_positions: npt.ArrayLike = (),
    holdout_labels: npt.ArrayLike = (),
    report: Report = ignore,
) -> RoundResult:
    """All steps in one process; see `fit`, `Scorer.score`, `acquire` and `evaluate`.

    The phase `"score"` is reported over all images of all chunks.
    """
    clock, seconds = time.perf_counter, {}
    started = clock()
    fitted = fit(request, report)
    seconds["fit"], started = clock() - started, clock()
    _score_all(request, report)
    seconds["score"], started = clock() - started, clock()
    acquired = acquire(
        request.directory,
        chunks=request.chunks,
        eligible_positions=eligible_positions,
        labelled_positions=request.train_positions,
        count=request.config.budget,
        config=replace(request.config, ignored=fitted.ignored),
        report=report,
    )
    seconds["acquire"], started = clock() - started, clock()
    has_holdout = len(np.asarray(holdout_positions)) > 0
    measured = (
        evaluate(request.directory, holdout_positions, holdout_labels, n_classes=request.config.n_classes)
        if has_holdout
        else None
    )
    seconds["evaluate"] = clock() - started
    return RoundResult(fitted, acquired, measured, seconds)


def _score_all(request: RoundRequest, report: Report) -> None:
    from learner.scoring import Scorer

    scorer, total = Scorer(request.directory), sum(chunk.count for chunk in request.chunks)
    before = 0

    def report_all(phase: str, done: int, _count: int) -> None:
        report(phase, before + done, total)

    for chunk in request.chunks:
        scorer.score(chunk, report_all)
        before += chunk.count


def _notes(request: RoundRequest) -> list[str]:
    counts = np.bincount(request.train_labels, minlength=request.config.n_classes)
    notes = []
    if missing := int((counts == 0).sum()):
        have, them = ("has", "it") if missing == 1 else ("have", "them")
        notes.append(f"{missing:,} of {len(counts):,} classes {have} no label yet: the model cannot predict {them}")
    if single := int((counts == 1).sum()):
        notes.append(f"{single:,} of {len(counts):,} classes {'has' if single == 1 else 'have'} a single label")
    return notes
