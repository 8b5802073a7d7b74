"""`make test`: every test, on SQLite and on a real PostgreSQL, with a real Redis and a real browser where they can be had.

What cannot be had is said loudly at the end; under CI=true it is a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.servers import ServerMissing, postgres, postgres_binaries, redis_binary

ROOT = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WORKERS = os.environ.get("TEST_WORKERS", "2")


def main(arguments: list[str]) -> int:
    missing = missing_parts()
    results = {"SQLite": pytest(["-n", WORKERS, *arguments], {})}
    try:
        with postgres() as database:
            results["PostgreSQL"] = pytest(
                ["-n", WORKERS, "-m", "not e2e", "tests/labeler", *arguments], {"DATABASE_URL": database.url}
            )
    except ServerMissing as error:
        print(error)
    for name, code in results.items():
        print(f"{name}: {'passed' if code == 0 else f'FAILED (pytest exit code {code})'}")
    for part, remedy in missing.items():
        print(f"LEFT OUT: {part} ({remedy})")
    is_failure = any(results.values()) or (bool(missing) and os.environ.get("CI") == "true")
    return 1 if is_failure else 0


def missing_parts() -> dict[str, str]:
    found = {
        "everything again on PostgreSQL: apt-get install postgresql": postgres_binaries() is not None,
        "tests with Redis as broker: apt-get install redis-server": redis_binary() is not None,
        "tests in a browser: apt-get install chromium": any(shutil.which(name) for name in BROWSERS),
    }
    return {part.split(": ")[0]: part.split(": ")[1] for part, is_there in found.items() if not is_there}


def pytest(arguments: list[str], extra: dict[str, str]) -> int:
    environment = {**os.environ, **extra}
    if extra.get("DATABASE_URL"):
        import secrets

        environment["SECRET_KEY"] = secrets.token_urlsafe(64)
    command = [sys.executable, "-m", "pytest", "-q", *arguments]
    print(f"\n=== {' '.join(command[1:])} {'on PostgreSQL' if extra else 'on SQLite'}", flush=True)
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
