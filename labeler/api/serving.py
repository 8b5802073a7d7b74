"""A round's model for images that are not in the project: have it prepared, and ask it."""

from __future__ import annotations

from datetime import datetime
from io import BytesIO
from typing import IO, Any, Literal, cast

from django.core.files.uploadedfile import UploadedFile as DjangoFile
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from ninja import File, Form, Query, Schema
from ninja.files import UploadedFile
from pydantic import Field

from labeler import storage
from labeler.access import Access, manager_access, model_access
from labeler.api.jobs import JobOut
from labeler.api.operations import NONE, Nothing, Operations, Out
from labeler.api.paging import Page, Paging, Rows, page_of
from labeler.api.problems import Problem, invalid
from labeler.api.rounds import round_in
from labeler.api.shapes import Likely, Outcome, likely
from labeler.imaging.decode import Refused
from labeler.models import JobState, ModelExport, Prediction, Scope
from labeler.selectors.served import Answering, NotServed, answering, export_of, predict_image
from labeler.services.jobs import request_cancel
from labeler.services.predicting import decode_new, request_prediction
from labeler.services.serving import note_asked, request_model_export
from labeler.services.uploads import PART_BYTES
from labeler.throttle import PREDICTIONS
from labeler.told import said

router = Operations("New images")
ARCHIVES = "/projects/{slug:slug}/archives"
ARCHIVE = f"{ARCHIVES}/{{int:archive_id}}"
OCTETS, MULTIPART = "application/octet-stream", "multipart/form-data"
BYTES = {"schema": {"type": "string", "format": "binary"}}
BODIES: dict[str, Any] = {
    **dict.fromkeys((OCTETS, "image/jpeg", "image/png", "image/webp"), BYTES),
    MULTIPART: {"schema": {"type": "object", "required": ["image"], "properties": {"image": BYTES["schema"]}}},
}
TABLES = {"csv": "text/csv", "jsonl": "application/x-ndjson"}
TableFormat = Literal["csv", "jsonl"]


IN_CHARGE = "Whether that model is in charge. If not, the one in charge is not prepared, and the last one answers."


class NewMeasure(Out):
    name: str
    value: float
    unit: str
    percentile: float = Field(description="Among the images of the round, 0 to 100.")


class NewPrediction(Out):
    round: int
    in_charge: bool = Field(description=IN_CHARGE)
    width: int
    height: int
    classes: list[Likely] = Field(description="The likeliest first, twelve at most.")
    measures: list[NewMeasure]


class Prepared(Out):
    round: int
    state: str = Field(description="absent, queued, running, done, failed or cancelled.")
    error: str = ""
    size: int = Field(description="Of the ONNX file, in bytes.")
    digest: str = Field(description="Its SHA-256; empty until it is done.")
    created_at: datetime | None = None


class Preparing(Schema):
    again: bool = Field(False, description="Begin anew what failed or was stopped.")


class ArchiveOut(JobOut):
    name: str
    format: str
    round: int = Field(description="Whose model is asked.")
    in_charge: bool = Field(description=f"{IN_CHARGE} As it is now.")
    refused: int = Field(description="Entries that are no images that are taken; the table names them.")
    size: int = Field(description="Of the table, in bytes.")


@router.read("/projects/{slug:slug}/rounds/{int:number}/prepare", Prepared, who="manager")
def read_preparing(request: HttpRequest, slug: str, number: int) -> Prepared:
    """How far a round's model is on its way to answer about new images, and why it failed. `absent`: a POST has it
    prepared."""
    state = export_of(round_in(manager_access(request, slug), number))
    job = state.made or state.ready or state.failed
    return _prepared(job, number) if job else Prepared(round=number, state="absent", size=0, digest="")


@router.act("/projects/{slug:slug}/rounds/{int:number}/prepare", Prepared)
def prepare_model(
    request: HttpRequest,
    slug: str,
    number: int,
    wanted: Query[Preparing],
    body: Nothing = NONE,  # noqa: ARG001
) -> Prepared:
    """Have a round's model made ready for new images. What is ready, on its way, failed or stopped is told as it is;
    `again=true` begins anew after the last two. A GET of the same address says how far it is."""
    access = manager_access(request, slug)
    round_ = round_in(access, number)
    job = None if wanted.again else export_of(round_).failed
    job = job or request_model_export(round_=round_, by=access.user)
    if job is None:
        raise Problem(409, "Another model of this project is being prepared. Ask again when that has ended.")
    return _prepared(job, number)


@router.act("/projects/{slug:slug}/rounds/{int:number}/prepare/stop", Outcome)
def stop_preparing(request: HttpRequest, slug: str, number: int, body: Nothing = NONE) -> Outcome:  # noqa: ARG001
    """Stop it."""
    made = export_of(round_in(manager_access(request, slug), number)).made
    if made is not None:
        request_cancel(job=made)
    return Outcome(changed=made is not None, detail="It is stopped." if made else "It was not being prepared.")


@router.bytes("/projects/{slug:slug}/predict", NewPrediction, bodies=BODIES, scope=Scope.READ, who="manager")
def predict(request: HttpRequest, slug: str) -> NewPrediction:
    """What the prepared model says of an image that is not in the project. The body is the bytes of one image file, 8
    MiB and 16 million pixels at most (a JPEG that is not progressive: 100 million), of the kinds that imports take: as
    image/* or application/octet-stream, or as the field `image` of a multipart form; nothing of it is kept. Annotators
    ask it where the project shows them what the model says before they answer."""
    access = model_access(request, slug)
    if PREDICTIONS.is_over(str(access.user.pk)):
        words = "These are many images within a minute. Wait a little, or send them as one archive."
        raise Problem(429, words, headers={"Retry-After": str(PREDICTIONS.seconds)})
    PREDICTIONS.note_failure(str(access.user.pk))
    file, answers = _file(request), answering(access.project)
    try:
        decoded = decode_new(file)
        if isinstance(decoded, Refused):
            raise Problem(422, said(decoded.reason))
        export = _export(answers)
        found = predict_image(export, decoded)
    except NotServed as error:
        raise Problem(409, str(error)) from error
    note_asked(export=export)
    return NewPrediction(
        round=found.round.number,
        in_charge=answers.is_in_charge,
        width=decoded.width,
        height=decoded.height,
        classes=[likely(bar) for bar in found.bars],
        measures=[
            NewMeasure(name=each.name, value=each.value, unit=each.unit, percentile=each.percentile)
            for each in found.measures
        ],
    )


@router.make(ARCHIVES, ArchiveOut)
def predict_archive(
    request: HttpRequest,
    slug: str,
    archive: File[UploadedFile],
    format: Form[TableFormat],  # noqa: A002
) -> ArchiveOut:
    """What the prepared model says of all images of an archive (zip, tar), as a table: a worker makes it. An archive
    has 64 MiB at most here, unless whoever runs the server says otherwise; larger ones go in several, or by the
    page."""
    access = manager_access(request, slug)
    export = _export(answering(access.project))
    archive.seek(0)
    job = request_prediction(
        export=export,
        by=access.user,
        file_format=format,
        name=archive.name or "archive",
        file=cast(IO[bytes], archive.file),
    )
    return _archive(Prediction.objects.select_related("project", "model__round").get(pk=job.pk))


@router.read(ARCHIVES, Page[ArchiveOut], who="manager")
def list_archives(request: HttpRequest, slug: str, paging: Query[Paging]) -> Rows[ArchiveOut]:
    """Archives that were sent, newest first."""
    rows = manager_access(request, slug).project.predictions.select_related("project", "model__round")
    page = page_of(f"archives {slug}", rows, paging, newest_first=True)
    return Rows([_archive(job) for job in page.items], page.next)


@router.read(ARCHIVE, ArchiveOut, who="manager")
def read_archive(request: HttpRequest, slug: str, archive_id: int) -> ArchiveOut:
    """How far it is."""
    return _archive(_job(manager_access(request, slug), archive_id))


@router.read(f"{ARCHIVE}/file", None, who="manager", media=tuple(TABLES.values()))
def download_predictions(request: HttpRequest, slug: str, archive_id: int) -> HttpResponse:
    """The table of one that is done: a row an image."""
    job = _job(manager_access(request, slug), archive_id)
    if job.state != JobState.DONE or not job.file:
        raise Problem(409, f"The archive is {job.get_state_display()}: there is no table yet.")
    try:
        with storage.local_path(job.file) as file_path:
            name = f"{slug}-predictions-{job.pk}.{job.format}"
            return FileResponse(  # type: ignore[return-value]
                file_path.open("rb"), as_attachment=True, filename=name, content_type=TABLES[job.format]
            )
    except FileNotFoundError as error:
        raise Http404("The file is gone; send the archive again") from error


@router.act(f"{ARCHIVE}/stop", ArchiveOut)
def stop_archive(request: HttpRequest, slug: str, archive_id: int, body: Nothing = NONE) -> ArchiveOut:  # noqa: ARG001
    """Stop it: one that waits at once, one that is read at its next step. One that is over stays as it is."""
    access = manager_access(request, slug)
    request_cancel(job=_job(access, archive_id))
    return _archive(_job(access, archive_id))


def _file(request: HttpRequest) -> IO[bytes]:
    if request.content_type == MULTIPART:
        file = request.FILES.get("image")
        if not isinstance(file, DjangoFile) or file.size is None:
            raise invalid("image", "Send the picture as the field “image” of the form.")
        size = file.size
    elif request.content_type == OCTETS or (request.content_type or "").startswith("image/"):
        file, size = None, len(request.body)
    else:
        raise Problem(415, f"Send the bytes as image/* or {OCTETS}, or a form as {MULTIPART}.")
    if size > PART_BYTES:
        raise Problem(413, f"An image has at most {PART_BYTES:,} bytes here. Send larger ones in an archive.")
    return cast(IO[bytes], file) if file is not None else BytesIO(request.body)


def _prepared(job: ModelExport, number: int) -> Prepared:
    return Prepared(
        round=number, state=job.state, error=job.error, size=job.size, digest=job.digest, created_at=job.created_at
    )


def _export(answers: Answering) -> ModelExport:
    if answers.export is None:
        raise Problem(409, "No model is ready for new images: prepare one first.")
    return answers.export


def _job(access: Access, pk: int) -> Prediction:
    job = access.project.predictions.select_related("project", "model__round").filter(pk=pk).first()
    if job is None:
        raise Http404("No such archive")
    return job


def _archive(job: Prediction) -> ArchiveOut:
    names = [name for name in ArchiveOut.model_fields if name not in ("round", "in_charge")]
    round_ = job.model.round
    is_in_charge = round_.pk == job.project.model_round_id
    return ArchiveOut(**{name: getattr(job, name) for name in names}, round=round_.number, in_charge=is_in_charge)
