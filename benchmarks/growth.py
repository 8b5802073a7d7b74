"""A pool of a million small images through all that a project does: seconds, and the memory of each process.

    python -m benchmarks.growth --images 1000000 --folder /var/tmp/growth
    python -m benchmarks.growth --images 100000 --only import graph    # parts of it

Each step is a process of its own on a real PostgreSQL, by the services that workers and pages call. What is done is
kept in the folder: the same command goes on where it was stopped. Delete the folder to begin anew.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.servers import machine_line, manage, postgres

SLUG, SIDE, CLASSES, BLOCK = "growth", 28, 10, 4096
SAMPLE_SECONDS = 0.5
ANSWERS = 300  # before the first round, or as many as the first queue has
WHOSE = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/plusminus-growth"))
    parser.add_argument("--only", nargs="+", choices=STEPS, default=list(STEPS), help="steps, in their order")
    parser.add_argument("--again", action="store_true", help="also what is done already")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        run_inside(options)
        return 0
    folder = options.folder / str(options.images)
    folder.mkdir(parents=True, exist_ok=True)
    print(f"$ python -m benchmarks.growth {' '.join(sys.argv[1:])}\n{machine_line()}", flush=True)
    make_source(folder / "source.npz", options.images)
    with postgres(kept_in=folder / "postgres") as database:
        env = environment(folder, database.url)
        manage(env, "migrate", "--verbosity", "0")
        for step in STEPS:
            if step in options.only and (options.again or step not in known(folder)):
                run_step(step, options, folder, env, database.process.pid)  # type: ignore[union-attr]
            if step in known(folder):
                print(line(step, known(folder)[step]), flush=True)
    return 0


def environment(folder: Path, url: str) -> dict[str, str]:
    key = folder / "key"
    if not key.exists():
        key.write_text(os.urandom(48).hex())
    own = {
        "DATA_DIR": str(folder / "data"), "SECRET_KEY": key.read_text(), "DATABASE_URL": url, "LOG_LEVEL": "WARNING",
        "DJANGO_SETTINGS_MODULE": "labeler.settings", "LEARNER_THREADS": os.environ.get("LEARNER_THREADS", "1"),
    }  # fmt: skip
    (folder / "data").mkdir(exist_ok=True)
    return own


def known(folder: Path) -> dict[str, Any]:
    path = folder / "steps.json"
    return json.loads(path.read_text()) if path.exists() else {}


def line(step: str, found: dict[str, Any]) -> str:
    more = ", ".join(f"{name} {value}" for name, value in found["more"].items())
    return (
        f"{step:10s} {found['seconds']:10.1f} s  {found.get('processor', 0):8.1f} s of the processor  "
        f"{found['mebibytes']:8,.0f} MiB  "
        f"PostgreSQL {found['database_mebibytes']:7,.0f} MiB  {more}"
    )


# --- What is imported -----------------------------------------------------------------------------------------------


def make_source(path: Path, images: int) -> None:
    """An .npz of `x` and `y`, written block by block: each image is one of 80 shapes, moved, with noise."""
    if path.exists():
        return
    rng = np.random.default_rng(0)
    shapes = rng.integers(0, 2, (CLASSES, 8, 5, 5)).repeat(4, 2).repeat(4, 3) * 180
    classes = rng.integers(0, CLASSES, images).astype(np.uint8)
    temporary = path.with_suffix(".part")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        with archive.open("x.npy", "w", force_zip64=True) as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (images, SIDE, SIDE)}
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, images, BLOCK):
                file.write(_block(rng, shapes, classes[start : start + BLOCK]).tobytes())
        with archive.open("y.npy", "w") as file:
            np.lib.format.write_array(file, classes)
    temporary.rename(path)


def _block(rng: np.random.Generator, shapes: np.ndarray, classes: np.ndarray) -> np.ndarray:
    out = rng.integers(0, 50, (len(classes), SIDE, SIDE), dtype=np.uint8)
    which, moved = rng.integers(0, 8, len(classes)), rng.integers(0, SIDE - 20, (len(classes), 2))
    for at, (label, shape, (top, left)) in enumerate(zip(classes, which, moved, strict=True)):
        out[at, top : top + 20, left : left + 20] += shapes[label, shape].astype(np.uint8)
    return out


# --- One step in a process, watched --------------------------------------------------------------------------------


def run_step(step: str, options: argparse.Namespace, folder: Path, env: dict[str, str], database: int) -> None:
    out = folder / f"{step}.json"
    out.unlink(missing_ok=True)
    command = [
        sys.executable, "-m", "benchmarks.growth", "--inside", step, "--images", str(options.images),
        "--folder", str(options.folder),
    ]  # fmt: skip
    process = subprocess.Popen(command, env={**os.environ, **env})
    peaks, stop = {"step": 0.0, "database": 0.0}, threading.Event()

    def watch() -> None:
        while not stop.wait(SAMPLE_SECONDS):
            for name, pid in (("step", process.pid), ("database", database)):
                peaks[name] = max(peaks[name], memory_of(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        code = process.wait()
    stop.set()
    watcher.join()
    if code or not out.exists():
        raise SystemExit(f"{step} ended with {code}; the same command goes on with it")
    found = json.loads(out.read_text())
    found |= {"mebibytes": round(peaks["step"], 1), "database_mebibytes": round(peaks["database"], 1)}
    (folder / "steps.json").write_text(json.dumps({**known(folder), step: found}, indent=1))


def memory_of(pid: int) -> float:
    """MiB of a process and its children that are theirs; what several share counts once."""
    total = 0.0
    for each in (pid, *children_of(pid)):
        try:
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        total += sum(int(row.split()[1]) for row in lines if row.startswith("Pss:")) / 1024
    return total


def children_of(pid: int) -> Iterator[int]:
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return
    for each in found:
        yield int(each)
        yield from children_of(int(each))


def run_inside(options: argparse.Namespace) -> None:
    import django

    django.setup()
    folder = options.folder / str(options.images)
    began = time.monotonic()
    more = STEPS[options.inside](folder, options.images)
    spent = sum(each.ru_utime + each.ru_stime for each in map(resource.getrusage, WHOSE))
    found = {"seconds": round(time.monotonic() - began, 2), "processor": round(spent, 1), "more": more}
    (folder / f"{options.inside}.json").write_text(json.dumps(found))


# --- The steps ------------------------------------------------------------------------------------------------------


def _project() -> Any:
    from labeler.models import Project

    return Project.objects.select_related("learning").get(slug=SLUG)


def _timed(call: Callable[[], Any]) -> float:
    began = time.monotonic()
    call()
    return round(time.monotonic() - began, 3)


def take_in(folder: Path, images: int) -> dict[str, Any]:
    """A killed run goes on: rows and files of finished batches are there."""
    from labeler.models import LabelClass, LearningConfig, Membership, Project, Role, User
    from labeler.services.importing import import_local

    boss, _ = User.objects.get_or_create(username="boss")
    project, is_new = Project.objects.get_or_create(slug=SLUG, defaults={"name": "Growth", "created_by": boss})
    if is_new:
        LearningConfig.objects.create(project=project, trains_network=False, retrain_every=0, cooldown_seconds=0)
        Membership.objects.create(project=project, user=boss, role=Role.MANAGER)
        for number in range(CLASSES):
            LabelClass.objects.create(project=project, name=str(number), colour="#0072b2")
    job = import_local(project=project, path=folder / "source.npz", by=boss)
    assert job.state == "done", job.error
    there = project.images.count()
    assert there == images, there
    return {"images a second": round(images / max(0.001, (job.finished_at - job.created_at).total_seconds()))}


def find_alike(_folder: Path, _images: int) -> dict[str, Any]:
    """Principal components, neighbours, communities, the tree, vectors."""
    from labeler import learning
    from labeler.models import PoolGraph
    from labeler.services.graphs import request_graph, run_graph

    job = request_graph(project=_project()) or PoolGraph.objects.filter(project=_project()).first()
    began = time.monotonic()
    run_graph(job_id=job.pk, make=learning.make_graph)
    job.refresh_from_db()
    assert job.state == "done", job.error
    return {"groups": job.groups, "reason": job.reason, "making": round(time.monotonic() - began, 1)}


def begin_queue(_folder: Path, _images: int) -> dict[str, Any]:
    from labeler.models import Candidate
    from labeler.services.rounds import start_cold_round

    start_cold_round(project=_project())
    return {"places": Candidate.objects.filter(round=_project().queue_round).count()}


def give_answers(_folder: Path, _images: int) -> dict[str, Any]:
    """As the Label page does: the next place, its answer. Nobody else is there, no HTTP: the database's part."""
    from labeler.models import LabelClass, OfferedLabel, User
    from labeler.services.annotate import record_answer
    from labeler.services.lease import lease_next

    project, boss = _project(), User.objects.get(username="boss")
    classes = dict(LabelClass.objects.filter(project=project).values_list("name", "pk"))
    seconds = []
    for _ in range(ANSWERS):
        began = time.monotonic()
        places = lease_next(project=project, annotator=boss)
        if not places:
            break
        taken = time.monotonic() - began
        name = OfferedLabel.objects.get(image=places[0].image_id).class_name
        began = time.monotonic()
        record_answer(
            project=project, annotator=boss, image_id=places[0].image_id, candidate_id=places[0].pk, outcome="label",
            label_class_id=classes[name], key=uuid.uuid4(), seconds=1.0,
        )  # fmt: skip
        seconds.append(taken + time.monotonic() - began)
    p50, p95 = (round(float(np.quantile(seconds, q)) * 1000, 1) for q in (0.5, 0.95))
    return {"answers": len(seconds), "p50 ms": p50, "p95 ms": p95}


def learn(_folder: Path, _images: int) -> dict[str, Any]:
    """Fit, score all, choose, publish: one learner."""
    from labeler import tasks
    from labeler.models import Round, RoundState, Trigger
    from labeler.services.rounds import request_round

    project = _project()
    unfinished = Round.objects.filter(project=project).exclude(state__in=["done", "failed", "cancelled"]).first()
    round_ = unfinished or request_round(project=project, trigger=Trigger.BUTTON, reason="the benchmark")
    tasks.run_round(round_.pk)
    round_.refresh_from_db()
    assert round_.state == RoundState.DONE, (round_.state, round_.error)
    measured = round_.metrics.get("accuracy") or {}
    return {**{name: round(value, 1) for name, value in round_.phase_seconds.items()},
            "accuracy": round(measured["value"], 3) if measured else "not measured"}  # fmt: skip


def look(_folder: Path, _images: int) -> dict[str, Any]:
    """Pages of the newest round, the first of them being the first look at it."""
    from django.conf import settings
    from django.test import Client
    from django.urls import reverse

    from labeler.models import User

    settings.ALLOWED_HOSTS = ["testserver"]
    settings.STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    project, client = _project(), Client()
    client.force_login(User.objects.get(username="boss"), backend="labeler.authentication.PersonBackend")
    number = project.model_round.number
    pages = {
        "explore": reverse("explore", args=[SLUG]),
        "points": reverse("explore-points", args=[SLUG, number]),
        "states": reverse("explore-states", args=[SLUG, number]),
        "explore again": reverse("explore", args=[SLUG]),
        "images": reverse("images", args=[SLUG]),
        "images by name": reverse("images", args=[SLUG]) + "?name=99",
        "monitor": reverse("monitor", args=[SLUG]),
        "round": reverse("round", args=[SLUG, number]),
        "label": reverse("label", args=[SLUG]),
        "export page": reverse("exports", args=[SLUG]),
    }
    return {name: _page(client, url) for name, url in pages.items()}


def _page(client: Any, url: str) -> str:
    statuses: list[int] = []
    seconds = _timed(lambda: statuses.append(client.get(url).status_code))
    assert statuses == [200], (url, statuses)
    return f"{seconds:.2f} s"


def send_out(_folder: Path, images: int) -> dict[str, Any]:
    from labeler.models import User
    from labeler.services.exporting import create_export, run_export

    boss, found = User.objects.get(username="boss"), {}
    for file_format in ("csv", "jsonl", "parquet"):
        job = create_export(project=_project(), by=boss, file_format=file_format, includes_unlabelled=True)
        found[file_format] = f"{_timed(lambda job=job: run_export(job_id=job.pk)):.1f} s"  # type: ignore[misc]
        job.refresh_from_db()
        assert job.state == "done" and job.manifest["rows"] == images, (job.state, job.error)
    return found


def tidy(_folder: Path, _images: int) -> dict[str, Any]:
    """What beat has done every five seconds, and what every monitor asks."""
    from labeler.learning import forget_leftovers
    from labeler.services.sweep import sweep

    return {
        "sweep": f"{_timed(sweep):.2f} s",
        "sweep again": f"{_timed(sweep):.2f} s",
        "leftovers": f"{_timed(lambda: forget_leftovers(_project())):.2f} s",
    }


def draw(_folder: Path, _images: int) -> dict[str, Any]:
    from labeler import learning
    from labeler.models import PoolMap
    from labeler.services.maps import request_map, run_map

    job = (
        request_map(project=_project(), by=_project().created_by) or PoolMap.objects.filter(project=_project()).first()
    )
    run_map(job_id=job.pk, draw=learning.draw_map)
    job.refresh_from_db()
    assert job.state == "done", job.error
    return {}


def count(folder: Path, _images: int) -> dict[str, Any]:
    """What is kept: bytes of each group of files, rows and bytes of the largest tables."""
    from django.db import connection

    root, found = folder / "data" / "files" / "projects", {}
    for group in sorted(root.glob("*/*")):
        size = sum(path.stat().st_size for path in group.rglob("*") if path.is_file())
        found[group.name] = f"{size / 2**20:,.0f} MiB"
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, pg_total_relation_size(relid) / 1048576, n_live_tup FROM pg_stat_user_tables "
            "ORDER BY 2 DESC LIMIT 5"
        )
        found |= {name: f"{mebibytes:,} MiB, {rows:,} rows" for name, mebibytes, rows in cursor.fetchall()}
    return found


STEPS: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "import": take_in, "queue": begin_queue, "graph": find_alike, "answers": give_answers, "round": learn,
    "explore": look, "export": send_out, "map": draw, "sweep": tidy, "kept": count,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
