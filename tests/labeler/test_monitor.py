from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from labeler.models import Annotation, Candidate, Project, Round, RoundState, Trigger
from labeler.selectors.workers import PROGRAMS
from labeler.services.lease import lease_next
from labeler.services.rounds import start_cold_round
from tests.labeler.monitored import INTERVAL, METRICS, alive
from tests.labeler.rounds import answer, tune


def test_an_empty_project_says_what_to_do(at, manager, client_of) -> None:
    text = client_of(manager).get(at).content.decode()
    assert "There are no images yet" in text
    assert "No learner is alive" in text
    assert "celery -A labeler worker --queues learner --concurrency 1 --hostname learner@%h" in text


def test_it_says_how_good_the_model_is_and_how_sure_we_are(at, manager, client_of, measured) -> None:
    alive(*PROGRAMS)
    text = client_of(manager).get(at).content.decode()
    assert '90.0 % <span class="number-interval">(80.0 to 96.0)</span>' in text
    assert "Wilson 95 % interval, 50 holdout images, round 2" in text
    assert "Next round after 6 more answers." in text
    assert '<circle class="curve-mark"' in text
    assert "fitting &lt;b&gt;round&lt;/b&gt; 7" in text
    assert "No learner is alive" not in text
    assert 'hx-trigger="every 20s' in text


def test_without_enough_holdout_answers_there_is_no_number(at, manager, client_of, project, make_images) -> None:
    make_images(project, 2, is_holdout=True)
    text = client_of(manager).get(at).content.decode()
    assert "not measured on the holdout: it needs 10 images, and has 2" in text
    make_images(project, 30, is_holdout=True)
    assert "not measured on the holdout yet: it needs 10 more answers" in client_of(manager).get(at).content.decode()


def test_a_round_that_fails_says_so_and_can_be_tried_again(at, manager, client_of, measured) -> None:
    failed = Round.objects.create(
        project=measured.project, number=3, trigger=Trigger.BUTTON, reason="x", seed=1, state=RoundState.FAILED,
        error="The fit diverged at step 3.", finished_at=timezone.now(),
    )  # fmt: skip
    text = client_of(manager).get(at).content.decode()
    assert "The fit diverged at step 3." in text
    assert f"/p/signs/rounds/{failed.number}/retry/" in text
    assert re.search(r"failed <time [^>]*>(just now|(a|\d+)\s+seconds? ago)</time>", text)  # as busy as the machine is


def test_it_polls_while_a_round_runs_and_brings_a_new_curve_once(at, manager, client_of, measured) -> None:
    alive(*PROGRAMS)
    running = Round.objects.create(
        project=measured.project, number=3, trigger=Trigger.BUTTON, reason="x", seed=1, state=RoundState.FITTING,
        progress_done=100, progress_total=400, phase_started_at=timezone.now() - timedelta(seconds=10),
    )  # fmt: skip
    client = client_of(manager)
    text = client.get(at + "state/?seen=2").content.decode()
    assert 'hx-trigger="every 1s, ' in text
    assert re.search(r"is fitting \(25 %, 3\d s left\)", text)  # of a busy machine it may have been a little longer
    assert 'id="curve"' not in text
    running.delete()
    text = client.get(at + "state/?seen=0").content.decode()
    assert 'hx-trigger="every 20s, focus from:window"' in text  # or an open page never hears of the next round
    assert '<section id="curve" class="section stack" hx-swap-oob="true"' in text
    assert '<section id="people" class="section" hx-swap-oob="true"' in text


@pytest.mark.parametrize(
    ("state", "words"),
    [(RoundState.FITTING, "learning from 40 labels."), (RoundState.SCORING, "it has learned from 40 labels.")],
)
def test_it_says_what_a_round_learns_from(at, manager, client_of, measured, state, words) -> None:
    alive("learner", "default")
    Round.objects.create(
        project=measured.project, number=3, trigger=Trigger.BUTTON, reason="x", seed=1, state=state, training_count=40,
    )  # fmt: skip
    text = client_of(manager).get(at).content.decode()
    assert f"{state.label}: {words}" in " ".join(text.split())


def test_people_are_counted_now_and_then_and_not_at_every_poll(at, manager, client_of, measured, monkeypatch) -> None:
    alive(*PROGRAMS)
    client, now = client_of(manager), 1_000_000.0
    monkeypatch.setattr("labeler.views.monitor.time.time", lambda: now)
    page = client.get(at).content.decode()
    again = re.search(r'hx-get="([^"]*)"', page).group(1).replace("&amp;", "&")
    now += 5
    text = client.get(again).content.decode()
    assert 'id="people"' not in text
    assert again in text.replace("&amp;", "&")  # so the next poll knows when it was
    now += 20
    text = client.get(again).content.decode()
    assert 'id="people"' in text
    assert "people=1000025" in text
    assert 'id="people"' in client.get(at + "state/?seen=2&people=soon").content.decode()


def test_answers_that_were_not_timed_are_not_said_to_be_missing(
    at, manager, annotator, client_of, project, make_images
) -> None:
    """The plain form sends no seconds."""
    make_images(project, 30)
    tune(project)
    start_cold_round(project=project)
    answer(project, annotator, 4)
    Annotation.objects.update(seconds=None)
    assert "two timed answers are needed" in client_of(manager).get(at).content.decode()


def test_it_looks_now_and_then_while_people_answer(at, manager, annotator, client_of, project, make_images) -> None:
    make_images(project, 30)
    tune(project)
    start_cold_round(project=project)
    alive(*PROGRAMS)
    answer(project, annotator, 2)
    assert 'hx-trigger="every 5s, ' in client_of(manager).get(at).content.decode()


def test_the_number_of_statements_is_fixed(
    at, manager, client_of, measured, make_images, django_assert_max_num_queries
) -> None:
    client = client_of(manager)
    client.get(at)
    make_images(measured.project, 500)
    with django_assert_max_num_queries(30):
        client.get(at + "state/?seen=2")


@pytest.mark.parametrize(
    ("comments", "words"), [(1, "1 open comment</strong> waits"), (2, "2 open comments</strong> wait ")]
)
def test_an_open_comment_is_named(at, manager, client_of, project, comments, words) -> None:
    client = client_of(manager)
    assert "open comment" not in client.get(at + "state/").content.decode()
    Project.objects.filter(pk=project.pk).update(open_comments=comments)
    text = client.get(at + "state/").content.decode()
    assert f"<strong>{words}" in text
    assert f'href="{at}answers/comments/"' in text


def test_an_annotator_is_sent_to_label(at, annotator, client_of) -> None:
    response = client_of(annotator).get(at)
    assert (response.status_code, response.url) == (302, "/p/signs/label/")


@pytest.mark.parametrize("path", ["state/", "rounds/", "rounds/2/"])
def test_only_managers_see_the_rest(path, at, annotator, stranger, client_of, measured) -> None:
    assert client_of(annotator).get(at + path).status_code == 403
    assert client_of(stranger).get(at + path).status_code == 404


def test_a_stranger_finds_nothing(at, stranger, client_of) -> None:
    assert client_of(stranger).get(at).status_code == 404


def test_images_of_who_has_gone_are_held_and_not_on_a_screen(at, manager, annotator, client_of, measured) -> None:
    places = lease_next(project=measured.project, annotator=annotator, want=4)
    client = client_of(manager)
    text = client.get(at).content.decode()
    assert "<dt>On somebody's screen</dt><dd>4</dd>" in text and "Held for" not in text
    gone = timezone.now() + timedelta(seconds=90)
    Candidate.objects.filter(pk__in=[place.pk for place in places[:3]]).update(leased_until=gone)
    text = client.get(at).content.decode()
    assert "<dt>On somebody's screen</dt><dd>1</dd>" in text
    assert "<dt>Held for who may come back</dt><dd>3, for another 1 min at most</dd>" in text


class TestButtons:
    @pytest.fixture(autouse=True)
    def labels(self, measured) -> None:
        first, second, _ = measured.project.classes.all()
        images = list(measured.project.images.filter(is_holdout=False)[:2])
        for image, label in zip(images, (first, second), strict=True):
            image.state, image.label = "labelled", label
            image.save()

    def test_start(self, at, manager, client_of, django_capture_on_commit_callbacks, sent) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            response = client_of(manager).post(at + "rounds/start/")
        assert response.status_code == 302
        round_ = Round.objects.get(number=3)
        assert (round_.state, round_.trigger, round_.requested_by) == (RoundState.QUEUED, Trigger.BUTTON, manager)
        assert sent == [("learner.run_round", round_.pk)]

    def test_pressed_twice_it_is_one_round(self, at, manager, client_of) -> None:
        client = client_of(manager)
        client.post(at + "rounds/start/")
        text = client.post(at + "rounds/start/", follow=True).content.decode()
        assert "A round is running already" in text
        assert Round.objects.filter(trigger=Trigger.BUTTON).count() == 1

    def test_it_says_what_is_missing(self, at, manager, client_of, project) -> None:
        project.images.filter(is_holdout=False).update(state="pool", label=None)
        text = client_of(manager).post(at + "rounds/start/", follow=True).content.decode()
        assert "A model needs labels of two classes" in text
        assert not Round.objects.filter(trigger=Trigger.BUTTON).exists()

    def test_of_one_class_are_those_that_may_be_learned_from(self, at, manager, client_of, project) -> None:
        """The holdout has labels of another class, which nobody may learn from."""
        first, second, _ = project.classes.all()
        project.images.filter(is_holdout=False, state="labelled").update(label=second)
        assert project.images.filter(is_holdout=True, label=first).exists()
        text = client_of(manager).get(at).content.decode()
        assert "All labels that may be learned from are of one class so far." in text

    def test_cancel_and_retry(self, at, manager, client_of) -> None:
        client = client_of(manager)
        client.post(at + "rounds/start/")
        client.post(at + "rounds/3/cancel/")
        assert Round.objects.get(number=3).state == RoundState.CANCELLED
        assert "was over already" in client.post(at + "rounds/3/cancel/", follow=True).content.decode()
        client.post(at + "rounds/3/retry/")
        assert Round.objects.get(number=4).reason == "mia tried round 3 again"
        assert "nothing to try again" in client.post(at + "rounds/2/retry/", follow=True).content.decode()

    @pytest.mark.parametrize("path", ["rounds/start/", "rounds/2/cancel/", "rounds/2/retry/"])
    def test_only_managers_and_only_by_post(self, path, at, manager, annotator, stranger, client_of) -> None:
        assert client_of(manager).get(at + path).status_code == 405
        assert client_of(annotator).post(at + path).status_code == 403
        assert client_of(stranger).post(at + path).status_code == 404
        assert Round.objects.count() == 2


def test_a_first_estimate_waits_until_there_is_something_to_go_by(at, manager, client_of, measured) -> None:
    alive(*PROGRAMS)
    Round.objects.create(
        project=measured.project, number=3, trigger=Trigger.BUTTON, reason="x", seed=1, state=RoundState.FITTING,
        progress_done=1, progress_total=400, phase_started_at=timezone.now() - timedelta(seconds=15),
    )  # fmt: skip
    text = client_of(manager).get(at).content.decode()
    assert "is fitting (0 %)" in text


@pytest.mark.parametrize(("answers", "is_shown"), [(9, False), (10, True)])
def test_all_pages_have_one_rule_for_how_much_is_enough(at, manager, client_of, measured, answers, is_shown) -> None:
    alive(*PROGRAMS)
    Round.objects.filter(pk=measured.pk).update(
        metrics={**METRICS, "n": answers, "accuracy": {**INTERVAL, "n": answers}}
    )
    text = client_of(manager).get(at).content.decode()
    assert ("right on the holdout</span>" in text) is is_shown
    assert ('class="curve-mark"' in text) is is_shown
    assert ('class="curve-whisker"' in text) is is_shown  # one point has an interval, too
    for page in (f"{at}rounds/2/", f"{at}rounds/", "/"):
        assert ('90.0 % <span class="number-interval">' in client_of(manager).get(page).content.decode()) is is_shown


def test_a_round_that_waits_says_how_many_answers_it_would_take_along(
    project, make_images, annotator, manager, client_of
):
    make_images(project, 60)
    tune(project, retrain_every=6, budget=40, holdout_questions=0, debounce_seconds=600)
    start_cold_round(project=project)
    project.refresh_from_db()
    answer(project, annotator, 6)
    page = client_of(manager).get("/p/signs/").content.decode()
    assert "(6 new answers)" in page
    answer(project, annotator, 5)
    assert "(11 new answers)" in client_of(manager).get("/p/signs/").content.decode()


def test_a_round_that_begins_while_the_page_is_made_leaves_no_half_sentence(
    project, make_images, manager, client_of, monkeypatch
) -> None:
    make_images(project, 2)
    monkeypatch.setattr("labeler.selectors.monitor.next_round_words", lambda *_: "")
    html = client_of(manager).get(reverse("monitor", args=[project.slug])).content.decode()
    assert "0 of 2 images have a label." in html and "Next round" not in html
