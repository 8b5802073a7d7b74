"""A project of 60 images with a queue of its own."""

from __future__ import annotations

import pytest
from django.utils import timezone

from labeler.models import (
    Project,
    Round,
    RoundState,
)
from labeler.services.rounds import start_cold_round
from tests.labeler.rounds import tune


@pytest.fixture
def pool(project, make_images) -> Project:
    make_images(project, 60)
    tune(project, retrain_every=6, budget=40, holdout_questions=0)
    start_cold_round(project=project)
    project.refresh_from_db()
    return project


def newest(project: Project) -> Round:
    return Round.objects.filter(project=project).first()


def end(project: Project, state: str = RoundState.DONE, **changes) -> None:
    Round.objects.filter(pk=newest(project).pk).update(
        state=state, finished_at=timezone.now(), started_at=timezone.now(), **changes
    )
