"""All of PlusMinus on one machine, at one address: what `manage.py up` and `manage.py demo` share."""

from __future__ import annotations

import os
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import Error as DatabaseProblem

from labeler.disk import is_of_full_disk
from labeler.supervisor import AlreadyRunning, Supervisor, only_one, read_procfile

USUAL_PORT = 8000
START_APART = 1.0  # seconds: the pages come first, then who makes rounds, then the others
Say = Callable[[str], None]


@contextmanager
def alone() -> Iterator[int]:
    """Hold this data folder's lock; CommandError when PlusMinus runs on it already, or has no room there."""
    address = settings.DATA_DIR / "address"
    try:
        with only_one(settings.DATA_DIR / "lock") as lock:
            address.unlink(missing_ok=True)
            yield lock
            address.unlink(missing_ok=True)
    except AlreadyRunning as error:
        where = f" at {address.read_text().strip()}" if address.exists() else ""
        raise CommandError(
            f"PlusMinus runs already{where} on {settings.DATA_DIR} (process {error}). Stop that first (Ctrl+C there), "
            "or set DATA_DIR to another folder."
        ) from error
    except (OSError, DatabaseProblem) as error:
        if not is_of_full_disk(error):
            raise
        raise CommandError(f"The disk of {settings.DATA_DIR} is full. Make room there, then start again.") from error


def prepare() -> None:
    """The tables and the static files of this version."""
    call_command("migrate", verbosity=0, interactive=False)
    collect_static_files()


def collect_static_files() -> None:
    """Only where one of them has changed since the last time: to hash and compress all of them takes seconds."""
    note, now = settings.DATA_DIR / "staticfiles.version", _version_of_static_files()
    if note.exists() and note.read_text() == now and (settings.STATIC_ROOT / "staticfiles.json").exists():
        return
    note.unlink(missing_ok=True)
    call_command("collectstatic", verbosity=0, interactive=False, clear=True)
    note.write_text(now)


def _version_of_static_files() -> str:
    """A digest of the names, sizes and times of the files, where they go, and the code that renames them."""
    own_code = Path(__file__).with_name("static_storage.py")
    paths = [Path(store.path(name)) for finder in get_finders() for name, store in finder.list([])]
    facts = [(str(path), (stat := path.stat()).st_size, stat.st_mtime_ns) for path in [own_code, *paths]]
    return blake2b(repr((str(settings.STATIC_ROOT), facts)).encode(), digest_size=16).hexdigest()


def choose_port(host: str, wanted: int | None) -> int:
    """`wanted` if it is free, else CommandError; if none is wanted the usual one, or any free one."""
    for port in [wanted] if wanted else [USUAL_PORT, 0]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind((host, port))
                return int(probe.getsockname()[1])
    raise CommandError(f"Port {wanted} of {host} is taken. Leave --port out to get a free one.")


def run_everything(*, lock: int, host: str, port: int | None, say: Say, on_ready: Callable[[str], None]) -> None:
    """Run the Procfile until Ctrl+C or SIGTERM. `on_ready` gets the address once the pages answer."""
    port = choose_port(host, port)
    address = f"http://{host}:{port}"
    supervisor = Supervisor(
        read_procfile(settings.BASE_DIR / "Procfile"),
        folder=settings.BASE_DIR,
        logs=settings.DATA_DIR / "logs",
        env={
            **os.environ,
            "DATA_DIR": str(settings.DATA_DIR),
            "HOST": host,
            "PORT": str(port),
            "STARTED_BY": "supervisor",
        },
        say=say,
        lock=lock,
        apart=START_APART,
    )
    is_ready = False

    def tick() -> None:
        nonlocal is_ready
        if not is_ready and answers(f"{address}/health"):
            is_ready = True
            (settings.DATA_DIR / "address").write_text(f"{address}\n")
            on_ready(address)

    with own_foreground():
        supervisor.run(tick)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310  (our own address)
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


@contextmanager
def own_foreground() -> Iterator[None]:
    """At a terminal, be its foreground job, as a shell would make us: Ctrl+C then reaches this process, and not the
    `make` that started it, which would report an interrupt for what is the ordinary way to stop."""
    if not sys.stdin.isatty() or os.getpgrp() == os.getpid() or os.tcgetpgrp(0) != os.getpgrp():
        yield
        return
    before = os.getpgrp()
    ignored = signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # what one gets for changing the foreground from behind it
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpgrp())
    try:
        yield
    finally:
        with suppress(OSError):
            os.tcsetpgrp(0, before)
        signal.signal(signal.SIGTTOU, ignored)


def shown(path: Path) -> str:
    """A path as short as it can be typed from here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
