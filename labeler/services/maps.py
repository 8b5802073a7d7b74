"""Maps of the pool: asked for by a manager, drawn by a worker, kept as one file."""

from __future__ import annotations

from collections.abc import Callable

from labeler.models import PoolMap, Project, User
from labeler.services.derived import Derived, Report, derive_file, request_derived
from labeler.services.jobs import claim_job, resume_stalled

DRAW = "background.draw_map"


def request_map(*, project: Project, by: User) -> PoolMap | None:
    """Have the map drawn. None: it is being drawn already, or there are no images."""
    return request_derived(model=PoolMap, task_name=DRAW, project=project, by=by)


def sweep_maps() -> int:
    return resume_stalled(model=PoolMap, task_name=DRAW)


def run_map(*, job_id: int, draw: Callable[[Project, Report], Derived]) -> None:
    """The task: claim the job and draw."""
    job = claim_job(model=PoolMap, job_id=job_id)
    if job is not None:
        derive_file(job=job, group="maps", suffix="npy", make=draw)
