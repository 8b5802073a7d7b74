"""Files on their way in: parts appended where the last one ended, so that a broken upload goes on where it was."""

from __future__ import annotations

from datetime import timedelta
from typing import BinaryIO

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet, Sum
from django.utils.translation import gettext as _

from labeler import clock, storage
from labeler.imaging.names import NAME_LENGTH, normal, printable
from labeler.models import AuditKind, ImportFile, ImportJob, ImportSecret, JobState, Project, User
from labeler.models.jobs import UNFINISHED_JOB
from labeler.numerals import numeral
from labeler.services import audit
from labeler.services.jobs import request_cancel, resume_stalled, unfinished_count
from labeler.told import Told, ntold, told
from labeler.wake import wake

PART_BYTES = 8 * 2**20
FILES_PER_UPLOAD = 10_000  # more come as an archive, which the page makes by itself
ABANDONED = timedelta(hours=24)
KEPT = timedelta(days=3)  # the upload of an import that failed
NOT_STAGED = "not-staged/"
RUN_IMPORT = "imports.run_import"


class UploadRefused(Exception):
    """Why, in words for people; `field` names the value that is wrong, where one is."""

    def __init__(self, words: str, field: str = "") -> None:
        super().__init__(words)
        self.field = field


class WrongOffset(Exception):
    """The part does not begin where the file ends; `received` says where to go on."""

    def __init__(self, received: int) -> None:
        super().__init__(f"Go on from byte {received}.")
        self.received = received


@transaction.atomic
def create_import(*, project: Project, by: User) -> ImportJob:
    """An empty upload. Raises UploadRefused if the person has too many unfinished ones."""
    User.objects.select_for_update(no_key=True).get(pk=by.pk)  # two clicks count each other
    if unfinished_count(ImportJob, by.pk) >= settings.IMPORTS_PER_USER:
        words = _(
            "You have %(number)s unfinished imports, which is the most at once. Wait for one to end, or cancel one."
        )
        raise UploadRefused(words % {"number": settings.IMPORTS_PER_USER})
    return ImportJob.objects.create(project=project, created_by=by, state=JobState.UPLOADING, heartbeat_at=clock.now())


def add_file(*, job: ImportJob, name: str, size: int) -> ImportFile:
    """The file of this name in the upload, new or begun before. Raises UploadRefused."""
    name = printable(normal(name)).strip()[-NAME_LENGTH:]
    if not name or size < 0:
        raise UploadRefused(_("The file has no name."), "name")
    file = job.files.filter(name=name).first()
    if file is None:
        _check_room(job, size)
        staged = storage.new_name(job.project, "staging", "upload", prefix=f"{job.pk}-")
        try:
            with transaction.atomic():
                file = ImportFile.objects.create(job=job, name=name, staged=staged, size=size)
        except IntegrityError:  # the same part was sent twice at once
            file = job.files.get(name=name)
    if file.size != size:
        words = _("%(name)s was begun as a file of %(before)s bytes and now has %(now)s.")
        raise UploadRefused(words % {"name": name, "before": numeral(file.size), "now": numeral(size)}, "size")
    return file


def add_part(*, job: ImportJob, name: str, size: int, offset: int, data: bytes) -> int:
    """Append a part and return how much of the file is there. Raises WrongOffset, UploadRefused, StorageFull.

    Repeating a part is harmless: the second one is told where to go on.
    """
    if job.state != JobState.UPLOADING or job.found is not None:
        raise UploadRefused(_("This upload is over."))
    file = add_file(job=job, name=name, size=size)
    if offset != file.received:
        raise WrongOffset(file.received)
    if offset + len(data) > file.size:
        raise UploadRefused(_("%(name)s is longer than was said.") % {"name": file.name}, "size")
    storage.stage(file.staged, offset, data)
    received = offset + len(data)
    if not ImportFile.objects.filter(pk=file.pk, received=offset).update(received=received):
        file.refresh_from_db(fields=["received"])
        raise WrongOffset(file.received)
    ImportJob.objects.filter(pk=job.pk, state=JobState.UPLOADING).update(heartbeat_at=clock.now())
    return received


def add_whole_file(*, job: ImportJob, name: str, size: int, file: BinaryIO) -> None:
    """A file that came in one piece, as a form without JavaScript sends it. A second one of a name gets a number."""
    taken, stem, number = set(job.files.values_list("name", flat=True)), name, 1
    while name in taken:
        number += 1
        name = f"{number} {stem}"
    offset = 0
    while part := file.read(PART_BYTES):
        offset = add_part(job=job, name=name, size=size, offset=offset, data=part)
    if not offset:
        add_part(job=job, name=name, size=0, offset=0, data=b"")


def finish_upload(*, job: ImportJob, looks_first: bool = False) -> bool:
    """All is there: queue it and wake a worker. False if that happened before. Raises UploadRefused.

    With `looks_first` the worker only says what is in it; then the same call without it starts the import.
    """
    if job.state != JobState.UPLOADING:
        return False
    missing = job.files.filter(received__lt=F("size")).first()
    if missing is not None:
        words = _("%(name)s is not complete: %(received)s of %(size)s bytes are there.")
        values = {"name": missing.name, "received": numeral(missing.received), "size": numeral(missing.size)}
        raise UploadRefused(words % values)
    if not job.files.exists():
        raise UploadRefused(_("Choose at least one file."))
    with transaction.atomic():
        waiting = ImportJob.objects.filter(pk=job.pk, state=JobState.UPLOADING)
        if looks_first:
            waiting = waiting.filter(found__isnull=True)
        queued = waiting.update(state=JobState.QUEUED, looks_first=looks_first, heartbeat_at=clock.now())
        if queued and looks_first:
            wake(RUN_IMPORT, job.pk)
        elif queued:
            record_import(job, job.created_by, _started(job))
            wake(RUN_IMPORT, job.pk)
    return bool(queued)


def cancel_import(*, job: ImportJob, by: User | None = None) -> None:
    with transaction.atomic():
        if by is not None and job.state in UNFINISHED_JOB:
            record_import(job, by, told("cancelled import %(number)s", number=str(job.pk)))
        request_cancel(job=job)
    job.refresh_from_db()
    if job.state == JobState.CANCELLED:
        delete_staged(job)


def can_retry(job: ImportJob) -> bool:
    """A failed import whose upload is still there: what is in already stays, and it goes on behind it."""
    return job.state == JobState.FAILED and (_still_staged(job).exists() or _is_elsewhere(job))


def _is_elsewhere(job: ImportJob) -> bool:
    """A folder, or a bucket whose secret is still there or was never needed."""
    if job.files.filter(kind=ImportFile.Kind.FOLDER).exists():
        return True
    has_secret = ImportSecret.objects.filter(job=job).exists()
    return any(has_secret or not file.place.get("key_id") for file in job.files.filter(kind=ImportFile.Kind.BUCKET))


def retry_import(*, job: ImportJob, by: User | None = None) -> bool:
    """Queue it again. False if there is nothing to try, or somebody was faster."""
    if not can_retry(job):
        return False
    now = clock.now()
    # As if it had begun as much later as it stood still: the rate counts the time that it worked, and no other.
    started = now - (job.finished_at - job.started_at) if job.finished_at and job.started_at else None
    with transaction.atomic():
        queued = ImportJob.objects.filter(pk=job.pk, state=JobState.FAILED).update(
            state=JobState.QUEUED, claim="", attempts=0, error="", finished_at=None, loading=0,
            started_at=started, heartbeat_at=now, is_cancel_requested=False,
        )  # fmt: skip
        if queued:
            record_import(job, by, told("tried import %(number)s again", number=str(job.pk)))
            wake(RUN_IMPORT, job.pk)
    return bool(queued)


def _started(job: ImportJob) -> Told:
    return ntold(
        "started import %(number)s of %(count)s file",
        "started import %(number)s of %(count)s files",
        job.files.count(),
        number=str(job.pk),
    )


def record_import(job: ImportJob, by: User | None, words: str) -> None:
    audit.record(project=job.project, by=by, kind=AuditKind.IMPORTS, words=words, job=job.pk)


def delete_staged(job: ImportJob) -> None:
    for file in _still_staged(job):
        storage.delete(file.staged)
        ImportFile.objects.filter(pk=file.pk).update(staged=f"{NOT_STAGED}{file.pk}")
    ImportSecret.objects.filter(job=job).delete()


def _still_staged(job: ImportJob) -> QuerySet[ImportFile]:
    return job.files.exclude(staged__startswith=NOT_STAGED)


def sweep_imports() -> int:
    """The sweep's part: wake workers for imports that wait or stalled, give up uploads that nobody goes on with, those
    of failed imports that nobody tried again, and those that a worker left when it died at the end."""
    abandoned = ImportJob.objects.filter(state=JobState.UPLOADING, heartbeat_at__lt=clock.now() - ABANDONED)
    for job in abandoned:
        cancel_import(job=job)
    # A range of the index, in which NOT_STAGED comes before: this runs every few seconds.
    staged = ImportFile.objects.filter(staged__gte="projects/").values("job")
    over = Q(state__in=[JobState.DONE, JobState.CANCELLED])
    given_up = Q(state=JobState.FAILED, finished_at__lt=clock.now() - KEPT)
    kept = Q(pk__in=staged) | Q(pk__in=ImportSecret.objects.values("job"))
    for job in ImportJob.objects.filter(over | given_up).filter(kept):
        delete_staged(job)
    return resume_stalled(model=ImportJob, task_name=RUN_IMPORT)


def _check_room(job: ImportJob, size: int) -> None:
    before = job.files.aggregate(total=Sum("size"))["total"] or 0
    if before + size > settings.IMPORT_MAX_TOTAL_BYTES:
        words = _("The upload is larger than %(most)s GiB, the most at once. Import it in pieces.")
        raise UploadRefused(words % {"most": numeral(settings.IMPORT_MAX_TOTAL_BYTES / 2**30, 1)})
    if job.files.count() >= FILES_PER_UPLOAD:
        words = _("At most %(most)s single files at once; put them into a zip.")
        raise UploadRefused(words % {"most": numeral(FILES_PER_UPLOAD)})
