"""Rounds: rows become requests, results become rows.

The learner speaks in positions in the pool and class numbers; ids stay on this side. The files of a round stand in the
project's folder under `Round.folder`: the model, and a score file a chunk.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from django.conf import settings

from labeler.learning.asking import acquire
from labeler.learning.charge import rule_on
from labeler.learning.files import Beat, CannotLearn, folder_of, in_chunks, in_words, limit_threads, mending, opened
from labeler.learning.kept import Kept, keep_training, surroundings
from labeler.learning.offered import compare_with_offered
from labeler.learning.relabel import places_again
from labeler.learning.requests import (
    graph_of,
    learner_config,
    read_training_set,
    round_chunks,
    scored,
    training_digest,
)
from labeler.learning.spoken import note
from labeler.models import Project, Reason, Round, RoundChunk, RoundState, Trigger
from labeler.round_files import hand_on
from labeler.selectors.features import seen_by
from labeler.selectors.graphs import current_graph
from labeler.selectors.left_out import count_left_out, states_left_out
from labeler.selectors.pool import labelled_images, waiting_positions
from labeler.selectors.scores import NoScores, summary_of
from labeler.selectors.spent import answers_spent
from labeler.services import claims
from labeler.services.charge import ChargeMoved, Ruling
from labeler.services.draw import Draw, Place, draw_queue
from labeler.services.leftovers import KEPT, forget_unnamed_files
from labeler.services.publish import held_positions, publish_round
from labeler.services.rounds import config_of, last_annotation_id
from labeler.services.triggers import reason_at_snapshot
from labeler.storage import delete_folder, folders_in, is_older, project_folder
from labeler.told import keep

if TYPE_CHECKING:
    from learner.metrics import Interval, Metrics

logger = logging.getLogger(__name__)

MOST_RULINGS = 5  # a person would have to change their mind as often within seconds


def fit(*, round_: Round) -> None:
    """Take a snapshot of the labels, fit, and open the pool for scoring."""
    beat = Beat(lambda done, total: claims.beat(round_=round_, done=done, total=total))
    beat("fit", 0, 0)
    kept = take_snapshot(round_)
    with in_words(), mending(round_.project), ExitStack() as stack:
        from learner.config import RoundRequest
        from learner.round import fit as fit_model

        limit_threads()
        keep_training(round_, kept)
        graph = graph_of(round_, stack)
        request = RoundRequest(
            chunks=round_chunks(round_, stack),
            train_positions=kept.training.positions,
            train_labels=kept.training.labels,
            config=learner_config(round_.config, seed=round_.seed),
            directory=folder_of(round_),
            graph=graph,
            propagate_to=kept.open_to,
            rejected=kept.training.rejected,
        )
        result = fit_model(request, beat)
        hand_on(round_)
    fitted = {
        "loss": result.loss,
        "steps": result.steps,
        "notes": [keep(note(each)) for each in result.notes],
        "temperature": result.temperature,
        "model_digest": result.model_digest,
        "doubts_graph": result.doubts_graph,
        "ignored": result.ignored,
        **surroundings(round_, graph),
    }
    claims.start_scoring(round_=round_, metrics={"fit": fitted})


def take_snapshot(round_: Round) -> Kept:
    """The labels and chunks of this moment, written down as the round's own."""
    project, seen = round_.project, last_annotation_id(round_.project)
    training = read_training_set(project)
    is_comparison = round_.trigger == Trigger.COMPARISON
    graph = current_graph(project)
    wanted = round_.config if is_comparison else config_of(project.learning)
    sees = seen_by(project, wanted, graph)
    counts = {each.chunk.number: each.count for each in sees.inputs}
    training = training.within(counts)
    open_to = in_chunks(waiting_positions(project, is_holdout=False), counts)
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
        training_digest=training_digest(training, open_to, config, round_.seed),
        training_count=len(training.positions),
        last_annotation_id=round_.last_annotation_id if is_comparison else seen,  # what it saw starts the next round
        answers_spent=answers_spent(project),
        reason=reason_at_snapshot(round_=round_, seen=seen),
    )
    return Kept(training, open_to)


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
                scorer = Scorer(folder_of(round_, scores=False))
            hand_on(round_, [scorer.score(opened(round_chunk, stack), beat)])
        claims.finish_chunk(round_chunk=round_chunk)
        done += 1
    return done


def choose(*, round_: Round) -> int:
    """Measure the model on the holdout, let the gate say whether it takes charge, choose whom to ask about, publish.
    Returns the length of the queue.

    A comparison is measured and leaves the queue alone. A round that only remakes the queue has nothing to measure.
    """
    beat = Beat(lambda done, total: claims.beat(round_=round_, done=done, total=total))
    beat("acquire", 0, 0)
    with in_words():
        measured = measure(round_) if round_.folder else {}
    metrics = {**round_.metrics, **measured}
    if round_.trigger == Trigger.COMPARISON:
        claims.mark_done(round_=round_, metrics=metrics)
        return 0
    for _ in range(MOST_RULINGS - 1):
        try:
            return _publish(round_, metrics, beat)
        except ChargeMoved:
            logger.info("Judging %s again: another model was put in charge", round_)
    return _publish(round_, metrics, beat)


def _publish(round_: Round, metrics: dict[str, Any], beat: Beat) -> int:
    """The queue by whichever model is in charge now. Raises ChargeMoved."""
    with in_words():
        ruling: Ruling = rule_on(round_)
        draw, main, held = _chosen(round_, ruling.asked_by, beat)
        if _asks_groups(main) and not held_positions(round_.project) <= held:  # of a group that is on a screen by now
            draw, main, _ = _chosen(round_, ruling.asked_by, beat)
        asker = ruling.asked_by
        measured = metrics if asker.pk == round_.pk else asker.metrics
        again = places_again(round_=asker, measured=measured, main=main)
    main = main[: max(0, len(main) - len(again))]  # an answer that is asked again is one fewer for new images
    return publish_round(round_=round_, draw=draw, main=main, metrics=metrics, ruling=ruling, again=again)


def _chosen(round_: Round, asker: Round, beat: Beat) -> tuple[Draw, list[Place], set[int]]:
    """What the queue is to be, and what was on screens when it was chosen."""
    held = held_positions(round_.project)
    draw = draw_queue(round_=round_, held=held)
    return draw, acquire(round_, asker, draw, held, beat), held


def _asks_groups(places: Sequence[Place]) -> bool:
    return any(place.reason == Reason.GROUP for place in places)


def sum_up(round_: Round) -> None:
    """Write the few bytes an image that Explore draws, now that nobody waits. Without them a web process would read all
    score files for whoever looks first; it still does where this came to nothing. Then see what the labels say of the
    model that came with the images.
    """
    if not round_.folder:
        return
    try:
        summary_of(round_)
        compare_with_offered(round_)
    except (NoScores, CannotLearn, OSError) as error:
        logger.warning("%s is not summed up: %s", round_, error)


def forget_leftovers(project: Project) -> None:
    """Delete the files of attempts that came to nothing, a day later: whoever was taken for dead may still write, and
    a backup may know them. And files that nothing names any more.
    """
    forget_unnamed_files(project)
    folder = f"{project_folder(project)}/rounds"
    ended = [RoundState.FAILED, RoundState.CANCELLED]
    kept = set(Round.objects.filter(project=project).exclude(state__in=ended).values_list("folder", flat=True))
    for name in folders_in(folder):
        if f"rounds/{name}" not in kept and is_older(f"{folder}/{name}", KEPT):
            delete_folder(f"{folder}/{name}")


def measure(round_: Round) -> dict[str, Any]:
    """The model on the labelled holdout images, as JSON, with how many have no label though they were answered; empty
    without any label."""
    from learner.round import evaluate

    number = {pk: index for index, pk in enumerate(round_.classes)}
    holdout = labelled_images(round_.project, is_holdout=True).filter(label__in=round_.classes)
    labels = dict(sorted(holdout.values_list("position", "label_id")))
    positions = scored(round_, np.array(list(labels), dtype=np.int64))
    if not len(positions):
        return {}
    aside = states_left_out(round_.project)
    known = scored(round_, np.array(list(aside), dtype=np.int64)).tolist()
    numbers = np.array([number[labels[position]] for position in positions.tolist()], dtype=np.int64)
    found = evaluate(folder_of(round_), positions, numbers, n_classes=len(round_.classes))
    return metrics_as_json(found) | {"left_out": count_left_out(aside, known)}


def metrics_as_json(metrics: Metrics) -> dict[str, Any]:
    return {
        "n": metrics.n,
        **{name: _interval(getattr(metrics, name)) for name in ("accuracy", "nll", "brier", "ece")},
        "recall": [_interval(each) if each else None for each in metrics.recall],
        "confusion": metrics.confusion_C_C.tolist(),
        "reliability": [
            {
                "low": each.low,
                "high": each.high,
                "n": each.n,
                "confidence": each.confidence,
                "accuracy": _interval(each.accuracy) if each.accuracy else None,
            }
            for each in metrics.reliability
        ],
    }


def _chunk_beat(round_chunk: RoundChunk) -> Beat:
    return Beat(lambda done, _total: claims.beat_chunk(round_chunk=round_chunk, scored=done))


def _interval(interval: Interval) -> dict[str, Any]:
    """JSON has no infinity: the open end of a mean of one value becomes null."""
    content = asdict(interval)
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in content.items()}
