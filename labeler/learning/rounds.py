"""Rounds: rows become requests, results become rows.

The learner speaks in positions in the pool and class numbers; ids stay on this side. The files of a round stand in the
project's folder under `Round.folder`: the model, and a score file a chunk.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from django.conf import settings
from django.core.files.storage import default_storage

from labeler.learning.files import (
    Beat,
    CannotLearn,
    Integers,
    folder_of,
    in_chunks,
    in_words,
    limit_threads,
    mending,
    opened,
)
from labeler.learning.relabel import places_again
from labeler.models import (
    JobState,
    LabelClass,
    PoolGraph,
    Project,
    Reason,
    Round,
    RoundChunk,
    RoundState,
    Trigger,
)
from labeler.selectors.features import architecture_of, seen_by
from labeler.selectors.graphs import current_graph
from labeler.selectors.pool import labelled_images, waiting_positions
from labeler.services import claims
from labeler.services.draw import Draw, Place, draw_queue
from labeler.services.leftovers import KEPT, forget_unnamed_files
from labeler.services.publish import count_answers, held_positions, publish_round
from labeler.services.rounds import config_of, last_annotation_id
from labeler.services.triggers import reason_at_snapshot
from labeler.storage import local_path, project_folder

if TYPE_CHECKING:
    from learner.config import RoundConfig
    from learner.metrics import Interval, Metrics
    from learner.pool import Chunk as PixelChunk

logger = logging.getLogger(__name__)

LEFTOVER_SECONDS = KEPT.total_seconds()


@dataclass(frozen=True)
class TrainingSet:
    """What a round learns from: positions and class numbers, and the label class of each number."""

    positions: Integers
    labels: Integers
    classes: list[int]

    def within(self, counts: dict[int, int]) -> TrainingSet:
        """Without images that are not in those chunks: they came later than the vectors that a round learns from."""
        is_inside = np.isin(self.positions, in_chunks(self.positions, counts))
        return TrainingSet(self.positions[is_inside], self.labels[is_inside], self.classes)


def fit(*, round_: Round) -> None:
    """Take a snapshot of the labels, fit, and open the pool for scoring."""
    beat = Beat(lambda done, total: claims.beat(round_=round_, done=done, total=total))
    beat("fit", 0, 0)
    training = take_snapshot(round_)
    with in_words(), mending(round_.project), ExitStack() as stack:
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
        "doubts_graph": result.doubts_graph,
    }
    claims.start_scoring(round_=round_, metrics={"fit": fitted})


def take_snapshot(round_: Round) -> TrainingSet:
    """The labels and chunks of this moment, written down as the round's own."""
    project, seen = round_.project, last_annotation_id(round_.project)
    training = read_training_set(project)
    is_comparison = round_.trigger == Trigger.COMPARISON
    graph = current_graph(project)
    wanted = round_.config if is_comparison else config_of(project.learning)
    sees = seen_by(project, wanted, graph)
    training = training.within({each.chunk.number: each.count for each in sees.inputs})
    config = {
        **wanted,
        "has_likeness": sees.has_likeness,
        "features": sees.features.key if sees.features is not None else None,
        "graph": graph.pk if graph is not None else None,
        "n_classes": len(training.classes),
        "device": settings.LEARNER_DEVICE,
    }
    claims.keep_snapshot(
        round_=round_,
        inputs=sees.inputs,
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
        with in_words(), mending(round_.project), ExitStack() as stack:
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
    with in_words():
        measured = measure(round_)
        if round_.trigger == Trigger.COMPARISON:
            claims.mark_done(round_=round_, metrics={**round_.metrics, **measured})
            return 0
        held = held_positions(round_.project)
        draw = draw_queue(round_=round_, held=held)
        main = acquire(round_, draw, held, beat)
        again = places_again(round_=round_, measured=measured, main=main)
    main = main[: max(0, len(main) - len(again))]  # an answer that is asked again is one fewer for new images
    return publish_round(round_=round_, draw=draw, main=main, metrics={**round_.metrics, **measured}, again=again)


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
    answered = read_training_set(round_.project)
    with ExitStack() as stack:
        parts = _ask_about_parts(round_, answered, eligible, draw.to_acquire, stack, beat)
        acquired = acquire_images(
            folder_of(round_),
            chunks=_pixel_chunks(round_, stack),
            eligible_positions=np.setdiff1d(eligible, [place.position for place in parts]),
            labelled_positions=_scored(round_, answered.positions),
            count=draw.to_acquire - len(parts),
            config=_learner_config(round_),
            report=beat,
        )
    columns = (acquired.positions, acquired.selection_probabilities, acquired.scores, acquired.percentiles)
    return parts + [
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


def _ask_about_parts(
    round_: Round, answered: TrainingSet, eligible: Integers, count: int, stack: ExitStack, beat: Beat
) -> list[Place]:
    """Places for images that stand for a part of the pool whose class is not known well enough, if that is wanted, and
    answers do not speak against the graph."""
    is_wanted = round_.config["acquisition"] != "random" and not round_.metrics["fit"].get("doubts_graph")
    path = _graph(round_, stack) if is_wanted else None
    if path is None:
        return []
    from learner.graph.hypotheses import Answers
    from learner.graph.pool_graph import questions_about_parts

    is_known = np.isin([answered.classes[label] for label in answered.labels], round_.classes)
    number = {pk: index for index, pk in enumerate(round_.classes)}
    labels = [number[answered.classes[label]] for label in answered.labels[is_known].tolist()]
    answers = Answers(answered.positions[is_known], np.array(labels, np.int64), len(round_.classes))
    questions = questions_about_parts(path, answers, eligible, count, seed=round_.seed, report=beat)
    thoughts = _thoughts(round_, np.array([each.position for each in questions], np.int64))
    return [
        Place(each.position, Reason.GROUP, each.probability, score=each.gain, details={"group": each.size, **thought})
        for each, thought in zip(questions, thoughts, strict=True)
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


def _chunk_beat(round_chunk: RoundChunk) -> Beat:
    return Beat(lambda done, _total: claims.beat_chunk(round_chunk=round_chunk, scored=done))


def _learner_config(round_: Round) -> RoundConfig:
    from learner.config import RoundConfig

    names = (
        "n_classes", "estimator", "acquisition", "coldness", "posterior_samples", "budget", "device",
        "members", "member_dropout", "temperature_scaling", "laplace_prior",
    )  # fmt: skip
    settings_ = {name: round_.config[name] for name in names if name in round_.config}
    return RoundConfig(**settings_ | {"architecture": architecture_of(round_.config)}, seed=round_.seed)


def _pixel_chunks(round_: Round, stack: ExitStack) -> tuple[PixelChunk, ...]:
    """The pool's chunks as they were when the round began."""
    rows = RoundChunk.objects.filter(round=round_).select_related("chunk").order_by("chunk__number")
    return tuple(_pixel_chunk(row, stack) for row in rows)


def _pixel_chunk(row: RoundChunk, stack: ExitStack) -> PixelChunk:
    return opened(row, stack)


def _graph(round_: Round, stack: ExitStack) -> Path | None:
    """The file of the round's graph, or of the one that has come after it. None: it is not wanted, or was not there."""
    if not round_.config.get("propagation") or round_.config.get("graph") is None:
        return None
    own = PoolGraph.objects.filter(pk=round_.config["graph"], state=JobState.DONE).first()
    if (graph := own or current_graph(round_.project)) is not None:
        from learner.graph.pool_graph import is_readable

        with suppress(FileNotFoundError):
            path = stack.enter_context(local_path(graph.file))
            if is_readable(path):
                return path
        graph.delete()  # the sweep has another one made
    raise CannotLearn("Which images look alike was lost, and is being found again. Try again in a few minutes.")


def _scored(round_: Round, positions: Integers) -> Integers:
    """Without images that were imported after the round began."""
    return in_chunks(positions, dict(RoundChunk.objects.filter(round=round_).values_list("chunk__number", "count")))


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
