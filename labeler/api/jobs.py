"""Work that a worker does because somebody asked for it, as several operations tell of it."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from labeler.api.operations import Out
from labeler.models.jobs import Job


class JobOut(Out):
    id: int
    state: str = Field(description="queued, running, done, failed or cancelled.")
    done: int
    total: int
    error: str
    created_at: datetime
    finished_at: datetime | None


def job_of(row: Job | None) -> JobOut | None:
    return JobOut(**{name: getattr(row, name) for name in JobOut.model_fields}) if row is not None else None
