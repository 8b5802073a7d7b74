"""Which model is in charge: written by whoever publishes a round, in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labeler.models import ModelChange, Project, Round, Standing
from labeler.selectors.charge import Charge


class ChargeMoved(Exception):
    """Another model was put in charge, or released, since this round was judged: it has to be judged again."""


@dataclass(frozen=True)
class Ruling:
    """What becomes of a round's model: where it stands, why, whose model chooses the queue, and which one was in charge
    when that was decided. `changes`: class by class against that one, for `Round.metrics`."""

    standing: str
    verdict: Mapping[str, Any]
    asked_by: Round
    seen: Charge
    changes: Sequence[Mapping[str, Any]] = ()

    @property
    def fields(self) -> dict[str, Any]:
        """Of the round that it is about."""
        return {"standing": self.standing, "verdict": dict(self.verdict), "asked_by": self.asked_by}


def check_charge(project: Project, seen: Charge) -> None:
    """`project` is locked. Raises ChargeMoved."""
    if (project.model_round_id, project.model_kept_since) != (seen.model_id, seen.kept_since):
        raise ChargeMoved


def take_charge(*, project: Project, round_: Round) -> None:
    """The model of an accepted round, in the transaction that publishes it; `project` is locked."""
    ModelChange.objects.create(
        project=project, kind=ModelChange.Kind.TOOK, round=round_, former_id=project.model_round_id
    )
    kept = {"model_kept_by": None, "model_kept_since": None}
    Project.objects.filter(pk=project.pk).update(model_round=round_, **kept)


def takes_over(ruling: Ruling) -> bool:
    return ruling.standing == Standing.ACCEPTED
