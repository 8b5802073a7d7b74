"""The features of a project's images: the look of a backbone, or of the pool's own network, at each, chunk by chunk,
made by a worker after every import.

What is done is kept, some hundred images at a time: a killed worker goes on there, and a later import costs its own
images only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from django.db import transaction
from django.db.models import F, OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce

from labeler import clock, storage
from labeler.models import (
    Chunk,
    ChunkFeatures,
    ImportJob,
    JobState,
    ModelExport,
    PoolFeatures,
    PoolGraph,
    PoolMap,
    Project,
    Replay,
    User,
)
from labeler.models.jobs import UNFINISHED_JOB
from labeler.selectors.features import wanted_representation
from labeler.selectors.graphs import LEAST_IMAGES
from labeler.selectors.pool import total_images
from labeler.services.asked_work import record_start, stop_work
from labeler.services.derived import CannotDerive, Report
from labeler.services.graphs import request_graph
from labeler.services.jobs import (
    Beat,
    ClaimLost,
    Forecast,
    JobCancelled,
    claim_job,
    finish_job,
    request_cancel,
    resume_stalled,
)
from labeler.services.leftovers import mark_replaced
from labeler.told import told
from labeler.wake import wake

COMPUTE = "background.compute_features"
PART = 256  # images of a chunk at once: minutes of photographs on a slow machine, and what a killed worker loses
TURN_SECONDS = 1800  # then the task ends and is sent again: Celery's time limit is for what hangs

Write = Callable[[BinaryIO], object]


@dataclass(frozen=True)
class Part:
    """Images of a chunk from `start` to `stop`, counted in the chunk; `before` is the file of vectors of those before
    them, empty if there are none."""

    chunk: Chunk
    start: int
    stop: int
    before: str


class VectorsLost(Exception):
    """The file of the images before a part is missing or damaged."""


Compute = Callable[[Part, Report], Write]
"""Looks at the images of a part, and gives back how to write the vectors of the chunk up to its end. Raises
CannotDerive, VectorsLost."""
Load = Callable[[PoolFeatures, Callable[[], None]], Compute]
"""Loads the backbone of a job, calling the beat meanwhile. Raises CannotDerive."""


@transaction.atomic
def request_features(*, project: Project, by: User | None = None) -> PoolFeatures | None:
    """Have them made, and nothing else any more. None: they are being made already, or pixels are wanted.

    Without images the backbone is tried all the same: what is wrong with a choice is said when it is made.
    """
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    wanted = wanted_representation(project)
    unfinished = PoolFeatures.objects.filter(project=project, state__in=UNFINISHED_JOB)
    is_made = False
    for job in unfinished:
        if job.key == wanted.key and not job.is_cancel_requested:
            is_made = True
        else:
            request_cancel(job=job)
    if is_made or not wanted.backbone:
        return None
    job = PoolFeatures.objects.create(
        project=project, created_by=by, backbone=wanted.backbone, weights=wanted.weights,
        network_id=wanted.network, images=total_images(project),
    )  # fmt: skip
    record_start(job=job, by=by)
    wake(COMPUTE, job.pk)
    return job


@transaction.atomic
def follow_choice(*, project: Project, by: User) -> None:
    """After the settings were saved: try and apply a backbone that is not in use yet; the graph follows."""
    wanted = wanted_representation(project)
    newest = PoolFeatures.objects.filter(project=project).first()
    is_known = newest is not None and newest.key == wanted.key and newest.state != JobState.CANCELLED
    if not is_known or not wanted.backbone:
        request_features(project=project, by=by)


def stop_features(*, project: Project, by: User | None = None) -> None:
    for job in PoolFeatures.objects.filter(project=project, state__in=UNFINISHED_JOB):
        stop_work(job=job, by=by)


def sweep_features() -> int:
    """Wake workers for what waits or fell silent; ask for features that are missing or too few. Returns how many."""
    return resume_stalled(model=PoolFeatures, task_name=COMPUTE) + sum(
        request_features(project=project) is not None for project in _outgrown()
    )


def run_features(*, job_id: int, load: Load) -> None:
    """The task: 1. Claim the job. 2. Load the backbone. 3. Part by part: compute, write, note. 4. Close, and have the
    graph made again.

    After each part whatever else waits in the background has its turn: features of a large pool take hours.
    """
    job = claim_job(model=PoolFeatures, job_id=job_id)
    if job is None:
        return
    beat, began = Beat(job), time.monotonic()
    try:
        beat.now(done=_seen(job), total=total_images(job.project), ready_at=None)  # the last worker's
        compute = load(job, beat)
        forecast = Forecast(_seen(job))
        part = _next_part(job)
        while part is not None:
            _look_at(job, part, compute, beat, forecast)
            part = _next_part(job)
            is_turn_over = others_wait() or time.monotonic() - began > TURN_SECONDS
            if part is not None and is_turn_over and _give_way(job):
                return
    except ClaimLost:
        return
    except JobCancelled:
        finish_job(job=job, state=JobState.CANCELLED)
        return
    except CannotDerive as error:
        finish_job(job=job, state=JobState.FAILED, error=str(error))
        return
    except (storage.StorageError, OSError) as error:
        finish_job(
            job=job, state=JobState.FAILED, error=told("The features could not be written: %(why)s", why=str(error))
        )
        return
    _close(job)


@transaction.atomic
def forget_lost(*, file: str) -> None:
    """A file of vectors is gone: it is made again."""
    PoolGraph.objects.filter(vectors=file).delete()
    for row in ChunkFeatures.objects.filter(file=file).select_related("chunk"):
        done = PoolFeatures.objects.filter(project=row.chunk.project_id, state=JobState.DONE)
        done.filter(pk__in=[job.pk for job in done if job.key == row.backbone]).delete()
        row.delete()


def _seen(job: PoolFeatures) -> int:
    rows = ChunkFeatures.objects.filter(chunk__project=job.project, backbone=job.key)
    return rows.aggregate(n=Sum("count"))["n"] or 0


def _next_part(job: PoolFeatures) -> Part | None:
    """Of the first chunk that is new or has grown, the first images that were not looked at. One row is read, however
    many chunks are done."""
    rows = ChunkFeatures.objects.filter(chunk=OuterRef("pk"), backbone=job.key)
    seen = Coalesce(Subquery(rows.values("count")[:1]), 0)
    chunks = Chunk.objects.filter(project=job.project, count__gt=0).annotate(seen=seen)
    chunk = chunks.filter(seen__lt=F("count")).order_by("number").first()
    if chunk is None:
        return None
    row = ChunkFeatures.objects.filter(chunk=chunk, backbone=job.key).first()
    start = row.count if row is not None else 0
    return Part(chunk, start, min(start + PART, chunk.count), row.file if row is not None else "")


def _look_at(job: PoolFeatures, part: Part, compute: Compute, beat: Beat, forecast: Forecast) -> None:
    before, total, chunk = _seen(job), total_images(job.project), part.chunk

    def report(done: int, _count: int) -> None:
        beat(done=before + done, total=total, ready_at=forecast.at(before + done, total))

    try:
        write = compute(part, report)
    except VectorsLost:
        ChunkFeatures.objects.filter(chunk=chunk, file=part.before).delete()
        return
    stem = chunk.pixels.rpartition("/")[2].removesuffix(".npy")
    name = storage.new_name(job.project, "features", "npy", prefix=f"{stem}-")
    storage.write_once(name, write)
    try:
        with transaction.atomic():
            done = before + part.stop - part.start
            beat.now(done=done, total=total, attempts=0)  # one that gets on has its attempts back
            if part.before:
                mark_replaced([part.before])
            ChunkFeatures.objects.update_or_create(
                chunk=chunk, backbone=job.key, defaults={"count": part.stop, "file": name}
            )
    except BaseException:
        storage.delete(name)
        raise


def others_wait() -> bool:
    """Whether something else waits that is made in the background."""
    models = (PoolMap, PoolGraph, PoolFeatures, Replay, ModelExport)
    return any(model._default_manager.filter(state=JobState.QUEUED).exists() for model in models)


def _give_way(job: PoolFeatures) -> bool:
    """Put the job back behind the others. False: it is not this worker's any more, or to be stopped."""
    mine = PoolFeatures.objects.filter(pk=job.pk, claim=job.claim, state=JobState.RUNNING, is_cancel_requested=False)
    if not mine.update(state=JobState.QUEUED, claim="", heartbeat_at=clock.now(), ready_at=None):
        return False
    wake(COMPUTE, job.pk)
    return True


def _close(job: PoolFeatures) -> None:
    with transaction.atomic():
        seen = _seen(job)
        if not finish_job(job=job, state=JobState.DONE, images=seen, done=seen, total=seen):
            return
        _forget_older(job, seen)
    if seen >= LEAST_IMAGES:
        request_graph(project=job.project)


def _forget_older(job: PoolFeatures, seen: int) -> None:
    """Other jobs and, where there are images, what other backbones have made of them."""
    if seen:
        others = ChunkFeatures.objects.filter(chunk__project=job.project).exclude(backbone=job.key)
        mark_replaced(list(others.values_list("file", flat=True)))
        others.delete()
    older = PoolFeatures.objects.filter(project=job.project, pk__lt=job.pk).exclude(state__in=UNFINISHED_JOB)
    older.delete()


def _outgrown() -> list[Project]:
    """Projects that want features and whose newest, done or not, know fewer images than there are."""
    importing = ImportJob.objects.filter(state__in=UNFINISHED_JOB).values("project")
    projects = Project.objects.select_related("learning").annotate(images_now=Sum("chunks__count"))
    newest: dict[int, PoolFeatures] = {}
    for row in PoolFeatures.objects.order_by("pk"):
        newest[row.project_id] = row
    wanting: list[Project] = []
    for project in projects.filter(images_now__gt=0).exclude(pk__in=importing):
        wanted, last = wanted_representation(project), newest.get(project.pk)
        if not wanted.backbone or (last is None and project.images_now < LEAST_IMAGES):
            continue
        if last is None or last.key != wanted.key or last.images < project.images_now:
            wanting.append(project)
    return wanting
