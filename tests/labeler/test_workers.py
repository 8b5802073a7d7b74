"""Real worker processes that are killed in the middle: on the broker that is a folder, and on Redis (`servers`)."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from benchmarks.servers import ServerMissing, redis, wait_until
from labeler.pulse import VARIABLE, Pulse
from tests.labeler.stage import EmptyDatabases, Stage

pytestmark = pytest.mark.database
BIG = "set_the_stage(9000, side=24, architecture='cnn', posterior_samples=100)"


@pytest.fixture(scope="module")
def databases(tmp_path_factory) -> Iterator[EmptyDatabases]:
    databases = EmptyDatabases(tmp_path_factory.mktemp("empty"))
    yield databases
    databases.drop()


@pytest.fixture(params=["folder", pytest.param("redis", marks=pytest.mark.servers)])
def stage(request, tmp_path, databases) -> Iterator[Stage]:
    with ExitStack() as stack:
        env = {"DATABASE_URL": stack.enter_context(databases.one(tmp_path / "data"))}
        if request.param == "redis":
            try:
                env["REDIS_URL"] = stack.enter_context(redis()).url
            except ServerMissing as error:
                pytest.skip(str(error))
        stage = Stage(tmp_path / "data", **env)
        stack.callback(stage.close)
        yield stage


def test_a_worker_shows_that_it_lives_and_that_it_stopped(stage) -> None:
    worker = stage.worker("learner")
    stage.until("Worker.objects.filter(name='learner@test', queues='learner').exists()")
    os.kill(worker.pid, signal.SIGTERM)
    worker.wait(timeout=30)
    assert not stage.run("Worker.objects.exists()")


def test_beat_goes_on_showing_that_it_lives_and_that_it_stopped(stage) -> None:
    beat = stage.beat()
    first = stage.until("[str(row.seen_at) for row in Worker.objects.filter(queues='beat')]")
    stage.until(f"str(Worker.objects.get().seen_at) > {first[0]!r}", 15)
    os.kill(beat.pid, signal.SIGTERM)
    beat.wait(timeout=30)
    assert not stage.run("Worker.objects.exists()")


def test_beat_stops_in_the_middle_of_a_statement(stage) -> None:
    if not (server := stage.env["DATABASE_URL"]):
        pytest.skip("SQLite's driver has no lock of its own that could be waited for")
    beat = stage.beat()
    stage.until("Worker.objects.filter(queues='beat').exists()")
    with psycopg.connect(server) as other, psycopg.connect(server, autocommit=True) as watch:
        other.execute("SELECT * FROM labeler_worker FOR UPDATE")
        wait_until(lambda: bool(held_up(watch)), what="a statement of beat that waits")
        first = held_up(watch)
        os.kill(beat.pid, signal.SIGTERM)
        wait_until(lambda: bool(held_up(watch) - first), what="another statement, to take its row away")
    beat.wait(timeout=30)
    assert not stage.run("Worker.objects.exists()")


def held_up(watch: psycopg.Connection) -> set[int]:
    rows = watch.execute(
        "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    return {pid for (pid,) in rows}


def test_workers_and_beat_show_their_supervisor_a_pulse(tmp_path, databases) -> None:
    with ExitStack() as exits:
        address = exits.enter_context(databases.one(tmp_path / "data"))
        stage = Stage(tmp_path / "data", DATABASE_URL=address)
        exits.callback(stage.close)
        pulses = []
        for start in (lambda: stage.worker("learner"), stage.beat):
            pulses.append(Pulse())
            exits.callback(pulses[-1].close)
            stage.env[VARIABLE] = str(pulses[-1].pipe)
            start()
            pulses[-1].hand_over()
        for pulse in pulses:
            assert select.select([pulse.felt], [], [], 60)[0]


def test_a_round_survives_the_death_of_its_worker_in_the_fit_and_in_the_scoring(stage) -> None:
    stage.run(BIG)
    worker = stage.worker("learner")
    stage.until("Worker.objects.exists()")
    stage.run("start_round()")
    stage.until("Round.objects.filter(state='fitting', progress_done__gt=20).exists()")
    stage.kill(worker)
    first = stage.run("Round.objects.first().folder")

    worker = stage.worker("learner")
    stage.until("Round.objects.filter(state='fitting', attempts=2).exists()", meanwhile=stage.sweep)
    assert stage.run("Round.objects.first().folder") != first
    stage.until(
        "RoundChunk.objects.filter(is_done=True).exists() and RoundChunk.objects.filter(scored__gt=0).count() == 2"
    )
    done = stage.run("list(RoundChunk.objects.filter(is_done=True).values_list('pk', 'heartbeat_at'))")
    stage.kill(worker)

    stage.worker("learner")
    stage.until("Round.objects.filter(number=2, state='done').exists()", 90, meanwhile=stage.sweep)
    assert stage.run("list(RoundChunk.objects.values_list('pk', 'heartbeat_at'))[:1]") == done[:1]
    assert stage.run("Project.objects.get().queue_round.number") == 2
    assert stage.run("Candidate.objects.filter(round__number=2).count()") == 12
    assert stage.run("Round.objects.count()") == 2


@pytest.mark.parametrize(
    ("number", "moment", "states"),
    [
        (signal.SIGTERM, "state='fitting', progress_done__gt=20", ["queued"]),
        # it may have gone on before it heard
        (signal.SIGINT, "state='scoring', chunks__scored__gt=200", ["scoring", "acquiring", "done"]),
    ],
)
def test_a_worker_told_to_stop_hands_its_round_on_at_once_and_that_is_no_lost_worker(
    stage, number, moment, states
) -> None:
    """By the supervisor or compose, or by Ctrl+C. Nothing sweeps here: others are woken."""
    stage.run(BIG)
    stage.run("start_round()")
    worker = stage.worker("learner")
    stage.until(f"Round.objects.filter({moment}, attempts__lte=1).exists()", 120)
    worker.send_signal(number)
    worker.wait(timeout=30)
    assert not stage.run("RoundChunk.objects.exclude(claim='').exclude(is_done=True).exists()")
    state, claim, attempts = stage.run("list(Round.objects.values_list('state', 'claim', 'attempts'))[0]")
    assert state in states
    assert claim == ""
    assert attempts == 0 or state == "done"  # what is done keeps the attempt that it took
    stage.worker("learner")
    stage.until("Round.objects.filter(number=2, state='done').exists()", 90)


@pytest.mark.parametrize("moment", ["state='fitting', progress_done__gt=20", "state='scoring', chunks__scored__gt=200"])
def test_cancelling_stops_the_work_within_seconds(stage, moment) -> None:
    stage.run(BIG)
    stage.worker("learner")
    stage.until("Worker.objects.exists()")
    stage.run("start_round()")
    stage.until(f"Round.objects.filter({moment}).exists()")
    assert stage.run("Worker.objects.get().doing").endswith("ing round 2 of Signs")
    started = time.monotonic()
    assert stage.run("cancel_newest()")
    stage.until("Worker.objects.get().doing == ''", 10)
    assert time.monotonic() - started < 4
    assert stage.run("Round.objects.first().state") == "cancelled"
    assert stage.run("Project.objects.get().queue_round.number") == 1


def test_a_round_that_nobody_takes_fails_in_words_after_three_lost_workers(stage) -> None:
    stage.run("set_the_stage(100)")
    stage.run("start_round()")
    lost = "state='fitting', claim='gone', attempts=3, heartbeat_at='2020-01-01T00:00Z'"
    stage.run(f"Round.objects.filter(number=2).update({lost})")
    stage.sweep()
    assert stage.run("Round.objects.first().state") == "failed"
    assert "lost 3 times" in stage.run("Round.objects.first().error")


def test_a_message_that_got_lost_is_sent_again(stage) -> None:
    stage.run("set_the_stage(100)")
    stage.run("start_round()")
    for message in (stage.folder / "broker" / "messages").glob("*"):
        message.unlink()
    if "REDIS_URL" in stage.env:
        from redis import Redis

        Redis.from_url(stage.env["REDIS_URL"]).flushall()
    stage.worker("learner")
    stage.until("Round.objects.filter(number=2, state='done').exists()", meanwhile=stage.sweep)
