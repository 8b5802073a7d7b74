"""Rounds whose models were measured: on the holdout, and by the labels that came with the images."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import F, Q
from django.db.models.fields.json import KT
from django.utils.translation import gettext as _

from labeler.models import Project, Round, RoundState, Standing, Trigger
from labeler.numerals import numeral
from labeler.selectors.features import features_words
from labeler.selectors.pool import says_something
from labeler.selectors.verdicts import TAGS

OFF = (Standing.REFUSED, Standing.ASIDE, Standing.ROLLED_BACK)


@dataclass(frozen=True)
class Point:
    number: int
    answers: int
    value: float
    low: float
    high: float
    n: int
    standing: str = ""
    is_in_charge: bool = False
    sees: str = ""  # by what images were seen, in words

    @property
    def is_off(self) -> bool:
        """Its model is not among those that took charge."""
        return self.standing in OFF

    @property
    def is_aside(self) -> bool:
        return self.standing == Standing.ASIDE

    @property
    def words(self) -> str:
        if self.is_in_charge:
            return _("in charge")
        return str(TAGS[Standing(self.standing)][0]) if self.standing else ""

    @property
    def percent(self) -> str:
        value, low, high = _in_percent(self)
        return _("%(value)s %% (from %(low)s to %(high)s)") % {"value": value, "low": low, "high": high}

    @property
    def title(self) -> str:
        """All that the drawing says of it, for whoever points at it."""
        round_ = ", ".join(filter(None, [_("Round %(number)s") % {"number": self.number}, self.words]))
        values = {"round": round_, "percent": self.percent, "answers": numeral(self.answers), "n": numeral(self.n)}
        return (
            _("%(round)s: %(percent)s after %(answers)s answers (Wilson 95 %% interval, %(n)s holdout images)") % values
        )


@dataclass(frozen=True)
class Offered:
    """What a round's model gets right by the labels that came with the images (`labeler/learning/offered.py`)."""

    number: int
    answers: int
    value: float
    low: float
    high: float
    n: int

    @property
    def title(self) -> str:
        value, low, high = _in_percent(self)
        values = {"number": self.number, "value": value, "low": low, "high": high, "n": numeral(self.n),
                  "answers": numeral(self.answers)}  # fmt: skip
        return (
            _(
                "Round %(number)s: %(value)s %% (from %(low)s to %(high)s) after %(answers)s answers, by the labels "
                "that came with %(n)s images (Wilson 95 %% interval)"
            )
            % values
        )


def _in_percent(row: Point | Offered) -> list[str]:
    return [numeral(share * 100, 1) for share in (row.value, row.low, row.high)]


def measured_rounds(project: Project) -> tuple[list[Point], list[Offered]]:
    """Rounds with a model that was measured well enough on the holdout, and those that took charge and were compared
    with labels that came with the images; oldest first. Of their metrics only the accuracy is read."""
    parts = {name: KT(f"metrics__accuracy__{name}") for name in ("value", "low", "high", "n")}
    rows = (
        Round.objects.filter(project=project, state=RoundState.DONE)
        .filter(Q(metrics__has_key="accuracy") | Q(offered__isnull=False))
        .exclude(trigger=Trigger.COMPARISON)
        .order_by("number")
        .annotate(**parts, at=F("answers_spent"))
        .values_list("number", "at", *parts, "standing", "pk", "config__features", "config__has_likeness", "offered")
    )
    points, compared = [], []
    for number, at, value, low, high, n, standing, pk, features, is_alike, offered in rows:
        if n is not None and says_something({"n": int(n)}):
            is_in_charge, sees = pk == project.model_round_id, sight_words(features, is_alike=bool(is_alike))
            point = Point(number, at, float(value), float(low), float(high), int(n), standing, is_in_charge, sees)
            points.append(point)
        if offered and standing not in OFF and says_something(offered):
            share = (offered[name] for name in ("value", "low", "high", "n"))
            compared.append(Offered(number, at, *share))
    return points, compared


def sight_words(features: str | None, *, is_alike: bool) -> str:
    """By what images are seen: `pixels`, or `likeness by features of efficientnet_lite0`."""
    seen = features_words(features)
    return _("likeness by %(seen)s") % {"seen": seen} if is_alike else seen
