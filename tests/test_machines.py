"""More than one machine: web, workers and three learners, each with a folder of its own, that share PostgreSQL, Redis
and a bucket. One learner is killed and the network of another is cut in the middle of a round.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import psycopg
import pytest

from benchmarks.servers import ROOT, Server, ServerMissing, manage, postgres, redis, s3, wait_until, web_server, worker
from tests.cable import Cable, cables, port_of

pytestmark = pytest.mark.servers
CHUNKS = 10
KEY_ID, SECRET = "key-of-the-tests", "s3cr3t-of-the-tests"
STAGE = f"""
import json, sys
from benchmarks import pools
from labeler.models import LearningConfig, Project, Trigger
from labeler.services.rounds import request_round, start_cold_round
made = pools.make("pool", 4096 * {CHUNKS} - 96, 1, 0, 8)
pools.add_vectors("pool", 64, 120, 0)
LearningConfig.objects.update(architecture="head", posterior_samples=400, retrain_every=0, learns_from="images")
project = Project.objects.select_related("learning").get()
start_cold_round(project=project)
print(json.dumps(made), flush=True)
sys.stdin.readline()
print(request_round(project=project, trigger=Trigger.BUTTON, reason="the test").pk, flush=True)
"""


@dataclass
class Site:
    """What the test sees of it."""

    database: str
    storage: str
    web: str
    learners: list[Server]
    cut: list[Cable]  # to all that the last learner reaches
    env: dict[str, str]
    stage: subprocess.Popen[str]
    made: dict[str, Any]

    def query(self, sql: str) -> list[tuple]:
        with psycopg.connect(self.database) as connection:
            return connection.execute(sql).fetchall()  # type: ignore[call-overload]

    def one(self, sql: str) -> Any:
        return self.query(sql)[0][0]

    def scores(self) -> dict[str, tuple[str, Any]]:
        """Digest and time of each score file in the bucket."""
        client = boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{port_of(self.storage)}", region_name="us-east-1",
            aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET,
        )  # fmt: skip
        listed = client.list_objects_v2(Bucket="pool", Prefix="files/")["Contents"]
        return {
            one["Key"].rpartition("/")[2]: (one["ETag"], one["LastModified"])
            for one in listed
            if "/scores/" in one["Key"]
        }


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as exits:
        try:
            database, broker = exits.enter_context(postgres()), exits.enter_context(redis())
            storage = exits.enter_context(s3())
        except ServerMissing as error:
            pytest.skip(str(error))
        env = {
            "SECRET_KEY": secrets.token_urlsafe(64), "LEARNER_THREADS": "1", "STALL_SECONDS": "8",
            "STORAGE_KEY_ID": KEY_ID, "STORAGE_SECRET": SECRET, "PYTHONUNBUFFERED": "1", "ALLOWED_HOSTS": "127.0.0.1",
        }  # fmt: skip
        addresses = (database.url, broker.url, storage.url)
        cut, by_cable = exits.enter_context(cables(*addresses))

        def machine(name: str, *urls: str) -> dict[str, str]:
            """A folder of its own, and the addresses: nothing else is given to it."""
            named = dict(zip(("DATABASE_URL", "REDIS_URL", "STORAGE_URL"), urls or addresses, strict=True))
            return {**env, **named, "DATA_DIR": str(tmp_path / name)}

        manage(machine("stage"), "migrate", "--noinput")
        manage(machine("web"), "collectstatic", "--noinput")
        stage = subprocess.Popen(
            [sys.executable, "-c", STAGE], cwd=ROOT, env={**os.environ, **machine("stage")}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        exits.callback(stage.kill)
        web = web_server(machine("web"), log=tmp_path / "web.log")
        learners = [
            worker("learner", machine(f"learner{n}", *(by_cable if n == 2 else ())), log=tmp_path / f"learner{n}.log")
            for n in range(3)
        ]
        for number, learner in enumerate(learners):
            learner.command = [part.replace("learner@", f"learner{number}@") for part in learner.command]
        others = [worker(kind, machine(kind), log=tmp_path / f"{kind}.log") for kind in ("worker", "importer", "beat")]
        for process in (web, *learners, *others):
            exits.callback(process.kill)
            process.start(wait=False)
        assert stage.stdout is not None
        made = json.loads(stage.stdout.readline())
        web.wait_up()
        yield Site(database.url, storage.url, web.url, learners, cut, machine("again"), stage, made)


def test_a_learner_is_killed_and_another_cut_off_and_the_round_ends_right(site: Site):
    alive = "SELECT count(*) FROM labeler_worker WHERE queues LIKE '%learner%'"
    wait_until(lambda: site.one(alive) == 3, 90, "three learners")
    before = site.one("SELECT queue_round_id FROM labeler_project")
    assert site.stage.stdin is not None and site.stage.stdout is not None
    site.stage.stdin.write("go\n")
    site.stage.stdin.flush()
    round_id = int(site.stage.stdout.readline())
    chunks = f"SELECT count(*) FROM labeler_roundchunk WHERE round_id = {round_id}"
    held = f"{chunks} AND NOT is_done AND claim LIKE 'learner{{}}@%'"
    wait_until(
        lambda: site.one(f"{chunks} AND is_done") >= 2 and all(site.one(held.format(n)) for n in (1, 2)),
        90, "both to score",
    )  # fmt: skip
    for cable in site.cut:
        cable.pull()
    site.learners[1].kill()
    done = {f"{number:06d}.npz" for (number,) in site.query(DONE.format(round_id))}
    at_once = {name: written for name, written in site.scores().items() if name in done}
    assert len(at_once) < CHUNKS
    answers = answer(site, 5)
    state = f"SELECT state FROM labeler_round WHERE id = {round_id}"
    wait_until(lambda: site.one(state) in ("done", "failed", "cancelled"), 120, "the round to end")

    assert site.query(f"SELECT state, error FROM labeler_round WHERE id = {round_id}") == [("done", "")]
    assert site.one(f"{chunks} AND is_done") == site.one(chunks) == CHUNKS
    scores = site.scores()
    assert len(scores) == CHUNKS
    assert {name: scores[name] for name in at_once} == at_once  # what was done stayed as it was
    assert not site.one(f"{chunks} AND claim LIKE 'learner1@%' AND NOT is_done")
    assert site.one("SELECT queue_round_id FROM labeler_project") == round_id != before
    stored = {str(key) for (key,) in site.query("SELECT key FROM labeler_annotation WHERE retracted_at IS NULL")}
    assert set(answers) <= stored
    assert answer(site, 1)  # from the new queue

    for cable in site.cut:
        cable.plug_in()
    seen = "SELECT count(*) FROM labeler_worker WHERE name LIKE 'learner2@%' AND seen_at > now() - interval '4 seconds'"
    wait_until(lambda: bool(site.one(seen)), 60, "the learner to be back")
    time.sleep(1)
    assert {name: tag for name, (tag, _) in site.scores().items()} == {name: tag for name, (tag, _) in scores.items()}
    number = site.one(f"SELECT number FROM labeler_round WHERE id = {round_id}")
    manage(site.env, "rerun", "pool", str(number))  # undisturbed, with an empty folder: the same bytes


DONE = (
    "SELECT c.number FROM labeler_roundchunk r JOIN labeler_chunk c ON c.id = r.chunk_id "
    "WHERE r.round_id = {} AND r.is_done"
)


def answer(site: Site, count: int) -> list[str]:
    """As the Label page does. Returns the keys that were taken, and sees a picture each time."""
    keys = []
    cookies = {"sessionid": site.made["sessions"][0], "csrftoken": "c" * 32}
    headers = {"X-CSRFToken": "c" * 32, "Accept": "application/json"}
    with httpx.Client(base_url=site.web, cookies=cookies, headers=headers, timeout=30) as client:
        for _ in range(count):
            (item,) = client.post("/p/pool/label/next/", json={"want": 1}).raise_for_status().json()["items"]
            picture = client.get(item["url"])
            assert picture.status_code == 200 and picture.content.startswith(b"\x89PNG")
            keys.append(str(uuid.uuid4()))
            client.post(
                "/p/pool/label/answer/",
                json={
                    "key": keys[-1], "image": item["image"], "candidate": item["candidate"], "outcome": "label",
                    "label_class": site.made["classes"][0], "seconds": 1.0, "want": 1,
                    "answered_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                },
            ).raise_for_status()  # fmt: skip
    return keys
