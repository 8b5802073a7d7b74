"""Where the learning curve leads, and whether to go on: the sentences and the reasons for them.

Beside scores.py the one module of selectors that reaches the learner: `learner.forecast` is numpy alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from labeler.intervals import Interval
from labeler.models import Image, ImageState, Project
from labeler.numerals import localised, numeral
from labeler.selectors.ahead import BetterAside, better_aside, why_to_wait
from labeler.selectors.curve import Curve, with_outlook
from labeler.selectors.measured import Point
from labeler.selectors.pool import PoolCounts, answers_to_ask
from labeler.selectors.spent import answers_spent

if TYPE_CHECKING:
    from learner.forecast import Forecast

NEXT = 100  # answers that the advice is about
FAR = 0.5  # of the answers so far, that the curve is drawn ahead
LEAST_GAIN = 0.003  # of accuracy: less than that for the next answers is not worth them
SMALL = 0.01  # of accuracy: whose interval reaches further may bring something yet
HARDLY = 0.1  # a target that is reached with less probability than this is hardly ever reached
MOST_TIMES = 10  # an interval that reaches past so many times the answers of now says nothing


@dataclass(frozen=True)
class Reach:
    """Further answers to the target: an interval, or `high` None where it may never be reached."""

    value: int | None
    low: int
    high: int | None
    chance: float  # that any number of answers reaches it
    target: str  # in words
    left: int | None = None  # answers that can still be asked, where those are fewer


@dataclass(frozen=True)
class Advice:
    """`kind`: met, early, over, worth, not_worth or open. `gain`: of accuracy, by the next answers."""

    kind: str
    title: str
    reason: str
    gain: Interval | None = None
    reach: Reach | None = None
    is_hardly: bool = False

    @property
    def is_to_stop(self) -> bool:
        """Whether it speaks against further answers."""
        return self.kind == "not_worth" or self.is_hardly


def forecast_of(points: Sequence[Point]) -> Forecast | None:
    """From the rounds whose models took charge. None: too early to say."""
    from learner.forecast import forecast

    rows = _counting(points)
    wrong = [round((1 - row.value) * row.n) for row in rows]
    return forecast([row.answers for row in rows], wrong, [row.n for row in rows], [row.sees for row in rows])


def _counting(points: Sequence[Point]) -> list[Point]:
    return sorted((row for row in points if not row.is_off), key=lambda row: row.answers)


def _why_early(project: Project, points: Sequence[Point]) -> str:
    """What is missing before a curve can be fitted, in numbers; one statement where it is holdout images."""
    from learner.forecast import LEAST_IMAGES, lacking

    rows = _counting(points)
    needs = lacking([row.answers for row in rows], [row.n for row in rows])
    if needs.images:
        there = Image.objects.filter(project=project, is_holdout=True).exclude(state=ImageState.BAD).count()
        if there < LEAST_IMAGES:
            words = ngettext(
                "It takes rounds that are measured on %(least)s holdout images, and there is only %(count)s here: "
                "import more images.",
                "It takes rounds that are measured on %(least)s holdout images, and there are only %(count)s here: "
                "import more images.",
                there,
            )
            return words % {"least": LEAST_IMAGES, "count": numeral(there)}
        words = ngettext(
            "It takes rounds that are measured on %(least)s holdout images: %(count)s more holdout answer.",
            "It takes rounds that are measured on %(least)s holdout images: %(count)s more holdout answers.",
            needs.images,
        )
        return words % {"least": LEAST_IMAGES, "count": numeral(needs.images)}
    parts = []
    if needs.rounds:
        parts.append(
            ngettext("%(count)s more measured round", "%(count)s more measured rounds", needs.rounds)
            % {"count": numeral(needs.rounds)}
        )
    if needs.answers:
        parts.append(
            ngettext(
                "%(count)s more answer, which makes twice those of the first round that counts",
                "%(count)s more answers, which makes twice those of the first round that counts",
                needs.answers,
            )
            % {"count": numeral(needs.answers)}
        )
    return _("Still needed: %(what)s.") % {"what": _(" and ").join(parts)}


def is_all_asked(counts: PoolCounts | None) -> bool:
    """Whether no image waits for an answer any more; not as long as there are no images."""
    return counts is not None and counts.total > 0 and not counts.eligible + counts.holdout_waiting


def curve_ahead(project: Project, curve: Curve, counts: PoolCounts | None = None) -> Curve:
    """The curve with its target, and what is expected of the next answers: nothing while a model is kept in charge, or
    where no image waits for one."""
    fitted = forecast_of(curve.points)
    outlook = []
    if fitted is not None and project.model_kept_since is None and not is_all_asked(counts):
        far = _as_far(project, fitted.now * FAR, fitted.now, counts)
        for part in (0.0, 0.2, 0.4, 0.7, 1.0):
            at = fitted.now + part * far
            error = fitted.error_at(at)
            outlook.append((at, 1 - error.high, 1 - error.value, 1 - error.low))
    return with_outlook(curve, project.target_accuracy, outlook)


def _as_far(project: Project, wanted: float, now: float, counts: PoolCounts | None) -> float:
    """Of so many answers after the newest round those that there can be: given since, or still to be asked."""
    if counts is None or (left := answers_to_ask(project, counts)) >= wanted:
        return wanted
    return min(wanted, left + max(0.0, answers_spent(project) - now))


def advice_of(project: Project, points: Sequence[Point], counts: PoolCounts | None = None) -> Advice:
    """Whether the next answers are worth their while, with the numbers that say so. `counts`: of the images, to see
    whether there is anything to ask."""
    target, charge = project.target_accuracy, next((row for row in points if row.is_in_charge), None)
    model = charge or next((row for row in reversed(points) if not row.is_off), None)
    if target is not None and model is not None and model.low >= target:
        return Advice("met", _("Target met"), _met(model, target))
    if kept := _why_kept(project, charge):
        return Advice("early", _("A model is kept in charge"), kept)
    if counts is not None and is_all_asked(counts):
        return _over(counts)
    fitted = forecast_of(points)
    if fitted is None:
        return Advice("early", _("Too early to say"), _why_early(project, points))
    advice = _by_fit(fitted, target, model, None if counts is None else answers_to_ask(project, counts))
    if advice.is_to_stop and (wait := why_to_wait(project, max(points, key=lambda row: row.number, default=None))):
        return Advice("early", _("Too early to say"), wait)
    return advice


def _over(counts: PoolCounts) -> Advice:
    if disputed := counts.disputed + counts.holdout_disputed:
        words = ngettext(
            "All images have been asked about; people disagree about %(images)s. Settle it, or have it asked again; "
            "beyond that, import more images.",
            "All images have been asked about; people disagree about %(images)s. Settle them, or have them asked "
            "again; beyond that, import more images.",
            disputed,
        )
        return Advice("over", _("Nothing new is left to ask"), words % {"images": numeral(disputed)})
    words = _("No image waits for an answer: import more, or export the labels.")
    return Advice("over", _("Nothing is left to ask"), words)


def _why_kept(project: Project, charge: Point | None) -> str:
    """Why rounds change nothing here at the moment; empty if they do."""
    if project.model_kept_since is None:
        return ""
    if charge is None:
        return _(
            "A person keeps a model in charge. Rounds that are made meanwhile do not count here; those after its "
            "release do."
        )
    words = _(
        "This stands at round %(number)s, after %(answers)s answers: its model is kept in charge, and rounds that are "
        "made meanwhile do not count here. Those after its release do."
    )
    stands, aside = words % {"number": charge.number, "answers": numeral(charge.answers)}, better_aside(project)
    return f"{stands} {_why_release(aside, charge)}" if aside is not None else stands


def _why_release(aside: BetterAside, charge: Point) -> str:
    words = _(
        "The model of round %(number)s, made aside, is better by %(value)s points (95 %% interval %(low)s to "
        "%(high)s): released, round %(kept)s gives way to the next."
    )
    return words % {"number": aside.number, "kept": charge.number, **_points(aside.difference)}


def _by_fit(fitted: Forecast, target: float | None, model: Point | None, left: int | None) -> Advice:
    """`left`: answers that can still be asked; None: it is not known."""
    more = NEXT if left is None else min(NEXT, left)
    span = fitted.worth(more)
    gain = Interval(span.value, span.low, span.high, more)
    reach = _reach(fitted, target, left) if target is not None else None
    if reach is not None and target is not None and reach.chance < HARDLY:
        reason = _(
            "Going by its rounds, this model levels off below the target of %(target)s: that more answers "
            "alone ever reach it has a probability of %(chance)s. Other images, classes or settings might."
        ) % {"target": reach.target, "chance": numeral(reach.chance, 2)}
        return Advice("not_worth", _("Not worth going on like this"), reason, gain, reach)
    return _by_gain(gain, reach, target, model)


def _met(model: Point, target: float) -> str:
    return _(
        "Round %(number)s is %(value)s right on %(n)s holdout images; its whole 95 %% interval (%(low)s to %(high)s) "
        "lies at or above the target of %(target)s."
    ) % {
        "number": model.number,
        "value": _percent(model.value),
        "n": numeral(model.n),
        "low": _percent(model.low),
        "high": _percent(model.high),
        "target": _target(target),
    }


def _by_gain(gain: Interval, reach: Reach | None, target: float | None, model: Point | None) -> Advice:
    points = _points({"value": gain.value, "low": gain.low, "high": gain.high})
    words = _("The next %(count)s answers are worth %(value)s points of accuracy (95 %% interval %(low)s to %(high)s).")
    if gain.n < NEXT:
        words = ngettext(
            "The only answer that can still be asked is worth %(value)s points of accuracy (95 %% interval %(low)s to "
            "%(high)s).",
            "The %(count)s answers that can still be asked are worth %(value)s points of accuracy (95 %% interval "
            "%(low)s to %(high)s).",
            gain.n,
        )
    words %= {"count": gain.n, **points}
    if target is not None and model is not None and model.value >= target:
        near = _(
            "The model measures %(value)s, which is at the target, but its interval begins at %(low)s: more holdout "
            "answers would make sure."
        ) % {"value": _percent(model.value), "low": _percent(model.low)}
        return Advice("open", _("Nearly there"), f"{words} {near}", gain, reach)
    bar = {"least": localised(f"{100 * LEAST_GAIN:g}")}
    if gain.value >= LEAST_GAIN:
        return Advice("worth", _("Worth going on"), words, gain, reach)
    if gain.high < LEAST_GAIN and (reach is None or reach.value is None):
        why = _("Even the upper end is below %(least)s points, which is less than such a round moves by chance.") % bar
        return Advice("not_worth", _("Not worth going on"), f"{words} {why}", gain, reach)
    if gain.high < SMALL:
        why = _("The expected gain is below %(least)s points, which is less than such a round moves by chance.") % bar
        return Advice("open", _("Hardly worth it, perhaps"), f"{words} {why}", gain, reach, is_hardly=True)
    why = _("Its upper end leaves open whether they are worth it: further rounds tell.")
    return Advice("early", _("Too early to say"), f"{words} {why}", gain, reach)


def _points(share: Mapping[str, float]) -> dict[str, str]:
    """Value, low and high of a difference of shares, in points with their sign; small ones in hundredths."""
    digits = 1 if max(abs(share["low"]), abs(share["high"])) >= SMALL else 2
    names = ("value", "low", "high")
    return {name: localised(f"{100 * share[name]:+.{digits}f}".replace("-", "−")) for name in names}


def _reach(fitted: Forecast, target: float, left: int | None) -> Reach:
    span, now = fitted.answers_to(target), fitted.now
    more = [None if math.isinf(each) or each > MOST_TIMES * now else each for each in (span.value, span.high)]
    value, high = (None if each is None else max(0, _rounded(each - now)) for each in more)
    low = min(span.low, MOST_TIMES * now)
    least = max(0, _rounded(low - now))
    is_short = left is not None and left < (least if value is None else value)
    return Reach(value, least, high, fitted.chance_of(target), _target(target), left if is_short else None)


def _rounded(answers: float) -> int:
    """To two digits: nobody knows more."""
    size = 10 ** max(0, math.floor(math.log10(max(1.0, abs(answers)))) - 1)
    return int(round(answers / size) * size)


def _percent(share: float) -> str:
    return f"{numeral(100 * share, 1)} %"


def _target(share: float) -> str:
    return f"{localised(f'{100 * share:.4g}')} %"
