"""Is it worth it? What answers were spent on, what the order saved, and how right the model's own labels would be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from django.db.models import Count, F, Q, Sum
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from labeler.intervals import Interval, exact_share, mean_of_sums
from labeler.models import JobState, Project, Replay, Round
from labeler.models.jobs import UNFINISHED_JOB
from labeler.numerals import localised, numeral
from labeler.selectors.charge import charge_of
from labeler.selectors.effort import PAUSE_SECONDS
from labeler.selectors.left_out import states_left_out
from labeler.selectors.pool import LEAST_HOLDOUT, labelled_images, waiting_positions
from labeler.selectors.scores import NoScores, predicted_classes, probability, summary_of
from labeler.selectors.spent import spent_answers
from labeler.services.quality import KINDS, kind_of

Floats = npt.NDArray[np.floating]
Booleans = npt.NDArray[np.bool_]
NO_MODEL = gettext_lazy("No model is in charge yet. The first round that learns makes one.")
THRESHOLDS = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)


@dataclass(frozen=True)
class Cost:
    """Answers of one kind, and what they took of people's time. `seconds`: of those that were timed, without breaks."""

    name: str
    words: str
    answers: int
    timed: int
    seconds: float
    each: Interval | None

    @property
    def estimated(self) -> float | None:
        """Of all of them, as if the others had taken as long."""
        return self.each.value * self.answers if self.each else None


@dataclass(frozen=True)
class Costs:
    kinds: Sequence[Cost]
    answers: int
    seconds: float

    def share(self, cost: Cost) -> float:
        return cost.answers / self.answers if self.answers else 0.0


def costs_of(project: Project) -> Costs:
    """Answers by what they were spent on. One statement, which reads all of them."""
    is_timed = Q(seconds__gt=0, seconds__lte=PAUSE_SECONDS)
    rows = (
        spent_answers(project)
        .order_by()
        .values("candidate__reason", "is_decision", "is_grid")
        .annotate(
            n=Count("pk"),
            timed=Count("pk", filter=is_timed),
            total=Sum("seconds", filter=is_timed),
            squares=Sum(F("seconds") * F("seconds"), filter=is_timed),
        )
    )
    n: Counter[str] = Counter()
    timed: Counter[str] = Counter()
    sums: dict[str, float] = {}
    squares: dict[str, float] = {}
    for row in rows:
        kind = kind_of(row["candidate__reason"] or "", is_decision=row["is_decision"], is_grid=row["is_grid"])
        n[kind] += row["n"]
        timed[kind] += row["timed"]
        sums[kind] = sums.get(kind, 0.0) + (row["total"] or 0.0)
        squares[kind] = squares.get(kind, 0.0) + (row["squares"] or 0.0)
    kinds = [
        Cost(kind, str(words), n[kind], timed[kind], sums[kind], _each(timed[kind], sums[kind], squares[kind]))
        for kind, words in KINDS.items()
        if n[kind]
    ]
    return Costs(kinds, sum(n.values()), sum(sums.values()))


def _each(timed: int, total: float, squares: float) -> Interval | None:
    return mean_of_sums(total, squares, timed) if timed > 1 else None


@dataclass(frozen=True)
class Saved:
    """What the newest replay says; `interval` None: none has been played."""

    interval: Interval | None
    words: str

    @property
    def is_known(self) -> bool:
        return self.interval is not None


def saved_by_order(project: Project) -> Saved:
    result = (
        Replay.objects.filter(project=project, state=JobState.DONE).order_by("-pk").values_list("result", flat=True)
    ).first()
    if not result:
        return Saved(None, _why_not_known(project))
    value, low, high = result["saved"]
    interval = Interval(value, low, high, int(result["answers"][-1]))
    if low > 0:
        words = _("The ordering has saved %(value)s answers (95 %% interval %(low)s to %(high)s) against random.")
    elif high < 0:
        value, low, high = -value, -high, -low
        words = _(
            "The ordering has cost %(value)s more answers (95 %% interval %(low)s to %(high)s) than random would have."
        )
    else:
        words = _("Whether the ordering has saved answers is too early to say: %(low)s to %(high)s against random.")
    return Saved(interval, words % {"value": numeral(value), "low": numeral(low), "high": numeral(high)})


def _why_not_known(project: Project) -> str:
    playing = Replay.objects.filter(project=project, state__in=UNFINISHED_JOB).values_list("done", "total").first()
    if playing is None:
        return _("Whether the ordering has saved answers is not known yet: no replay has been played.")
    if not playing[1]:
        return _("Whether the ordering has saved answers is not known yet: a replay is waiting for a worker.")
    counts = {"done": numeral(playing[0]), "total": numeral(playing[1])}
    words = _("Whether the ordering has saved answers is being found out: %(done)s of %(total)s models of a replay.")
    return words % counts


# --- The model's own labels ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Threshold:
    """Accepting what the model says of every image with at least this probability. `right`: measured on the holdout."""

    probability: float
    images: int  # that wait, and would be accepted
    measured: int  # holdout images that it was measured on
    right: Interval | None
    worst: float | None = None  # the lower end, were all images wrong that were left out

    @property
    def worst_words(self) -> str:
        return "" if self.worst is None else f"{numeral(100 * self.worst, 1)} %"


@dataclass(frozen=True)
class AutoLabels:
    """`rows`: from the lowest threshold up; the intervals hold all at once. `best`: the lowest that keeps the goal."""

    model: Round | None
    rows: Sequence[Threshold]
    waiting: int
    measured: int
    goal: float
    best: Threshold | None = None
    problem: str = ""
    left_out: int = 0  # holdout images that it knows, answered and without a label
    newer: int = 0  # images that wait and that it does not know: they came after it

    @property
    def goal_words(self) -> str:
        return f"{localised(f'{100 * self.goal:.4g}')} %"


def auto_labels(project: Project) -> AutoLabels:
    """How right the labels of the model in charge would be, by the holdout, which nobody has learned from.

    It is a random sample as long as none of it is left out.
    """
    model, goal = charge_of(project).model, project.target_accuracy or 0.99
    if model is None:
        return AutoLabels(None, [], 0, 0, goal, problem=str(NO_MODEL))
    try:
        scores = summary_of(model)
        said = predicted_classes(model, scores)
    except NoScores as error:
        return AutoLabels(model, [], 0, 0, goal, problem=str(error))
    holdout = labelled_images(project, is_holdout=True).values_list("position", "label_id")
    labels = [row for row in holdout if row[0] < len(scores)]
    if len(labels) < LEAST_HOLDOUT:
        problem = _("It is measured on holdout images with a label: %(labelled)s so far, %(least)s are the least.") % {
            "labelled": len(labels),
            "least": LEAST_HOLDOUT,
        }
        return AutoLabels(model, [], 0, len(labels), goal, problem=problem)
    at = np.array([position for position, _ in labels], np.int64)
    is_right = said[at] == np.array([label for _, label in labels], np.int64)
    without = np.array([each for each in states_left_out(project) if each < len(scores)], np.int64)
    all_waiting = waiting_positions(project, is_holdout=False)
    waiting = all_waiting[all_waiting < len(scores)]
    sure, sure_of_measured, sure_of_without = (probability(scores, each) for each in (waiting, at, without))
    rows = [
        _threshold(level, sure, sure_of_measured, is_right, int((sure_of_without >= level).sum()))
        for level in THRESHOLDS
    ]
    best = next((row for row in rows if row.right and row.images and row.right.low >= goal), None)
    rows = [row for row in rows if row.images or row.measured]  # the intervals were made for all
    newer = len(all_waiting) - len(waiting)
    return AutoLabels(model, rows, len(waiting), len(labels), goal, best, left_out=len(without), newer=newer)


def _threshold(level: float, sure: Floats, sure_of_measured: Floats, is_right: Booleans, without: int) -> Threshold:
    right, measured = int(is_right[sure_of_measured >= level].sum()), int((sure_of_measured >= level).sum())
    confidence = 1 - 0.05 / len(THRESHOLDS)
    worst = exact_share(right, measured + without, confidence=confidence) if without else None
    return Threshold(
        level,
        int((sure >= level).sum()),
        measured,
        exact_share(right, measured, confidence=confidence),
        worst.low if worst is not None else None,
    )
