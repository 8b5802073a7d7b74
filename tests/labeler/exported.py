"""Exports for tests: made, run, and their bytes."""

from __future__ import annotations

import uuid

from labeler import storage
from labeler.models import ExportJob, JobState
from labeler.services.annotate import record_answer
from labeler.services.exporting import create_export, run_export


def export(project, by, file_format: str, **arguments) -> tuple[ExportJob, bytes]:
    job = create_export(project=project, by=by, file_format=file_format, **arguments)
    run_export(job_id=job.pk)
    job.refresh_from_db()
    assert job.state == JobState.DONE, job.error
    return job, storage.read_range(job.file, 0, job.size)


def answer(project, person, image, label: str | None = "cat", candidate=None, outcome: str = "label"):
    label_class = project.classes.get(name=label) if label else None
    return record_answer(
        project=project, annotator=person, image_id=image.pk, candidate_id=candidate, outcome=outcome,
        label_class_id=label_class.pk if label_class else None, key=uuid.uuid4(),
    )  # fmt: skip
