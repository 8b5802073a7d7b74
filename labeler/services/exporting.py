"""Labels out: a job that writes one file, image by image in the order of import, in flat memory, and a manifest."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any, BinaryIO

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext as _
from django.utils.translation import override

from labeler import clock, storage
from labeler.export_formats import ALL, FORMATS, WITH_MODEL, About, CannotWrite, Filters, Picture, Row
from labeler.export_formats.tables import spreadsheet_safe
from labeler.export_formats.writing import write_export
from labeler.models import AuditKind, ExportJob, Fate, Image, JobState, LabelClass, Project, User
from labeler.models.images import CHUNK_SIZE
from labeler.models.jobs import UNFINISHED_JOB
from labeler.selectors.export_rows import Reader, export_rows, open_reader
from labeler.selectors.exports import filters_of
from labeler.selectors.worth import auto_labels
from labeler.services import audit
from labeler.services.jobs import (
    Beat,
    ClaimLost,
    JobCancelled,
    claim_job,
    finish_job,
    request_cancel,
    resume_stalled,
    unfinished_count,
)
from labeler.services.webhooks import tell_export
from labeler.told import told
from labeler.wake import wake

__all__ = ["ExportRefused", "cancel_export", "create_export", "delete_export", "run_export", "spreadsheet_safe"]

RUN_EXPORT = "labeler.run_export"
MANIFEST, VERSION = "plusminus-export", 1


class ExportRefused(Exception):
    """Why, in words for people."""


@transaction.atomic
def create_export(
    *,
    project: Project,
    by: User,
    file_format: str,
    includes_unlabelled: bool = False,
    filters: Filters | None = None,
) -> ExportJob:
    """Ask for a file. Without filters: all labels, or all images. Raises ExportRefused."""
    filters = filters or Filters(images=ALL if includes_unlabelled else "labelled")
    if file_format not in FORMATS:
        names = ", ".join(str(each.name) for each in FORMATS.values())
        raise ExportRefused(_("Choose one of %(names)s.") % {"names": names})
    if filters.images == WITH_MODEL:
        model_labels(project, filters)
    User.objects.select_for_update(no_key=True).get(pk=by.pk)
    if unfinished_count(ExportJob, by.pk) >= settings.EXPORTS_PER_USER:
        words = _("You have %(number)s unfinished exports, which is the most at once.")
        raise ExportRefused(words % {"number": settings.EXPORTS_PER_USER})
    job = ExportJob.objects.create(project=project, created_by=by, format=file_format, filters=as_json(filters))
    words = _recorded(job, filters)
    audit.record(project=project, by=by, kind=AuditKind.EXPORTS, words=words, export=job.pk, filters=job.filters)
    wake(RUN_EXPORT, job.pk)
    return job


@override(settings.LANGUAGE_CODE)  # kept, and read by everybody
def _recorded(job: ExportJob, filters: Filters) -> str:
    name = told(str(FORMATS[job.format].name))
    if filters.images == ALL:
        return told("exported all images as %(format)s", format=name)
    if filters.images == WITH_MODEL:
        return told("exported labels and the model's surest as %(format)s", format=name)
    if job.filters:
        return told("exported labels as %(format)s", format=name)
    return told("exported all labels as %(format)s", format=name)


def as_json(filters: Filters) -> dict[str, Any]:
    """What differs from an export of all labels."""
    usual = asdict(Filters())
    changed = {name: value for name, value in asdict(filters).items() if value != usual[name]}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in changed.items()}


@transaction.atomic
def cancel_export(*, job: ExportJob, by: User) -> None:
    request_cancel(job=job)
    audit.record(
        project=job.project,
        by=by,
        kind=AuditKind.EXPORTS,
        words=told("stopped export %(number)s", number=str(job.pk)),
        export=job.pk,
    )


@transaction.atomic
def delete_export(*, job: ExportJob, by: User) -> bool:
    """Delete the file and its row. False while it is being written: cancel it first."""
    row = ExportJob.objects.select_for_update().filter(pk=job.pk).exclude(state__in=UNFINISHED_JOB).first()
    if row is None:
        return False
    audit.record(
        project=row.project,
        by=by,
        kind=AuditKind.EXPORTS,
        words=told("deleted export %(number)s", number=str(row.pk)),
        export=row.pk,
    )
    name = row.file
    row.delete()
    if name:
        transaction.on_commit(lambda: storage.delete(name))
    return True


def sweep_exports() -> int:
    return resume_stalled(model=ExportJob, task_name=RUN_EXPORT)


def run_export(*, job_id: int) -> None:
    """The task: claim the job, write the file, close the job. Killed in the middle, it starts again with a new file."""
    job = claim_job(model=ExportJob, job_id=job_id)
    if job is None:
        return
    name = storage.new_name(job.project, "exports", job.suffix, prefix=f"{job.pk}-")
    try:
        manifest = _write(job, name)
    except ClaimLost:
        return
    except JobCancelled:
        finish_job(job=job, state=JobState.CANCELLED)
        return
    except (storage.StorageError, OSError, CannotWrite, ExportRefused) as error:
        finish_job(job=job, state=JobState.FAILED, error=told("The file could not be written: %(why)s", why=str(error)))
        return
    rows = manifest["rows"]
    with transaction.atomic():
        is_ours = finish_job(
            job=job, state=JobState.DONE, file=name, size=manifest["bytes"], done=rows, total=rows, manifest=manifest
        )
        if is_ours:
            tell_export(job=job)
    if not is_ours:
        storage.delete(name)


def _write(job: ExportJob, name: str) -> dict[str, Any]:
    """Write the file; returns its manifest."""
    filters = filters_of(job)
    reader = open_reader(job.project, filters)
    classes = _classes(job.project)
    manifest = _manifest(job, reader, filters, [name for _, name in classes])
    last = reader.last_position
    beat = Beat(job)
    beat.now(total=last + 1, done=0)
    counted: Counter[str] = Counter()

    def batches() -> Iterator[Sequence[Row]]:
        for at, rows in enumerate(export_rows(reader, last=last)):
            counted.update(row.record["source"] or "none" for row in rows)
            yield rows
            beat(done=min(last, at * CHUNK_SIZE))
            gc.collect(1)

    def read(picture: Picture) -> bytes:
        beat()
        return _bytes_of(picture)

    about = About(
        project=job.project.name,
        classes=classes,
        made_at=manifest["made_at"],
        model=f"round {reader.model.round.number}" if reader.model else "",
        metadata=reader.metadata,
        manifest=manifest,
    )
    written: list[Any] = []

    def fill(file: BinaryIO) -> None:
        written.append(
            write_export(file, job.format, batches(), about=about, with_images=filters.with_images, read=read)
        )

    with _collecting_by_hand():
        storage.write_once(name, fill)
    rows = sum(counted.values())
    return {**manifest, "rows": rows, "by_source": dict(counted), "bytes": written[0].size, "sha256": written[0].sha256}


@contextmanager
def _collecting_by_hand() -> Iterator[None]:
    """Rows hold no cycles, and to look for some whenever a few hundred objects are made takes a fifth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _bytes_of(picture: Picture) -> bytes:
    try:
        data = storage.read_range(picture.pack, picture.offset, picture.length)
    except FileNotFoundError as error:
        raise CannotWrite(told("the images' file %(name)s is gone", name=picture.pack)) from error
    if len(data) != picture.length:
        raise CannotWrite(told("the images' file %(name)s is cut off", name=picture.pack))
    return data


def _manifest(job: ExportJob, reader: Reader, filters: Filters, classes: Sequence[str]) -> dict[str, Any]:
    """What the file is, before it is written."""
    at = clock.now()
    manifest: dict[str, Any] = {
        "manifest": MANIFEST,
        "version": VERSION,
        "file": job.file_name_at(at),
        "format": job.format,
        "project": {"name": job.project.name, "address": job.project.slug},
        "classes": list(classes),
        "made_at": at.astimezone(reader.zone).isoformat(),
        "made_by": job.created_by.get_username() if job.created_by else None,
        "filters": job.filters,
        "model": {"round": reader.model.round.number, "measure": reader.model.measure} if reader.model else None,
    }
    if filters.images == WITH_MODEL:
        manifest["model_labels"] = model_labels(job.project, filters)
    return manifest


def model_labels(project: Project, filters: Filters) -> dict[str, Any]:
    """How right the model's own labels from this probability on are, as measured. Raises ExportRefused."""
    measured = auto_labels(project)
    if measured.problem:
        words = _("The model's own labels cannot go along. %(problem)s")
        raise ExportRefused(words % {"problem": measured.problem})
    row = next((row for row in measured.rows if row.probability == filters.model_above), None)
    if row is None or row.right is None or measured.model is None:
        raise ExportRefused(
            _("The model's own labels cannot go along: how right they are there has not been measured.")
        )
    return {
        "round": measured.model.number,
        "from_probability": row.probability,
        "waiting": row.images,
        "measured_on_holdout": row.measured,
        "right": {"value": row.right.value, "low": row.right.low, "high": row.right.high},
        "interval": "95 % for all thresholds at once: Clopper-Pearson with Bonferroni's correction",
    }


def _classes(project: Project) -> list[tuple[int, str]]:
    """Those that are offered, and those that images have."""
    used = Exists(Image.objects.filter(label=OuterRef("pk")))
    found = LabelClass.objects.filter(Q(is_archived=False) | used, project=project).exclude(fate=Fate.MERGED)
    return list(found.order_by("order", "pk").values_list("pk", "name"))
