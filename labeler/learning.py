"""The one door to the learner: rows become requests, results become rows. Everything heavy is imported inside.

The learner speaks in positions in the pool and class numbers; ids stay on this side. The files of a round stand in the
project's folder under `Round.folder`: the model, and a score file a chunk.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import Error as DatabaseProblem
from django.db import connection

from labeler.models import Chunk, LabelClass, PoolGraph, Project, Reason, Round, RoundChunk, RoundState, Trigger
from labeler.models.images import CHUNK_SIZE
from labeler.selectors.graphs import current_graph
from labeler.selectors.pool import labelled_images, waiting_positions
from labeler.services import claims
from labeler.services.derived import CannotDerive, Derived
from labeler.services.draw import Draw, Place, draw_queue
from labeler.services.leftovers import KEPT, forget_unnamed_files
from labeler.services.publish import count_answers, held_positions, publish_round
from labeler.services.rounds import config_of, last_annotation_id
from labeler.services.triggers import reason_at_snapshot
from labeler.storage import local_path, project_folder, round_folder

if TYPE_CHECKING:
    from learner.config import RoundConfig
    from learner.metrics import Interval, Metrics
    from learner.pool import Chunk as PixelChunk

logger = logging.getLogger(__name__)

BEAT_SECONDS = 0.5
PATIENCE_SECONDS = 2.0  # between heartbeats while the database is away
LEFTOVER_SECONDS = KEPT.total_seconds()
Integers = npt.NDArray[np.int64]


class CannotLearn(Exception):
    """The learner said no, in words for people. Trying again would end the same way."""


@dataclass(frozen=True)
class TrainingSet:
    """What a round learns from: positions and class numbers, and the label class of each number."""

    positions: Integers
    labels: Integers
    classes: list[int]


class Beat:
    """The learner's report: a heartbeat at most twice a second. What `write` raises (RoundLost) stops the learner.

    A database that is away does not stop the work; the last write finds out whose it is.
    """

    def __init__(self, write: Callable[[int, int], None]) -> None:
        self.write, self.next_at = write, 0.0

    def __call__(self, _phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now < self.next_at:
            return
        self.next_at = now + BEAT_SECONDS
        try:
            self.write(done, total)
        except DatabaseProblem as error:
            logger.warning("The database is away (%s); the work goes on.", error)
            connection.close()
            self.next_at = now + PATIENCE_SECONDS


def fit(*, round_: Round) -> None:
    """Take a snapshot of the labels, fit, and open the pool for scoring."""
    beat = Beat(lambda done, total: claims.beat(round_=round_, done=done, total=total))
    beat("fit", 0, 0)
    training = take_snapshot(round_)
    with _in_words(), ExitStack() as stack:
        from learner.config import RoundRequest
        from learner.round import fit as fit_model

        limit_threads()
        request = RoundRequest(
            chunks=_pixel_chunks(round_, stack),
            train_positions=training.positions,
            train_labels=training.labels,
            config=_learner_config(round_),
            directory=folder_of(round_),
            graph=_graph(round_, stack),
            propagate_to=_scored(round_, waiting_positions(round_.project, is_holdout=False)),
        )
        result = fit_model(request, beat)
    fitted = {
        "loss": result.loss,
        "steps": result.steps,
        "notes": list(result.notes),
        "temperature": result.temperature,
        "model_digest": result.model_digest,
    }
    claims.start_scoring(round_=round_, metrics={"fit": fitted})


def take_snapshot(round_: Round) -> TrainingSet:
    """The labels and chunks of this moment, written down as the round's own."""
    project, seen = round_.project, last_annotation_id(round_.project)
    training = read_training_set(project)
    is_comparison = round_.trigger == Trigger.COMPARISON
    graph = current_graph(project)
    config = {
        **(round_.config if is_comparison else config_of(project.learning)),
        "graph": graph.pk if graph is not None else None,
        "n_classes": len(training.classes),
        "device": settings.LEARNER_DEVICE,
    }
    claims.keep_snapshot(
        round_=round_,
        chunks=list(Chunk.objects.filter(project=project, count__gt=0).order_by("number")),
        config=config,
        classes=training.classes,
        training_digest=training_digest(training, config, round_.seed),
        training_count=len(training.positions),
        last_annotation_id=round_.last_annotation_id if is_comparison else seen,  # what it saw starts the next round
        answers_spent=count_answers(project),
        reason=reason_at_snapshot(round_=round_, seen=seen),
    )
    return training


def score(*, round_: Round, claim: str) -> int:
    """Score chunk after chunk as long as one is free. Returns how many were scored here."""
    done, scorer = 0, None
    while (round_chunk := claims.claim_chunk(round_id=round_.pk, claim=claim)) is not None:
        beat = _chunk_beat(round_chunk)
        beat("score", 0, 0)
        with _in_words(), ExitStack() as stack:
            if scorer is None:
                from learner.scoring import Scorer

                limit_threads()
                scorer = Scorer(folder_of(round_))
            scorer.score(_pixel_chunk(round_chunk, stack), beat)
        claims.finish_chunk(round_chunk=round_chunk)
        done += 1
    return done


def choose(*, round_: Round) -> int:
    """Measure the model on the holdout, choose whom to ask about, publish. Returns the length of the queue.

    A comparison is measured and leaves the queue alone.
    """
    beat = Beat(lambda done, total: claims.beat(round_=round_, done=done, total=total))
    beat("acquire", 0, 0)
    with _in_words():
        measured = measure(round_)
        if round_.trigger == Trigger.COMPARISON:
            claims.mark_done(round_=round_, metrics={**round_.metrics, **measured})
            return 0
        held = held_positions(round_.project)
        draw = draw_queue(round_=round_, held=held)
        main = acquire(round_, draw, held, beat)
    return publish_round(round_=round_, draw=draw, main=main, metrics={**round_.metrics, **measured})


def forget_leftovers(project: Project) -> None:
    """Delete the files of attempts that came to nothing, a day later: whoever was taken for dead may still write, and
    a backup may know them. And files that nothing names any more.
    """
    forget_unnamed_files(project)
    folder = Path(default_storage.path(f"{project_folder(project)}/rounds"))
    ended = [RoundState.FAILED, RoundState.CANCELLED]
    kept = set(Round.objects.filter(project=project).exclude(state__in=ended).values_list("folder", flat=True))
    for path in folder.iterdir() if folder.is_dir() else []:
        if f"rounds/{path.name}" not in kept and path.stat().st_mtime < time.time() - LEFTOVER_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


def acquire(round_: Round, draw: Draw, held: set[int], beat: Beat) -> list[Place]:
    """The places that the model chooses, best first, among what the draw has not taken."""
    from learner.config import BATCH_ACQUISITIONS
    from learner.round import acquire as acquire_images

    taken = {*held, *(place.position for place in draw.random)}
    eligible = _scored(round_, waiting_positions(round_.project, is_holdout=False, without=taken))
    if not draw.to_acquire or not len(eligible):
        return []
    if round_.config["acquisition"] in BATCH_ACQUISITIONS:  # these run the model once more
        limit_threads()
    with ExitStack() as stack:
        acquired = acquire_images(
            folder_of(round_),
            chunks=_pixel_chunks(round_, stack),
            eligible_positions=eligible,
            labelled_positions=_scored(round_, read_training_set(round_.project).positions),
            count=draw.to_acquire,
            config=_learner_config(round_),
            report=beat,
        )
    columns = (acquired.positions, acquired.selection_probabilities, acquired.scores, acquired.percentiles)
    return [
        Place(
            position=int(position),
            reason=Reason.ACQUIRED,
            selection_probability=None if math.isnan(probability) else float(probability),
            score=float(value),
            percentile=float(percentile),
            details=thought,
        )
        for position, probability, value, percentile, thought in zip(
            *columns, _thoughts(round_, acquired.positions), strict=True
        )
    ]


def measure(round_: Round) -> dict[str, Any]:
    """The model on the labelled holdout images, as JSON; empty without any."""
    from learner.round import evaluate

    number = {pk: index for index, pk in enumerate(round_.classes)}
    holdout = labelled_images(round_.project, is_holdout=True).filter(label__in=round_.classes)
    labels = dict(sorted(holdout.values_list("position", "label_id")))
    positions = _scored(round_, np.array(list(labels), dtype=np.int64))
    if not len(positions):
        return {}
    numbers = np.array([number[labels[position]] for position in positions.tolist()], dtype=np.int64)
    return metrics_as_json(evaluate(folder_of(round_), positions, numbers, n_classes=len(round_.classes)))


def metrics_as_json(metrics: Metrics) -> dict[str, Any]:
    return {
        "n": metrics.n,
        **{name: _interval(getattr(metrics, name)) for name in ("accuracy", "nll", "brier", "ece")},
        "recall": [_interval(each) if each else None for each in metrics.recall],
        "confusion": metrics.confusion_C_C.tolist(),
    }


def read_training_set(project: Project) -> TrainingSet:
    """All consensus labels that are not holdout. Classes: those in use and those that people can choose, in order."""
    pairs = sorted(labelled_images(project, is_holdout=False).values_list("position", "label_id"))
    used = {label for _, label in pairs}
    known = LabelClass.objects.filter(project=project).order_by("order", "id").values_list("id", "is_archived")
    classes = [pk for pk, is_archived in known if pk in used or not is_archived]
    number = {pk: index for index, pk in enumerate(classes)}
    positions = np.array([position for position, _ in pairs], dtype=np.int64)
    labels = np.array([number[label] for _, label in pairs], dtype=np.int64)
    return TrainingSet(positions, labels, classes)


def training_digest(training: TrainingSet, config: dict[str, Any], seed: int) -> str:
    """SHA-256 over the sorted (position, label class) pairs, config and seed: the same digest, the same model."""
    labels = [training.classes[label] for label in training.labels]
    pairs = sorted(zip(training.positions.tolist(), labels, strict=True))
    return hashlib.sha256(json.dumps([pairs, config, seed], sort_keys=True).encode()).hexdigest()


def draw_map(project: Project, report: Callable[[int, int], None]) -> Derived:
    """Where every image lies on the map of the pool, as `learner.embedding.RECORD`s. Raises CannotDerive."""
    with _cannot_derive(), ExitStack() as stack:
        from learner.embedding import embed

        records = embed(
            _chunks_now(project, stack), seed=project.pk, report=lambda _phase, done, total: report(done, total)
        )
    return Derived(lambda file: np.save(file, records, allow_pickle=False), len(records))


def make_graph(project: Project, report: Callable[[int, int], None]) -> Derived:
    """Which images look alike, and which to ask about first. Raises CannotDerive."""
    with _cannot_derive(), ExitStack() as stack:
        from learner.graph.pool_graph import make_pool_graph

        chunks = _chunks_now(project, stack)
        made = make_pool_graph(
            chunks,
            _in_chunks(waiting_positions(project, is_holdout=False), {chunk.number: chunk.count for chunk in chunks}),
            seed=project.pk,
            report=lambda _phase, done, total: report(done, total),
        )
    return Derived(made.save, len(made.graph), {"groups": made.n_groups, "reason": made.reason[:200]})


def folder_of(round_: Round) -> Path:
    return round_folder(round_)


def limit_threads() -> None:
    import torch

    torch.set_num_threads(settings.LEARNER_THREADS or max(1, (os.cpu_count() or 1) - 1))


def _chunk_beat(round_chunk: RoundChunk) -> Beat:
    return Beat(lambda done, _total: claims.beat_chunk(round_chunk=round_chunk, scored=done))


def _learner_config(round_: Round) -> RoundConfig:
    from learner.config import RoundConfig

    names = (
        "n_classes", "architecture", "estimator", "acquisition", "coldness", "posterior_samples", "budget", "device",
        "members", "member_dropout", "temperature_scaling", "laplace_prior",
    )  # fmt: skip
    return RoundConfig(**{name: round_.config[name] for name in names if name in round_.config}, seed=round_.seed)


def _pixel_chunks(round_: Round, stack: ExitStack) -> tuple[PixelChunk, ...]:
    """The pool's chunks as they were when the round began."""
    rows = RoundChunk.objects.filter(round=round_).select_related("chunk").order_by("chunk__number")
    return tuple(_pixel_chunk(row, stack) for row in rows)


def _pixel_chunk(row: RoundChunk, stack: ExitStack) -> PixelChunk:
    return _opened(row.chunk.number, row.pixels, row.count, stack)


def _graph(round_: Round, stack: ExitStack) -> Path | None:
    """The file of the graph that labels are passed on by. None: they are not, or it had not been made."""
    if not round_.config.get("propagation") or round_.config.get("graph") is None:
        return None
    for graph in PoolGraph.objects.filter(pk=round_.config["graph"]):
        try:
            return stack.enter_context(local_path(graph.file))
        except FileNotFoundError:
            graph.delete()  # the sweep has another one made
    raise CannotLearn("Which images look alike was lost, and is being found again. Try again in a few minutes.")


def _opened(number: int, pixels: str, count: int, stack: ExitStack) -> PixelChunk:
    from learner.pool import Chunk as PixelChunk

    try:
        path = stack.enter_context(local_path(pixels))
    except FileNotFoundError as error:
        raise CannotLearn(f"The pixels of chunk {number} are missing in the storage: {error}.") from error
    return PixelChunk(number, path, count)


def _chunks_now(project: Project, stack: ExitStack) -> list[PixelChunk]:
    rows = Chunk.objects.filter(project=project, count__gt=0).order_by("number")
    return [_opened(row.number, row.pixels, row.count, stack) for row in rows]


def _scored(round_: Round, positions: Integers) -> Integers:
    """Without images that were imported after the round began."""
    return _in_chunks(positions, dict(RoundChunk.objects.filter(round=round_).values_list("chunk__number", "count")))


def _in_chunks(positions: Integers, counts: dict[int, int]) -> Integers:
    """Those of sorted positions that stand in chunks, by number and count."""
    numbers = [*counts, *(positions[-1:] // CHUNK_SIZE).tolist()]
    known = np.zeros(max(numbers, default=0) + 1, dtype=np.int64)
    for number, count in counts.items():
        known[number] = count
    return positions[positions % CHUNK_SIZE < known[positions // CHUNK_SIZE]]


def _thoughts(round_: Round, positions: Integers) -> list[dict[str, object]]:
    """What the model thinks of each: its three likeliest classes, mean and standard deviation over the samples."""
    from learner.scores import scores_at

    mean_b_C = scores_at(folder_of(round_), positions, "mean_probs_N_C").astype(float)
    std_b_C = scores_at(folder_of(round_), positions, "std_probs_N_C").astype(float)
    return [
        {
            "likely": [
                {"class": round_.classes[c], "mean": round(float(mean[c]), 4), "std": round(float(std[c]), 4)}
                for c in np.argsort(-mean, kind="stable")[:3].tolist()
            ]
        }
        for mean, std in zip(mean_b_C, std_b_C, strict=True)
    ]


def _interval(interval: Interval) -> dict[str, Any]:
    """JSON has no infinity: the open end of a mean of one value becomes null."""
    content = asdict(interval)
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in content.items()}


@contextmanager
def _cannot_derive() -> Iterator[None]:
    try:
        with _in_words():
            yield
    except CannotLearn as error:
        raise CannotDerive(str(error)) from error


@contextmanager
def _in_words() -> Iterator[None]:
    from learner.errors import LearnerError

    try:
        yield
    except LearnerError as error:
        words = str(error).strip()
        raise CannotLearn(f"{words[:1].upper()}{words[1:]}{'' if words.endswith('.') else '.'}") from error
