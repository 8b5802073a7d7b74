"""Simulated annotators who answer from the known labels, through the real pages."""

from __future__ import annotations

import threading
import time
from statistics import fmean, pvariance
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command

from labeler.models import Annotation, Candidate, Image, User
from labeler.oracle import Oracle, Tally
from labeler.services.importing import import_local
from tests.conftest import PASSWORD
from tests.labeler.imports import make_zip, png
from tests.labeler.queues import fill_queue


@pytest.fixture
def known(transactional_db, project, manager, tmp_path) -> list[Image]:
    names = list(project.classes.values_list("name", flat=True))
    files = {f"{names[number % len(names)]}/{number}.png": png(number) for number in range(60)}
    import_local(project=project, path=make_zip(tmp_path / "known.zip", files), by=manager)
    fill_queue(project, list(project.images.all()))
    return list(project.images.all())


def run(live_server, **options) -> None:
    call_command("oracle", "signs", url=live_server.url, rate=0, **options)


@pytest.mark.django_db(transaction=True)
def test_it_answers_what_is_known_and_leaves_nothing_behind(live_server, project, known, capsys) -> None:
    run(live_server, annotators=3, answers=20)
    answers = list(Annotation.objects.select_related("label_class", "image__offered"))
    assert len(answers) == 20
    assert {answer.annotator.username for answer in answers} <= {"oracle-1", "oracle-2", "oracle-3"}
    assert all(answer.label_class.name == answer.image.offered.class_name for answer in answers)
    assert len({answer.image_id for answer in answers}) == len(answers)
    assert not Candidate.objects.filter(leased_to__isnull=False).exists()
    out = capsys.readouterr().out
    assert f"{len(answers)} answers in " in out
    assert "answer" in out


@pytest.mark.django_db(transaction=True)
def test_an_impatient_second_interrupt_still_gets_the_sum(live_server, project, known, capsys, monkeypatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    stuck = SimpleNamespace(start=lambda: None, is_alive=lambda: True, join=interrupt)
    command = "labeler.management.commands.oracle"
    monkeypatch.setattr(f"{command}.threading", SimpleNamespace(Thread=lambda **_: stuck, Event=threading.Event))
    monkeypatch.setattr(f"{command}.time", SimpleNamespace(sleep=interrupt, monotonic=time.monotonic))
    run(live_server, annotators=1)
    assert "0 answers in 0 s" in capsys.readouterr().out


@pytest.mark.django_db(transaction=True)
def test_its_annotators_are_taken_again(live_server, project, known) -> None:
    run(live_server, annotators=2, answers=4)
    run(live_server, annotators=2, answers=4)
    assert Annotation.objects.count() == 8
    assert User.objects.filter(username__startswith="oracle-").count() == 2


@pytest.mark.django_db(transaction=True)
def test_two_runs_at_once_are_different_people(live_server, project, known, capsys, monkeypatch) -> None:
    """A second run gave the people of the first new passwords, and signed them out in the middle."""
    first = Oracle.run
    second: list[str] = []

    def run_with_another_beside(oracle: Oracle) -> None:
        if oracle.username == "oracle-1" and not second:
            second.append(oracle.username)
            run(live_server, annotators=2, answers=6)
        first(oracle)

    monkeypatch.setattr(Oracle, "run", run_with_another_beside)
    run(live_server, annotators=2, answers=6)
    assert Annotation.objects.count() == 12
    people = User.objects.filter(username__startswith="oracle-").values_list("username", flat=True)
    assert set(people) == {"oracle-1", "oracle-2", "oracle-3", "oracle-4"}
    assert capsys.readouterr().out.count("errors 0") == 2


@pytest.mark.django_db(transaction=True)
def test_more_people_than_are_free_are_refused_in_words(live_server, project, known, monkeypatch) -> None:
    monkeypatch.setattr("labeler.management.commands.oracle.MOST_ANNOTATORS", 2)
    run(live_server, annotators=2, answers=2)
    monkeypatch.setattr("labeler.management.commands.oracle.fcntl.flock", taken)
    with pytest.raises(CommandError, match="Other runs use so many of the 2 simulated annotators that"):
        run(live_server, annotators=1, answers=2)


def taken(*_: object) -> None:
    raise BlockingIOError


@pytest.mark.django_db(transaction=True)
def test_a_person_of_that_name_keeps_password_and_projects(live_server, project, known, make_user) -> None:
    person = make_user("oracle-2")
    with pytest.raises(CommandError, match="an account “oracle-2” that no simulation made"):
        run(live_server, annotators=3, answers=4)
    person.refresh_from_db()
    assert person.check_password(PASSWORD)
    assert not person.memberships.exists()
    assert set(User.objects.filter(username__startswith="oracle-")) == {person}
    run(live_server, annotators=1, answers=4)
    assert Annotation.objects.count() == 4


@pytest.mark.django_db(transaction=True)
def test_its_errors_are_those_asked_for(live_server, project, known) -> None:
    run(live_server, annotators=1, answers=50, error=0.4, seed=1)
    answers = Annotation.objects.select_related("label_class", "image__offered")
    wrong = sum(answer.label_class.name != answer.image.offered.class_name for answer in answers)
    assert 10 <= wrong <= 30


def test_the_share_of_errors_holds_over_many_annotators() -> None:
    """Each answer is wrong by a throw of its own: 5 % on the whole, and as far from it as chance goes in one run."""
    runs, answers, share = 400, 260, 0.05
    oracle = Oracle(
        url="http://127.0.0.1:1", slug="signs", username="o", password="", truth={1: 3}, class_ids=list(range(10)),
        rate=2.0, error=share, seed=0, tally=Tally(), go_on=lambda: True,
    )  # fmt: skip
    wrong = []
    for seed in range(runs):
        oracle.random.seed(seed)
        wrong.append(0)
        for _ in range(answers):
            oracle.random.expovariate(oracle.rate)  # as it does before each answer
            wrong[-1] += oracle._decide(1)[1] != 3
    assert oracle.tally.wrong_on_purpose == sum(wrong)
    mean, variance = answers * share, answers * share * (1 - share)
    assert abs(fmean(wrong) - mean) < 4 * (variance / runs) ** 0.5
    assert 0.75 < pvariance(wrong) / variance < 1.25


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"error": 1.5}, "--error is from 0 to 1"), ({"rate": float("nan")}, "--rate a number"),
        ({"annotators": 0}, "--annotators is from 1"), ({"answers": -1}, "--answers from 0"), ({}, "known label"),
    ],
)  # fmt: skip
def test_nonsense_is_refused(project, make_images, options, words) -> None:
    make_images(project, 3)
    with pytest.raises(CommandError, match=words):
        call_command("oracle", "signs", url="http://127.0.0.1:1", **options)


@pytest.mark.django_db
def test_an_unknown_project_lists_the_known_ones(project) -> None:
    with pytest.raises(CommandError, match="signs"):
        call_command("oracle", "sings")
