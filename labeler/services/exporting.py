"""Labels out: CSV or JSON Lines, image by image in the order of import, in flat memory."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from labeler import storage
from labeler.models import (
    Annotation,
    AuditKind,
    Candidate,
    ExportJob,
    Image,
    ImageState,
    JobState,
    Outcome,
    Project,
    Reason,
    User,
)
from labeler.services import audit
from labeler.services.jobs import Beat, ClaimLost, JobCancelled, claim_job, finish_job, resume_stalled, unfinished_count
from labeler.services.webhooks import tell_export
from labeler.wake import wake

RUN_EXPORT = "labeler.run_export"
BATCH = 1000
FORMULA = ("=", "+", "-", "@", "\t", "\r")
COLUMNS = [
    "image",
    "name",
    "class",
    "state",
    "is_holdout",
    "annotators",
    "answers",
    "agreement",
    "label_probability",
    "labelled_at",
    "round",
    "reason",
    "rank",
    "selection_probability",
    "width",
    "height",
    "content_hash",
]


class ExportRefused(Exception):
    """Why, in words for people."""


@transaction.atomic
def create_export(*, project: Project, by: User, file_format: str, includes_unlabelled: bool) -> ExportJob:
    User.objects.select_for_update(no_key=True).get(pk=by.pk)
    if unfinished_count(ExportJob, by.pk) >= settings.EXPORTS_PER_USER:
        raise ExportRefused(f"You have {settings.EXPORTS_PER_USER} unfinished exports, which is the most at once.")
    job = ExportJob.objects.create(
        project=project, created_by=by, format=file_format, includes_unlabelled=includes_unlabelled
    )
    which = "all images" if includes_unlabelled else "all labels"
    words = f"exported {which} as {job.get_format_display()}"
    audit.record(project=project, by=by, kind=AuditKind.EXPORTS, words=words, export=job.pk)
    wake(RUN_EXPORT, job.pk)
    return job


def sweep_exports() -> int:
    return resume_stalled(model=ExportJob, task_name=RUN_EXPORT)


def run_export(*, job_id: int) -> None:
    """The task: claim the job, write the file, close the job. Killed in the middle, it starts again with a new file."""
    job = claim_job(model=ExportJob, job_id=job_id)
    if job is None:
        return
    name = storage.new_name(job.project, "exports", job.format, prefix=f"{job.pk}-")
    beat = Beat(job)
    try:
        last = job.project.images.order_by("-pk").values_list("pk", flat=True).first() or 0
        job.total = job.project.images.filter(**_wanted(job)).count()
        beat.now(total=job.total, done=0)
        size = storage.write_once(name, lambda file: _write(job, file, last, beat))
    except ClaimLost:
        return
    except JobCancelled:
        finish_job(job=job, state=JobState.CANCELLED)
        return
    except (storage.StorageError, OSError) as error:
        finish_job(job=job, state=JobState.FAILED, error=f"The file could not be written: {error}")
        return
    with transaction.atomic():
        is_ours = finish_job(job=job, state=JobState.DONE, file=name, size=size, done=job.total)
        if is_ours:
            tell_export(job=job)
    if not is_ours:
        storage.delete(name)


def _wanted(job: ExportJob) -> dict[str, Any]:
    return {} if job.includes_unlabelled else {"state": ImageState.LABELLED}


def _write(job: ExportJob, file: BinaryIO, last: int, beat: Beat) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    records = _records(job, last, beat)
    if job.format == "csv":
        _write_csv(text, records)
    else:
        for record in records:
            text.write(json.dumps(record, ensure_ascii=False) + "\n")
    text.flush()
    text.detach()


def _write_csv(text: io.TextIOWrapper, records: Iterable[dict[str, Any]]) -> None:
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    for record in records:
        record["annotators"] = "; ".join(record["annotators"])
        writer.writerow({key: spreadsheet_safe(value) for key, value in record.items()})


def spreadsheet_safe(value: object) -> object:
    """A text that a spreadsheet would take for a formula gets a quote before it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _records(job: ExportJob, last: int, beat: Beat) -> Iterator[dict[str, Any]]:
    after = done = 0
    images = job.project.images.filter(pk__lte=last, **_wanted(job)).select_related("label").order_by("pk")
    while batch := list(images.filter(pk__gt=after)[:BATCH]):
        after = batch[-1].pk
        answers = _answers(batch)
        for image in batch:
            yield _record(image, answers.get(image.pk, []))
        done += len(batch)
        beat.now(done=done)


def _answers(images: Sequence[Image]) -> dict[int, list[Annotation]]:
    rows: dict[int, list[Annotation]] = defaultdict(list)
    live = Annotation.objects.filter(image__in=images, retracted_at__isnull=True).exclude(outcome=Outcome.UNDO)
    for row in live.select_related("annotator", "label_class__merged_into", "candidate", "candidate__round").order_by(
        "pk"
    ):
        rows[row.image_id].append(row)
    return rows


def _reason(asked: Candidate) -> str:
    """Its code; a group of a single image stands for no other one."""
    return "group_of_one" if asked.reason == Reason.GROUP and asked.details.get("group") == 1 else asked.reason


def _record(image: Image, answers: Sequence[Annotation]) -> dict[str, Any]:
    asked = next((row.candidate for row in answers if row.candidate is not None), None)
    counted = [row for row in answers if row.outcome != Outcome.SKIP]
    agreeing = sum(row.label_class is not None and row.label_class.meaning.pk == image.label_id for row in counted)
    return {
        "image": image.pk,
        "name": image.name,
        "class": image.label.name if image.label else None,
        "state": image.state,
        "is_holdout": image.is_holdout,
        "annotators": [row.annotator.get_username() for row in counted],
        "answers": len(counted),
        "agreement": round(agreeing / len(counted), 4) if image.label_id and len(counted) > 1 else None,
        "label_probability": None if image.label_probability is None else round(image.label_probability, 4),
        "labelled_at": image.labelled_at.astimezone(timezone.get_default_timezone()).isoformat()
        if image.labelled_at
        else None,
        "round": asked.round.number if asked else None,
        "reason": _reason(asked) if asked else None,
        "rank": asked.rank if asked else None,
        "selection_probability": asked.selection_probability if asked else None,
        "width": image.width,
        "height": image.height,
        "content_hash": image.content_hash,
    }
