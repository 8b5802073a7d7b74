"""A worker that is told to stop hands on what it holds, so that a stop or a deployment is not taken for a death."""

from __future__ import annotations

from labeler.models import ExportJob, ImportJob, PoolFeatures, PoolGraph, PoolMap, Replay
from labeler.services.claims import give_back_rounds
from labeler.services.exporting import RUN_EXPORT
from labeler.services.features import COMPUTE
from labeler.services.graphs import MAKE
from labeler.services.jobs import give_back_jobs
from labeler.services.maps import DRAW
from labeler.services.replays import PLAY
from labeler.services.uploads import RUN_IMPORT


def give_back_work(*, worker: str) -> int:
    """All of it goes back to its queue and wakes others; this worker's processes find their claims gone, and stop."""
    jobs = (
        give_back_jobs(model=model, task_name=task_name, worker=worker)
        for model, task_name in (
            (ImportJob, RUN_IMPORT),
            (ExportJob, RUN_EXPORT),
            (PoolMap, DRAW),
            (PoolFeatures, COMPUTE),
            (PoolGraph, MAKE),
            (Replay, PLAY),
        )
    )
    return give_back_rounds(worker=worker) + sum(jobs)
