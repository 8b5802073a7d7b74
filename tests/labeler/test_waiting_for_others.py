"""Images that wait for an answer of somebody who has not come yet: what pages and notices say of them, and to whom."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse

from labeler import clock
from labeler.models import (
    Annotation,
    Candidate,
    Membership,
    Notice,
    NoticeKind,
    Role,
    Round,
)
from labeler.selectors.next_round import next_round_words
from labeler.selectors.notices import unread_notices
from labeler.selectors.projects import home_rows
from labeler.selectors.work_left import Stage, work_left
from labeler.services import notices
from labeler.services.lease import lease_next
from labeler.services.pausing import pause_project, resume_project
from labeler.services.rounds import start_cold_round
from tests.labeler.queues import fresh
from tests.labeler.rounds import answer, tune

pytestmark = pytest.mark.django_db


class TestWhatWaitsForSomebodyElse:
    """With two answers an image and one person."""

    @pytest.fixture
    def stood(self, project, make_images, annotator):
        make_images(project, 8)
        tune(project, overlap=2, budget=10, holdout_questions=0)
        start_cold_round(project=project)
        assert work_left(fresh(project)).stage == Stage.QUEUED
        answer(project, annotator, 7)
        assert work_left(fresh(project)).stage == Stage.QUEUED
        answer(project, annotator, 1)
        Round.objects.exclude(pk=project.queue_round_id).delete()
        return fresh(project)

    def test_the_monitor_and_the_next_round_say_so(self, stood) -> None:
        left = work_left(stood)
        assert (left.stage, left.for_others) == (Stage.OTHERS, 8)
        assert left.words.startswith("8 images wait for an answer of somebody else: whoever answers here has answered")
        assert next_round_words(stood, left) == "once somebody else answers"

    def test_who_is_here_and_has_not_begun_is_named(self, stood, make_user) -> None:
        bob, dora = make_user("bob"), make_user("dora")
        assert "Invite another person" in work_left(stood).words
        Membership.objects.create(project=stood, user=bob, role=Role.ANNOTATOR)
        Membership.objects.create(project=stood, user=dora, role=Role.ANNOTATOR, deactivated_at=clock.now())
        words = work_left(stood).words
        assert words.endswith("Who answers nothing here now (bob) is asked about them on opening Label.")
        assert "Invite" not in words
        assert lease_next(project=stood, annotator=bob, want=1)

    def test_somebody_else_who_comes_is_asked(self, stood, manager) -> None:
        assert lease_next(project=stood, annotator=manager, want=1)
        assert work_left(fresh(stood)).stage == Stage.QUEUED

    def test_home_and_a_notice_say_so_once_all_is_quiet(self, stood, manager, annotator, client_of) -> None:
        client = client_of(manager)
        assert notices.note_others() == 0  # somebody may be at it, and a round follow
        long_ago(stood)
        assert (notices.note_others(), notices.note_others()) == (1, 0)
        notice = Notice.objects.get()
        assert (notice.kind, notice.words) == (NoticeKind.SOMEBODY_ELSE, work_left(stood).words)
        html = client.get("/").content.decode()
        assert f'href="{reverse("monitor", args=["signs"])}">8 images wait for somebody else</a>' in html
        assert "8 questions wait" in html  # for this person, who has answered none
        html = client.get(reverse("monitor", args=["signs"])).content.decode()
        assert html.count("8 images wait for an answer of somebody else") == 1
        assert f'href="{reverse("people", args=["signs"])}">invite</a>' in html
        html = client_of(annotator).get("/").content.decode()
        assert "question" not in html and "somebody else" not in html and "Nothing waits for you" in html

    def test_the_notice_is_over_when_somebody_comes_and_the_same_when_it_is_so_again(self, stood, manager) -> None:
        long_ago(stood)
        notices.note_others()
        assert len(lease_next(project=stood, annotator=manager, want=8)) == 8
        assert (notices.refresh_left(), notices.note_others()) == (1, 0)
        assert not unread_notices(stood, manager)
        assert home_rows(manager)[0].needs == []  # all are on this person's screen
        Candidate.objects.update(leased_to=None, leased_until=None)  # who has gone, without an answer
        assert notices.note_others() == 0  # nobody is told twice
        assert Notice.objects.get().over_at is None
        assert len(unread_notices(stood, manager)) == 1

    def test_not_while_paused_nor_beside_a_question_for_those_here(self, stood, manager) -> None:
        long_ago(stood)
        pause_project(project=stood, by=manager, reason="")
        assert notices.note_others() == 0
        resume_project(project=stood, by=manager)
        Annotation.objects.filter(pk=Annotation.objects.first().pk).update(retracted_at=clock.now())
        assert notices.note_others() == 0


def long_ago(project) -> None:
    Annotation.objects.filter(project=project).update(created_at=clock.now() - timedelta(minutes=5))
