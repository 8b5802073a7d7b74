"""A worker that is told to stop hands on what it holds, so that a stop or a deployment is not taken for a death."""

from __future__ import annotations

from labeler.models import (
    ClassChange,
    ExportJob,
    ImportJob,
    ModelExport,
    PoolFeatures,
    PoolGraph,
    PoolMap,
    PoolNetwork,
    Prediction,
    Replay,
    Rerun,
)
from labeler.services import class_changes
from labeler.services.claims import give_back_rounds
from labeler.services.exporting import RUN_EXPORT
from labeler.services.features import COMPUTE
from labeler.services.graphs import MAKE
from labeler.services.jobs import give_back_jobs
from labeler.services.maps import DRAW
from labeler.services.networks import TRAIN
from labeler.services.predicting import RUN_PREDICTION
from labeler.services.replays import PLAY
from labeler.services.reruns import RERUN
from labeler.services.serving import EXPORT_MODEL
from labeler.services.uploads import RUN_IMPORT


def give_back_work(*, worker: str) -> int:
    """All of it goes back to its queue and wakes others; this worker's processes find their claims gone, and stop."""
    return (
        give_back_rounds(worker=worker)
        + give_back_jobs(model=ImportJob, task_name=RUN_IMPORT, worker=worker)
        + give_back_jobs(model=ExportJob, task_name=RUN_EXPORT, worker=worker)
        + give_back_jobs(model=PoolMap, task_name=DRAW, worker=worker)
        + give_back_jobs(model=PoolFeatures, task_name=COMPUTE, worker=worker, ready_at=None)
        + give_back_jobs(model=PoolGraph, task_name=MAKE, worker=worker)
        + give_back_jobs(model=PoolNetwork, task_name=TRAIN, worker=worker)
        + give_back_jobs(model=Replay, task_name=PLAY, worker=worker)
        + give_back_jobs(model=ClassChange, task_name=class_changes.RUN, worker=worker)
        + give_back_jobs(model=Rerun, task_name=RERUN, worker=worker)
        + give_back_jobs(model=ModelExport, task_name=EXPORT_MODEL, worker=worker)
        + give_back_jobs(model=Prediction, task_name=RUN_PREDICTION, worker=worker)
    )
