"""The Procfile's very commands on a real PostgreSQL and a real Redis: what docker-compose.yml starts, without Docker.

One small loop over HTTP: sign in, import a zip, answer, and a model's round ends while every process was started by the
command that the compose file has.
"""

from __future__ import annotations

import io
import os
import re
import secrets
import subprocess
import sys
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg
import pytest
from PIL import Image as Picture

from benchmarks.servers import ROOT, Server, ServerMissing, manage, postgres, redis, web_server, worker
from tests.signing_in import sign_in

pytestmark = pytest.mark.servers


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.2)
    return found


def stripes(number: int, is_upright: bool) -> bytes:
    """A noisy picture of stripes: two classes that a model learns from a few examples."""
    random = np.random.default_rng(number)
    pixels = np.full((28, 28), 40, dtype=np.int16)
    pixels[:, number % 4 :: 4] += 160
    pixels = (pixels if is_upright else pixels.T) + random.integers(0, 50, (28, 28))
    file = io.BytesIO()
    Picture.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "png")
    return file.getvalue()


def a_zip(start: int, count: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(start, start + count):
            name = "upright" if number % 2 else "flat"
            archive.writestr(f"{name}/{number:03}.png", stripes(number, bool(number % 2)))
    return file.getvalue()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("stack")
    logs = folder / "logs"
    logs.mkdir()
    with ExitStack() as exits:
        try:
            database, broker = exits.enter_context(postgres()), exits.enter_context(redis())
        except ServerMissing as error:
            pytest.skip(str(error))
        env = {
            "DATABASE_URL": database.url,
            "REDIS_URL": broker.url,
            "SECRET_KEY": secrets.token_urlsafe(64),
            "DATA_DIR": str(folder / "files"),
            "ALLOWED_HOSTS": "localhost",
            "PYTHONUNBUFFERED": "1",
        }
        manage(env, "migrate", "--noinput")
        manage(env, "collectstatic", "--noinput")
        (folder / "first.zip").write_bytes(a_zip(0, 60))
        passwords = prepare_demo(env, folder / "first.zip")
        web = web_server(env, log=logs / "web.log")
        processes: dict[str, Server] = {"web": web}
        processes |= {
            name: worker(name, env, log=logs / f"{name}.log")
            for name in ("learner", "worker", "importer", "messenger", "background", "beat")
        }
        for process in processes.values():
            exits.callback(process.stop)
            process.start()
        yield {"web": web.url, "env": env, "passwords": passwords, "database": database.url, "logs": logs}


def prepare_demo(env: dict[str, str], path: Path) -> dict[str, str]:
    command = [sys.executable, "manage.py", "demo", "--data", str(path), "--prepare-only"]
    result = subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return dict(re.findall(r"^  (\w+) +(\w{4}-\w{4}-\w{4}-\w{4}) ", result.stdout, re.M))


def query(stack: dict[str, Any], sql: str) -> list[tuple]:
    with psycopg.connect(stack["database"]) as connection:
        return connection.execute(sql).fetchall()  # type: ignore[call-overload]


def post(client: httpx.Client, path: str, **values: Any) -> dict[str, Any]:
    headers = {"X-CSRFToken": client.cookies["csrftoken"], "Accept": "application/json"}
    response = client.post(path, json=values, headers=headers)
    response.raise_for_status()
    return response.json()


def test_all_processes_say_that_they_are_alive(stack: dict[str, Any]):
    def parts() -> dict[str, str]:
        return httpx.get(f"{stack['web']}/health", timeout=30).json()

    wait_for(lambda: set(parts().values()) == {"ok"}, 60, "every part to be ok")
    for name in ("learner", "worker", "importer", "messenger", "background"):
        manage(stack["env"], "alive", name)


def test_it_refuses_hosts_that_it_does_not_serve(stack: dict[str, Any]):
    assert httpx.get(f"{stack['web']}/login/", headers={"Host": "evil.example"}, timeout=30).status_code == 400


def test_a_manager_imports_a_zip_and_a_worker_takes_it_in(stack: dict[str, Any]):
    client = sign_in(stack["web"], "manager", stack["passwords"]["manager"])
    assert client.get("/p/first/imports/new/").status_code == 200
    page = client.post(
        "/p/first/imports/new/",
        data={"csrfmiddlewaretoken": client.cookies["csrftoken"]},
        files={"files": ("more.zip", a_zip(50, 30), "application/zip")},
        headers={"Accept": "text/html"},
    )
    assert page.status_code == 200 and "/imports/" in str(page.url)
    looked = "SELECT id FROM labeler_importjob WHERE state = 'uploading' AND found IS NOT NULL"
    assert wait_for(lambda: query(stack, looked), 60, "a worker to look what is in it")
    found = client.get(str(page.url)).text
    assert "What was found" in found and "20 new, 10 in the project already" in found
    client.post(f"{page.url}start/", data={"csrfmiddlewaretoken": client.cookies["csrftoken"]})

    def ended() -> list[tuple]:
        return query(
            stack, "SELECT added, duplicates FROM labeler_importjob WHERE state = 'done' ORDER BY id DESC LIMIT 1"
        )

    assert wait_for(lambda: ended() == [(20, 10)], 60, "the import to end")


def test_answers_start_a_round_and_it_ends(stack: dict[str, Any]):
    client = sign_in(stack["web"], "anna", stack["passwords"]["anna"])
    page = client.get("/p/first/label/")
    assert page.status_code == 200 and "upright" in page.text
    classes = dict(query(stack, "SELECT name, id FROM labeler_labelclass"))
    truth = dict(query(stack, "SELECT image_id, class_name FROM labeler_offeredlabel"))
    rounds = "SELECT number FROM labeler_round WHERE state = 'done' AND trigger <> 'cold_start'"
    answered = 0
    for _ in range(40):
        items = post(client, "/p/first/label/next/", want=1)["items"]
        if not items or query(stack, rounds):
            break
        picture = client.get(items[0]["url"])
        assert picture.status_code == 200 and picture.headers["Content-Type"].startswith("image/")
        post(
            client,
            "/p/first/label/answer/",
            key=str(uuid.uuid4()),
            image=items[0]["image"],
            candidate=items[0]["candidate"],
            outcome="label",
            label_class=classes[truth[items[0]["image"]]],
            seconds=1.0,
            answered_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            want=1,
        )
        answered += 1
    assert answered >= 10
    wait_for(lambda: query(stack, rounds), 120, "a round with a model to end")
    assert query(stack, "SELECT count(*) FROM labeler_annotation") == [(answered,)]
    [(reason,)] = query(
        stack,
        "SELECT reason FROM labeler_candidate JOIN labeler_project ON queue_round_id = round_id "
        "WHERE labeler_candidate.reason = 'acquired' LIMIT 1",
    )
    assert reason == "acquired"


def test_nobody_else_sees_it(stack: dict[str, Any]):
    page = httpx.get(f"{stack['web']}/p/first/label/", follow_redirects=False, timeout=30)
    assert page.status_code == 302 and "/login/" in page.headers["Location"]


def test_the_log_has_no_error_and_no_password(stack: dict[str, Any]):
    text = "".join(path.read_text() for path in stack["logs"].glob("*.log"))
    assert "Traceback" not in text
    assert not any(password in text for password in stack["passwords"].values())
