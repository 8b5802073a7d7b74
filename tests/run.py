"""`make test`: every test, on SQLite and on a real PostgreSQL, with a real Redis and browser where they can be had.

What cannot be had is said loudly at the end; under CI=true it is a failure.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

from benchmarks.browser import find_browser
from benchmarks.servers import ServerMissing, postgres, postgres_binaries, redis_binary

ROOT = Path(__file__).resolve().parent.parent
WORKERS = os.environ.get("TEST_WORKERS", "2")
SERVERS = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY")


def main(arguments: list[str]) -> int:
    missing = missing_parts()
    results = {"SQLite": pytest("on SQLite", arguments, {})}
    try:
        with postgres() as database:
            extra = {"DATABASE_URL": database.url, "SECRET_KEY": secrets.token_urlsafe(64)}
            selected = ["tests/labeler", "-m", "not e2e and not servers", *arguments]
            results["PostgreSQL"] = pytest("on PostgreSQL", selected, extra)
    except ServerMissing:
        pass  # said below
    print()
    for name, code in results.items():
        print(f"{name}: {'all passed' if code == 0 else f'FAILED (pytest exit code {code})'}")
    for part, remedy in missing.items():
        print(f"LEFT OUT: {part} ({remedy})")
    return 1 if any(results.values()) or (missing and os.environ.get("CI") == "true") else 0


def missing_parts() -> dict[str, str]:
    """What is not on this machine, and what would bring it."""
    parts = {
        "all tests again on PostgreSQL, and those of real servers": (postgres_binaries(), "postgresql"),
        "tests with Redis as the broker": (redis_binary(), "redis-server"),
        "tests in a browser": (find_browser(), "chromium"),
    }
    return {part: f"apt-get install {package}" for part, (found, package) in parts.items() if not found}


def pytest(title: str, arguments: list[str], extra: dict[str, str]) -> int:
    environment = {name: value for name, value in os.environ.items() if name not in SERVERS} | extra
    command = [sys.executable, "-m", "pytest", "-q", "-n", WORKERS, "--dist", "worksteal", *arguments]
    print(f"\n=== {title}: pytest {' '.join(command[3:])}", flush=True)
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
