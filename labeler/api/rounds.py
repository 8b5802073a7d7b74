"""Rounds: the list, one with its metrics and intervals, starting and stopping. Managers only."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from ninja import Query
from pydantic import Field

from labeler.access import Access, manager_access
from labeler.api.operations import NONE, Nothing, Operations, Out
from labeler.api.paging import Page, Paging, Rows, page_of
from labeler.api.problems import Problem
from labeler.api.shapes import Measured, Outcome, Person, accuracy_of, measured, person_of
from labeler.models import Project, Round, RoundState, Trigger
from labeler.selectors.left_out import left_out_of
from labeler.selectors.model_files import NoModel, model_archive
from labeler.selectors.monitor import progress_of
from labeler.selectors.pool import says_something
from labeler.selectors.rounds import class_rows, list_rounds
from labeler.selectors.verdicts import class_names, verdict_of
from labeler.services.comparisons import repeat_comparison
from labeler.services.rollback import remake_queue
from labeler.services.rounds import cancel_round, request_round, retry_round
from labeler.told import told

router = Operations("Rounds")
ROOT = "/projects/{slug:slug}/rounds"
ONE = f"{ROOT}/{{int:number}}"
RUNNING = "A round is running already. Its answers will be in the next one."


class Share(Out):
    done: int
    total: int
    seconds_left: float | None


class RoundRow(Out):
    number: int
    trigger: str
    reason: str
    state: str = Field(description="queued, fitting, scoring, acquiring, done, failed or cancelled.")
    is_in_charge: bool
    standing: str = Field(description="Of its model: accepted, refused, aside, rolled_back, chosen, or empty.")
    accuracy: Measured | None = Field(description="On the holdout; null: too few of it have a label.")
    offered: Measured | None = Field(
        description="By unchecked labels that came with images without a learned answer. Null: there are none."
    )
    training_count: int
    answers_spent: int
    requested_by: Person | None
    error: str
    progress: Share | None = Field(description="Of the phase that it is in; null: it is over.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Recall(Out):
    label_class: int
    name: str
    recall: Measured | None
    n: int = Field(description="Holdout images of this class.")


class LeftOutHoldout(Out):
    disputed: int = Field(description="Holdout images that people disagreed about: they are not counted.")
    set_aside: int = Field(description="Holdout images that people were unsure of or skipped: not counted either.")
    low: float | None = Field(description="Share of right ones were all of these wrong, the 95 % interval included.")
    high: float | None = Field(description="The same were all of them right. Null: nothing was measured.")


class Bin(Out):
    """Holdout images of about the same confidence: well calibrated, as many of them are right."""

    low: float
    high: float
    n: int
    confidence: float | None = Field(description="Their mean probability of the predicted class; null: there are none.")
    accuracy: Measured | None = Field(description="Share of right ones; null: there are none.")


class RoundOut(RoundRow):
    holdout: int = Field(description="Holdout images that it was measured on.")
    left_out: LeftOutHoldout
    nll: Measured | None
    brier: Measured | None
    ece: Measured | None
    classes: list[Recall]
    reliability: list[Bin] = Field(description="Confidence against the share that is right; see `ece`.")
    verdict: list[str] = Field(description="What the gate said of its model, in sentences.")
    phase_seconds: dict[str, float]
    settings: dict[str, Any]
    seed: int
    training_digest: str


@router.read(ROOT, Page[RoundRow], who="manager")
def list_rounds_(request: HttpRequest, slug: str, paging: Query[Paging]) -> Rows[RoundRow]:
    """Newest first, with their accuracy."""
    access = manager_access(request, slug)
    page = page_of(f"rounds {slug}", list_rounds(access.project), paging, by="number", newest_first=True)
    return Rows([RoundRow(**_row(access.project, row, _listed(row))) for row in page.items], page.next)


@router.make(ROOT, RoundOut)
def start_round(request: HttpRequest, slug: str, body: Nothing = NONE) -> RoundOut:  # noqa: ARG001
    """Start a round now."""
    access = manager_access(request, slug)
    reason = told("%(person)s asked for it", person=access.user.get_username())
    made = request_round(project=access.project, trigger=Trigger.BUTTON, reason=reason, requested_by=access.user)
    return begun(access, made)


@router.read(ONE, RoundOut, who="manager")
def read_round(request: HttpRequest, slug: str, number: int) -> RoundOut:
    """A round with its metrics and their 95 % intervals."""
    access = manager_access(request, slug)
    return _shown(access.project, round_in(access, number))


@router.act(f"{ONE}/cancel", Outcome)
def cancel_round_(request: HttpRequest, slug: str, number: int, body: Nothing = NONE) -> Outcome:  # noqa: ARG001
    """The queue and the last model stay as they were."""
    access = manager_access(request, slug)
    changed = cancel_round(round_=round_in(access, number), by=access.user)
    return Outcome(changed=changed, detail="Cancelled." if changed else "It was over already.")


@router.make(f"{ONE}/retry", RoundOut)
def retry_round_(request: HttpRequest, slug: str, number: int, body: Nothing = NONE) -> RoundOut:  # noqa: ARG001
    """A new round after one that failed or was cancelled."""
    access = manager_access(request, slug)
    round_ = round_in(access, number)
    again = {Trigger.COMPARISON: repeat_comparison, Trigger.CHARGE: remake_queue}.get(Trigger(round_.trigger))
    return begun(access, (again or retry_round)(round_=round_, by=access.user))


@router.read(f"{ONE}/model", None, who="manager", media=("application/zip",))
def download_model(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """Its weights as safetensors and everything else as JSON, in a zip."""
    round_ = round_in(manager_access(request, slug), number)
    try:
        if round_.state != RoundState.DONE:
            raise NoModel(f"Round {number} has no model.")
        archive = model_archive(round_)
    except NoModel as error:
        raise Problem(409, str(error)) from error
    return FileResponse(archive, as_attachment=True, filename=f"{slug}-round-{number}-model.zip")  # type: ignore[return-value]


def round_in(access: Access, number: int) -> Round:
    rows = Round.objects.select_related("requested_by", "project").filter(project=access.project, number=number)
    if (round_ := rows.first()) is None:
        raise Http404("No such round")
    return round_


def begun(access: Access, made: Round | None) -> RoundOut:
    if made is None:
        raise Problem(409, RUNNING)
    return _shown(access.project, round_in(access, made.number))


def _listed(row: Any) -> Measured | None:
    """The accuracy of a row of `list_rounds`, which reads nothing else of the metrics."""
    if row.accuracy_value is None:
        return None
    parts = {name: getattr(row, f"accuracy_{name}") for name in ("value", "low", "high", "n")}
    return accuracy_of({"n": row.accuracy_n or 0, "accuracy": parts})


def _row(project: Project, row: Round, accuracy: Measured | None) -> dict[str, Any]:
    progress = progress_of(row) if row.is_unfinished else None
    names = (
        "number", "trigger", "reason", "state", "standing", "training_count", "answers_spent", "error", "created_at",
        "started_at", "finished_at",
    )  # fmt: skip
    return {name: getattr(row, name) for name in names} | {
        "is_in_charge": project.model_round_id == row.pk,
        "accuracy": accuracy,
        "offered": measured(row.offered),
        "requested_by": person_of(row.requested_by),
        "progress": Share(done=progress.done, total=progress.total, seconds_left=progress.seconds_left)
        if progress
        else None,
    }


def _shown(project: Project, row: Round) -> RoundOut:
    metrics = row.metrics if says_something(row.metrics) else {}
    verdict = verdict_of(row, class_names(project, row))
    left_out = left_out_of(row.metrics)
    return RoundOut(
        **_row(project, row, accuracy_of(row.metrics)),
        holdout=row.metrics.get("n", 0),
        left_out=LeftOutHoldout(
            disputed=left_out.disputed, set_aside=left_out.set_aside, low=left_out.low, high=left_out.high
        ),
        nll=measured(metrics.get("nll")),
        brier=measured(metrics.get("brier")),
        ece=measured(metrics.get("ece")),
        classes=[
            Recall(label_class=each.pk, name=each.name, recall=measured(each.recall), n=each.total)
            for each in (class_rows(row) if metrics else [])
        ],
        reliability=[
            Bin(**{**each, "accuracy": measured(each["accuracy"])}) for each in metrics.get("reliability", [])
        ],
        verdict=list(verdict.sentences) if verdict else [],
        phase_seconds=row.phase_seconds,
        settings=row.config,
        seed=row.seed,
        training_digest=row.training_digest,
    )
