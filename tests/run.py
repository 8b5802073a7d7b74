"""`make test`: every test, on SQLite and on a real PostgreSQL, with a real Redis and browser where they can be had.

Both at once, since tests of servers and browsers wait for much of their time. What is said of PostgreSQL comes when
both have ended. What cannot be had is said loudly at the end; under CI=true it is a failure.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

from benchmarks.browser import find_browser
from benchmarks.servers import ServerMissing, postgres, postgres_binaries, redis_binary

ROOT = Path(__file__).resolve().parent.parent
WORKERS = int(os.environ.get("TEST_WORKERS", "2"))
# The last one would have each of some five hundred processes compile all modules again.
NOT_PASSED_ON = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "PYTHONDONTWRITEBYTECODE")


class Run:
    """A pytest that has begun. What it says is shown as it comes, or kept until it is asked for."""

    def __init__(self, title: str, selected: list[str], extra: dict[str, str], workers: int, *, is_shown: bool) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in NOT_PASSED_ON} | extra
        command = [sys.executable, "-m", "pytest", "-q", "-n", str(workers), "--dist", "worksteal", *selected]
        self.said = [f"\n=== on {title}: pytest {' '.join(command[3:])}\n"]
        self.is_shown = is_shown
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, errors="replace", stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        if self.is_shown:
            print(*self.said, end="", flush=True)
        for line in self.process.stdout:
            self.said.append(line)
            if self.is_shown:
                print(line, end="", flush=True)

    def end(self) -> int:
        """Wait for it. Returns pytest's exit code."""
        code = self.process.wait()
        self.listener.join(timeout=30)  # a process that a test forgot may hold the pipe open
        if not self.is_shown:
            print(*self.said, sep="", end="", flush=True)
        return code

    def failures(self) -> list[str]:
        return [line.rstrip() for line in self.said if line.startswith(("FAILED ", "ERROR "))]


def main(arguments: list[str]) -> int:
    missing = missing_parts()
    with ExitStack() as stack:
        runs = {"SQLite": Run("SQLite", arguments, {}, WORKERS, is_shown=True)}
        with suppress(ServerMissing):  # said below
            database = stack.enter_context(postgres())
            extra = {"DATABASE_URL": database.url, "SECRET_KEY": secrets.token_urlsafe(64)}
            selected = ["tests/labeler", "-m", "database and not e2e and not servers and not words", *arguments]
            runs["PostgreSQL"] = Run("PostgreSQL", selected, extra, (WORKERS + 1) // 2, is_shown=False)
        codes = {name: run.end() for name, run in runs.items()}
    print()
    for name, code in codes.items():
        for failure in runs[name].failures():
            print(failure)
        print(f"{name}: {'all passed' if code == 0 else f'FAILED (pytest exit code {code})'}")
    for part, remedy in missing.items():
        print(f"LEFT OUT: {part} ({remedy})")
    return 1 if any(codes.values()) or (missing and os.environ.get("CI") == "true") else 0


def missing_parts() -> dict[str, str]:
    """What is not on this machine, and what would bring it."""
    parts = {
        "all tests again on PostgreSQL, and those of real servers": (postgres_binaries(), "postgresql"),
        "tests with Redis as the broker": (redis_binary(), "redis-server"),
        "tests in a browser": (find_browser(), "chromium"),
    }
    return {part: f"apt-get install {package}" for part, (found, package) in parts.items() if not found}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
