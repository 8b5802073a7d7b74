"""What starts a round, and what does not."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from labeler.models import (
    Annotation,
    Candidate,
    CandidateState,
    Image,
    ImportJob,
    JobState,
    Outcome,
    PoolGraph,
    Project,
    Round,
    RoundState,
    Trigger,
    Worker,
)
from labeler.selectors.graphs import Likeness, likeness_of
from labeler.selectors.grid import LEARNED
from labeler.selectors.next_round import next_round_words
from labeler.services import triggers
from labeler.services.annotate import retract_answer
from labeler.services.lease import lease_next
from labeler.services.rounds import RoundRefused, request_round, start_cold_round
from tests.labeler.queues import fresh
from tests.labeler.rounds import answer, tune
from tests.labeler.triggers.conftest import end, newest

pytestmark = pytest.mark.django_db


def test_the_nth_answer_starts_a_round(pool, annotator) -> None:
    answer(pool, annotator, 5)
    assert Round.objects.count() == 1
    answer(pool, annotator, 1)
    assert (newest(pool).trigger, newest(pool).state) == (Trigger.ANSWERS, RoundState.QUEUED)
    assert newest(pool).reason == "6 new answers"
    answer(pool, annotator, 10)
    assert Round.objects.count() == 2


@pytest.mark.parametrize(
    ("learns_from", "likeness", "learned", "every", "needed"),
    [
        ("likeness", "known", 0, 10, 3),
        ("likeness", "known", 15, 10, 3),
        ("likeness", "known", 30, 10, 6),
        ("likeness", "known", 500, 10, 10),
        ("likeness", "known", 0, 2, 2),
        ("likeness", "known", 30, 0, 0),
        ("likeness", "unknown", 0, 10, 10),
        ("images", "known", 0, 10, 10),
    ],
)
def test_few_answers_start_a_round_while_little_is_known(
    project, learns_from, likeness, learned, every, needed
) -> None:
    tune(project, learns_from=learns_from, retrain_every=every)
    assert triggers.answers_for_a_round(project.learning, learned, Likeness(likeness)) == needed


def test_rounds_by_likeness_start_after_three_answers_then_after_a_fifth_of_what_is_known(pool, annotator) -> None:
    tune(pool, learns_from="likeness", retrain_every=6)
    PoolGraph.objects.create(project=pool, state=JobState.DONE, vectors="graphs/vectors.npy")
    answer(pool, annotator, 2)
    assert Round.objects.count() == 1
    assert next_round_words(pool) == "after 1 more answer"
    answer(pool, annotator, 1)
    assert newest(pool).reason == "3 new answers"
    end(pool, last_annotation_id=Annotation.objects.latest("id").pk, training_count=20)
    answer(pool, annotator, 3)
    assert triggers.round_due(pool) is None
    assert Round.objects.count() == 2
    answer(pool, annotator, 1)
    assert newest(pool).reason == "4 new answers"


class TestLikeness:
    """Whether rounds wait for it: 60 images, and a background worker."""

    @pytest.fixture(autouse=True)
    def wanted(self, pool) -> None:
        tune(pool, learns_from="likeness", retrain_every=6, budget=40)
        Worker.objects.create(name="background@here", queues="background")

    def test_until_it_is_known_the_settings_number_of_answers_starts_a_round(self, pool, annotator) -> None:
        PoolGraph.objects.create(project=pool, state=JobState.FAILED, error="The pixels are gone.")
        answer(pool, annotator, 5)
        assert Round.objects.count() == 1
        assert next_round_words(pool) == "after 1 more answer"
        answer(pool, annotator, 1)
        assert newest(pool).reason == "6 new answers"

    @pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING, None])
    def test_where_a_worker_finds_it_out_answers_wait(self, pool, annotator, state) -> None:
        """None: nobody has asked for it yet; the sweep will."""
        if state:
            PoolGraph.objects.create(project=pool, state=state)
        answer(pool, annotator, 35)  # a queue of 40 is nearly empty
        assert triggers.start_due_rounds() == 0
        assert Round.objects.count() == 1
        assert next_round_words(pool) == "once it is known which images look alike"

    def test_nobody_waits_without_a_question(self, pool, annotator) -> None:
        PoolGraph.objects.create(project=pool, state=JobState.RUNNING)
        answer(pool, annotator, 8)
        Candidate.objects.filter(state=CandidateState.OPEN).update(state=CandidateState.SUPERSEDED)
        assert triggers.start_due_rounds() == 1
        assert newest(pool).trigger == Trigger.COLD_START
        assert "which images look alike" in newest(pool).reason

    def test_nothing_is_coming_where(self, pool, make_images) -> None:
        assert likeness_of(pool) == Likeness.COMING
        job = ImportJob.objects.create(project=pool, state=JobState.RUNNING)
        assert likeness_of(pool) == Likeness.UNKNOWN  # that may take long; the graph is made when it has ended
        job.delete()
        few = Project.objects.create(name="Few", slug="few")
        make_images(few, 19)
        assert likeness_of(few) == Likeness.UNKNOWN
        graph = PoolGraph.objects.create(project=pool, state=JobState.RUNNING, is_cancel_requested=True)
        assert likeness_of(pool) == Likeness.UNKNOWN
        PoolGraph.objects.filter(pk=graph.pk).update(is_cancel_requested=False)
        assert likeness_of(pool) == Likeness.COMING
        long_ago = timezone.now() - timedelta(hours=1)
        PoolGraph.objects.filter(pk=graph.pk).update(state=JobState.QUEUED, created_at=long_ago)
        assert likeness_of(pool) == Likeness.UNKNOWN  # it waits behind other work, and nobody knows for how long
        PoolGraph.objects.filter(pk=graph.pk).update(state=JobState.RUNNING)
        assert likeness_of(pool) == Likeness.COMING
        Worker.objects.update(seen_at=long_ago)
        assert likeness_of(pool) == Likeness.UNKNOWN
        Worker.objects.update(seen_at=timezone.now(), queues="learner,default")
        assert likeness_of(pool) == Likeness.UNKNOWN

    def test_who_wants_no_likeness_does_not_wait(self, pool, annotator) -> None:
        tune(pool, learns_from="images", retrain_every=6)
        PoolGraph.objects.create(project=pool, state=JobState.RUNNING)
        answer(pool, annotator, 6)
        assert newest(pool).trigger == Trigger.ANSWERS

    def test_answers_that_wait_cost_one_statement(self, pool, annotator, django_assert_num_queries) -> None:
        PoolGraph.objects.create(project=pool, state=JobState.RUNNING)
        answer(pool, annotator, 8)
        with django_assert_num_queries(1):
            triggers.note_answer(project=pool)


def test_the_next_one_counts_from_what_the_last_one_saw(pool, annotator) -> None:
    answer(pool, annotator, 8)
    end(pool, last_annotation_id=Annotation.objects.order_by("id")[6].pk)
    answer(pool, annotator, 4)
    assert Round.objects.count() == 2
    answer(pool, annotator, 1)
    assert Round.objects.count() == 3


def test_a_failed_round_is_not_tried_again_at_once(pool, annotator) -> None:
    answer(pool, annotator, 6)
    end(pool, RoundState.FAILED)
    triggers.start_due_rounds()
    answer(pool, annotator, 5)
    triggers.start_due_rounds()
    assert Round.objects.count() == 2
    answer(pool, annotator, 1)
    assert Round.objects.count() == 3


def test_the_cool_down_delays_the_start(pool, annotator) -> None:
    tune(pool, retrain_every=6, cooldown_seconds=300)
    answer(pool, annotator, 6)
    end(pool, last_annotation_id=Annotation.objects.latest("id").pk)
    answer(pool, annotator, 6)
    wait = newest(pool).not_before - timezone.now()
    assert timedelta(seconds=290) < wait < timedelta(seconds=301)


def test_answering_costs_one_statement(pool, annotator, django_assert_num_queries) -> None:
    answer(pool, annotator, 2)
    with django_assert_num_queries(1):
        triggers.note_answer(project=pool)


def test_one_class_only_starts_nothing(pool, annotator) -> None:
    Candidate.objects.filter(image__in=[i.pk for i in Image.objects.all() if i.position % 3]).update(
        state=CandidateState.SUPERSEDED
    )
    assert answer(pool, annotator, 8) == 8
    assert Round.objects.count() == 1
    assert "two classes" in next_round_words(pool)
    with pytest.raises(RoundRefused, match="two classes"):
        request_round(project=pool, trigger=Trigger.BUTTON, reason="x")


def test_while_all_labels_are_of_one_class_an_answer_costs_two_statements(
    pool, annotator, django_assert_num_queries
) -> None:
    Image.objects.filter(position__lt=10).update(state="labelled", label=pool.classes.first())
    Image.objects.filter(position=10).update(state="labelled", label=pool.classes.last(), is_holdout=True)
    for image in Image.objects.filter(position__lt=8):
        Annotation.objects.create(
            project=pool, image=image, annotator=annotator, outcome="label", label_class=image.label, key=uuid.uuid4()
        )
    seen = fresh(pool)
    with django_assert_num_queries(2):
        triggers.note_answer(project=seen)
    assert Round.objects.count() == 1
    Image.objects.filter(position=11).update(state="labelled", label=pool.classes.last())
    triggers.note_answer(project=pool)
    assert newest(pool).trigger == Trigger.ANSWERS


def test_it_is_looked_up_in_the_index_of_labels(pool) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL's planner reads a small table whole")
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {LEARNED}", {"project": pool.pk, "most": 2})
        plan = [row[-1] for row in cursor.fetchall()]
    assert sum("USING INDEX image_by_label (label_id=?)" in line for line in plan) == 2
    scanned = {line.split()[1] for line in plan if line.startswith("SCAN")}
    assert scanned <= {"CONSTANT", "classes", "k", "labelled", "looked_at"}  # what is read already


def test_edits_of_what_was_learned_start_a_round_when_they_have_settled(pool, annotator) -> None:
    answer(pool, annotator, 6)
    end(pool, last_annotation_id=Annotation.objects.latest("id").pk)
    target = Annotation.objects.first()
    undo = retract_answer(project=pool, annotator=annotator, target_key=target.key, key=uuid.uuid4())
    assert triggers.round_due(pool) is None
    Annotation.objects.filter(pk=undo.pk).update(created_at=timezone.now() - timedelta(minutes=1))
    assert triggers.round_due(pool) == triggers.Due(Trigger.EDITS, "1 answer that the model learned from changed")


def test_edits_of_new_answers_do_not(pool, annotator) -> None:
    answer(pool, annotator, 6)
    end(pool, last_annotation_id=Annotation.objects.earliest("id").pk - 1)
    undo = retract_answer(
        project=pool, annotator=annotator, target_key=Annotation.objects.first().key, key=uuid.uuid4()
    )
    Annotation.objects.filter(pk=undo.pk).update(created_at=timezone.now() - timedelta(minutes=1))
    assert triggers.round_due(pool) is None


def test_the_last_answers_of_a_project_start_no_round_for_nothing(project, make_images, annotator) -> None:
    make_images(project, 3)
    tune(project, retrain_every=6, holdout_questions=0)
    start_cold_round(project=project)
    assert answer(project, annotator, 3) == 3
    assert Round.objects.filter(project=project, state=RoundState.QUEUED).count() <= 1  # of the second answer, if any
    Round.objects.filter(project=project, state=RoundState.QUEUED).delete()
    assert triggers.start_due_rounds() == 0
    triggers.note_answer(project=fresh(project))
    assert not Round.objects.filter(project=project, state=RoundState.QUEUED).exists()


def test_a_nearly_empty_queue_starts_early(pool, annotator) -> None:
    tune(pool, retrain_every=1000, budget=40)
    answer(pool, annotator, 32)
    assert Round.objects.count() == 1
    answer(pool, annotator, 1)
    assert newest(pool).trigger == Trigger.QUEUE_DRY


def test_an_empty_queue_before_a_model_is_drawn_at_random(pool) -> None:
    Candidate.objects.update(state=CandidateState.SUPERSEDED)
    triggers.start_due_rounds()
    assert (newest(pool).number, newest(pool).trigger) == (2, Trigger.COLD_START)
    assert newest(pool).reason == "the queue is empty and no model can be fitted yet"
    assert Candidate.objects.filter(round=newest(pool), state=CandidateState.OPEN).count() == 40


def test_an_empty_queue_after_a_failure_is_drawn_at_random_in_words(pool, annotator) -> None:
    answer(pool, annotator, 6)
    end(pool, RoundState.FAILED)
    Candidate.objects.update(state=CandidateState.SUPERSEDED)
    triggers.start_due_rounds()
    assert newest(pool).reason == "the queue is empty and round 2 failed"


def test_images_without_a_queue_get_one(project, make_images) -> None:
    make_images(project, 10)
    tune(project)
    triggers.start_due_rounds()
    assert newest(project).trigger == Trigger.COLD_START


def test_without_a_number_only_button_and_schedule_start_rounds(pool, annotator) -> None:
    tune(pool, retrain_every=0)
    answer(pool, annotator, 40)
    triggers.start_due_rounds()
    assert Round.objects.count() == 1
    assert next_round_words(pool) == "when a manager starts it"


def test_one_project_that_breaks_does_not_stop_the_others(pool, make_images, monkeypatch, caplog) -> None:
    from django.db import DatabaseError

    other = Project.objects.create(name="A", slug="a")
    type(pool.learning).objects.create(project=other)
    make_images(other, 5)
    Candidate.objects.update(state=CandidateState.SUPERSEDED)
    real = triggers.round_due

    def breaks(project):
        if project == other:
            raise DatabaseError("broken")
        return real(project)

    monkeypatch.setattr(triggers, "round_due", breaks)
    assert triggers.start_due_rounds() == 1
    assert newest(pool).number == 2
    assert f"Could not look after the rounds of project {other.pk}" in caplog.text


def test_skips_alone_do_not_count(pool, annotator) -> None:
    from labeler.services.annotate import record_answer

    for _ in range(7):
        (place,) = lease_next(project=pool, annotator=annotator)
        record_answer(
            project=pool, annotator=annotator, image_id=place.image_id, candidate_id=place.pk,
            outcome=Outcome.UNSURE, label_class_id=None, key=uuid.uuid4(),
        )  # fmt: skip
    assert Round.objects.count() == 1


def test_the_last_images_bring_no_round_for_every_answer(project, make_images, annotator, manager) -> None:
    """A queue of all that waits stays nearly empty whatever a round does; it ends with what others have on screen."""
    make_images(project, 30)
    tune(project, retrain_every=100, budget=40, holdout_questions=0)
    start_cold_round(project=project)
    assert len(lease_next(project=fresh(project), annotator=manager, want=4)) == 4
    rounds = []
    for _ in range(26):
        answer(fresh(project), annotator, 1)
        triggers.start_due_rounds()
        if newest(project).number not in rounds:
            rounds.append(newest(project).number)
            learned = Annotation.objects.count()
            end(project, last_annotation_id=Annotation.objects.latest("id").pk, training_count=learned)
    assert len(rounds) <= 3  # the cold one, and of the last thirteen answers at most two
    end(project, last_annotation_id=Annotation.objects.latest("id").pk, training_count=26)
    for _ in range(3):
        assert triggers.start_due_rounds() == 0  # the last four are on a screen
    Candidate.objects.update(state=CandidateState.SUPERSEDED)  # and are left
    assert triggers.start_due_rounds() == 1
