"""Celery tasks: they take ids, claim, call a service, return. A message that comes twice, late or never is harmless.

The first part of a name says the queue: `learner` and `background` compute; `imports` reads what people bring, for as
long as that takes; `messages` waits for servers of others; `labeler` is all that is short.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from celery import shared_task
from celery.exceptions import SoftTimeLimitExceeded
from celery.signals import worker_process_init
from django.conf import settings
from django.db import Error as DatabaseProblem
from django.db import connection

from labeler.models import Project, Round, RoundState
from labeler.services import (
    claims,
    class_changes,
    exporting,
    features,
    graphs,
    importing,
    maps,
    networks,
    notice_mails,
    predicting,
    quality,
    replays,
    reruns,
    serving,
    triggers,
    webhook_deliveries,
)
from labeler.services import sweep as sweeping
from labeler.storage import StorageAway
from labeler.told import told
from labeler.workers import busy_with, serves, this_worker

logger = logging.getLogger(__name__)
BACKGROUND_NICENESS = 10  # of 19


@worker_process_init.connect  # type: ignore[untyped-decorator]
def load_learner(**_: object) -> None:
    """torch takes seconds to load: a learner's process begins with that before somebody waits for a round. Celery waits
    only some seconds for a new process, so it is done in a thread.

    What is done in the background gives way to rounds and pages on the same cores."""
    if serves("background") and not any(map(serves, ("learner", "default", "imports", "messages"))):
        os.nice(BACKGROUND_NICENESS)
    if serves("learner"):
        from labeler import learning

        threading.Thread(target=learning.load, name="load-learner", daemon=True).start()


@shared_task(name="learner.run_round")  # type: ignore[untyped-decorator]
def run_round(round_id: int) -> None:
    """1. Claim a queued round. 2. Fit. 3. Score with whoever else comes. 4. If all is scored: choose and publish."""
    from labeler import learning

    claim = claims.new_claim(this_worker())
    round_ = claims.claim_fit(round_id=round_id, claim=claim)
    if round_ is not None:
        with _in_words(round_, claim), busy_with(f"fitting round {round_.number} of {round_.project}"):
            learning.fit(round_=round_)
    score_chunks(round_id)


@shared_task(name="learner.score_chunks")  # type: ignore[untyped-decorator]
def score_chunks(round_id: int) -> None:
    """Score chunks until none is free; whoever finds all of them done chooses and publishes."""
    from labeler import learning

    claim = claims.new_claim(this_worker())
    round_ = Round.objects.select_related("project__learning").filter(pk=round_id, state=RoundState.SCORING).first()
    if round_ is not None:
        with _in_words(round_, claim), busy_with(f"scoring round {round_.number} of {round_.project}"):
            learning.score(round_=round_, claim=claim)
    choosing = claims.claim_acquire(round_id=round_id, claim=claim)
    if choosing is not None:
        with _in_words(choosing, claim), busy_with(f"choosing in round {choosing.number} of {choosing.project}"):
            learning.choose(round_=choosing)
            learning.sum_up(choosing)
            learning.forget_leftovers(choosing.project)


@contextmanager
def _in_words(round_: Round, claim: str) -> Iterator[None]:
    """Whatever goes wrong becomes words on the round. Work that the database lost sight of is left to the sweep."""
    from labeler.learning import CannotLearn

    words = ""
    try:
        yield
    except claims.RoundLost:
        logger.info("Stopped working on %s: it was cancelled or given to another worker", round_)
    except CannotLearn as error:
        words = str(error)
    except SoftTimeLimitExceeded:
        words = told(
            "It took longer than the %(hours)s hours that ROUND_TIME_LIMIT allows. Fewer posterior samples or a "
            "smaller network make rounds shorter.",
            hours=f"{settings.ROUND_TIME_LIMIT / 3600:g}",
        )
    except DatabaseProblem:
        connection.close()
        raise
    except StorageAway as error:
        logger.warning("Left %s to another worker, or a later try: %s", round_, error)
    except MemoryError:
        words = told("The learner ran out of memory. Fewer posterior samples need less.")
    except OSError as error:
        logger.exception("%s failed", round_)
        words = told(
            "The learner could not read or write its files: %(why)s. Make room, then try again.",
            why=error.strerror or str(error),
        )
    except Exception as error:
        claims.fail_round(round_id=round_.pk, claim=claim, words=_unexpected(error))
        raise
    if words:
        claims.fail_round(round_id=round_.pk, claim=claim, words=words)


def _unexpected(error: Exception) -> str:
    return told(
        "Something went wrong that was not foreseen (%(kind)s: %(why)s). The learner's log has the details. Answers "
        "and the last model are untouched.",
        kind=type(error).__name__,
        why=str(error)[:1500],
    )


@shared_task(name="imports.run_import")  # type: ignore[untyped-decorator]
def run_import(job_id: int) -> None:
    with busy_with("importing images"):
        importing.run_import(job_id=job_id)


@shared_task(name="labeler.run_export")  # type: ignore[untyped-decorator]
def run_export(job_id: int) -> None:
    with busy_with("writing an export"):
        exporting.run_export(job_id=job_id)


@shared_task(name="labeler.run_class_change")  # type: ignore[untyped-decorator]
def run_class_change(change_id: int) -> None:
    with busy_with("going over the images of changed classes"):
        class_changes.run_class_change(change_id=change_id)


@shared_task(name="background.draw_map")  # type: ignore[untyped-decorator]
def draw_map(job_id: int) -> None:
    from labeler import learning

    with busy_with("drawing a map"):
        maps.run_map(job_id=job_id, draw=learning.draw_map)


@shared_task(name="background.compute_features")  # type: ignore[untyped-decorator]
def compute_features(job_id: int) -> None:
    from labeler import learning

    with busy_with("computing features of images"):
        features.run_features(job_id=job_id, load=learning.open_backbone)


@shared_task(name="background.make_graph")  # type: ignore[untyped-decorator]
def make_graph(job_id: int) -> None:
    from labeler import learning

    with busy_with("looking for images that look alike"):
        graphs.run_graph(job_id=job_id, make=learning.make_graph)


@shared_task(name="background.train_network")  # type: ignore[untyped-decorator]
def train_network(job_id: int) -> None:
    from labeler import learning

    with busy_with("training a network"):
        networks.run_network(job_id=job_id, train=learning.train_network)


@shared_task(name="background.run_replay")  # type: ignore[untyped-decorator]
def run_replay(job_id: int) -> None:
    from labeler import learning

    with busy_with("replaying answers"):
        replays.run_replay(job_id=job_id, play=learning.play)


@shared_task(name="labeler.measure_answers")  # type: ignore[untyped-decorator]
def measure_answers(project_id: int) -> None:
    from labeler import learning

    with busy_with("measuring answers"):
        quality.run_quality(project_id=project_id, measure=learning.measure_answers)


@shared_task(name="background.rerun")  # type: ignore[untyped-decorator]
def rerun(job_id: int) -> None:
    from labeler import learning

    with busy_with("running a round again"):
        reruns.run_rerun(job_id=job_id, again=learning.rerun)


@shared_task(name="background.export_model")  # type: ignore[untyped-decorator]
def export_model(job_id: int) -> None:
    from labeler import learning

    with busy_with("preparing a model to be taken away"):
        serving.run_model_export(job_id=job_id, export=learning.export_model)


@shared_task(name="labeler.run_prediction")  # type: ignore[untyped-decorator]
def run_prediction(job_id: int) -> None:
    with busy_with("asking a model about an archive"):
        predicting.run_prediction(job_id=job_id)


@shared_task(name="labeler.scheduled_round")  # type: ignore[untyped-decorator]
def scheduled_round(project_id: int) -> None:
    project = Project.objects.select_related("learning__schedule").filter(pk=project_id).first()
    if project is not None:
        triggers.scheduled_round(project=project)


@shared_task(name="messages.send_notice_mails")  # type: ignore[untyped-decorator]
def send_notice_mails() -> None:
    with busy_with("sending mail"):
        notice_mails.send_mails()


@shared_task(name="messages.send_webhooks")  # type: ignore[untyped-decorator]
def send_webhooks() -> None:
    with busy_with("telling webhooks"):
        webhook_deliveries.send_webhooks()


@shared_task(name="labeler.sweep")  # type: ignore[untyped-decorator]
def sweep() -> None:
    sweeping.sweep()
