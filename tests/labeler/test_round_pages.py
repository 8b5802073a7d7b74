"""The pages of rounds: the list, and one of them with what it learned from, asked for and was interrupted by."""

from __future__ import annotations

import io
import json
import re
import zipfile
from datetime import timedelta

import pytest
from django.utils import timezone

from labeler import tasks
from labeler.models import Candidate, Image, Round, RoundState, Trigger
from labeler.selectors.rounds import CARRIED, REFILLED, queue_reasons
from labeler.selectors.workers import PROGRAMS
from labeler.services.refill import refill_queue
from labeler.services.rollback import put_in_charge
from labeler.services.rounds import start_cold_round
from labeler.storage import round_folder
from tests.labeler.judged import judged, loses_owls, measured_pool
from tests.labeler.monitored import alive
from tests.labeler.rounds import answer, tune


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
    alive(*PROGRAMS)
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
    alive(*PROGRAMS)
    now = timezone.now()
    Round.objects.filter(pk=measured.pk).update(state=RoundState.QUEUED, started_at=now, phase_started_at=now)
    assert "is waiting for a learner to start again" in client_of(manager).get(at).content.decode()


@pytest.mark.parametrize(
    ("state", "later", "trigger", "is_offered"),
    [
        (RoundState.CANCELLED, False, "answers", True),
        (RoundState.FAILED, False, "answers", True),
        (RoundState.CANCELLED, True, "answers", False),
        (RoundState.FAILED, True, "comparison", True),
        (RoundState.DONE, False, "answers", False),
    ],
)
def test_trying_again_is_offered_until_a_later_round_has_come(
    at, manager, client_of, measured, state, later, trigger, is_offered
) -> None:
    if later:
        Round.objects.create(project=measured.project, number=3, state=RoundState.DONE, seed=1)
    Round.objects.filter(pk=measured.pk).update(state=state, trigger=trigger)
    page = client_of(manager).get(at + "rounds/2/").content.decode()
    assert (">Try again</button>" in page) is is_offered


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


class TestOfTheModel:
    """What a round's page says of its model, with scores that a test has made up."""

    @pytest.fixture
    def pool(self, project, make_images):
        return measured_pool(project, make_images)

    def test_a_refused_one_says_why_and_can_be_put_in_charge(self, at, pool, manager, client_of) -> None:
        judged(pool)
        judged(pool, loses_owls)
        client = client_of(manager)
        page = client.get(at + "rounds/2/").content.decode()
        assert (
            "Refused: it finds 0 of 10 images of owl, the model of round 1 finds 10 (p = 0.0010); it is right" in page
        )
        assert "Change against round 1" in page and "significantly fewer" in page
        assert "−33.3 points" in page  # of accuracy, with its interval
        assert 'the model of <a href="/p/signs/rounds/1/">round 1</a>, which was in charge' in page
        rows = client.get(at + "rounds/").content.decode()
        assert ">refused</span>" in rows and ">in charge</span>" in rows and "it finds 0 of 10 images of owl" in rows
        monitor = client.get(at).content.decode()
        assert "Refused: it finds 0 of 10 images of owl" in monitor and "is in charge" in monitor
        assert "curve-cross" in monitor and "curve-charge" in monitor

        assert client.post(at + "rounds/2/charge/").headers["Location"] == at + "rounds/2/"
        page = client.get(at + "rounds/2/").content.decode()
        assert "until somebody releases it. The queue is being made again." in page
        assert "and keeps it there: later rounds" in page and "The gate had refused it: it finds 0 of 10" in page
        assert "mia put it in charge, in place of round 1" in " ".join(page.split())
        assert "and keeps it, so that later rounds do not take over" in client.get(at).content.decode()
        client.post(at + "rounds/2/charge/")  # a second click
        assert "was kept in charge already" in client.get(at + "rounds/2/").content.decode()
        assert client.post(at + "rounds/release/").headers["Location"] == at + "rounds/2/"
        assert "Released: the next round" in client.get(at + "rounds/2/").content.decode()
        client.post(at + "rounds/release/")
        assert "No model was kept in charge" in client.get(at + "rounds/2/").content.decode()

    def test_how_many_would_be_rolled_back_is_said_before(self, at, pool, manager, client_of) -> None:
        for _ in range(3):
            judged(pool)
        page = client_of(manager).get(at + "rounds/1/").content.decode()
        assert "2 later rounds will be rolled back" in page and "Put this model in charge" in page
        assert "Keep this model in charge" in client_of(manager).get(at + "rounds/3/").content.decode()

    def test_a_comparison_cannot_be_put_in_charge(self, at, pool, manager, client_of) -> None:
        judged(pool)
        judged(pool, trigger=Trigger.COMPARISON)
        client = client_of(manager)
        assert "Put this model in charge" not in client.get(at + "rounds/2/").content.decode()
        client.post(at + "rounds/2/charge/")
        assert "A comparison is only looked at" in client.get(at + "rounds/2/").content.decode()

    def test_a_round_that_only_made_the_queue_again_says_so(self, at, pool, manager, client_of) -> None:
        first, _ = judged(pool), judged(pool)
        put_in_charge(round_=first, by=manager)
        made = Round.objects.get(trigger=Trigger.CHARGE)
        tasks.score_chunks(made.pk)
        page = client_of(manager).get(f"{at}rounds/{made.number}/").content.decode()
        assert "nothing: it only made the queue again" in page and "On the holdout" not in page
        assert page.count("<dt>Asked</dt>") == 1

    def test_calibration_is_drawn_and_told(self, at, pool, manager, client_of) -> None:
        judged(pool, lambda position: position < 30 and position % 2 == 0)
        page = client_of(manager).get(at + "rounds/1/").content.decode()
        assert page.count("reliability-mark") == 1  # all have the same confidence
        assert "80 to 90 %" in page and "too sure of 30 of 30 images" in page
        assert "50.0 %" in page

    def test_a_cell_of_the_matrix_leads_to_its_images(
        self, at, pool, manager, client_of, django_assert_max_num_queries
    ) -> None:
        judged(pool, lambda position: position in (2, 5, 40))
        cat, dog, owl = pool.classes.values_list("pk", flat=True)
        client = client_of(manager)
        page = client.get(at + "rounds/1/").content.decode()
        assert f"rounds/1/confusion/?said={owl}&amp;predicted={cat}" in page
        assert f"?said={owl}&amp;predicted={dog}" not in page  # an empty cell leads nowhere
        url = f"{at}rounds/1/confusion/?said={owl}&predicted={cat}"
        with django_assert_max_num_queries(14):
            text = client.get(url).content.decode()
        assert "owl, taken for cat" in text and "2 holdout images that people call owl" in text
        assert "00002.png" in text and "00005.png" in text and "00040.png" not in text
        assert "8 holdout images" in client.get(f"{at}rounds/1/confusion/?said={owl}&predicted={owl}").content.decode()
        Image.objects.filter(project=pool, position=2).update(label=dog)
        assert "There were 2 when the round ended" in client.get(url).content.decode()
        Image.objects.filter(project=pool, position=5).update(label=dog)
        assert "None by the labels of now" in client.get(url).content.decode()

    @pytest.mark.parametrize("query", ["", "?said=1", "?said=x&predicted=1"])
    def test_no_cell_is_no_page(self, at, pool, manager, client_of, query) -> None:
        judged(pool)
        assert client_of(manager).get(f"{at}rounds/1/confusion/{query}").headers["Location"] == at + "rounds/1/"
        assert client_of(manager).get(f"{at}rounds/1/confusion/?said=999999&predicted=1").status_code == 404

    def test_a_large_cell_has_pages(self, at, pool, manager, client_of, monkeypatch) -> None:
        monkeypatch.setattr("labeler.selectors.confusion.PAGE", 20)
        Image.objects.filter(project=pool).update(is_holdout=True, state="labelled", label=pool.classes.last())
        judged(pool, lambda position: position % 3 == 0)  # two of three are taken for dogs
        said, predicted = pool.classes.last().pk, pool.classes.all()[1].pk
        client, seen = client_of(manager), []
        for number, shown in ((1, 20), (2, 20), (3, 7), (4, 7)):
            url = f"{at}rounds/1/confusion/?said={said}&predicted={predicted}&page={number}"
            text = client.get(url).content.decode()
            assert text.count('class="image-tile"') == shown
            assert f"Page {min(number, 3)} of 3" in text
            seen.append(set(re.findall(r"0\d{4}\.png", text)))
        assert len(set.union(*seen)) == 47 and seen[2] == seen[3]

    def test_scores_that_are_gone_are_said(self, at, pool, manager, client_of) -> None:
        round_ = judged(pool)
        (round_folder(round_) / "scores" / "000000.npz").unlink()
        pk = pool.classes.first().pk
        assert (
            "cannot be read"
            in client_of(manager).get(f"{at}rounds/1/confusion/?said={pk}&predicted={pk}").content.decode()
        )

    def test_the_model_can_be_taken_away(self, at, pool, manager, client_of) -> None:
        round_ = judged(pool)
        client = client_of(manager)
        assert client.get(at + "rounds/1/model/").status_code == 404
        folder = round_folder(round_)
        (folder / "model.json").write_text('{"config": {}}')
        (folder / "model.safetensors").write_bytes(b"weights")
        reply = client.get(at + "rounds/1/model/")
        assert reply.headers["Content-Disposition"] == 'attachment; filename="signs-round-1-model.zip"'
        with zipfile.ZipFile(io.BytesIO(reply.getvalue())) as archive:
            own = ["MODEL_CARD.md", "README.md", "model.json", "model.safetensors", "model_card.json", "round.json"]
            assert sorted(archive.namelist()) == own  # the file for new images was not asked for
            assert "`model.onnx` is missing" in archive.read("README.md").decode()
            assert archive.read("model.safetensors") == b"weights"
            assert json.loads(archive.read("round.json"))["classes"] == ["cat", "dog", "owl"]
        assert client.post(at + "rounds/1/model/").status_code == 405

    def test_the_page_and_the_list_have_few_statements(
        self, at, pool, manager, client_of, django_assert_max_num_queries
    ) -> None:
        judged(pool)
        for _ in range(3):
            judged(pool, loses_owls)
        client = client_of(manager)
        with django_assert_max_num_queries(20):
            client.get(at + "rounds/4/")
        with django_assert_max_num_queries(9):
            client.get(at + "rounds/")
