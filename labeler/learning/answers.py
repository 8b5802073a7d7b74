"""What a project's answers say of its labels and its people: read from the database, measured by the learner."""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from labeler import clock
from labeler.models import Annotation, GoldImage, LabelClass, Outcome, Project
from labeler.models.rounds import NOT_OF_THE_POOL
from labeler.selectors.classes import MEANING
from labeler.services.quality import LEAST_IMAGES, MeasuredAnswers, MeasuredPerson, kind_of

if TYPE_CHECKING:
    from learner.dawid_skene import Answers, People
    from learner.metrics import Interval

Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
PAUSE_SECONDS = 120  # an answer that took longer had a break in it
UNTOLD_FOR = timedelta(days=1)  # a number that moves with an answer would tell which image was gold
STRATA = 4  # of how unsure the model was, beside images that it did not choose
NONE = -1
READ = 20_000
COLUMNS = (
    "image_id", "annotator_id", MEANING, "seconds", "candidate__percentile", "outcome", "candidate__reason",
    "is_decision", "created_at", "is_grid",
)  # fmt: skip


@dataclass(frozen=True)
class Table:
    """Live answers as columns, oldest first; images, people and classes as numbers, `class_n` NONE if it names none."""

    images: list[int]
    people: list[int]
    classes: list[int]
    image_n: Integers
    person_n: Integers
    class_n: Integers
    seconds_n: npt.NDArray[np.float64]
    percentile_n: npt.NDArray[np.float64]
    outcome_n: npt.NDArray[np.str_]
    reason_n: npt.NDArray[np.str_]
    is_decision_n: Mask
    is_gold_n: Mask  # on a gold image, given after it was marked and by somebody else
    is_of_gold_n: Mask  # on a gold image at all
    is_old_n: Mask  # given so long ago that what it says may be told to who gave it
    gold_N: Integers  # the known class of each image, NONE where it is not gold
    decided_N: Integers  # what a manager has decided, NONE elsewhere
    is_grid_n: Mask  # accepted on a page of tiles: no word of a person on one image, so `class_n` is NONE

    @property
    def is_label_n(self) -> Mask:
        is_label: Mask = self.class_n != NONE
        return is_label


def measure_answers(*, project: Project) -> MeasuredAnswers:
    """Everything at once, from all live answers: some seconds at 100,000."""
    table = read_table(project)
    answers, people = fit(table)
    return MeasuredAnswers(
        right=people.right if people is not None else None,
        classes=table.classes,
        prior=people.prior_C.tolist() if people is not None else [],
        stats=_project_stats(table, answers),
        people=_people(table, people),
    )


def read_table(project: Project) -> Table:
    live = Annotation.objects.filter(project=project, retracted_at__isnull=True).exclude(outcome=Outcome.UNDO)
    rows = list(live.order_by("pk").values_list(*COLUMNS).iterator(READ))
    columns: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * len(COLUMNS)
    images, image_n = _numbered(columns[0])
    people, person_n = _numbered(columns[1])
    classes = list(LabelClass.objects.filter(project=project).values_list("pk", flat=True))
    number = {pk: at for at, pk in enumerate(classes)}
    class_n = np.array([NONE if pk is None else number[pk] for pk in columns[2]], np.int64)
    is_decision_n, is_grid_n = np.array(columns[7], np.bool_), np.array(columns[9], np.bool_)
    class_n[is_grid_n] = NONE
    gold = {row.image_id: row for row in GoldImage.objects.filter(project=project).annotate(meaning=MEANING)}
    decided_N, gold_N = np.full(len(images), NONE), np.full(len(images), NONE)
    decided_N[image_n[is_decision_n]] = class_n[is_decision_n]  # the newest counts
    for at, pk in enumerate(images):
        if pk in gold:
            gold_N[at] = number[gold[pk].meaning]
    is_gold_n = [
        (row := gold.get(image)) is not None and person != row.created_by_id and created > row.created_at
        for image, person, created in zip(columns[0], columns[1], columns[8], strict=True)
    ]
    is_old_n = [created < clock.now() - UNTOLD_FOR for created in columns[8]]
    return Table(
        images, people, classes, image_n, person_n, class_n, _floats(columns[3]), _floats(columns[4]),
        np.array(columns[5], str), np.array([reason or "" for reason in columns[6]], str), is_decision_n,
        np.array(is_gold_n, np.bool_), gold_N[image_n] != NONE, np.array(is_old_n, np.bool_), gold_N, decided_N,
        is_grid_n,
    )  # fmt: skip


def fit(table: Table) -> tuple[Answers | None, People | None]:
    """Dawid and Skene's model on what can tell of errors: images with two labels or a known class.

    What was said on a gold image before it was gold counts for nothing: its class may have been taken from there. Nor
    do decisions count as answers; they are the truth.
    """
    from learner.dawid_skene import Answers, fit_people

    if len(table.classes) < 2 or not len(table.image_n):
        return None, None
    known_N = np.where(table.gold_N != NONE, table.gold_N, table.decided_N)
    usable = table.is_label_n & ~table.is_decision_n & (~table.is_of_gold_n | table.is_gold_n)
    several = np.bincount(table.image_n[usable], minlength=len(table.images)) >= 2
    usable &= (several | (known_N != NONE))[table.image_n]
    kept, image_n = np.unique(table.image_n[usable], return_inverse=True)
    answers = Answers(
        image_n, table.person_n[usable], table.class_n[usable], len(kept), len(table.people), len(table.classes),
        known_N[kept],
    )  # fmt: skip
    return answers, fit_people(answers) if len(kept) >= LEAST_IMAGES else None


def _project_stats(table: Table, answers: Answers | None) -> dict[str, Any]:
    from learner.agreement import alpha_interval

    # Images that are asked again, or are gold, were not drawn as the others were; who decides has seen what was said.
    alike = table.is_label_n & ~table.is_decision_n & ~table.is_of_gold_n & ~np.isin(table.reason_n, NOT_OF_THE_POOL)
    paired = np.bincount(table.image_n[alike], minlength=len(table.images)) >= 2
    is_enough = paired.sum() >= LEAST_IMAGES
    alpha = alpha_interval(table.image_n[alike], table.class_n[alike]) if is_enough else None
    return {
        "answers": len(table.image_n),
        "kinds": _kinds(table, np.ones(len(table.image_n), np.bool_)),
        "paired": int(paired.sum()),
        "alpha": _json(alpha),
        "of_one_class": alpha is None and bool(is_enough),
        "evidence": answers.n_images if answers is not None else 0,
        "evidence_wanted": LEAST_IMAGES,
        "gold_images": int((table.gold_N != NONE).sum()),
        "gold": _json(_share(table, table.is_gold_n & (table.outcome_n != Outcome.SKIP), least=1)),
    }


def _people(table: Table, fitted: People | None) -> dict[int, MeasuredPerson]:
    """Of each person who has answered."""
    from learner.annotators import agreement_with_others

    votes = table.is_label_n & ~table.is_decision_n & ~table.is_of_gold_n
    says = np.full(len(table.image_n), NONE, np.int8)
    says[votes] = agreement_with_others(
        table.image_n[votes], table.class_n[votes], len(table.images), max(1, len(table.classes)), table.decided_N
    )
    strata, weights = _strata(table, says)
    found = {}
    for number, pk in enumerate(table.people):
        own = table.person_n == number
        confusion = fitted.confusion_P_C_C if fitted is not None else None
        found[pk] = MeasuredPerson(
            trust=round(float(fitted.right_P[number]), 6) if fitted is not None else None,
            confusion=None if confusion is None else np.round(confusion[number], 6).tolist(),
            stats=_person_stats(table, own, says, strata, weights),
        )
    return found


def _person_stats(
    table: Table, own: Mask, says: npt.NDArray[np.int8], strata: Integers, weights: npt.NDArray[np.float64]
) -> dict[str, Any]:
    from learner.annotators import median_interval, share, standardised_share

    timed = table.seconds_n[own & ~table.is_decision_n]
    timed = timed[(timed > 0) & (timed <= PAUSE_SECONDS)]
    judged = own & (says != NONE)
    gold = own & table.is_gold_n & (table.outcome_n != Outcome.SKIP)
    return {
        "answers": int(own.sum()),
        "kinds": _kinds(table, own),
        "labels": int((own & (table.outcome_n == Outcome.LABEL)).sum()),
        "grid": int((own & table.is_grid_n).sum()),
        "skips": int((own & (table.outcome_n == Outcome.SKIP)).sum()),
        "unsure": int((own & (table.outcome_n == Outcome.UNSURE)).sum()),
        "seconds": _json(median_interval(timed)),
        "timed": len(timed),
        "judged": int(judged.sum()),
        "agreement": _json(share(says[judged] == 1)),
        "adjusted": _json(standardised_share(says[judged] == 1, strata[judged], weights)),
        "gold_answers": int(gold.sum()),
        "gold": _json(_share(table, gold, least=1)),
        "gold_told": _json(_share(table, gold & table.is_old_n, least=1)),
    }


def _share(table: Table, chosen: Mask, least: int) -> Interval | None:
    """Of answers on gold images those that name the known class."""
    from learner.annotators import share

    return share(table.class_n[chosen] == table.gold_N[table.image_n[chosen]], least)


def _strata(table: Table, says: npt.NDArray[np.int8]) -> tuple[Integers, npt.NDArray[np.float64]]:
    """How hard each image was: by quarters of how unsure the model was that chose it; apart, all others."""
    judged = says != NONE
    chosen = ~np.isnan(table.percentile_n)
    strata = np.zeros(len(says), np.int64)
    if (judged & chosen).any():
        cuts = np.quantile(table.percentile_n[judged & chosen], np.arange(1, STRATA) / STRATA)
        strata[chosen] = 1 + np.searchsorted(cuts, table.percentile_n[chosen], side="left")
    return strata, np.bincount(strata[judged], minlength=STRATA + 1).astype(float)


def _kinds(table: Table, chosen: Mask) -> dict[str, int]:
    columns = (table.reason_n, table.is_decision_n, table.is_grid_n)
    counted = Counter(zip(*(column[chosen].tolist() for column in columns), strict=True))
    kinds: Counter[str] = Counter()
    for (reason, is_decision, is_grid), n in counted.items():
        kinds[kind_of(reason, is_decision=is_decision, is_grid=is_grid)] += n
    return dict(kinds)


def _numbered(ids: Sequence[int]) -> tuple[list[int], Integers]:
    known, number = np.unique(np.array(ids, np.int64), return_inverse=True)
    return known.tolist(), number.astype(np.int64)


def _floats(values: Sequence[float | None]) -> npt.NDArray[np.float64]:
    return np.array([math.nan if value is None else value for value in values], np.float64)


def _json(interval: Interval | None) -> dict[str, Any] | None:
    if interval is None:
        return None
    return {name: getattr(interval, name) for name in ("value", "low", "high", "n")}
