"""How fast a zip of MNIST PNGs becomes images, through the real HTTP upload and a real worker, and in how much memory.

    python benchmarks/imports.py --data ../shared/data/mnist.npz --images 6000 60000

For each size: fresh database, web server (gunicorn) and worker (celery), as the Procfile starts them. Memory is the
peak resident set (VmHWM) of the largest process of each kind; it should not grow with the archive.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import secrets
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PART_BYTES = 8 * 2**20
WAIT_SECONDS = 900
COMMANDS = {
    "web": "gunicorn labeler.wsgi",
    "importer": "celery -A labeler worker --queues imports --concurrency 1 --without-gossip --without-mingle "
    "--without-heartbeat --loglevel WARNING",
}
PREPARE = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "labeler.settings"
import django
django.setup()
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import call_command
from labeler.models import LearningConfig, Membership, Project, User
call_command("migrate", verbosity=0)
user = User.objects.create_user("bench")
project = Project.objects.create(name="Bench", slug="bench", created_by=user)
LearningConfig.objects.create(project=project)
Membership.objects.create(project=project, user=user, role="manager")
session = SessionStore()
session[SESSION_KEY], session[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()
session[BACKEND_SESSION_KEY] = "labeler.authentication.PersonBackend"
session.create()
print(session.session_key)
"""
STATE = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "labeler.settings"
import django
django.setup()
from labeler.models import Image, ImportJob
job = ImportJob.objects.get()
seconds = (job.finished_at - job.started_at).total_seconds() if job.finished_at else 0
print(job.state, job.added, job.refused, job.duplicates, seconds, Image.objects.count(), job.error)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="mnist.npz")
    parser.add_argument("--images", type=int, nargs="+", default=[6000, 60_000])
    parser.add_argument("--runs", type=int, default=1, help="repetitions of each size")
    arguments = parser.parse_args()
    print(f"$ {shlex.join([Path(sys.executable).name, *sys.argv])}")
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with np.load(arguments.data, allow_pickle=False) as arrays:
        pictures, labels = arrays["x_train"], arrays["y_train"]
    for count in arguments.images:
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / "mnist.zip"
            write_archive(archive, pictures[:count], labels[:count])
            print(f"{count:,} images, zip of {archive.stat().st_size / 2**20:.1f} MiB")
            rates = [one_run(archive, Path(folder) / f"run{run}", count) for run in range(arguments.runs)]
        spread = f", {min(rates):,.0f} to {max(rates):,.0f}" if len(rates) > 1 else ""
        print(f"  import: median {statistics.median(rates):,.0f} images/s of {len(rates)} run(s){spread}")


def write_archive(path: Path, pictures: np.ndarray, labels: np.ndarray) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
            out = io.BytesIO()
            Image.fromarray(picture).save(out, "PNG")
            archive.writestr(f"{label}/{index:05}.png", out.getvalue())


def one_run(archive: Path, data: Path, count: int) -> float:
    port = free_port()
    environment = {
        **os.environ,
        "DATA_DIR": str(data),
        "PORT": str(port),
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    session = python(PREPARE, environment).strip()
    logs = {name: (data / f"{name}.log").open("wb") for name in COMMANDS}
    processes = {
        name: subprocess.Popen(
            shlex.split(command),
            env=environment,
            cwd=ROOT,
            stdout=logs[name],
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        for name, command in COMMANDS.items()
    }
    try:
        idle = wait_until_up(port, processes)
        seconds_upload = upload(archive, port, session)
        state, added, refused, duplicates, seconds = wait_until_done(environment)
        peaks = {name: peak_of(process.pid) for name, process in processes.items()}
    finally:
        for process in processes.values():
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
    if (state, added + duplicates) != ("done", count):
        raise SystemExit(f"The import ended as {state}: {added} added, {duplicates} duplicates, {refused} refused")
    print(
        f"  upload {seconds_upload:.1f} s ({archive.stat().st_size / 2**20 / seconds_upload:.0f} MiB/s), "
        f"import {seconds:.1f} s ({count / seconds:,.0f} images/s), {added:,} added, {duplicates} duplicates; peak: "
        + ", ".join(f"{name} {peaks[name]:.0f} MiB (idle {idle[name]:.0f})" for name in COMMANDS)
    )
    return count / seconds


def upload(archive: Path, port: int, session: str) -> float:
    token = secrets.token_hex(16)
    headers = {"X-CSRFToken": token, "Accept": "application/json", "Content-Type": "application/octet-stream"}
    cookies = {"sessionid": session, "csrftoken": token}
    begin = time.monotonic()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, cookies=cookies, timeout=60) as client:
        urls = client.post("/p/bench/imports/new/").raise_for_status().json()
        size, offset = archive.stat().st_size, 0
        with archive.open("rb") as file:
            while part := file.read(PART_BYTES):
                query = {"name": archive.name, "size": size, "offset": offset}
                answer = client.post(urls["part"], params=query, content=part).raise_for_status()
                offset = answer.json()["received"]
        client.post(urls["finish"]).raise_for_status()
    return time.monotonic() - begin


def wait_until_up(port: int, processes: dict[str, subprocess.Popen[bytes]]) -> dict[str, float]:
    for _ in range(300):
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                break
        except httpx.TransportError:
            time.sleep(0.1)
    time.sleep(4)  # the worker says nothing when it is up
    return {name: peak_of(process.pid) for name, process in processes.items()}


def wait_until_done(environment: dict[str, str]) -> tuple[str, int, int, int, float]:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        time.sleep(3)
        state, added, refused, duplicates, seconds, _ = python(STATE, environment).split(maxsplit=5)
        if state not in ("uploading", "queued", "running"):
            return state, int(added), int(refused), int(duplicates), float(seconds)
    raise SystemExit(f"The import is still {state} after {WAIT_SECONDS} s: {added} added")


def peak_of(pid: int) -> float:
    """The peak resident set in MiB of the largest among a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    peaks = []
    for process in [str(pid), *children]:
        status = Path(f"/proc/{process}/status").read_text()
        peaks.append(int(status.split("VmHWM:")[1].split()[0]) / 1024)
    return max(peaks)


def python(code: str, environment: dict[str, str]) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
