"""Maps of the pool: asked for by a manager, drawn by a worker, kept as one file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from django.db import transaction

from labeler import storage
from labeler.models import JobState, PoolMap, Project, User
from labeler.models.jobs import UNFINISHED_JOB
from labeler.services.jobs import Beat, ClaimLost, JobCancelled, claim_job, finish_job, resume_stalled
from labeler.services.leftovers import mark_replaced
from labeler.wake import wake

DRAW = "labeler.draw_map"
Drawing = Callable[[Project, Callable[[int, int], None]], npt.NDArray[Any]]


class CannotDraw(Exception):
    """Why, in words for people. Trying again would end the same way."""


@transaction.atomic
def request_map(*, project: Project, by: User) -> PoolMap | None:
    """Have the map drawn. None: it is being drawn already, or there are no images."""
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    if project.maps.filter(state__in=UNFINISHED_JOB).exists() or not project.chunks.filter(count__gt=0).exists():
        return None
    job = PoolMap.objects.create(project=project, created_by=by)
    wake(DRAW, job.pk)
    return job


def sweep_maps() -> int:
    return resume_stalled(model=PoolMap, task_name=DRAW)


def run_map(*, job_id: int, draw: Drawing) -> None:
    """The task: claim the job, draw, write the file, close the job. Killed in the middle, it starts again."""
    job = claim_job(model=PoolMap, job_id=job_id)
    if job is None:
        return
    name, beat = storage.new_name(job.project, "maps", "npy", prefix=f"{job.pk}-"), Beat(job)
    try:
        beat.now(done=0, total=0)
        records = draw(job.project, lambda done, total: beat(done=done, total=total))
        storage.write_once(name, lambda file: np.save(file, records, allow_pickle=False))
    except ClaimLost:
        return
    except JobCancelled:
        finish_job(job=job, state=JobState.CANCELLED)
        return
    except CannotDraw as error:
        finish_job(job=job, state=JobState.FAILED, error=str(error))
        return
    except (storage.StorageError, OSError) as error:
        finish_job(job=job, state=JobState.FAILED, error=f"The map could not be written: {error}")
        return
    if finish_job(job=job, state=JobState.DONE, file=name, done=len(records), total=len(records)):
        _forget_older(job)
    else:
        storage.delete(name)


def _forget_older(job: PoolMap) -> None:
    """Their files go a day later, as all that nothing names any more."""
    older = PoolMap.objects.filter(project=job.project, pk__lt=job.pk).exclude(state__in=UNFINISHED_JOB)
    mark_replaced([name for name in older.values_list("file", flat=True) if name])
    older.delete()
