"""What the model says of images of the pool, by the files that a round has left. Managers only: it would sway people.

Predictions of images that are sent along are another module's.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from django.http import Http404, HttpRequest
from ninja import Query
from pydantic import Field

from labeler.access import Access, manager_access
from labeler.api.operations import BIGGEST, Operations, Out
from labeler.api.paging import Page, Paging, Rows, page_of
from labeler.api.problems import Problem
from labeler.models import Image, LabelClass, Round
from labeler.selectors.scores import NoScores, distributions_at, prediction_of, scored_round, summary_of

router = Operations("Predictions")


class ClassPrediction(Out):
    """The mean of the class's probability over the posterior samples, and its standard deviation."""

    id: int
    name: str
    mean: float
    std: float


class MeasureOut(Out):
    name: str
    value: float
    percentile: float = Field(description="Among the images of the round, 0 to 100.")


class Prediction(Out):
    image: int
    round: int
    classes: list[ClassPrediction] = Field(description="The likeliest first.")


class ImagePrediction(Prediction):
    measures: list[MeasureOut]


RoundNumber = Annotated[int, Field(ge=0, le=BIGGEST, description="The round to ask; 0: the one in charge.")]


class OfRound(Paging):
    round: RoundNumber = 0
    top: int = Field(5, ge=1, le=2000, description="How many classes of each image, the likeliest first.")


@router.read("/projects/{slug:slug}/predictions", Page[Prediction], who="manager")
def list_predictions(request: HttpRequest, slug: str, paging: Query[OfRound]) -> Rows[Prediction]:
    """What a round says of each image, in the order of import."""
    access = manager_access(request, slug)
    round_ = round_of(access, paging.round)
    try:
        scored = len(summary_of(round_))
        rows = Image.objects.filter(project=access.project, position__lt=scored).only("pk", "position")
        page = page_of(f"predictions {slug} {round_.number}", rows, paging, by="position")
        means, stds = distributions_at(round_, [row.position for row in page.items])
    except NoScores as error:
        raise Problem(409, str(error)) from error
    names = names_of(round_)
    found = [
        Prediction(image=row.pk, round=round_.number, classes=_classes(round_, names, mean, std, paging.top))
        for row, mean, std in zip(page.items, means.tolist(), stds.tolist(), strict=True)
    ]
    return Rows(found, page.next)


class One(Out):
    round: RoundNumber = 0


@router.read("/projects/{slug:slug}/images/{int:image_id}/prediction", ImagePrediction, who="manager")
def read_prediction(request: HttpRequest, slug: str, image_id: int, wanted: Query[One]) -> ImagePrediction:
    """What a round says of one image: all classes, and how unsure it is by each measure."""
    access = manager_access(request, slug)
    image = access.project.images.filter(pk=image_id).first()
    if image is None:
        raise Http404("No such image")
    round_ = round_of(access, wanted.round)
    try:
        found = prediction_of(round_, image.position)
    except NoScores as error:
        raise Problem(409, str(error)) from error
    if found is None:
        raise Problem(409, f"The image came after round {round_.number}; the next round scores it.")
    classes = _classes(round_, names_of(round_), found.means, found.stds, len(found.classes))
    measures = [MeasureOut(name=name, value=value, percentile=percentile) for name, value, percentile in found.measures]
    return ImagePrediction(image=image.pk, round=round_.number, classes=classes, measures=measures)


def round_of(access: Access, number: int) -> Round:
    round_ = scored_round(access.project, str(number) if number else None)
    if round_ is None and number:
        raise Http404("No such round with scores")
    if round_ is None:
        raise Problem(409, "No model has seen the images yet. The first round that learns makes one.")
    return round_


def names_of(round_: Round) -> dict[int, str]:
    return dict(LabelClass.objects.filter(pk__in=round_.classes).values_list("pk", "name"))


def _classes(
    round_: Round, names: dict[int, str], means: list[float], stds: list[float], top: int
) -> list[ClassPrediction]:
    order = np.argsort(-np.asarray(means), kind="stable")[:top].tolist()
    return [
        ClassPrediction(
            id=round_.classes[at], name=names.get(round_.classes[at], "a deleted class"), mean=means[at], std=stds[at]
        )
        for at in order
    ]
