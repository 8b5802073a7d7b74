"""How fast labels become a file, and in how much memory: synthetic rows, the job as a worker runs it.

    python -m benchmarks.exports --images 100000 1000000 --formats csv jsonl parquet --repeats 3

For each size: a fresh SQLite database (or the empty one of DATABASE_URL) with so many images, one answer and one place
of a queue for each, and the scores of a model of ten classes. Each export runs in a process of its own, whose peak
resident set (VmHWM) should not grow with the rows. No image has bytes, so formats with images are not measured here.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.servers import ROOT, machine_line

CLASSES = 10
SCORES = 4096


def prepare(images: int) -> None:
    """In a process with the database's settings: the project and all of its rows."""
    from django.core.management import call_command
    from django.db import transaction

    from labeler import clock
    from labeler.models import (
        Annotation,
        Candidate,
        Chunk,
        Image,
        LabelClass,
        LearningConfig,
        Pack,
        Project,
        Round,
        RoundChunk,
        User,
    )
    from labeler.services.table_rows import set_sequences, write_rows

    call_command("migrate", verbosity=0)
    user = User.objects.create_user("bench")
    project = Project.objects.create(name="Bench", slug="bench", created_by=user)
    LearningConfig.objects.create(project=project)
    classes = [
        LabelClass.objects.create(project=project, name=f"class {at}", colour="#0072b2") for at in range(CLASSES)
    ]
    pack = Pack.objects.create(project=project, name="none.pack", size=0)
    round_ = Round.objects.create(
        project=project, number=1, trigger="button", reason="bench", seed=0, state="done", folder="rounds/1",
        classes=[each.pk for each in classes], config={"acquisition": "power_predictive_entropy"},
    )  # fmt: skip
    Project.objects.filter(pk=project.pk).update(model_round=round_)
    chunks = [
        Chunk.objects.create(project=project, number=at, count=min(SCORES, images - at * SCORES))
        for at in range(-(-images // SCORES))
    ]
    RoundChunk.objects.bulk_create(
        RoundChunk(round=round_, chunk=chunk, count=chunk.count, pixels="") for chunk in chunks
    )
    write_scores_of(round_, chunks)
    moment = clock.now()
    usual = {
        Image: {"project_id": project.pk, "width": 28, "height": 28, "pack_id": pack.pk, "offset": 0, "length": 0,
                "media_type": "image/png", "is_holdout": False, "state": "labelled", "labelled_at": moment,
                "label_probability": 0.98, "is_contested": False, "created_at": moment},
        Candidate: {"project_id": project.pk, "round_id": round_.pk, "slot": 0, "reason": "acquired", "score": 0.5,
                    "percentile": 99.0, "selection_probability": 0.01, "details": {}, "state": "answered"},
        Annotation: {"project_id": project.pk, "annotator_id": user.pk, "outcome": "label", "seconds": 1.5,
                     "is_decision": False, "created_at": moment, "is_grid": False, "is_imported": False,
                     "suggestion": ""},
    }  # fmt: skip

    def of(model: Any, at: int) -> dict[str, Any]:
        label = classes[at % CLASSES].pk
        own: dict[Any, dict[str, Any]] = {
            Image: {
                "position": at,
                "content_hash": f"{at:064x}",
                "name": f"{at % CLASSES}/{at:07}.png",
                "label_id": label,
            },
            Candidate: {"image_id": at + 1, "rank": at + 1},
            Annotation: {"image_id": at + 1, "candidate_id": at + 1, "label_class_id": label, "key": f"{at:032x}"},
        }
        return {"id": at + 1, **usual[model], **own[model]}

    def rows(model: Any) -> Iterator[list[Any]]:
        fields = [(field.attname, field.get_default()) for field in model._meta.concrete_fields]
        for at in range(images):
            values = of(model, at)
            yield [values.get(name, usual) for name, usual in fields]

    with transaction.atomic():
        for model in (Image, Candidate, Annotation):
            write_rows(model=model, rows=rows(model), using="default")
        set_sequences()


def write_scores_of(round_: Any, chunks: Any) -> None:
    import numpy as np

    from labeler.selectors.scores import summary_of
    from labeler.storage import round_folder
    from learner.config import MEASURES
    from learner.scores import write_scores

    rng = np.random.default_rng(0)
    for chunk in chunks:
        mean_N_C = rng.dirichlet(np.full(CLASSES, 0.1), chunk.count).astype(np.float32)
        entropy_N = -(mean_N_C * np.log(np.maximum(mean_N_C, 1e-9))).sum(1).astype(np.float32)
        columns: dict[str, Any] = dict.fromkeys(MEASURES, entropy_N)
        columns["mean_probs_N_C"] = mean_N_C.astype(np.float16)
        columns["std_probs_N_C"] = (0.1 * mean_N_C).astype(np.float16)
        write_scores(round_folder(round_), chunk.number, "a model", columns)
    summary_of(round_)  # as pages have made it by then


def run_one(file_format: str) -> None:
    """In a process of its own: one export; prints seconds, those of the processor, bytes, rows, peaks of memory."""
    from labeler.models import ExportJob, Project, User
    from labeler.services.exporting import create_export, run_export

    job = create_export(project=Project.objects.get(), by=User.objects.get(), file_format=file_format)
    before = peak_mib()
    begin, used = time.monotonic(), time.process_time()
    run_export(job_id=job.pk)
    seconds, used = time.monotonic() - begin, time.process_time() - used
    done = ExportJob.objects.get(pk=job.pk)
    if done.state != "done":
        raise SystemExit(done.error)
    print(json.dumps([seconds, used, done.size, done.manifest["rows"], before, peak_mib()]))


def peak_mib() -> float:
    with Path("/proc/self/status").open() as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def child(env: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks.exports", *arguments]
    result = subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(result.stderr)
    return result.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--formats", nargs="+", default=["csv", "jsonl", "parquet", "coco", "labelstudio"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--prepare", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.prepare or options.run:
        os.environ["DJANGO_SETTINGS_MODULE"] = "labeler.settings"
        import django

        django.setup()
        prepare(options.prepare) if options.prepare else run_one(options.run)
        return
    print(machine_line())
    print("Median (least to most). Processor: seconds of one core that the worker used itself.")
    print("| images | format | seconds | of them processor | file | peak memory of the worker |")
    print("|---|---|---|---|---|---|")
    for images in options.images:
        with tempfile.TemporaryDirectory() as folder:
            env = {"DATA_DIR": folder, "REDIS_URL": "", "LOG_LEVEL": "ERROR", "SECRET_KEY": secrets.token_urlsafe(64)}
            child(env, "--prepare", str(images))
            for file_format in options.formats:
                runs = [json.loads(child(env, "--run", file_format)) for _ in range(options.repeats)]
                seconds, used = [run[0] for run in runs], [run[1] for run in runs]
                _, _, size, rows, before, _ = runs[0]
                assert rows == images
                peak = max(run[5] for run in runs)
                print(
                    f"| {images:,} | {file_format} | {spread(seconds)} | {spread(used)} | {size / 2**20:.0f} MiB "
                    f"| {peak:.0f} MiB (idle {before:.0f}) |",
                    flush=True,
                )


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


if __name__ == "__main__":
    main()
