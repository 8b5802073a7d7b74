"""The model in charge, and who keeps it there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _

from labeler.models import ModelChange, Project, Round, RoundState, Standing, Trigger
from labeler.round_files import SCORES, has_file


@dataclass(frozen=True)
class Charge:
    """Which model is in charge at a moment; `kept_since`: a person keeps it there, whatever later rounds bring."""

    model: Round | None
    kept_by: str
    kept_since: datetime | None

    @property
    def model_id(self) -> int | None:
        return self.model.pk if self.model else None

    @property
    def is_kept(self) -> bool:
        return self.kept_since is not None


def charge_of(project: Project) -> Charge:
    """As it is now."""
    row = Project.objects.select_related("model_round", "model_kept_by").get(pk=project.pk)
    kept_by = row.model_kept_by.get_username() if row.model_kept_by else _("somebody who has left")
    return Charge(row.model_round, kept_by if row.model_kept_since else "", row.model_kept_since)


def in_charge(project: Project, rounds: Sequence[Round]) -> Round | None:
    """Of some rounds, newest first, the one whose model is in charge; where none is, the newest that is no comparison,
    and the newest of all where there are only such."""
    found = next((row for row in rounds if row.pk == project.model_round_id), None)
    usual = next((row for row in rounds if row.trigger != Trigger.COMPARISON), None)
    return found or usual or next(iter(rounds), None)


def why_not_in_charge(round_: Round) -> str:
    """Empty if its model can be put in charge, else what speaks against it."""
    if round_.trigger == Trigger.COMPARISON:
        return _("A comparison is only looked at. Choose its settings for the project, and the next round has them.")
    if round_.state != RoundState.DONE or not round_.folder:
        return _("Round %(number)s has no model.") % {"number": round_.number}
    if not has_file(round_, SCORES):
        words = _("The score files of round %(number)s are gone, so nothing can be chosen by its model.")
        return words % {"number": round_.number}
    return ""


@dataclass(frozen=True)
class ChargeOfRound:
    """What a round's page says of who is in charge."""

    charge: Charge
    is_in_charge: bool
    why_not: str
    later: int  # rounds after it whose models took charge: they would be rolled back
    changes: Sequence[ModelChange]

    @property
    def can_be_put(self) -> bool:
        return not self.why_not and not (self.is_in_charge and self.charge.is_kept)


def charge_of_round(project: Project, round_: Round) -> ChargeOfRound:
    charge = charge_of(project)
    took = [Standing.ACCEPTED, Standing.CHOSEN]
    later = Round.objects.filter(project=project, number__gt=round_.number, standing__in=took)
    return ChargeOfRound(
        charge=charge,
        is_in_charge=charge.model_id == round_.pk,
        why_not=why_not_in_charge(round_),
        later=later.count(),
        changes=list(ModelChange.objects.filter(round=round_).select_related("by", "former")[:10]),
    )
