"""Images in: an upload is made, filled in parts, and finished; a worker does the rest. Managers only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, Literal

from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest
from ninja import Query
from pydantic import Field

from labeler.access import Access, manager_access
from labeler.api.operations import BIGGEST, NONE, PATTERN, In, Line, Nothing, Operations, Out
from labeler.api.paging import Page, Paging, Rows, page_of
from labeler.api.problems import Problem
from labeler.api.shapes import Outcome, Person, person_of
from labeler.buckets import Bucket
from labeler.imaging.names import NAME_LENGTH
from labeler.models import ImportJob, JobState, RejectedFile
from labeler.selectors.imports import import_progress, offer_of
from labeler.services.import_columns import keep_columns, look_again
from labeler.services.import_places import import_bucket, import_folder
from labeler.services.offered_answers import take_offered_answers
from labeler.services.offered_labels import make_offered_classes, take_offered_labels
from labeler.services.uploads import (
    PART_BYTES,
    add_part,
    cancel_import,
    create_import,
    finish_upload,
    retry_import,
)
from labeler.tables.columns import Chosen

router = Operations("Imports")
ROOT = "/projects/{slug:slug}/imports"
ONE = f"{ROOT}/{{int:import_id}}"
OCTETS = "application/octet-stream"


class ImportOut(Out):
    id: int
    state: str = Field(description="uploading, queued, running, done, failed or cancelled.")
    error: str = Field(description="Why it failed, or added nothing; for people.")
    bytes_received: int
    bytes_total: int
    done: int = Field(description="Entries that were read.")
    total: int
    added: int
    duplicates: int
    refused: int
    unlabelled: int = Field(description="Images that are in, whose label was left out.")
    unnamed: int = Field(
        description="Of duplicates, refused files and labels left out: how many are counted and not named (refusals)."
    )
    ignored: int
    seconds_left: float | None
    has_offered_labels: bool
    created_by: Person | None
    created_at: datetime
    finished_at: datetime | None
    is_ready: bool = Field(description="It was looked at, and waits to be finished or cancelled.")
    found: dict[str, Any] | None = Field(description="What the look found: entries, labels, columns, refusals, notes.")


class TableColumns(In):
    table: Annotated[str, Field(min_length=1, max_length=1000, pattern=PATTERN)] = Field(
        description="Its name, as `found` has it: with its folders in an archive."
    )
    place: Annotated[str, Field(min_length=1, max_length=1000, pattern=PATTERN)] = Field(
        description="The column with the path or the address of the image."
    )
    label: Annotated[str, Field(max_length=1000, pattern=PATTERN)] = Field(
        "", description="The column with its label; empty: none is."
    )


class Look(In):
    looks_first: bool = Field(False, description="Only look what is there (`found`); finish it to bring it in.")


class Finish(Look):
    columns: list[TableColumns] = Field(
        [],
        max_length=100,
        description="Which columns of a table say what, where their names do not. With looks_first one that was looked "
        "at is looked at again. A table of the same name is read the same way in later imports of the project.",
    )


class Folder(Look):
    path: Annotated[str, Field(min_length=1, max_length=4000, pattern=PATTERN)] = Field(
        description="Of the server, in one of the operator's IMPORT_ROOTS."
    )


class BucketPlace(Look):
    name: Line
    prefix: Annotated[str, Field(max_length=1000, pattern=PATTERN)] = ""
    endpoint: Annotated[str, Field(max_length=500, pattern=PATTERN)] = Field(
        "", description="https://… of an S3-compatible store; empty: one of the operator's IMPORT_S3_BUCKETS."
    )
    region: Annotated[str, Field(max_length=100, pattern=PATTERN)] = "us-east-1"
    key_id: Annotated[str, Field(max_length=200, pattern=PATTERN)] = ""
    secret: Annotated[str, Field(max_length=500, pattern=PATTERN)] = Field(
        "", description="Kept sealed until the import is over, and shown to nobody."
    )


class Part(In):
    model_config = {"extra": "ignore", "strict": False}

    name: Annotated[str, Field(min_length=1, max_length=NAME_LENGTH, pattern=PATTERN)]
    size: int = Field(ge=0, le=BIGGEST, description="Of the whole file, in bytes.")
    offset: int = Field(ge=0, le=BIGGEST, description="Where in the file these bytes begin.")


class Received(Out):
    received: int = Field(description="Bytes of this file that are there: go on from here.")


class Refusal(Out):
    file: str
    kind: str = Field(description=f"{', '.join(RejectedFile.Kind.values)}.")
    reason: str


class Take(In):
    take: Literal["classes", "answers", "people"] = Field(
        description="classes: make the names that came with images classes; answers: take the labels as your answers; "
        "people: record what people answered in another tool under their names."
    )


class Kinds(Paging):
    kind: Literal["", *RejectedFile.Kind.values] = ""  # type: ignore[valid-type]


@router.read(ROOT, Page[ImportOut], who="manager")
def list_imports(request: HttpRequest, slug: str, paging: Query[Paging]) -> Rows[ImportOut]:
    """Newest first."""
    access = manager_access(request, slug)
    rows = access.project.imports.select_related("created_by", "project")
    page = page_of(f"imports {slug}", rows, paging, newest_first=True)
    return Rows([_shown(job) for job in page.items], page.next)


@router.make(ROOT, ImportOut)
def make_import(request: HttpRequest, slug: str, body: Nothing = NONE) -> ImportOut:  # noqa: ARG001
    """An empty upload. Put its files into it, then finish it."""
    access = manager_access(request, slug)
    return _shown(create_import(project=access.project, by=access.user))


@router.make(f"{ROOT}/folder", ImportOut)
def import_from_folder(request: HttpRequest, slug: str, body: Folder) -> ImportOut:
    """Images of a folder of the server, for whose roots an operator has decided. A worker begins at once."""
    access = manager_access(request, slug)
    return _shown(import_folder(project=access.project, by=access.user, path=body.path, looks_first=body.looks_first))


@router.make(f"{ROOT}/bucket", ImportOut)
def import_from_bucket(request: HttpRequest, slug: str, body: BucketPlace) -> ImportOut:
    """Images of an S3-compatible bucket, below a prefix; they are copied. A worker begins at once."""
    access = manager_access(request, slug)
    bucket = Bucket(**body.model_dump(exclude={"looks_first"}))
    return _shown(import_bucket(project=access.project, by=access.user, bucket=bucket, looks_first=body.looks_first))


@router.read(ONE, ImportOut, who="manager")
def read_import(request: HttpRequest, slug: str, import_id: int) -> ImportOut:
    """How far it is."""
    return _shown(_job(manager_access(request, slug), import_id))


@router.change(f"{ONE}/files", Received, method="PUT", body=OCTETS)
def put_import_part(request: HttpRequest, slug: str, import_id: int, part: Query[Part]) -> Received:
    """A part of a file: an archive, an image or an .npz. The body is the bytes, 8 MiB at most. Sent again it does no
    harm: 409 says where to go on (`received`)."""
    job = _job(manager_access(request, slug), import_id)
    if request.content_type != OCTETS:
        raise Problem(415, f"Send the bytes as {OCTETS}.")
    if len(request.body) > PART_BYTES:
        raise Problem(413, f"A part has at most {PART_BYTES:,} bytes.")
    received = add_part(job=job, name=part.name, size=part.size, offset=part.offset, data=request.body)
    return Received(received=received)


@router.act(f"{ONE}/finish", ImportOut)
def finish_import(request: HttpRequest, slug: str, import_id: int, body: Finish) -> ImportOut:
    """All files are there: a worker begins, or looks first. After the look the same without it brings them in."""
    access = manager_access(request, slug)
    job = _job(access, import_id)
    columns = {each.table: Chosen(each.place, each.label) for each in body.columns}
    with columns_named():
        if job.is_ready and body.looks_first and columns:
            look_again(job=job, by=access.user, columns=columns)
        else:
            keep_columns(job=job, columns=columns)
            finish_upload(job=job, looks_first=body.looks_first)
    return _shown(_job(access, import_id))


@router.act(f"{ONE}/cancel", ImportOut)
def cancel_import_(request: HttpRequest, slug: str, import_id: int, body: Nothing = NONE) -> ImportOut:  # noqa: ARG001
    """Stop it. Images that are in already stay."""
    access = manager_access(request, slug)
    cancel_import(job=_job(access, import_id), by=access.user)
    return _shown(_job(access, import_id))


@router.act(f"{ONE}/retry", Outcome)
def retry_import_(request: HttpRequest, slug: str, import_id: int, body: Nothing = NONE) -> Outcome:  # noqa: ARG001
    """Go on with one that failed, without another upload."""
    access = manager_access(request, slug)
    changed = retry_import(job=_job(access, import_id), by=access.user)
    return Outcome(changed=changed, detail="" if changed else "There is nothing to try again.")


@router.read(f"{ONE}/refusals", Page[Refusal], who="manager")
def list_refusals(request: HttpRequest, slug: str, import_id: int, paging: Query[Kinds]) -> Rows[Refusal]:
    """Files that did not become images, by name, with the reason: of each import the first 1,000 duplicates, 10,000
    refused files and 10,000 labels that were left out. `unnamed` of the import says how many more there were."""
    job = _job(manager_access(request, slug), import_id)
    rows = job.rejected.filter(kind=paging.kind) if paging.kind else job.rejected.all()
    page = page_of(f"refusals {job.pk} {paging.kind}", rows, paging)
    return Rows([Refusal(file=row.name, kind=row.kind, reason=row.reason) for row in page.items], page.next)


@router.act(f"{ONE}/labels", Outcome)
def take_labels(request: HttpRequest, slug: str, import_id: int, body: Take) -> Outcome:
    """Labels that came with the images (folders, tables, other tools): make classes of them, take them as your
    answers, or record those of other people under their names."""
    access = manager_access(request, slug)
    job = _job(access, import_id)
    if body.take == "people":
        taken = take_offered_answers(project=access.project, by=access.user)
        return Outcome(changed=taken > 0, detail=f"{taken:,} answers were recorded under the names of who gave them.")
    offer = offer_of(access.project, access.user)
    if offer is None or job.state != JobState.DONE:
        raise Problem(409, "No labels came with the images, or the import is not done yet.")
    if body.take == "classes":
        made = make_offered_classes(project=access.project, names=offer.new_names, by=access.user)
        return Outcome(changed=made > 0, detail=f"{made} classes were made.")
    taken = take_offered_labels(project=access.project, by=access.user)
    return Outcome(changed=taken > 0, detail=f"{taken:,} labels were taken as your answers.")


@contextmanager
def columns_named() -> Iterator[None]:
    """Services name the table: it is in one field of the body."""
    try:
        yield
    except ValidationError as error:
        words = [f"{table}: {each}" for table, all_ in error.message_dict.items() for each in all_]
        raise ValidationError({"columns": words}) from error


def _job(access: Access, pk: int) -> ImportJob:
    rows = ImportJob.objects.select_related("created_by", "project").filter(project=access.project, pk=pk)
    if (job := rows.first()) is None:
        raise Http404("No such import")
    return job


def _shown(job: ImportJob) -> ImportOut:
    progress = import_progress(job)
    names = (
        "id", "state", "error", "total", "added", "duplicates", "refused", "unlabelled", "ignored",
        "has_offered_labels", "created_at", "finished_at", "is_ready", "found",
    )  # fmt: skip
    return ImportOut(
        **{name: getattr(job, name) for name in names},
        unnamed=job.unnamed_count,
        done=progress.done,
        bytes_received=progress.bytes_received,
        bytes_total=progress.bytes_total,
        seconds_left=progress.seconds_left,
        created_by=person_of(job.created_by),
    )
