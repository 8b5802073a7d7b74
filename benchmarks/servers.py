"""Real servers for tests and benchmarks: on free ports, in folders of their own, gone when the block ends."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


class ServerMissing(Exception):
    """The program is not installed."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], seconds: float = 30, what: str = "it") -> None:
    """Raises TimeoutError, naming what did not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.05)


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Server:
    """A process that can be killed and started again. `is_up` says when it serves."""

    name: str
    command: list[str]
    is_up: Callable[[], bool]
    env: dict[str, str] = field(default_factory=dict)
    url: str = ""
    log: Path = Path(os.devnull)
    user: str | None = None
    process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd="/" if self.user else ROOT,
                env={**os.environ, **self.env},
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self.user,
                group=self.user,
                extra_groups=[] if self.user else None,
            )
        if wait:
            self.wait_up()

    def wait_up(self, seconds: float = 60) -> None:
        wait_until(self._is_up_or_started_again, seconds, f"{self.name} (see {self.log})")

    def _is_up_or_started_again(self) -> bool:
        """A PostgreSQL that starts right after it was killed gives up while its old children still end."""
        if self.process is not None and self.process.poll() is not None:
            time.sleep(0.3)
            self.start(wait=False)
        return self.is_up()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """The whole group, so that no forked child goes on without its parent."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        self.process.wait(timeout=30)
        self.process = None

    def restart(self) -> None:
        self.kill()
        self.start()

    def stop(self) -> None:
        """As an operator would."""
        if self.process is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=15)
        self.kill()


def postgres_binaries() -> Path | None:
    """The folder with initdb and postgres: Debian keeps them off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    which = shutil.which("initdb")
    return Path(which).resolve().parent if which else None


def redis_binary() -> str | None:
    return shutil.which("redis-server")


@contextmanager
def postgres(*, durable: bool = False, kept_in: Path | None = None) -> Iterator[Server]:
    """A new cluster, or the one that is kept in a folder; `.url` is its DATABASE_URL. It refuses to run as root, so
    root runs it as the user postgres."""
    binaries = postgres_binaries()
    if binaries is None:
        raise ServerMissing("PostgreSQL is not installed (apt-get install postgresql)")
    folder = kept_in or Path(tempfile.mkdtemp(prefix="plusminus-pg-"))
    folder.mkdir(parents=True, exist_ok=True)
    is_new = not (folder / "data").exists()
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    port = free_port()
    initdb = [str(binaries / "initdb"), "-D", str(folder / "data"), "-U", "plusminus", "-A", "trust", "-E", "UTF8"]
    if is_new:
        subprocess.run(
            [*initdb, "--no-sync"], check=True, stdout=subprocess.DEVNULL, cwd="/", user=user, group=user,
            extra_groups=[] if user else None,
        )  # fmt: skip
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": folder,
        "max_connections": 200,
    }
    if not durable:
        settings |= {
            "fsync": "off",
            "full_page_writes": "off",
        }  # a killed process loses nothing, only a dead machine does
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    server = Server(
        name="postgres",
        command=[str(binaries / "postgres"), "-D", str(folder / "data"), *options],
        user=user,
        is_up=lambda: _answers(binaries, port),
        url=f"postgres://plusminus@127.0.0.1:{port}/plusminus",
        log=folder.with_suffix(".log"),
    )
    try:
        server.start()
        if is_new:
            create = [str(binaries / "createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "plusminus", "plusminus"]
            subprocess.run(create, check=True)
        yield server
    finally:
        server.kill(signal.SIGINT)
        if kept_in is None:
            shutil.rmtree(folder, ignore_errors=True)
        server.log.unlink(missing_ok=True)


def _answers(binaries: Path, port: int) -> bool:
    ready = subprocess.run([str(binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)], check=False)
    return ready.returncode == 0


@contextmanager
def redis() -> Iterator[Server]:
    """A Redis that keeps nothing on disk: killed, it forgets every message. `.url` is its REDIS_URL."""
    binary = redis_binary()
    if binary is None:
        raise ServerMissing("Redis is not installed (apt-get install redis-server)")
    folder, port = Path(tempfile.mkdtemp(prefix="plusminus-redis-")), free_port()
    command = [
        binary,
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        str(folder),
    ]
    server = Server("redis", command, lambda: is_listening(port), url=f"redis://127.0.0.1:{port}/0", log=folder / "log")
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def s3() -> Iterator[Server]:
    """What speaks like S3, in memory, with the bucket `pool`; `.url` is the STORAGE_URL. Any key will do."""
    binary = BIN / "moto_server"
    if not binary.exists():
        raise ServerMissing("moto's server is not installed (requirements-dev.txt)")
    port = free_port()
    command = [str(binary), "-H", "127.0.0.1", "-p", str(port)]
    folder = Path(tempfile.mkdtemp(prefix="plusminus-s3-"))
    address = f"http://127.0.0.1:{port}"
    server = Server(
        "s3", command, lambda: is_listening(port), url=f"s3://pool/files?endpoint={address}", log=folder / "log"
    )
    try:
        server.start()
        urllib.request.urlopen(urllib.request.Request(f"{address}/pool", method="PUT"), timeout=10).close()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def web_server(env: dict[str, str], *, log: Path, workers: int = 1, threads: int = 8) -> Server:
    """The Procfile's web process on a free port; not started yet."""
    port = free_port()
    return Server(
        name="web",
        command=[str(BIN / "gunicorn"), "labeler.wsgi"],
        is_up=lambda: is_listening(port),
        env={**env, "PORT": str(port), "WEB_WORKERS": str(workers), "WEB_THREADS": str(threads)},
        url=f"http://127.0.0.1:{port}",
        log=log,
    )


def worker(kind: str, env: dict[str, str], *, log: Path) -> Server:
    """One of the Procfile's celery processes (learner, worker, importer, …, beat); not started yet."""
    lines = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines() if ": " in line)
    program, *arguments = lines[kind].split()
    return Server(kind, [str(BIN / program), *arguments], lambda: True, env=env, log=log)


def manage(env: dict[str, str], *arguments: str) -> None:
    """Run a management command; its output only if it fails."""
    result = subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env={**os.environ, **env}, capture_output=True, check=False
    )
    if result.returncode:
        raise RuntimeError(f"manage.py {' '.join(arguments)}:\n{result.stdout.decode()}{result.stderr.decode()}")


def machine_line() -> str:
    """What a figure was measured on."""
    model = "unknown processor"
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return (
        f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    )
