from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from labeler.models import Annotation, Candidate, Round, RoundChunk, RoundState, Trigger, Worker
from labeler.selectors.rounds import CARRIED, REFILLED, queue_reasons
from labeler.services.lease import lease_next
from labeler.services.refill import refill_queue
from labeler.services.rounds import start_cold_round
from tests.labeler.rounds import answer, tune

INTERVAL = {"value": 0.9, "low": 0.8, "high": 0.96, "n": 50, "method": "wilson"}
METRICS = {
    "n": 50,
    **dict.fromkeys(("accuracy", "nll", "brier", "ece"), INTERVAL),
    "recall": [INTERVAL, None, INTERVAL],
    "confusion": [[9, 1, 0], [0, 0, 0], [2, 0, 38]],
    "fit": {"loss": 0.1, "steps": 400, "notes": ["1 of 3 classes has a single label"]},
}


@pytest.fixture
def at(project) -> str:
    return f"/p/{project.slug}/"


@pytest.fixture
def measured(project, make_images) -> Round:
    make_images(project, 60)
    make_images(project, 30, is_holdout=True, state="labelled", label=project.classes.first())
    tune(project)
    start_cold_round(project=project)
    return Round.objects.create(
        project=project,
        number=2,
        trigger=Trigger.ANSWERS,
        reason="10 new answers",
        state=RoundState.DONE,
        seed=1,
        metrics=METRICS,
        answers_spent=40,
        training_count=30,
        classes=list(project.classes.values_list("pk", flat=True)),
        phase_seconds={"fit": 3.2, "score": 65.0, "acquire": 0.2},
        config={"architecture": "cnn", "budget": 100},
        training_digest="a" * 64,
    )


def alive(*queues: str) -> None:
    for queue in queues:
        Worker.objects.create(name=f"{queue}@here", queues=queue, doing="fitting <b>round</b> 7")


def test_an_empty_project_says_what_to_do(at, manager, client_of) -> None:
    text = client_of(manager).get(at).content.decode()
    assert "There are no images yet" in text
    assert "No learner is alive" in text
    assert "celery -A labeler worker --queues learner --concurrency 1 --hostname learner@%h" in text


def test_it_says_how_good_the_model_is_and_how_sure_we_are(at, manager, client_of, measured) -> None:
    alive("learner", "default", "beat")
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
    assert "not measured: it needs 10 holdout images, and has 2" in text
    make_images(project, 30, is_holdout=True)
    assert "not measured yet: 10 more holdout answers" in client_of(manager).get(at).content.decode()


def test_a_round_that_fails_says_so_and_can_be_tried_again(at, manager, client_of, measured) -> None:
    failed = Round.objects.create(
        project=measured.project, number=3, trigger=Trigger.BUTTON, reason="x", seed=1, state=RoundState.FAILED,
        error="The fit diverged at step 3.", finished_at=timezone.now(),
    )  # fmt: skip
    text = client_of(manager).get(at).content.decode()
    assert "The fit diverged at step 3." in text
    assert f"/p/signs/rounds/{failed.number}/retry/" in text
    assert re.search(r"failed <time [^>]*>just now</time>", text)


def test_it_polls_while_a_round_runs_and_brings_a_new_curve_once(at, manager, client_of, measured) -> None:
    alive("learner", "default", "beat")
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
    assert '<section id="curve" class="section" hx-swap-oob="true"' in text
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
    alive("learner", "default", "beat")
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
    alive("learner", "default", "beat")
    answer(project, annotator, 2)
    assert 'hx-trigger="every 5s, ' in client_of(manager).get(at).content.decode()


def test_the_number_of_statements_is_fixed(
    at, manager, client_of, measured, make_images, django_assert_max_num_queries
) -> None:
    client = client_of(manager)
    client.get(at)
    make_images(measured.project, 500)
    with django_assert_max_num_queries(25):
        client.get(at + "state/?seen=2")


def test_an_annotator_is_sent_to_label(at, annotator, client_of) -> None:
    response = client_of(annotator).get(at)
    assert (response.status_code, response.url) == (302, "/p/signs/label/")


@pytest.mark.parametrize("path", ["state/", "rounds/", "rounds/2/"])
def test_only_managers_see_the_rest(path, at, annotator, stranger, client_of, measured) -> None:
    assert client_of(annotator).get(at + path).status_code == 403
    assert client_of(stranger).get(at + path).status_code == 404


def test_a_stranger_finds_nothing(at, stranger, client_of) -> None:
    assert client_of(stranger).get(at).status_code == 404


def test_a_round_has_a_page(at, manager, client_of, measured) -> None:
    text = client_of(manager).get(at + "rounds/2/").content.decode()
    for words in ("10 new answers", "1.1 min", "65 s", "owl", "Small convolutional network", "a" * 64, "single label"):
        if words != "1.1 min" and words != "65 s":
            assert words in text
    assert "not measured yet: no holdout image of it has an answer" in text
    assert text.count("confusion-wrong") == 2
    assert "30 labels, to tell 3 classes apart" in text  # not that each of them has one


def test_a_round_before_the_first_model_does_not_say_how_its_images_were_found(
    at, manager, client_of, measured
) -> None:
    """Most of them are typical of images that look alike, once it is known which do; the queue's reasons say so."""
    text = client_of(manager).get(at + "rounds/1/").content.decode()
    assert "nothing: there was no model yet" in text
    assert "images were drawn at random" not in text


def test_the_images_of_a_queue_beside_those_asked_for_are_named(project, make_images, annotator) -> None:
    make_images(project, 60)
    tune(project, budget=10, overlap=2, random_share=0.0, holdout_questions=0.0)
    start_cold_round(project=project)
    answer(project, annotator, 4)
    second = start_cold_round(project=project)
    assert sum(queue_reasons(second).values()) == 14
    assert queue_reasons(second)[CARRIED] == 4
    Candidate.objects.filter(round=second).update(state="answered")
    Round.objects.create(project=project, number=9, trigger="button", reason="", seed=1)
    project.refresh_from_db()
    assert refill_queue(project=project, annotator=annotator) > 0
    reasons = queue_reasons(second)
    assert reasons[REFILLED] == sum(reasons.values()) - 14
    assert CARRIED not in queue_reasons(project.rounds.get(number=1))


@pytest.mark.parametrize(
    ("state", "seconds", "began", "is_again"),
    [
        (RoundState.FITTING, {}, 0, False),
        (RoundState.FITTING, {}, 40, True),
        (RoundState.SCORING, {"fit": 12.0}, 12, False),
        (RoundState.ACQUIRING, {"fit": 12.0, "score": 5.0}, 17, False),
        (RoundState.ACQUIRING, {"fit": 12.0, "score": 5.0}, 57, True),
        (RoundState.DONE, {"fit": 12.0, "score": 5.0, "acquire": 3.0}, 17.2, False),
        (RoundState.DONE, {"fit": 12.0, "score": 5.0, "acquire": 3.0}, 57, True),
    ],
)
def test_a_round_that_began_again_says_so(at, manager, client_of, measured, state, seconds, began, is_again) -> None:
    alive("learner", "default", "beat")
    start = timezone.now() - timedelta(seconds=100)
    Round.objects.filter(pk=measured.pk).update(
        state=state, started_at=start, phase_started_at=start + timedelta(seconds=began), phase_seconds=seconds,
        attempts=1 + is_again, claim="a", heartbeat_at=timezone.now(), progress_done=30, progress_total=120,
    )  # fmt: skip
    page = client_of(manager).get(at + "rounds/2/").content.decode()
    assert ("Started again" in page) is is_again
    text = " ".join(client_of(manager).get(at).content.decode().split())
    assert ("It was started again" in text) is (is_again and state != RoundState.DONE)
    if state == RoundState.FITTING:
        assert ("is fitting again, 2nd attempt (25 %" in text) is is_again
        assert ("2nd attempt" in page) is is_again


def test_a_round_that_was_given_back_waits_to_start_again(at, manager, client_of, measured) -> None:
    alive("learner", "default", "beat")
    now = timezone.now()
    Round.objects.filter(pk=measured.pk).update(state=RoundState.QUEUED, started_at=now, phase_started_at=now)
    assert "is waiting for a learner to start again" in client_of(manager).get(at).content.decode()


@pytest.mark.parametrize(
    ("state", "silent"), [(RoundState.FITTING, 12), (RoundState.SCORING, 12), (RoundState.FITTING, 3)]
)
def test_of_a_silent_worker_its_last_progress_is_not_shown_as_if_it_went_on(
    at, manager, client_of, measured, settings, state, silent
) -> None:
    settings.STALL_SECONDS = 30
    alive("learner", "default", "beat")
    beat = timezone.now() - timedelta(seconds=silent)
    Round.objects.filter(pk=measured.pk).update(state=state, claim="a", heartbeat_at=beat, phase_started_at=beat)
    if state == RoundState.SCORING:
        Round.objects.filter(pk=measured.pk).update(claim="", heartbeat_at=timezone.now())
        RoundChunk.objects.create(
            round=measured, chunk=measured.project.chunks.first(), count=60, pixels="x", claim="a", heartbeat_at=beat
        )
    for path in ("", "rounds/2/"):
        text = client_of(manager).get(at + path).content.decode()
        found = re.search(r"No sign of its worker for (\d+) s; another takes over after (\d+) s", text)
        assert (found is not None) is (silent == 12)
        assert found is None or (12 <= int(found[1]) <= 16 and 13 <= int(found[2]) <= 18)


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


def test_the_list_says_of_which_rounds_nothing_was_measured(at, manager, client_of, measured) -> None:
    rows = re.findall(r"<tr>.*?</tr>", client_of(manager).get(at + "rounds/").content.decode(), re.S)
    by_round = {re.search(r"/rounds/(\d+)/", row).group(1): row for row in rows if "/rounds/" in row}
    assert "90.0 %" in by_round["2"]
    assert "not measured" not in by_round["2"]
    assert "not measured" in by_round["1"]


@pytest.mark.parametrize(("state", "moves"), [(RoundState.FITTING, True), (RoundState.DONE, False)])
def test_the_page_of_a_round_and_the_list_move_while_it_runs(at, manager, client_of, measured, state, moves) -> None:
    running = {"progress_done": 30, "progress_total": 120, "phase_started_at": timezone.now()}
    Round.objects.filter(pk=measured.pk).update(state=state, **running)
    page = client_of(manager).get(at + "rounds/2/").content.decode()
    assert ('hx-get="/p/signs/rounds/2/" hx-trigger="every 1s"' in page) is moves
    assert ("fitting: 30 of 120" in page) is moves
    every = "every 1s" if moves else "every 20s"
    assert f'hx-trigger="{every}, focus from:window"' in client_of(manager).get(at + "rounds/").content.decode()


def test_the_list_has_few_statements(at, manager, client_of, measured, django_assert_max_num_queries) -> None:
    client = client_of(manager)
    with django_assert_max_num_queries(8):
        text = client.get(at + "rounds/").content.decode()
    assert "before the first model" in text


def test_a_round_that_is_not_there(at, manager, client_of) -> None:
    assert client_of(manager).get(at + "rounds/99/").status_code == 404


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


def test_a_dead_beat_is_told_with_the_command_that_starts_it(at, manager, client_of, settings) -> None:
    alive("learner", "default", "beat")
    assert "Beat is not alive" not in client_of(manager).get(at).content.decode()
    Worker.objects.filter(name="beat@here").update(seen_at=timezone.now() - timedelta(seconds=31))
    text = client_of(manager).get(at).content.decode()
    assert "rounds by the clock do not start" in text
    assert "celery -A labeler beat" in text
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    text = client_of(manager).get(at).content.decode()
    assert "The broker is away" in text
    assert "Beat is not alive" not in text  # it waits for the broker, and says nothing meanwhile


def test_a_round_without_a_learner_waits_and_dead_workers_are_not_shown_at_work(
    at, manager, client_of, measured
) -> None:
    alive("learner", "default")
    Worker.objects.filter(name="learner@here").update(seen_at=timezone.now() - timedelta(minutes=12))
    Round.objects.create(
        project=measured.project, number=3, trigger=Trigger.BUTTON, reason="x", seed=1, state=RoundState.FITTING,
        progress_done=54, progress_total=100, phase_started_at=timezone.now() - timedelta(minutes=12),
    )  # fmt: skip
    text = " ".join(client_of(manager).get(at).content.decode().split())
    assert "waits for a learner; it was fitting (54 %)" in text
    assert " left)" not in text
    assert re.search(r"not alive: last seen <time [^>]+>12\sminutes ago</time>", text)
    assert text.count("fitting &lt;b&gt;round") == 1  # the other one's


def test_a_first_estimate_waits_until_there_is_something_to_go_by(at, manager, client_of, measured) -> None:
    alive("learner", "default", "beat")
    Round.objects.create(
        project=measured.project, number=3, trigger=Trigger.BUTTON, reason="x", seed=1, state=RoundState.FITTING,
        progress_done=1, progress_total=400, phase_started_at=timezone.now() - timedelta(seconds=15),
    )  # fmt: skip
    text = client_of(manager).get(at).content.decode()
    assert "is fitting (0 %)" in text


@pytest.mark.parametrize(("answers", "is_shown"), [(9, False), (10, True)])
def test_all_pages_have_one_rule_for_how_much_is_enough(at, manager, client_of, measured, answers, is_shown) -> None:
    alive("learner", "default", "beat")
    Round.objects.filter(pk=measured.pk).update(
        metrics={**METRICS, "n": answers, "accuracy": {**INTERVAL, "n": answers}}
    )
    text = client_of(manager).get(at).content.decode()
    assert ("right on the holdout</span>" in text) is is_shown
    assert ('class="curve-mark"' in text) is is_shown
    assert ('class="curve-whisker"' in text) is is_shown  # one point has an interval, too
    for page in (f"{at}rounds/2/", f"{at}rounds/", "/"):
        assert ('90.0 % <span class="number-interval">' in client_of(manager).get(page).content.decode()) is is_shown


def test_a_broker_that_is_away_is_said(at, manager, client_of, measured, monkeypatch) -> None:
    alive("learner", "default", "beat")
    assert "The broker is away" not in client_of(manager).get(at).content.decode()
    monkeypatch.setattr("labeler.selectors.monitor.broker_lately", lambda: "away")
    assert "The broker is away" in client_of(manager).get(at).content.decode()


@pytest.mark.parametrize(
    ("doing", "shown"),
    [
        ("fitting round 7 of Signs", "fitting round 7 of Signs"),
        ("fitting round 7 of Secret cats of Ann", "working for another project"),
        ("choosing in round 7 of Secret", "working for another project"),
        ("importing images", "importing images"),
    ],
)
def test_a_worker_tells_no_names_of_other_projects(at, manager, client_of, measured, doing, shown) -> None:
    Worker.objects.create(name="learner@here", queues="learner", doing=doing)
    page = client_of(manager).get(at).content.decode()
    assert f"<td>{shown}</td>" in page
    assert "Secret" not in page


def test_a_dead_worker_leaves_the_list_after_some_hours(at, manager, client_of, measured) -> None:
    alive("learner", "default", "beat")
    Worker.objects.filter(name="learner@here").update(seen_at=timezone.now() - timedelta(hours=7))
    assert "learner@here" not in client_of(manager).get(at).content.decode()


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
