"""A stage for tests with real worker processes: an own data folder, and a process that holds Django there.

stage = Stage(folder)                          # one that has its database, see EmptyDatabases
stage.run("Round.objects.first().state")      # evaluated over there, the value comes back as JSON
worker = stage.worker("learner")              # a real `celery worker`
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from labeler.pulse import VARIABLE

ROOT = Path(__file__).resolve().parents[2]
FILE = "plusminus.sqlite3"


class EmptyDatabases:
    """Of the kind that the tests run on, each with all its tables: made once, and copied."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder  # of the one that is copied, where it is a file
        self.server = os.environ.get("DATABASE_URL", "")
        self.made: str | None = None

    @contextmanager
    def one(self, folder: Path) -> Iterator[str]:
        """The DATABASE_URL of one in PostgreSQL. Else empty: it is a file in this data folder."""
        if self.made is None:
            self.made = self._make()
        if not self.server:
            folder.mkdir()
            shutil.copy(self.folder / FILE, folder / FILE)
            yield ""
            return
        name = f"stage_{secrets.token_hex(6)}"
        self._run(f"CREATE DATABASE {name} TEMPLATE {self.made}")
        try:
            yield self._address(name)
        finally:
            self._run(f"DROP DATABASE {name} WITH (FORCE)")

    def drop(self) -> None:
        if self.made:
            self._run(f"DROP DATABASE {self.made} WITH (FORCE)")

    def _make(self) -> str:
        name = f"stage_{secrets.token_hex(6)}" if self.server else ""
        if name:
            self._run(f"CREATE DATABASE {name}")
        env = {**os.environ, "DATA_DIR": str(self.folder), "DATABASE_URL": self._address(name) if name else ""}
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=env, check=True)
        return name

    def _address(self, name: str) -> str:
        return self.server.rpartition("/")[0] + f"/{name}"

    def _run(self, statement: str) -> None:
        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute(statement)


class Stage:
    def __init__(self, folder: Path, **env: str) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        own = {"DATA_DIR": str(folder), "STALL_SECONDS": "30", "LEARNER_THREADS": "1", "LOG_LEVEL": "INFO"}
        self.env = {**os.environ, **own, **env}
        self.env.pop("DJANGO_SETTINGS_MODULE", None)
        self.processes: list[subprocess.Popen[Any]] = []
        self.hands = subprocess.Popen(
            [sys.executable, "-m", "tests.labeler.stage"], cwd=ROOT, env=self.env, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def run(self, code: str) -> Any:
        assert self.hands.stdin is not None
        assert self.hands.stdout is not None
        self.hands.stdin.write(json.dumps(code) + "\n")
        answer = json.loads(self.hands.stdout.readline())
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer["value"]

    def worker(self, queue: str) -> subprocess.Popen[Any]:
        command = [sys.executable, "-m", "celery", "-A", "labeler", "worker", "-Q", queue, "-c", "1"]
        command += ["-n", f"{queue}@test", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        log = (self.folder / f"{queue}.log").open("ab")
        process = subprocess.Popen(
            command, cwd=ROOT, env=self.env, start_new_session=True, stdout=log, stderr=subprocess.STDOUT,
            pass_fds=[int(self.env[VARIABLE])] if VARIABLE in self.env else [],
        )  # fmt: skip
        self.processes.append(process)
        return process

    def beat(self) -> subprocess.Popen[Any]:
        command = [sys.executable, "-m", "celery", "-A", "labeler", "beat"]
        log = (self.folder / "beat.log").open("ab")
        process = subprocess.Popen(
            command, cwd=ROOT, env=self.env, start_new_session=True, stdout=log, stderr=subprocess.STDOUT,
            pass_fds=[int(self.env[VARIABLE])] if VARIABLE in self.env else [],
        )  # fmt: skip
        self.processes.append(process)
        return process

    def until(self, code: str, seconds: float = 60, meanwhile: Callable[[], object] | None = None) -> Any:
        """Wait until an expression is true, and return it."""
        deadline = time.monotonic() + seconds
        while not (value := self.run(code)):
            if time.monotonic() > deadline:
                logs = "\n".join(path.read_text()[-3000:] for path in self.folder.glob("*.log"))
                state = self.run("list(Round.objects.values('number', 'state', 'error', 'attempts', 'progress_done'))")
                raise AssertionError(f"not within {seconds} s: {code}\n{state}\n{logs}")
            if meanwhile is not None:
                meanwhile()
            time.sleep(0.05)
        return value

    def sweep(self) -> Any:
        return self.run("sweep()")

    def kill(self, process: subprocess.Popen[Any]) -> None:
        """SIGKILL for the worker and its children."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                self.kill(process)
        if self.hands.stdin is not None:
            self.hands.stdin.close()
        self.hands.wait(timeout=60)


def main() -> None:
    """Read an expression a line, evaluate it, write the value a line."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "labeler.settings"
    import django

    django.setup()
    from labeler import models
    from labeler.services import rounds
    from labeler.services.sweep import sweep
    from tests.labeler import stage_setup

    names = {**vars(models), **vars(rounds), **vars(stage_setup), "sweep": sweep}
    for line in sys.stdin:
        try:
            answer = {"value": eval(json.loads(line), names)}
        except Exception as error:  # noqa: BLE001  (any error is the answer)
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer, default=str) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
