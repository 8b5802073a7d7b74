"""Imports, exports, maps, features, graphs, networks, replays, reruns, models to take away and large changes of classes
as work that one worker at a time owns: claim, beat, finish, resume.

Every write of a worker is conditional on its claim: one that was taken for dead and comes back changes nothing.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TypeVar

from django.conf import settings
from django.db.models import F, Q

from labeler import clock
from labeler.models import (
    ClassChange,
    ExportJob,
    ImportJob,
    JobState,
    ModelExport,
    PoolFeatures,
    PoolGraph,
    PoolMap,
    PoolNetwork,
    Prediction,
    Replay,
    Rerun,
)
from labeler.models.jobs import UNFINISHED_JOB
from labeler.services.claims import claims_of, new_claim
from labeler.told import told
from labeler.wake import wake
from labeler.workers import this_worker

AnyJob = (
    ImportJob
    | ExportJob
    | PoolMap
    | PoolFeatures
    | PoolGraph
    | PoolNetwork
    | Replay
    | Rerun
    | ClassChange
    | ModelExport
    | Prediction
)
JobT = TypeVar(
    "JobT",
    ImportJob, ExportJob, PoolMap, PoolFeatures, PoolGraph, PoolNetwork, Replay, Rerun, ClassChange, ModelExport,
    Prediction,
)  # fmt: skip
BEAT_SECONDS = 0.5  # no more often than this
EARLY_SECONDS = 3.0


class JobStopped(Exception):
    """This worker has to let go of the job."""


class ClaimLost(JobStopped):
    """Another worker has it, or it is over."""


class JobCancelled(JobStopped):
    """A person asked to stop it."""


def claim_job(*, model: type[JobT], job_id: int) -> JobT | None:
    """The job, owned by this worker; None if it is not waiting (another worker has it, or it is over)."""
    token = new_claim(this_worker())
    now = clock.now()
    stalled = now - timedelta(seconds=settings.STALL_SECONDS)
    free = Q(state=JobState.QUEUED) | Q(state=JobState.RUNNING, heartbeat_at__lt=stalled)
    won = model.objects.filter(free, pk=job_id).update(
        state=JobState.RUNNING, claim=token, heartbeat_at=now, attempts=F("attempts") + 1
    )
    if not won:
        return None
    model.objects.filter(pk=job_id, claim=token, started_at__isnull=True).update(started_at=now)
    return model.objects.select_related("project", "project__learning").get(pk=job_id)


class Beat:
    """Says that the worker is alive, at most twice a second however often it is called. Raises JobStopped."""

    def __init__(self, job: AnyJob) -> None:
        self._job = job
        self._last = time.monotonic()

    def __call__(self, **fields: object) -> None:
        if time.monotonic() - self._last >= BEAT_SECONDS:
            self.now(**fields)

    def now(self, **fields: object) -> None:
        """Beat at once and write `fields`, in the caller's transaction if there is one."""
        self._last = time.monotonic()
        jobs = type(self._job)._default_manager.filter(pk=self._job.pk, claim=self._job.claim, state=JobState.RUNNING)
        if jobs.filter(is_cancel_requested=False).update(heartbeat_at=clock.now(), **fields):
            return
        if jobs.exists():
            raise JobCancelled
        raise ClaimLost


class Forecast:
    """When work will be done, as fast as this worker has been at it."""

    def __init__(self, done: int) -> None:
        self._done, self._since = done, time.monotonic()

    def at(self, done: int, total: int) -> datetime | None:
        """None where it is anybody's guess: in the first seconds, and before anything was done."""
        seconds, fresh = time.monotonic() - self._since, done - self._done
        if seconds < EARLY_SECONDS or fresh <= 0:
            return None
        return clock.now() + timedelta(seconds=seconds * max(0, total - done) / fresh)


def keep_claim(*, job: AnyJob) -> bool:
    """Whether the job is still the caller's, cancelled or not; and if so, for `STALL_SECONDS` more."""
    owned = type(job)._default_manager.filter(pk=job.pk, claim=job.claim, state=JobState.RUNNING)
    return bool(owned.update(heartbeat_at=clock.now()))


def hand_back(*, job: AnyJob, **fields: object) -> bool:
    """Let the job wait for a worker again, if it is still owned by the caller: other jobs come between."""
    owned = type(job)._default_manager.filter(pk=job.pk, claim=job.claim, state=JobState.RUNNING)
    return bool(owned.update(state=JobState.QUEUED, claim="", attempts=0, heartbeat_at=clock.now(), **fields))


def finish_job(*, job: AnyJob, state: JobState, error: str = "", **fields: object) -> bool:
    """Close the job, if it is still owned by the caller."""
    owned = type(job)._default_manager.filter(pk=job.pk, claim=job.claim, state=JobState.RUNNING)
    return bool(owned.update(state=state, error=error, finished_at=clock.now(), **fields))


def give_back_jobs(*, model: type[JobT], task_name: str, worker: str, **fields: object) -> int:
    """Hand on at once what a worker holds that is told to stop. No fault of the work: the attempt does not count."""
    mine = model.objects.filter(claims_of(worker), state=JobState.RUNNING)
    count = 0
    for job_id in list(mine.values_list("pk", flat=True)):
        given = mine.filter(pk=job_id).update(
            state=JobState.QUEUED, claim="", heartbeat_at=None, attempts=F("attempts") - 1, **fields
        )
        if given:
            wake(task_name, job_id)
            count += given
    return count


def request_cancel(*, job: AnyJob) -> None:
    """A waiting job stops at once, a running one at its next beat. One that is over stays as it is."""
    jobs = type(job)._default_manager.filter(pk=job.pk)
    waiting = jobs.filter(state__in=[JobState.UPLOADING, JobState.QUEUED])
    if not waiting.update(state=JobState.CANCELLED, finished_at=clock.now()):
        jobs.filter(state=JobState.RUNNING).update(is_cancel_requested=True)


def resume_stalled(*, model: type[JobT], task_name: str) -> int:
    """The sweep's part: wake workers for jobs that wait or whose worker fell silent. Returns how many."""
    now = clock.now()
    silent = Q(heartbeat_at__lt=now - timedelta(seconds=settings.STALL_SECONDS))
    running = model.objects.filter(silent, state=JobState.RUNNING)
    running.filter(is_cancel_requested=True).update(state=JobState.CANCELLED, finished_at=now)
    running.filter(attempts__gte=settings.ROUND_ATTEMPTS).update(
        state=JobState.FAILED,
        finished_at=now,
        error=told(
            "Its worker died %(count)s times; the worker's log says why. What is done is kept.",
            count=settings.ROUND_ATTEMPTS,
        ),
    )
    waiting = Q(state=JobState.QUEUED) & (
        silent | Q(heartbeat_at__isnull=True, created_at__lt=now - timedelta(seconds=5))
    )
    woken = 0
    for job_id in model.objects.filter(waiting | (Q(state=JobState.RUNNING) & silent)).values_list("pk", flat=True):
        # One wake in a while is enough; a running job keeps its silence, by which it is claimed.
        model.objects.filter(pk=job_id, state=JobState.QUEUED).update(heartbeat_at=now)
        wake(task_name, job_id)
        woken += 1
    return woken


def unfinished_count(model: type[JobT], user_id: int) -> int:
    return model.objects.filter(created_by_id=user_id, state__in=UNFINISHED_JOB).count()
