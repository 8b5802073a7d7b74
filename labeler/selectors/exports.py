"""Exports for pages."""

from __future__ import annotations

from labeler.models import ExportJob, Project
from labeler.models.jobs import UNFINISHED_JOB

SHOWN = 50


def recent_exports(project: Project) -> list[ExportJob]:
    return list(project.exports.select_related("created_by")[:SHOWN])


def is_any_unfinished(exports: list[ExportJob]) -> bool:
    return any(job.state in UNFINISHED_JOB for job in exports)
