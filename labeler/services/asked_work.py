"""Work in the background that a person starts or stops, in the record. What begins by itself is nobody's act."""

from __future__ import annotations

from django.db import transaction

from labeler.models import AuditKind, JobState, ModelExport, PoolFeatures, PoolMap, Prediction, Replay, Rerun, User
from labeler.services import audit
from labeler.services.jobs import AnyJob, request_cancel
from labeler.told import Told, told


def record_start(*, job: AnyJob, by: User | None) -> None:
    """In the transaction that makes the job."""
    if by is not None:
        _record(job, by, _started(job))


@transaction.atomic
def stop_work(*, job: AnyJob, by: User | None) -> None:
    """Have it stopped. One that is over stays as it is; pressed twice it is recorded once."""
    going = type(job)._default_manager.filter(pk=job.pk, is_cancel_requested=False)
    is_going = going.filter(state__in=[JobState.UPLOADING, JobState.QUEUED, JobState.RUNNING]).exists()
    request_cancel(job=job)
    if is_going and by is not None:
        _record(job, by, _stopped(job))


def _record(job: AnyJob, by: User, words: Told) -> None:
    audit.record(project=job.project, by=by, kind=AuditKind.ROUNDS, words=words, job=job.pk)


def _started(job: AnyJob) -> Told:
    if isinstance(job, PoolMap):
        return told("started the drawing of the map")
    if isinstance(job, PoolFeatures):
        return told("started the computing of features by %(name)s", name=job.backbone)
    if isinstance(job, Replay):
        return told("started replay %(number)s of the answers", number=str(job.pk))
    if isinstance(job, Rerun):
        return told("started a rerun of round %(number)s", number=str(job.round.number))
    if isinstance(job, ModelExport):
        return told("started the preparing of round %(number)s’s model for new images", number=str(job.round.number))
    if isinstance(job, Prediction):
        return told("started the predictions for %(name)s", name=job.name)
    return told("started %(what)s %(number)s", what=str(job._meta.verbose_name), number=str(job.pk))


def _stopped(job: AnyJob) -> Told:
    if isinstance(job, PoolMap):
        return told("stopped the drawing of the map")
    if isinstance(job, PoolFeatures):
        return told("stopped the computing of features by %(name)s", name=job.backbone)
    if isinstance(job, Replay):
        return told("stopped replay %(number)s of the answers", number=str(job.pk))
    if isinstance(job, Rerun):
        return told("stopped a rerun of round %(number)s", number=str(job.round.number))
    if isinstance(job, ModelExport):
        return told("stopped the preparing of round %(number)s’s model for new images", number=str(job.round.number))
    if isinstance(job, Prediction):
        return told("stopped the predictions for %(name)s", name=job.name)
    return told("stopped %(what)s %(number)s", what=str(job._meta.verbose_name), number=str(job.pk))
