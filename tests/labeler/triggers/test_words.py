"""When the next round comes, in words; and a schedule."""

from __future__ import annotations

import uuid
from datetime import datetime, time

import pytest
from django.utils.translation import override
from django_celery_beat.models import PeriodicTask

from labeler import clock
from labeler.models import (
    Annotation,
    ClassChange,
    Image,
    Trigger,
)
from labeler.selectors.next_round import next_round_words, next_scheduled, scheduled_words
from labeler.services import triggers
from labeler.services.annotate import retract_answer
from labeler.services.class_changes import merge_class
from labeler.services.rounds import start_cold_round
from labeler.services.schedule import set_schedule
from tests.labeler.queues import fresh
from tests.labeler.rounds import answer, tune
from tests.labeler.triggers.conftest import end, newest

pytestmark = pytest.mark.django_db


class TestWords:
    def test_answers(self, pool, annotator) -> None:
        assert next_round_words(pool) == "after 6 more answers"
        answer(pool, annotator, 5)
        assert next_round_words(pool) == "after 1 more answer"

    def test_with_nothing_left_to_ask_no_answers_are_promised(self, pool) -> None:
        Image.objects.update(state="labelled", label=pool.classes.first())
        assert next_round_words(pool) == "once there are more images"

    def test_a_round_that_no_answer_can_start_is_not_promised(self, project, make_images) -> None:
        make_images(project, 1, is_holdout=True)
        tune(project, retrain_every=10)
        start_cold_round(project=project)
        assert next_round_words(fresh(project)) == "once there are more images to learn from"
        make_images(project, 1)
        assert next_round_words(fresh(project)) == "once there are more images to learn from"
        make_images(project, 1)
        assert next_round_words(fresh(project)) == "when the queue is nearly empty"

    def test_fewer_images_than_answers_start_it_when_the_queue_is_nearly_empty(
        self, project, make_images, annotator
    ) -> None:
        make_images(project, 9)
        tune(project, retrain_every=10, budget=12, holdout_questions=0)
        start_cold_round(project=project)
        assert next_round_words(fresh(project)) == "when the queue is nearly empty"
        answer(project, annotator, 5)
        assert newest(project).trigger == Trigger.QUEUE_DRY
        end(project, last_annotation_id=Annotation.objects.latest("id").pk)
        Image.objects.filter(state="pool").exclude(position=Image.objects.filter(state="pool").first().position).update(
            state="set_aside"
        )
        assert next_round_words(fresh(project)) == "once there are more images"

    def test_with_overlap_an_image_brings_several_answers(self, project, make_images) -> None:
        make_images(project, 5)
        tune(project, retrain_every=10, overlap=2)
        start_cold_round(project=project)
        assert next_round_words(fresh(project)) == "after 10 more answers"

    def test_a_change_of_classes_is_followed_by_a_round_in_a_moment(self, pool, annotator, manager) -> None:
        answer(pool, annotator, 3)
        end(pool, last_annotation_id=Annotation.objects.latest("id").pk)
        assert next_round_words(pool) == "after 6 more answers"
        cat, dog, owl = pool.classes.all()
        change = merge_class(label_class=cat, into=dog, by=manager)
        assert next_round_words(pool) == "in a moment, as classes or answers have changed"
        ClassChange.objects.filter(pk=change.pk).update(state="running", finished_at=None)  # a worker is at it
        assert next_round_words(pool) == "in a moment, as classes or answers have changed"
        ClassChange.objects.update(state="done", finished_at=clock.now())
        merge_class(label_class=owl, into=dog, by=manager)  # one class is left
        assert next_round_words(pool) == "after 6 more answers"

    def test_an_answer_that_was_learned_from_and_is_undone(self, pool, annotator) -> None:
        answer(pool, annotator, 4)
        end(pool, last_annotation_id=Annotation.objects.latest("id").pk)
        given = Annotation.objects.latest("id")
        retract_answer(project=pool, annotator=annotator, target_key=given.key, key=uuid.uuid4())
        assert next_round_words(pool) == "in a moment, as classes or answers have changed"

    @pytest.mark.parametrize(
        ("now", "days", "english", "german"),
        [
            ("2026-11-27 01:00", range(7), "at 02:00 UTC", "um 02:00 Uhr UTC"),
            ("2026-11-27 02:01", range(7), "tomorrow at 02:00 UTC", "morgen um 02:00 Uhr UTC"),
            (
                "2026-11-27 02:01",
                [1],
                "on Monday, November 30, at 02:00 UTC",
                "am Montag, 30. November, um 02:00 Uhr UTC",
            ),
            (
                "2026-11-27 02:01",
                [5],
                "on Friday, December 4, at 02:00 UTC",
                "am Freitag, 4. Dezember, um 02:00 Uhr UTC",
            ),
        ],
    )
    def test_schedule(self, pool, monkeypatch, now, days, english, german) -> None:
        """2026-11-27 is a Friday. What has a day is said with it."""
        set_schedule(project=pool, at=time(2, 0), days=list(days))
        moment = datetime.fromisoformat(f"{now}+00:00")
        PeriodicTask.objects.update(last_run_at=moment)
        monkeypatch.setattr("labeler.clock.now", lambda: moment)
        monkeypatch.setattr("celery.schedules.crontab.now", lambda _self: moment)
        pool = fresh(pool)
        condition = "if there is something new to learn from by then"
        assert next_round_words(pool) == f"after 6 more answers, or {english}, {condition}"
        with override("de"):
            assert scheduled_words(next_scheduled(pool.learning)) == german

    def test_a_scheduled_round_is_promised_where_it_would_not_be_left_out(self, pool, annotator) -> None:
        tune(pool, retrain_every=0)
        set_schedule(project=pool, at=time(2, 0), days=list(range(7)))
        assert next_round_words(fresh(pool)).endswith("02:00 UTC, if there is something new to learn from by then")
        answer(pool, annotator, 1)
        assert next_round_words(fresh(pool)).endswith("02:00 UTC, if two classes have labels by then")
        answer(pool, annotator, 4)
        assert next_round_words(fresh(pool)).endswith("02:00 UTC")
        end(pool, last_annotation_id=Annotation.objects.latest("id").pk)
        assert next_round_words(fresh(pool)).endswith("if there is something new to learn from by then")

    def test_while_a_round_runs(self, pool, annotator) -> None:
        answer(pool, annotator, 6)
        assert next_round_words(pool) == ""


class TestSchedule:
    def test_something_new(self, pool, annotator) -> None:
        answer(pool, annotator, 5)
        assert triggers.scheduled_round(project=pool).trigger == Trigger.SCHEDULE

    def test_nothing_new_is_said_on_the_schedule(self, pool) -> None:
        set_schedule(project=pool, at=time(2, 0), days=[1])
        pool.learning.refresh_from_db()
        assert triggers.scheduled_round(project=pool) is None
        pool.learning.schedule.refresh_from_db()
        assert pool.learning.schedule.description.endswith("no round, nothing new to learn from")
