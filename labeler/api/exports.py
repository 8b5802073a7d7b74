"""Labels out: asked for, made by a worker, downloaded. Managers only."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, cast

from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from ninja import Query
from pydantic import Field

from labeler.access import Access, manager_access
from labeler.api.operations import NONE, Day, In, Nothing, Operations, Out
from labeler.api.paging import Page, Paging, Rows, page_of
from labeler.api.problems import Problem
from labeler.api.shapes import Person, person_of
from labeler.export_formats import ALL, FORMATS, LABELLED, WITH_MODEL
from labeler.forms.exports import ExportForm
from labeler.models import ExportJob, JobState
from labeler.models.jobs import UNFINISHED_JOB
from labeler.selectors.worth import THRESHOLDS
from labeler.services.exporting import cancel_export, create_export, delete_export
from labeler.views.exports import export_reply

router = Operations("Exports")
ROOT = "/projects/{slug:slug}/exports"
ONE = f"{ROOT}/{{int:export_id}}"
MEDIA = tuple(dict.fromkeys(each.media_type.partition(";")[0] for each in FORMATS.values()))


class ExportNew(In):
    """What is left out does not filter."""

    format: Literal[tuple(FORMATS)] = "csv"  # type: ignore[valid-type]
    images: Literal[LABELLED, ALL, WITH_MODEL] = Field(  # type: ignore[valid-type]
        LABELLED, description="with_model: labels, and what the model is sure of, marked as the model's."
    )
    model_above: Literal[tuple(THRESHOLDS)] | None = Field(  # type: ignore[valid-type]
        None, description="With with_model: the probability from which its word counts; else 0.99."
    )
    with_images: bool = Field(False, description="The images come along, all in one zip.")
    label_class: int | None = Field(None, description="The id of a class.")
    annotator: int | None = Field(None, description="The id of a person who has answered.")
    since: Day | None = Field(None, description="Labelled on this day or later, in the server's time zone.")
    until: Day | None = Field(None, description="Labelled on this day or earlier.")
    holdout: Literal["", "only", "without"] = ""
    least_agreement: float | None = Field(None, ge=0, le=1)


class ExportOut(Out):
    id: int
    format: str
    filters: dict[str, Any] = Field(description="What differs from an export of all labels.")
    state: str = Field(description="queued, running, done, failed or cancelled.")
    done: int
    total: int
    size: int = Field(description="Of the file, in bytes.")
    manifest: dict[str, Any] = Field(description="What the file is: rows, SHA-256, classes, version.")
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
    """Ask for a file of labels, in any of the formats and with any of the filters of the page."""
    access = manager_access(request, slug)
    said = {name: value for name, value in body.model_dump().items() if value not in (None, False)}
    if "model_above" in said:
        said["model_above"] = f"{said['model_above']:g}"
    form = ExportForm(said, project=access.project)
    if not form.is_valid():
        raise ValidationError(form.errors.as_data())
    made = create_export(project=access.project, by=access.user, file_format=body.format, filters=form.filters())
    return _shown(made)


@router.read(ONE, ExportOut, who="manager")
def read_export(request: HttpRequest, slug: str, export_id: int) -> ExportOut:
    """How far it is."""
    return _shown(_job(manager_access(request, slug), export_id))


@router.read(f"{ONE}/file", None, who="manager", media=MEDIA)
def download_export(request: HttpRequest, slug: str, export_id: int) -> HttpResponse:
    """The file of one that is done."""
    return cast(HttpResponse, export_reply(request, _done(manager_access(request, slug), export_id)))


@router.read(f"{ONE}/manifest", dict[str, Any], who="manager")
def read_manifest(request: HttpRequest, slug: str, export_id: int) -> dict[str, Any]:
    """What the file of one that is done is: rows, digest, filters, classes, and how right the model's own labels in it
    are."""
    return dict(_done(manager_access(request, slug), export_id).manifest)


@router.act(f"{ONE}/cancel", ExportOut)
def cancel_export_(request: HttpRequest, slug: str, export_id: int, body: Nothing = NONE) -> ExportOut:  # noqa: ARG001
    """Stop it: one that waits at once, one that is written within a second. One that is over stays as it is."""
    access = manager_access(request, slug)
    job = _job(access, export_id)
    if job.state in UNFINISHED_JOB:
        cancel_export(job=job, by=access.user)
    return _shown(_job(access, export_id))


@router.remove(ONE)
def delete_export_(request: HttpRequest, slug: str, export_id: int) -> None:
    """Delete its file and its row."""
    access = manager_access(request, slug)
    if not delete_export(job=_job(access, export_id), by=access.user):
        raise Problem(409, "It is still being written. Cancel it first, then delete it.")


def _done(access: Access, pk: int) -> ExportJob:
    job = _job(access, pk)
    if job.state != JobState.DONE:
        raise Problem(409, f"The export is {job.get_state_display()}: there is no file yet.")
    return job


def _job(access: Access, pk: int) -> ExportJob:
    rows = ExportJob.objects.select_related("created_by", "project").filter(project=access.project, pk=pk)
    if (job := rows.first()) is None:
        raise Http404("No such export")
    return job


def _shown(job: ExportJob) -> ExportOut:
    names = [name for name in ExportOut.model_fields if name != "created_by"]
    return ExportOut(**{name: getattr(job, name) for name in names}, created_by=person_of(job.created_by))
