"""The model in charge: which one it is, and a person's word on that. Managers only."""

from __future__ import annotations

from datetime import datetime

from django.http import Http404, HttpRequest
from pydantic import Field

from labeler.access import manager_access
from labeler.api.operations import NONE, Id, In, Nothing, Operations, Out
from labeler.api.shapes import Measured, Outcome, accuracy_of
from labeler.models import Round
from labeler.selectors.charge import charge_of
from labeler.services.rollback import put_in_charge, release_model

router = Operations("Model in charge")
ROOT = "/projects/{slug:slug}/model"


class Charge(Out):
    round: int | None = Field(description="Whose model it is; null: there is none yet.")
    accuracy: Measured | None
    kept_since: datetime | None = Field(description="Since when a person keeps it there; null: nobody does.")
    kept_by: str


class Choice(In):
    round: Id


@router.read(ROOT, Charge, who="manager")
def read_model(request: HttpRequest, slug: str) -> Charge:
    """Which model is in charge."""
    charge = charge_of(manager_access(request, slug).project)
    model = charge.model
    return Charge(
        round=model.number if model is not None else None,
        accuracy=accuracy_of(model.metrics if model is not None else None),
        kept_since=charge.kept_since,
        kept_by=charge.kept_by,
    )


@router.act(f"{ROOT}/choose", Outcome)
def choose_model(request: HttpRequest, slug: str, body: Choice) -> Outcome:
    """Put the model of a done round in charge and keep it there. The queue is made again."""
    access = manager_access(request, slug)
    round_ = Round.objects.filter(project=access.project, number=body.round).first()
    if round_ is None:
        raise Http404("No such round")
    changed = put_in_charge(round_=round_, by=access.user)
    words = "It is in charge, until somebody releases it." if changed else "It was kept in charge already."
    return Outcome(changed=changed, detail=words)


@router.act(f"{ROOT}/release", Outcome)
def release_model_(request: HttpRequest, slug: str, body: Nothing = NONE) -> Outcome:  # noqa: ARG001
    """Let later rounds take charge again."""
    access = manager_access(request, slug)
    changed = release_model(project=access.project, by=access.user)
    return Outcome(changed=changed, detail="Released." if changed else "No model was kept in charge.")
