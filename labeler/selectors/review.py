"""What a manager reviews: images where people disagree, those of the holdout first that nobody else can settle, then
labels that the model doubts, the surest doubt first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db.models import Case, When
from django.utils.translation import gettext as _

from labeler.models import Annotation, GoldImage, Image, ImageState, LabelClass, Outcome, Project, Round
from labeler.selectors.answers import contested
from labeler.selectors.disputes import holdout_disputes
from labeler.selectors.predictions import Bar, class_look
from labeler.selectors.scores import NoScores, predicted_classes, prediction_of, probability, scored_round, summary_of

DISAGREE, DOUBT = "disagree", "doubt"
LIKELIER_THAN_NOT = 0.5
LISTED = 200  # doubts at once: the list is made again when it is through
SHOWN = 3  # classes of the model
BUTTONS = 30  # with more classes than this only those that were named get a button; a list has them all


@dataclass(frozen=True)
class Doubts:
    """Images whose label the model doubts, the surest doubt first; `problem`: why there is no model to ask."""

    image_ids: list[int]
    count: int
    round_number: int | None
    problem: str = ""


@dataclass(frozen=True)
class ReviewItem:
    image: Image
    answers: Sequence[Annotation]
    bars: Sequence[Bar]
    round: Round | None
    buttons: Sequence[LabelClass]
    others: Sequence[LabelClass]  # in a list, where there are too many for buttons
    said: dict[int, int]  # by class, how many people say it
    is_gold: bool
    doubt: str  # the class that the model says instead

    @property
    def seen(self) -> int:
        return max((answer.pk for answer in self.answers), default=0)

    @property
    def tally(self) -> list[tuple[LabelClass, int]]:
        meant = [answer.label_class.meaning for answer in self.answers if answer.label_class]
        known = {row.pk: row for row in meant}
        return [(known[pk], n) for pk, n in sorted(self.said.items(), key=lambda pair: -pair[1])]


def next_contested(project: Project, without: Sequence[int]) -> tuple[int | None, int]:
    """The first image where people disagree, and how many such there are; `without` those that were skipped.

    A disputed holdout image that nobody is left to be asked about comes first: until it is settled nothing is measured
    on it.
    """
    stuck = [each.image_id for each in holdout_disputes(project).stuck[:LISTED]]
    is_stuck = Case(When(pk__in=stuck, then=0), default=1)
    rows = contested(project).order_by(is_stuck, "pk") if stuck else contested(project)
    ids = list(rows.exclude(pk__in=without).values_list("pk", flat=True)[: LISTED + 1])
    count = len(ids) if len(ids) <= LISTED else contested(project).exclude(pk__in=without).count()
    return (ids[0] if ids else None), count


def doubts_of(project: Project) -> Doubts:
    """Reads all labels once. Those that a manager has decided, gold ones and the classes that the model did not know
    are left out."""
    round_ = scored_round(project, None)
    if round_ is None:
        return Doubts([], 0, None, _("No model has learned from the answers yet."))
    try:
        scores = summary_of(round_)
    except NoScores as error:
        return Doubts([], 0, round_.number, str(error))
    labelled = Image.objects.filter(project=project, state=ImageState.LABELLED).exclude(state=ImageState.POOL)
    rows = labelled.order_by().values_list("pk", "position", "label_id")
    columns = np.array(list(rows.iterator(20_000)), np.int64).reshape(-1, 3)
    columns = columns[columns[:, 1] < len(scores)]
    settled = Annotation.objects.filter(project=project, is_decision=True, retracted_at__isnull=True)
    gold = GoldImage.objects.filter(project=project).values_list("image_id", flat=True)
    closed = np.array([*settled.values_list("image_id", flat=True), *gold], np.int64)
    predicted, sure = predicted_classes(round_, scores), probability(scores, columns[:, 1])
    is_doubted = (predicted[columns[:, 1]] != columns[:, 2]) & np.isin(columns[:, 2], round_.classes)
    is_doubted &= (sure > LIKELIER_THAN_NOT) & ~np.isin(columns[:, 0], closed)
    ids, order = columns[is_doubted, 0], np.argsort(-sure[is_doubted], kind="stable")
    return Doubts(ids[order][:LISTED].tolist(), len(ids), round_.number)


def is_open(project: Project, image_id: int) -> bool:
    """Whether a listed doubt still is one: nobody has decided it, marked it gold or taken its label away."""
    image = Image.objects.filter(project=project, pk=image_id, state=ImageState.LABELLED, gold__isnull=True)
    decided = Annotation.objects.filter(image=image_id, is_decision=True, retracted_at__isnull=True)
    return image.exists() and not decided.exists()


def review_item(project: Project, image_id: int) -> ReviewItem | None:
    """One image with what people and the model say of it. A fixed number of statements."""
    beside = ("label", "gold", "doubted_label__merged_into")
    image = Image.objects.filter(project=project, pk=image_id).select_related(*beside).first()
    if image is None:
        return None
    live = Annotation.objects.filter(image=image, retracted_at__isnull=True).exclude(outcome=Outcome.UNDO)
    answers = list(live.select_related("annotator", "label_class__merged_into", "candidate__round").order_by("pk"))
    classes = list(LabelClass.objects.filter(project=project))
    round_, bars = _model_says(project, image, {row.pk: row for row in classes})
    said: dict[int, int] = {}
    for answer in answers:
        if answer.label_class is not None and not answer.is_decision:
            meant = answer.label_class.meaning.pk
            said[meant] = said.get(meant, 0) + 1
    open_ = [row for row in classes if not row.is_archived]
    named = {*said, image.label_id}
    named |= {row.pk for row in open_ for bar in bars if bar.name == row.name}
    is_many = len(open_) > BUTTONS
    return ReviewItem(
        image=image,
        answers=answers,
        bars=bars,
        round=round_,
        buttons=[row for row in open_ if row.pk in named] if is_many else open_,
        others=open_ if is_many else [],
        said=said,
        is_gold=hasattr(image, "gold"),
        doubt=bars[0].name if bars and image.label is not None and bars[0].name != image.label.name else "",
    )


def _model_says(project: Project, image: Image, classes: dict[int, Any]) -> tuple[Round | None, list[Bar]]:
    """The likeliest classes of the model in charge; nothing for an image that came after it."""
    round_ = scored_round(project, None)
    if round_ is None:
        return None, []
    try:
        prediction = prediction_of(round_, image.position)
    except NoScores:
        return None, []
    if prediction is None:
        return None, []
    bars = [
        Bar(*class_look(classes.get(pk)), mean, std)
        for pk, mean, std in zip(prediction.classes, prediction.means, prediction.stds, strict=True)
    ]
    return round_, sorted(bars, key=lambda bar: -bar.mean)[:SHOWN]
