"""Labels out: asked for, made by a worker, downloaded. Managers only."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, cast

from django.http import Http404, HttpRequest, HttpResponse
from ninja import Query
from pydantic import Field

from labeler.access import Access, manager_access
from labeler.api.operations import In, Operations, Out
from labeler.api.paging import Page, Paging, Rows, page_of
from labeler.api.problems import Problem
from labeler.api.shapes import Person, person_of
from labeler.models import ExportJob, JobState
from labeler.services.exporting import create_export
from labeler.views.exports import FORMATS, export_reply

router = Operations("Exports")
ROOT = "/projects/{slug:slug}/exports"
ONE = f"{ROOT}/{{int:export_id}}"


class ExportNew(In):
    format: Literal[tuple(FORMATS)] = "csv"  # type: ignore[valid-type]
    includes_unlabelled: bool = False


class ExportOut(Out):
    id: int
    format: str
    includes_unlabelled: bool
    state: str = Field(description="queued, running, done, failed or cancelled.")
    done: int
    total: int
    size: int = Field(description="Of the file, in bytes.")
    error: str
    created_by: Person | None
    created_at: datetime
    finished_at: datetime | None


@router.read(ROOT, Page[ExportOut], who="manager")
def list_exports(request: HttpRequest, slug: str, paging: Query[Paging]) -> Rows[ExportOut]:
    """Newest first."""
    rows = manager_access(request, slug).project.exports.select_related("created_by")
    page = page_of(f"exports {slug}", rows, paging, newest_first=True)
    return Rows([_shown(job) for job in page.items], page.next)


@router.make(ROOT, ExportOut)
def make_export(request: HttpRequest, slug: str, body: ExportNew) -> ExportOut:
    """Ask for a file with all labels."""
    access = manager_access(request, slug)
    made = create_export(
        project=access.project,
        by=access.user,
        file_format=body.format,
        includes_unlabelled=body.includes_unlabelled,
    )
    return _shown(made)


@router.read(ONE, ExportOut, who="manager")
def read_export(request: HttpRequest, slug: str, export_id: int) -> ExportOut:
    """How far it is."""
    return _shown(_job(manager_access(request, slug), export_id))


@router.read(f"{ONE}/file", None, who="manager", media=tuple(kind.partition(";")[0] for kind in FORMATS.values()))
def download_export(request: HttpRequest, slug: str, export_id: int) -> HttpResponse:
    """The file of one that is done."""
    job = _job(manager_access(request, slug), export_id)
    if job.state != JobState.DONE:
        raise Problem(409, f"The export is {job.get_state_display()}: there is no file yet.")
    return cast(HttpResponse, export_reply(job))


def _job(access: Access, pk: int) -> ExportJob:
    rows = ExportJob.objects.select_related("created_by", "project").filter(project=access.project, pk=pk)
    if (job := rows.first()) is None:
        raise Http404("No such export")
    return job


def _shown(job: ExportJob) -> ExportOut:
    names = [name for name in ExportOut.model_fields if name != "created_by"]
    return ExportOut(**{name: getattr(job, name) for name in names}, created_by=person_of(job.created_by))
