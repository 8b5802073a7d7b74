"""While all labels are of one class no model can be fitted; people go on all the same, and the end is told."""

from __future__ import annotations

import uuid

import pytest

from labeler.models import Annotation, Image, ImageState, Notice, NoticeKind, Outcome, Round, Trigger
from labeler.services import triggers
from labeler.services.rounds import start_cold_round
from tests.labeler.rounds import tune

pytestmark = pytest.mark.django_db


def all_cats(project, annotator) -> None:
    """More answers than start a round, and no place of the queue is left."""
    cat = project.classes.get(name="cat")
    asked = Image.objects.filter(pk__in=project.queue_round.candidates.values("image"))
    for image in asked:
        Annotation.objects.create(
            project=project, image=image, annotator=annotator, outcome=Outcome.LABEL, label_class=cat, key=uuid.uuid4()
        )
    asked.update(state=ImageState.LABELLED, label=cat)
    project.queue_round.candidates.update(state="answered")


@pytest.fixture
def pool(project, make_images):
    make_images(project, 20)
    tune(project, retrain_every=6, budget=10, holdout_questions=0)
    start_cold_round(project=project)
    project.refresh_from_db()
    return project


def test_the_queue_goes_on(pool, annotator) -> None:
    all_cats(pool, annotator)
    assert triggers.start_due_rounds() == 1
    newest = Round.objects.order_by("-number").first()
    assert (newest.trigger, newest.reason) == (Trigger.COLD_START, "the queue is empty and no model can be fitted yet")
    assert newest.candidates.filter(state="open").count() == 10
    assert not Notice.objects.exists()


def test_when_nothing_is_left_it_is_told_once(pool, annotator) -> None:
    all_cats(pool, annotator)
    assert triggers.start_due_rounds() == 1
    pool.refresh_from_db()
    all_cats(pool, annotator)
    for _ in range(3):
        assert triggers.start_due_rounds() == 0
    assert [row.kind for row in Notice.objects.all()] == [NoticeKind.QUEUE_DRY]
