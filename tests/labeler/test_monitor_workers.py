"""What the Monitor says of workers: missing, dead, silent, and what they do."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from labeler.models import Round, RoundChunk, RoundState, Trigger, Worker
from labeler.selectors.workers import PROGRAMS
from tests.labeler.monitored import alive


@pytest.mark.parametrize(
    ("state", "silent"), [(RoundState.FITTING, 12), (RoundState.SCORING, 12), (RoundState.FITTING, 3)]
)
def test_of_a_silent_worker_its_last_progress_is_not_shown_as_if_it_went_on(
    at, manager, client_of, measured, settings, state, silent
) -> None:
    settings.STALL_SECONDS = 30
    alive(*PROGRAMS)
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


def test_a_dead_beat_is_told_with_the_command_that_starts_it(at, manager, client_of, settings) -> None:
    alive(*PROGRAMS)
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


def test_a_broker_that_is_away_is_said(at, manager, client_of, measured, monkeypatch) -> None:
    alive(*PROGRAMS)
    assert "The broker is away" not in client_of(manager).get(at).content.decode()
    monkeypatch.setattr("labeler.selectors.monitor.broker_lately", lambda: "away")
    assert "The broker is away" in client_of(manager).get(at).content.decode()


@pytest.mark.parametrize(
    ("doing", "shown"),
    [
        ("fitting round 7 of Signs", "fitting round 7"),
        ("fitting round 7 of Secret cats of Ann", "working for another project"),
        ("choosing in round 7 of Secret", "working for another project"),
        ("importing images", "importing images"),
        ("computing features of images", "computing features of images"),
    ],
)
def test_a_worker_tells_no_names_of_other_projects(at, manager, client_of, measured, doing, shown) -> None:
    Worker.objects.create(name="learner@here", queues="learner", doing=doing)
    page = client_of(manager).get(at).content.decode()
    assert f"<td>{shown}</td>" in page
    assert "Secret" not in page


def test_a_dead_worker_leaves_the_list_after_some_hours(at, manager, client_of, measured) -> None:
    alive(*PROGRAMS)
    Worker.objects.filter(name="learner@here").update(seen_at=timezone.now() - timedelta(hours=7))
    assert "learner@here" not in client_of(manager).get(at).content.decode()
