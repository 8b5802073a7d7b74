"""Files that a worker derives from all images of a project: the map, the graph. One job at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeVar

from django.db import transaction

from labeler import storage
from labeler.models import JobState, ModelExport, PoolGraph, PoolMap, Project, Replay, Rerun, Round, User
from labeler.models.jobs import UNFINISHED_JOB
from labeler.services.asked_work import record_start
from labeler.services.jobs import AnyJob, Beat, ClaimLost, JobCancelled, finish_job
from labeler.services.leftovers import mark_replaced
from labeler.told import told
from labeler.wake import wake

DerivedT = TypeVar("DerivedT", PoolMap, PoolGraph)
RequestedT = TypeVar("RequestedT", PoolMap, PoolGraph, Replay, Rerun, ModelExport)
Report = Callable[[int, int], None]


class CannotDerive(Exception):
    """Why, in words for people. Trying again would end the same way."""


@dataclass(frozen=True)
class Derived:
    """What was made of `images` images: how to write its file, what its row says beside, and other files that it
    names: for a field of the row, a suffix and how to write."""

    write: Callable[[BinaryIO], object]
    images: int
    fields: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, tuple[str, Callable[[BinaryIO], object]]] = field(default_factory=dict)


@transaction.atomic
def request_derived(
    *, model: type[RequestedT], task_name: str, project: Project, by: User | None = None, **fields: object
) -> RequestedT | None:
    """Have it made. None: it is being made already, or there are no images."""
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    unfinished = model.objects.filter(project=project, state__in=UNFINISHED_JOB)
    if unfinished.exists() or not project.chunks.filter(count__gt=0).exists():
        return None
    job = model.objects.create(project=project, created_by=by, **fields)
    record_start(job=job, by=by)
    wake(task_name, job.pk)
    return job


def derive_file(
    *,
    job: DerivedT,
    group: str,
    suffix: str,
    make: Callable[[Project, Report], Derived],
    then: Callable[[Project], None] = lambda _project: None,
) -> None:
    """Make it, write its file in the folder `group`, close the job, and do `then` in the same transaction.

    Whatever goes wrong ends in a state with words; a lost claim leaves the job to its new owner, and a killed process
    leaves it to the sweep.
    """
    beat, names = Beat(job), dict[str, str]()
    try:
        beat.now(done=0, total=0)
        derived = make(job.project, lambda done, total: beat(done=done, total=total))
        for of, (ending, write) in {"file": (suffix, derived.write), **derived.files}.items():
            names[of] = storage.new_name(job.project, group, ending, prefix=f"{job.pk}-")
            storage.write_once(names[of], write)
    except ClaimLost:
        return
    except JobCancelled:
        finish_job(job=job, state=JobState.CANCELLED)
        return
    except CannotDerive as error:
        finish_job(job=job, state=JobState.FAILED, error=str(error))
        return
    except (storage.StorageError, OSError) as error:
        finish_job(job=job, state=JobState.FAILED, error=told("The file could not be written: %(why)s", why=str(error)))
        return
    with transaction.atomic():
        n = derived.images
        is_ours = finish_job(job=job, state=JobState.DONE, done=n, total=n, **names, **derived.fields)
        if is_ours:
            then(job.project)
    if is_ours:
        forget_older(job)
    else:
        for name in names.values():
            storage.delete(name)


@contextmanager
def ending_in_words(job: AnyJob) -> Iterator[None]:
    """What goes wrong inside closes the job, in words. A lost claim leaves it to its new owner."""
    try:
        yield
    except ClaimLost:
        return
    except JobCancelled:
        finish_job(job=job, state=JobState.CANCELLED)
    except CannotDerive as error:
        finish_job(job=job, state=JobState.FAILED, error=str(error))
    except OSError as error:
        finish_job(
            job=job, state=JobState.FAILED, error=told("Files could not be read or written: %(why)s", why=str(error))
        )


def forget_older(job: PoolMap | PoolGraph) -> None:
    """Their files go a day later, as all that nothing names any more. The graph stays that the model in charge learned
    from: its round can be run again."""
    older = type(job)._default_manager.filter(project=job.project, pk__lt=job.pk).exclude(state__in=UNFINISHED_JOB)
    if isinstance(job, PoolGraph):
        model = Round.objects.filter(pk__in=Project.objects.filter(pk=job.project_id).values("model_round"))
        older = older.exclude(pk__in=[row.config["graph"] for row in model if row.config.get("graph") is not None])
    mark_replaced(name for row in older for name in row.files if name)
    older.delete()
