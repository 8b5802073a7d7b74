"""A round's model for images that are not in the project: have it prepared, and ask it."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpRequest
from pydantic import Field

from labeler.access import manager_access, model_access
from labeler.api.operations import Nothing, Operations, Out
from labeler.api.problems import Problem
from labeler.api.rounds import round_in
from labeler.api.shapes import Outcome
from labeler.imaging.decode import Refused, decode
from labeler.models import ModelExport, Scope
from labeler.selectors.served import NotServed, export_of, newest_export, predict_image
from labeler.services.import_plan import import_limits
from labeler.services.jobs import request_cancel
from labeler.services.serving import request_model_export
from labeler.services.uploads import PART_BYTES
from labeler.throttle import PREDICTIONS

router = Operations("New images")
OCTETS = "application/octet-stream"


class NewClass(Out):
    name: str
    mean: float = Field(description="Of the class's probability, over the samples of the posterior.")
    std: float = Field(description="Over the same samples.")


class NewMeasure(Out):
    name: str
    value: float
    unit: str
    percentile: float = Field(description="Among the images of the round, 0 to 100.")


class NewPrediction(Out):
    round: int
    width: int
    height: int
    classes: list[NewClass] = Field(description="The likeliest first, twelve at most.")
    measures: list[NewMeasure]


class Prepared(Out):
    round: int
    state: str = Field(description="queued, running, done, failed or cancelled.")
    error: str
    size: int = Field(description="Of the ONNX file, in bytes.")
    digest: str = Field(description="Its SHA-256; empty until it is done.")
    created_at: datetime


@router.act("/projects/{slug:slug}/rounds/{int:number}/prepare", Prepared)
def prepare_model(request: HttpRequest, slug: str, number: int, body: Nothing) -> Prepared:  # noqa: ARG001
    """Have a round's model made ready for new images; asked again it says how far that is."""
    access = manager_access(request, slug)
    job: ModelExport | None = request_model_export(round_=round_in(access, number), by=access.user)
    if job is None:
        raise Problem(409, "Another model of this project is being prepared. Ask again when that has ended.")
    return Prepared(
        round=number, state=job.state, error=job.error, size=job.size, digest=job.digest, created_at=job.created_at
    )


@router.act("/projects/{slug:slug}/rounds/{int:number}/prepare/stop", Outcome)
def stop_preparing(request: HttpRequest, slug: str, number: int, body: Nothing) -> Outcome:  # noqa: ARG001
    """Stop it."""
    made = export_of(round_in(manager_access(request, slug), number)).made
    if made is not None:
        request_cancel(job=made)
    return Outcome(changed=made is not None, detail="It is stopped." if made else "It was not being prepared.")


@router.bytes("/projects/{slug:slug}/predict", NewPrediction, body=OCTETS, scope=Scope.READ, who="manager")
def predict(request: HttpRequest, slug: str) -> NewPrediction:
    """What the prepared model says of an image that is not in the project. The body is the bytes of one image file, 8
    MiB at most, of the kinds that imports take; nothing of it is kept. Annotators ask it where the project shows them
    what the model says before they answer."""
    access = model_access(request, slug)
    if PREDICTIONS.is_over(str(access.user.pk)):
        words = "These are many images within a minute. Wait a little, or send them as one archive."
        raise Problem(429, words, headers={"Retry-After": str(PREDICTIONS.seconds)})
    PREDICTIONS.note_failure(str(access.user.pk))
    if request.content_type != OCTETS:
        raise Problem(415, f"Send the bytes as {OCTETS}.")
    if len(request.body) > PART_BYTES:
        raise Problem(413, f"An image has at most {PART_BYTES:,} bytes here. Send larger ones by the page.")
    decoded = decode(request.body, import_limits())
    if isinstance(decoded, Refused):
        raise Problem(422, decoded.reason)
    export = newest_export(access.project)
    if export is None:
        raise Problem(409, "No model is ready for new images: prepare one first.")
    try:
        said = predict_image(export, decoded)
    except NotServed as error:
        raise Problem(409, str(error)) from error
    return NewPrediction(
        round=said.round.number,
        width=decoded.width,
        height=decoded.height,
        classes=[NewClass(name=bar.name, mean=bar.mean, std=bar.std) for bar in said.bars],
        measures=[
            NewMeasure(name=each.name, value=each.value, unit=each.unit, percentile=each.percentile)
            for each in said.measures
        ],
    )
