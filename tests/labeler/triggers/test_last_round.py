"""Once no question is left, what was answered or decided since the newest round is learned by a last one."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.db.models import F
from django.urls import reverse

from labeler import tasks
from labeler.models import Annotation, Image, ImageState, Membership, Outcome, Role, Round, RoundState, Trigger
from labeler.selectors.next_round import next_round_words
from labeler.services import triggers
from labeler.services.annotate import record_answer
from labeler.services.decide import decide_image
from labeler.services.last_round import QUIET_SECONDS, QUIET_WHILE_ASKED_SECONDS
from labeler.services.pausing import pause_project
from labeler.services.rounds import start_cold_round
from tests.labeler.queues import fresh
from tests.labeler.rounds import answer, paint, tune
from tests.labeler.triggers.conftest import end, newest

pytestmark = pytest.mark.django_db


def pass_time(seconds: int) -> None:
    Annotation.objects.update(created_at=F("created_at") - timedelta(seconds=seconds))


@pytest.fixture
def ended(project, make_images, annotator):
    """Nine images, all answered; the newest round has seen seven of the answers."""
    make_images(project, 9)
    tune(project, retrain_every=50, holdout_questions=0, holdout_target=0)
    start_cold_round(project=project)
    answer(project, annotator, 7)
    seen = Annotation.objects.latest("id").pk
    answer(project, annotator, 2)
    Round.objects.filter(state=RoundState.QUEUED).delete()
    end(project, last_annotation_id=seen)
    return fresh(project)


def test_it_starts_by_itself_once_nobody_answers_any_more(ended) -> None:
    assert triggers.start_due_rounds() == 0  # somebody may be at it still
    assert next_round_words(ended) == "a minute after the last answer or decision, as no question is left"
    pass_time(QUIET_SECONDS)
    assert triggers.start_due_rounds() == 1
    last = newest(ended)
    assert (last.trigger, last.reason) == (Trigger.QUEUE_DRY, "no question is left, and there are new answers")


@pytest.mark.parametrize("state", [RoundState.DONE, RoundState.FAILED, RoundState.CANCELLED])
def test_it_is_the_last_whatever_became_of_it(ended, state) -> None:
    pass_time(QUIET_SECONDS)
    assert triggers.start_due_rounds() == 1
    end(ended, state)
    for _ in range(3):
        pass_time(10 * QUIET_WHILE_ASKED_SECONDS)
        assert triggers.start_due_rounds() == 0
    assert next_round_words(ended) == "once there are more images"


def test_a_decision_brings_another(ended, manager) -> None:
    image = ended.images.first()
    Image.objects.filter(pk=image.pk).update(state=ImageState.DISPUTED, label=None, is_contested=True)
    pass_time(QUIET_SECONDS)
    assert triggers.start_due_rounds() == 1
    end(ended)
    assert triggers.start_due_rounds() == 0
    decide_image(
        project=ended, by=manager, image_id=image.pk, outcome=Outcome.BAD_IMAGE, label_class_id=None,
        key=uuid.uuid4(), seen=10**6,
    )  # fmt: skip
    pass_time(QUIET_SECONDS)
    assert triggers.start_due_rounds() == 1


def test_a_skip_brings_none(ended, make_user) -> None:
    end(ended, last_annotation_id=Annotation.objects.latest("id").pk)
    record_answer(
        project=ended, annotator=make_user("bob"), image_id=ended.images.first().pk, candidate_id=None,
        outcome=Outcome.SKIP, label_class_id=None, key=uuid.uuid4(), seconds=1.0,
    )  # fmt: skip
    pass_time(QUIET_SECONDS)
    assert triggers.start_due_rounds() == 0


def test_while_disputed_images_are_asked_of_others_it_waits_longer(ended, make_user) -> None:
    tune(ended, retrain_every=50, relabel="always")
    Membership.objects.create(project=ended, user=(bob := make_user("bob")), role=Role.ANNOTATOR)
    labelled, disputed = ended.images.all()[:2]
    record_answer(
        project=ended, annotator=bob, image_id=labelled.pk, candidate_id=None, outcome=Outcome.LABEL,
        label_class_id=labelled.label_id, key=uuid.uuid4(), seconds=1.0,
    )  # fmt: skip
    Image.objects.filter(pk=disputed.pk).update(state=ImageState.DISPUTED, label=None, is_contested=True)
    pass_time(QUIET_SECONDS)
    assert triggers.start_due_rounds() == 0
    assert next_round_words(fresh(ended)).endswith("ten minutes after the last answer")
    pass_time(QUIET_WHILE_ASKED_SECONDS)
    assert triggers.start_due_rounds() == 1


def test_not_while_the_project_is_paused_or_rounds_start_by_hand(ended, manager) -> None:
    pass_time(QUIET_SECONDS)
    tune(ended, retrain_every=0)
    assert triggers.start_due_rounds() == 0
    tune(ended, retrain_every=50)
    pause_project(project=ended, by=manager, reason="")
    assert triggers.start_due_rounds() == 0


@pytest.mark.django_db(transaction=True)
def test_the_model_in_charge_has_learned_all_labels(project, make_images, annotator, sent, manager, client_of) -> None:
    make_images(project, 30)
    make_images(project, 12, is_holdout=True)
    paint(project)
    tune(project, retrain_every=15)
    start_cold_round(project=project)
    run = {"learner.run_round": tasks.run_round, "learner.score_chunks": tasks.score_chunks}
    for _ in range(30):
        answer(project, annotator, 15)
        triggers.start_due_rounds()
        while sent:
            name, *ids = sent.pop(0)
            Round.objects.update(not_before=F("created_at"))
            run[name](*ids)
        pass_time(QUIET_SECONDS)
    labelled = Image.objects.filter(state=ImageState.LABELLED)
    assert labelled.count() == 42
    last = newest(project)
    assert (last.state, last.training_count, last.metrics["n"]) == (RoundState.DONE, 30, 12)
    rounds = Round.objects.count()
    assert triggers.start_due_rounds() == 0 and Round.objects.count() == rounds
    assert (
        "Next round once there are more images."
        in client_of(manager).get(reverse("monitor", args=[project.slug])).content.decode()
    )
