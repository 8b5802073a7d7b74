"""Work in the background that a person starts or stops, in the record. What begins by itself is nobody's act."""

from __future__ import annotations

from django.db import transaction

from labeler.models import AuditKind, JobState, ModelExport, PoolFeatures, PoolMap, Prediction, Replay, Rerun, User
from labeler.services import audit
from labeler.services.jobs import AnyJob, request_cancel


def record_start(*, job: AnyJob, by: User | None) -> None:
    """In the transaction that makes the job."""
    if by is not None:
        _record(job, by, "started")


@transaction.atomic
def stop_work(*, job: AnyJob, by: User | None) -> None:
    """Have it stopped. One that is over stays as it is; pressed twice it is recorded once."""
    going = type(job)._default_manager.filter(pk=job.pk, is_cancel_requested=False)
    is_going = going.filter(state__in=[JobState.UPLOADING, JobState.QUEUED, JobState.RUNNING]).exists()
    request_cancel(job=job)
    if is_going and by is not None:
        _record(job, by, "stopped")


def _record(job: AnyJob, by: User, verb: str) -> None:
    audit.record(project=job.project, by=by, kind=AuditKind.ROUNDS, words=f"{verb} {_what(job)}", job=job.pk)


def _what(job: AnyJob) -> str:
    if isinstance(job, PoolMap):
        return "the drawing of the map"
    if isinstance(job, PoolFeatures):
        return f"the computing of features by {job.backbone}"
    if isinstance(job, Replay):
        return f"replay {job.pk} of the answers"
    if isinstance(job, Rerun):
        return f"a rerun of round {job.round.number}"
    if isinstance(job, ModelExport):
        return f"the preparing of round {job.round.number}’s model for new images"
    if isinstance(job, Prediction):
        return f"the predictions for {job.name}"
    return f"{job._meta.verbose_name} {job.pk}"
