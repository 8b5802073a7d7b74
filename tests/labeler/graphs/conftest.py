"""A project whose images have a graph, and the job run at once."""

from __future__ import annotations

import numpy as np
import pytest

from labeler import tasks
from labeler.models import Candidate, JobState, PoolGraph, Round, RoundState, Trigger
from labeler.selectors.scores import predicted_classes, summary_of
from labeler.services import graphs
from labeler.services.rounds import request_round, start_cold_round
from tests.labeler.rounds import paint, truth


@pytest.fixture
def pool(project, make_images):
    """60 images of three kinds, that look alike within a kind; none is held out."""
    make_images(project, 60)
    paint(project)
    project.learning.holdout_questions = project.learning.random_share = 0.0
    project.learning.save()
    return project


@pytest.fixture
def cold(pool) -> Round:
    round_ = start_cold_round(project=pool)
    assert round_ is not None
    return round_


def made(project) -> PoolGraph:
    job = graphs.request_graph(project=project)
    assert job is not None
    tasks.make_graph(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.DONE, job.error
    return job


def queue(project) -> list[Candidate]:
    project.refresh_from_db()
    return list(Candidate.objects.filter(round=project.queue_round).order_by("rank").select_related("image"))


def run(project) -> Round:
    round_ = request_round(project=project, trigger=Trigger.BUTTON, reason="a test")
    tasks.run_round(round_.pk)
    round_.refresh_from_db()
    assert round_.state == RoundState.DONE, round_.error
    return round_


def right(round_: Round) -> float:
    """Of all 60 images."""
    number = {row.pk: index for index, row in enumerate(round_.project.classes.all())}
    said = predicted_classes(round_, summary_of(round_)).tolist()
    return float(np.mean([number[pk] == truth(position) for position, pk in enumerate(said)]))
