"""What a page says of a worker that is missing: one place, the Procfile's words, a command that can be copied."""

from __future__ import annotations

import os
import shlex
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings as real
from django.utils import timezone

from labeler import embedded
from labeler.celery import app as celery_app
from labeler.models import Worker
from labeler.selectors.workers import PROGRAMS, missing_workers
from labeler.supervisor import read_procfile

pytestmark = pytest.mark.django_db


def test_only_what_nobody_alive_serves_is_missing() -> None:
    assert [missing.queue for missing in missing_workers()] == list(PROGRAMS)
    Worker.objects.create(name="one", queues="default,learner,imports,messages,background")
    assert [missing.queue for missing in missing_workers()] == ["beat"]
    Worker.objects.create(name="two", queues="beat")
    assert missing_workers() == []
    Worker.objects.update(seen_at=timezone.now() - timedelta(minutes=5))
    assert [missing.queue for missing in missing_workers(["default"])] == ["default"]


def test_by_hand_it_is_the_line_of_the_procfile_runnable_from_anywhere(settings, tmp_path: Path) -> None:
    settings.STARTED_BY, settings.DATA_DIR = "", tmp_path / "my data"
    lines = read_procfile(real.BASE_DIR / "Procfile")
    for missing in missing_workers():
        change, folder, also, data, program, *arguments = shlex.split(missing.command)
        assert (change, folder, also, data) == ("cd", str(real.BASE_DIR), "&&", f"DATA_DIR={tmp_path}/my data")
        assert os.access(program, os.X_OK)
        assert [Path(program).name, *arguments] == lines[PROGRAMS[missing.queue]]


def test_where_something_else_starts_workers_one_is_led_there(settings, tmp_path: Path) -> None:
    settings.STARTED_BY = "supervisor"
    assert missing_workers(["beat"])[0].command == f"tail -n 50 {tmp_path}/logs/beat.log"
    assert missing_workers(["default"])[0].command == f"tail -n 50 {tmp_path}/logs/worker.log"
    settings.STARTED_BY = "compose"
    assert missing_workers(["default"])[0].command == "docker compose up --detach worker"


def test_work_of_minutes_and_what_waits_for_others_have_queues_so_that_no_export_waits_for_them() -> None:
    celery_app.loader.import_default_modules()
    queues: dict[str, set[str]] = {}
    for name in celery_app.tasks:
        if not name.startswith("celery."):
            queues.setdefault(celery_app.amqp.router.route({}, name)["queue"].name, set()).add(name)
    assert set(queues) == set(PROGRAMS) - {"beat"}
    assert queues["imports"] == {"imports.run_import"}
    assert queues["messages"] == {"messages.send_notice_mails", "messages.send_webhooks"}
    assert queues["background"] == {
        f"background.{n}"
        for n in ("draw_map", "compute_features", "make_graph", "train_network", "run_replay", "rerun", "export_model")
    }
    assert {"labeler.run_export", "labeler.run_class_change", "labeler.scheduled_round", "labeler.sweep"} <= queues[
        "default"
    ]


def test_the_supervisor_and_compose_say_that_they_start_workers(monkeypatch) -> None:
    given: dict[str, str] = {}

    class Pretended:
        def __init__(self, _programs: object, *, env: dict[str, str], **_others: object) -> None:
            given.update(env)

        def run(self, _tick: object) -> None: ...

    monkeypatch.setattr(embedded, "Supervisor", Pretended)
    embedded.run_everything(lock=0, host="127.0.0.1", port=None, say=print, on_ready=print)
    assert given["STARTED_BY"] == "supervisor"
    assert "STARTED_BY: compose" in (real.BASE_DIR / "docker-compose.yml").read_text()
