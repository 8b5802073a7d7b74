"""What is left to answer: one rule, and the same words of it on the Label page, the Monitor, Worth and in notices."""

from __future__ import annotations

import re
import uuid
from datetime import time, timedelta

import pytest
from django.urls import reverse
from django.utils.translation import override

from labeler import clock
from labeler.models import (
    Annotation,
    Candidate,
    CandidateState,
    Image,
    ImageState,
    Notice,
    Outcome,
    Reason,
)
from labeler.selectors.disputes import Again
from labeler.selectors.labelling import why_empty
from labeler.selectors.monitor import monitor_of
from labeler.selectors.next_round import next_round_words
from labeler.selectors.notices import unread_notices
from labeler.selectors.work_left import ENDED, Stage, work_left
from labeler.services import notices, triggers
from labeler.services.draw import draw_queue
from labeler.services.lease import lease_next
from labeler.services.pausing import pause_project
from labeler.services.refill import refill_queue
from labeler.services.schedule import set_schedule
from tests.labeler.queues import answer_place, fill_queue, fresh
from tests.labeler.rounds import tune

pytestmark = pytest.mark.django_db


@pytest.fixture
def ended(project, make_images):
    """A pool with labels, a holdout past its target: 3 of 2 wanted have labels, 4 wait and have never been asked."""
    cat, dog, _owl = project.classes.all()
    make_images(project, 6, state=ImageState.LABELLED, label=cat)
    make_images(project, 3, state=ImageState.LABELLED, label=dog, is_holdout=True)
    make_images(project, 4, is_holdout=True)
    tune(project, holdout_target=2)
    fill_queue(project, [])
    return fresh(project)


def settle_all(project) -> None:
    Image.objects.filter(state=ImageState.POOL).update(state=ImageState.LABELLED, label=project.classes.first())


class TestHoldoutPastItsTarget:
    def test_it_is_asked_once_no_other_image_waits(self, ended) -> None:
        assert work_left(ended).stage == Stage.COMING
        draw = draw_queue(round_=ended.queue_round)
        assert len(draw.holdout) == 4

    def test_it_is_not_asked_while_another_image_waits(self, ended, make_images) -> None:
        make_images(ended, 1)
        assert draw_queue(round_=ended.queue_round).holdout == ()
        assert work_left(ended).rest == 0

    def test_the_sweep_makes_a_queue_of_it(self, ended) -> None:
        Image.objects.filter(label__name="dog").update(label=ended.classes.get(name="cat"))  # no model can be fitted
        assert triggers.start_due_rounds() == 1
        places = Candidate.objects.filter(round=fresh(ended).queue_round, state=CandidateState.OPEN)
        assert {place.reason for place in places} == {Reason.HOLDOUT}
        assert places.count() == 4

    def test_who_outruns_the_rounds_gets_it(self, ended, annotator) -> None:
        ended.rounds.create(number=9, state="fitting", seed=1, trigger="answers")
        assert refill_queue(project=ended, annotator=annotator) == 4

    @pytest.mark.usefixtures("ended")
    def test_a_manager_is_told_once_before_it_is_asked(self) -> None:
        for _ in range(2):
            triggers.start_due_rounds()
        notice = Notice.objects.get()
        assert "4 past the holdout answers wanted (2)" in notice.words
        assert "Pause the project" in notice.words

    @pytest.mark.usefixtures("ended")
    def test_the_monitor_says_so(self, manager, client_of) -> None:
        html = client_of(manager).get(reverse("monitor", args=["signs"])).content.decode()
        assert "4 past the holdout answers wanted (2)" in html

    def test_what_the_target_lacks_is_not_counted_as_past_it(self, ended) -> None:
        tune(ended, holdout_target=6)  # 3 have labels and 4 wait: one is past it
        assert work_left(fresh(ended)).rest == 1
        assert "Only holdout images wait now, 1 past the holdout answers wanted (6)." in work_left(fresh(ended)).words

    def test_within_the_target_nothing_is_said(self, ended) -> None:
        tune(ended, holdout_target=7)
        assert (work_left(fresh(ended)).rest, work_left(fresh(ended)).words) == (0, "")


class TestStages:
    def test_paused(self, ended, manager) -> None:
        pause_project(project=ended, by=manager, reason="Lunch.")
        assert work_left(fresh(ended)).stage == Stage.PAUSED

    def test_without_images_or_classes(self, project, make_images) -> None:
        assert work_left(fresh(project)).stage == Stage.NO_IMAGES
        make_images(project, 1)
        project.classes.update(is_archived=True)
        assert work_left(fresh(project)).stage == Stage.NO_CLASSES

    def test_queued_made_and_coming(self, project, make_images) -> None:
        images = make_images(project, 3)
        assert work_left(fresh(project)).stage == Stage.COMING
        fill_queue(project, images)
        assert work_left(fresh(project)).stage == Stage.QUEUED
        project.rounds.create(number=9, state="fitting", seed=1, trigger="answers")
        left = work_left(fresh(project))
        assert (left.stage, left.round_number) == (Stage.MAKING, 9)
        assert left.words == ""

    def test_disputed_and_done(self, ended) -> None:
        settle_all(ended)
        assert work_left(ended).stage == Stage.DONE
        Image.objects.filter(pk=ended.images.first().pk).update(state=ImageState.DISPUTED, label=None)
        left = work_left(ended)
        assert (left.stage, left.to_settle) == (Stage.DISPUTED, 1)
        assert left.words == (
            "All 13 images have been asked about: no question is left. "
            "People disagree about 1 image: a manager has to decide. The settings have nobody else asked about them."
        )

    def test_a_disputed_holdout_image_is_asked_of_another_person(self, ended, annotator, manager) -> None:
        settle_all(ended)
        disputed = ended.images.filter(is_holdout=True).first()
        for image, person in ((disputed, annotator), (ended.images.first(), manager)):
            Annotation.objects.create(
                project=ended,
                image=image,
                annotator=person,
                outcome=Outcome.LABEL,
                label_class=ended.classes.first(),
                key=uuid.uuid4(),
            )
        Image.objects.filter(pk=disputed.pk).update(state=ImageState.DISPUTED, label=None)
        left = work_left(ended)
        assert (left.stage, left.again, left.to_settle) == (Stage.AGAIN, Again(1), 0)
        assert why_empty(ended, annotator).words == (
            "You have answered all that is left. Other people have to answer it too."
        )
        assert "1 disputed image is asked of another person" in left.words
        assert triggers.start_due_rounds() == 0
        assert not Notice.objects.exists()  # somebody has something to answer
        assert "answered again" in next_round_words(ended)

    def test_set_aside_images_are_named(self, ended) -> None:
        settle_all(ended)
        Image.objects.filter(label__name="dog").update(state=ImageState.SET_ASIDE, label=None)
        assert "3 images are set aside" in work_left(ended).words

    @pytest.mark.parametrize("stage", [Stage.QUEUED, Stage.COMING, Stage.MAKING, Stage.PAUSED])
    def test_while_there_is_work_it_is_not_over(self, stage) -> None:
        assert stage not in ENDED


class TestByHand:
    """Only a button or a schedule starts rounds: with an empty queue nothing is being made."""

    @pytest.fixture
    def by_hand(self, project, make_images):
        cat, dog, _owl = project.classes.all()
        for label in (cat, dog):
            make_images(project, 2, state=ImageState.LABELLED, label=label)
        make_images(project, 5)
        fill_queue(project, [])
        tune(project, retrain_every=0)
        return fresh(project)

    def test_nobody_is_told_that_a_queue_is_being_made(self, by_hand, annotator, manager) -> None:
        assert triggers.start_due_rounds() == 0
        assert work_left(by_hand).stage == Stage.BY_HAND
        assert "when a manager starts a round" in why_empty(by_hand, annotator).words
        assert "Start a round on the Monitor" in why_empty(by_hand, manager, is_manager=True).words

    def test_the_schedule_is_named(self, by_hand, annotator) -> None:
        set_schedule(project=by_hand, at=time(2, 0), days=[0, 1, 2, 3, 4, 5, 6])
        words = why_empty(fresh(by_hand), annotator).words
        assert re.search(r"The next round starts (tomorrow )?at 02:00 UTC", words)

    @pytest.mark.usefixtures("by_hand")
    def test_the_monitor_says_that_nobody_is_asked(self, manager, client_of) -> None:
        html = client_of(manager).get(reverse("monitor", args=["signs"])).content.decode()
        assert "nobody is asked until one has run" in html

    def test_where_no_round_could_be_started_by_hand_the_queue_is_filled(self, by_hand) -> None:
        Image.objects.filter(state=ImageState.LABELLED).update(label=by_hand.classes.first())  # of one class
        assert triggers.start_due_rounds() == 1
        assert work_left(fresh(by_hand)).stage == Stage.QUEUED


class TestTheSameWordsEverywhere:
    @pytest.fixture
    def disputed(self, ended):
        settle_all(ended)
        some = ended.images.filter(is_holdout=False)[:2].values("pk")
        Image.objects.filter(pk__in=list(some.values_list("pk", flat=True))).update(
            state=ImageState.DISPUTED, label=None, is_contested=True
        )
        return fresh(ended)

    def test_the_annotator(self, disputed, annotator, client_of) -> None:
        """Who answers cannot settle it, and is not told to wait for a worker."""
        empty = why_empty(disputed, annotator)
        assert (empty.why, empty.retry_seconds) == ("all_answered", None)
        assert "being made" not in client_of(annotator).get(reverse("label", args=["signs"])).content.decode()

    @pytest.mark.usefixtures("disputed")
    def test_the_manager_on_the_label_page(self, manager, client_of) -> None:
        html = client_of(manager).get(reverse("label", args=["signs"])).content.decode()
        assert "People disagree about 2 images: a manager has to decide." in html
        assert (
            f'<p data-way-out="disputed" ><a class="button button-primary" href="{reverse("review", args=["signs"])}"'
            in html
        )

    def test_the_monitor(self, disputed, manager, client_of) -> None:
        html = client_of(manager).get(reverse("monitor", args=["signs"])).content.decode()
        assert html.count("People disagree about 2 images") == 1
        assert "Next round once enough disputed images are settled, or there are more images." in html
        assert monitor_of(disputed).queue.waiting == 0

    def test_the_notice_and_not_twice_on_one_page(self, disputed, manager, client_of) -> None:
        triggers.start_due_rounds()
        assert "People disagree about 2 images" in Notice.objects.get().words
        client, page = client_of(manager), reverse("monitor", args=["signs"])
        html = client.get(page).content.decode()
        assert html.count("People disagree about 2 images") == 1
        assert 'id="left"' not in html
        assert "settle them" in html and reverse("images-return", args=["signs"]) + "?state=disputed" in html
        Image.objects.filter(state=ImageState.DISPUTED).update(
            state=ImageState.LABELLED, label=disputed.classes.first()
        )
        html = client.get(page).content.decode()
        assert "People disagree" not in html and "All 13 images have been asked about: no question is left." in html

    def test_german(self, disputed, manager, client_of) -> None:
        triggers.start_due_rounds()
        client = client_of(manager)
        client.cookies["language"] = "de"
        for page in ("monitor", "notices"):
            html = client.get(reverse(page, args=["signs"]), HTTP_ACCEPT_LANGUAGE="de").content.decode()
            assert "People disagree" not in html
            assert "Bei 2 Bildern gehen die Antworten auseinander" in html
        with override("de"):
            assert "angehalten" in why_empty(paused(disputed, manager), manager).words

    def test_a_place_that_somebody_holds_is_not_the_end(self, project, make_images, annotator, manager) -> None:
        images = make_images(project, 2)
        fill_queue(project, images)
        lease_next(project=fresh(project), annotator=manager, want=2)
        words = why_empty(fresh(project), annotator).words
        assert words == "Others are answering the last images. If one of them comes back, you get it."
        make_images(project, 1)
        assert why_empty(fresh(project), annotator).words.endswith("More come soon.")

    def test_who_has_answered_all_waits_for_others(self, project, make_images, annotator) -> None:
        round_ = fill_queue(project, make_images(project, 1), overlap=2)
        answer_place(project, annotator, round_.candidates.first())
        assert "Other people have to answer it too" in why_empty(fresh(project), annotator).words


class TestANoticeOfTheEnd:
    """It says how things are, not how they were."""

    @pytest.fixture
    def told(self, ended):
        settle_all(ended)
        some = list(ended.images.filter(is_holdout=False).values_list("pk", flat=True)[:2])
        Image.objects.filter(pk__in=some).update(state=ImageState.DISPUTED, label=None, is_contested=True)
        triggers.start_due_rounds()
        return fresh(ended)

    def test_it_follows_what_is_settled(self, told, manager, client_of) -> None:
        Image.objects.filter(pk=told.images.filter(state=ImageState.DISPUTED).first().pk).update(
            state=ImageState.LABELLED, label=told.classes.first()
        )
        assert notices.refresh_left() == 1
        assert notices.refresh_left() == 0
        assert "People disagree about 1 image:" in Notice.objects.get().words
        settle_all(told)
        told.images.filter(state=ImageState.DISPUTED).update(state=ImageState.LABELLED, label=told.classes.first())
        notices.refresh_left()
        assert "disagree" not in Notice.objects.get().words
        assert (
            "Import more, or export the labels."
            in client_of(manager).get(reverse("monitor", args=["signs"])).content.decode()
        )

    def test_it_goes_when_there_is_something_to_answer_and_comes_back(self, told, manager, client_of) -> None:
        waiting = told.images.filter(state=ImageState.LABELLED).first()
        Image.objects.filter(pk=waiting.pk).update(state=ImageState.POOL, label=None)
        client = client_of(manager)
        assert "no question is left" not in client.get(reverse("monitor", args=["signs"])).content.decode()
        assert notices.refresh_left() == 1
        assert not unread_notices(told, manager)
        assert "1 unread" not in client.get("/").content.decode()
        assert "no longer so" in client.get(reverse("notices", args=["signs"])).content.decode()
        settle_all(told)
        triggers.start_due_rounds()
        assert len(unread_notices(told, manager)) == 1
        assert Notice.objects.count() == 1

    def test_who_has_read_it_is_not_told_again(self, told, manager) -> None:
        notices.dismiss_notices(user=manager, notices=[Notice.objects.get()])
        Notice.objects.update(over_at=(ended := clock.now()), created_at=ended - timedelta(hours=1))
        triggers.start_due_rounds()
        assert Notice.objects.get().over_at is None
        assert Notice.objects.get().created_at >= ended  # it is so since now
        assert not unread_notices(told, manager)

    def test_a_pause_is_not_the_end_of_it(self, told, manager) -> None:
        pause_project(project=told, by=manager, reason="")
        assert notices.refresh_left() == 0


def paused(project, manager):
    pause_project(project=project, by=manager, reason="")
    return fresh(project)
