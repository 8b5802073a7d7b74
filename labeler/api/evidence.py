"""What a round's model rests on: which classes it takes for which, its card, and the round run again. Managers only."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from ninja import Query, Schema
from pydantic import Field

from labeler.access import manager_access
from labeler.api.jobs import JobOut, job_of
from labeler.api.operations import NONE, Id, Nothing, Operations, Out
from labeler.api.paging import Page, Rows, cursor_of, position_in
from labeler.api.predictions import names_of
from labeler.api.problems import Problem
from labeler.api.rounds import ONE, round_in
from labeler.api.shapes import ClassName, Outcome
from labeler.api.tiles import TileOut, tile_of
from labeler.models import Round, RoundState
from labeler.selectors.confusion import cell_page
from labeler.selectors.model_card import as_json, as_markdown, model_card
from labeler.selectors.pool import says_something
from labeler.selectors.reruns import rerun_state
from labeler.selectors.scores import NoScores
from labeler.selectors.served import export_of
from labeler.selectors.verdicts import rerun_words
from labeler.services.jobs import request_cancel
from labeler.services.reruns import request_rerun

router = Operations("Rounds")
MARKDOWN = "text/markdown; charset=utf-8"


class Confusion(Out):
    """Holdout images by what people say (rows) and by what the model says (columns), as they were when it ended."""

    classes: list[ClassName] = Field(description="The order of rows and columns.")
    counts: list[list[int]]
    n: int


class OfCell(Schema):
    said: Id = Field(description="The class that people say.")
    predicted: Id = Field(description="The class that the model says.")
    cursor: str = Field("", max_length=500, description="`next` of the page before; empty: the first page.")


class RerunOut(Out):
    """The newest rerun of the round that is done, and the one that runs."""

    is_equal: bool | None = Field(description="Byte by byte; null: none is done.")
    words: list[str] = Field(description="What it found, in sentences.")
    finished_at: datetime | None
    running: JobOut | None
    failed: JobOut | None = Field(description="The newest, where it failed or was stopped.")
    why_not: str = Field(description="Why none can be started; empty: it can.")


@router.read(f"{ONE}/confusion", Confusion, who="manager")
def read_confusion(request: HttpRequest, slug: str, number: int) -> Confusion:
    """Which classes a round takes for which, on the holdout."""
    round_ = round_in(manager_access(request, slug), number)
    counts = round_.metrics.get("confusion")
    if not counts or not says_something(round_.metrics):
        raise Problem(409, "Too few holdout images had a label for it to be measured.")
    names = names_of(round_)
    classes = [ClassName(id=pk, name=names.get(pk, "a deleted class")) for pk in round_.classes]
    return Confusion(classes=classes, counts=counts, n=round_.metrics["n"])


@router.read(f"{ONE}/confusion/images", Page[TileOut], who="manager")
def list_confused(request: HttpRequest, slug: str, number: int, wanted: Query[OfCell]) -> Rows[TileOut]:
    """The images of one cell by their labels of now, the surest first, sixty a page."""
    access = manager_access(request, slug)
    name = f"confused {slug} {number} {wanted.said} {wanted.predicted}"
    at = position_in(name, wanted.cursor) or 1
    try:
        cell = cell_page(access.project, round_in(access, number), wanted.said, wanted.predicted, at)
    except NoScores as error:
        raise Problem(409, str(error)) from error
    if cell is None:
        raise Http404("The round knows no such class")
    tiles = [tile_of(tile) for tile in cell.tiles]
    return Rows(tiles, cursor_of(name, cell.number + 1) if cell.number < cell.pages else None)


@router.read(f"{ONE}/card", dict[str, Any], who="manager")
def read_card(request: HttpRequest, slug: str, number: int) -> dict[str, Any]:
    """The model card: data, classes, numbers with their intervals, limits, digests."""
    round_ = _with_model(round_in(manager_access(request, slug), number))
    return as_json(model_card(round_, export_of(round_).ready))


@router.read(f"{ONE}/card/text", None, who="manager", media=("text/markdown",))
def read_card_text(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """The same as Markdown, for people."""
    round_ = _with_model(round_in(manager_access(request, slug), number))
    return HttpResponse(as_markdown(model_card(round_, export_of(round_).ready)), content_type=MARKDOWN)


@router.read(f"{ONE}/rerun", RerunOut, who="manager")
def read_rerun(request: HttpRequest, slug: str, number: int) -> RerunOut:
    """Whether the round came out the same when it was run again."""
    return _rerun(round_in(manager_access(request, slug), number))


@router.act(f"{ONE}/rerun", RerunOut)
def start_rerun(request: HttpRequest, slug: str, number: int, body: Nothing = NONE) -> RerunOut:  # noqa: ARG001
    """Fit and score it once more from what it kept, and compare."""
    access = manager_access(request, slug)
    round_ = round_in(access, number)
    if request_rerun(round_=round_, by=access.user) is None:
        raise Problem(409, "A round of this project is being run again already. Ask again when that has ended.")
    return _rerun(round_)


@router.act(f"{ONE}/rerun/stop", Outcome)
def stop_rerun(request: HttpRequest, slug: str, number: int, body: Nothing = NONE) -> Outcome:  # noqa: ARG001
    """Stop the one that runs."""
    made = rerun_state(round_in(manager_access(request, slug), number)).made
    if made is not None:
        request_cancel(job=made)
    return Outcome(changed=made is not None, detail="It is stopped." if made else "It was not being run again.")


def _with_model(round_: Round) -> Round:
    if round_.state != RoundState.DONE or not round_.folder:
        raise Problem(409, f"Round {round_.number} has no model.")
    return round_


def _rerun(round_: Round) -> RerunOut:
    state = rerun_state(round_)
    return RerunOut(
        is_equal=state.result["is_equal"] if state.shown else None,
        words=[str(each) for each in rerun_words(state.result)] if state.shown else [],
        finished_at=state.shown.finished_at if state.shown else None,
        running=job_of(state.made),
        failed=job_of(state.failed),
        why_not=state.why_not,
    )
