"""The images behind a cell of a round's confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from django.utils.translation import gettext as _

from labeler.models import LabelClass, Project, Round
from labeler.selectors.explore import PAGE, Tile, tiles_of
from labeler.selectors.pool import labelled_images
from labeler.selectors.scores import predicted_classes, probability, summary_of


@dataclass(frozen=True)
class CellPage:
    """A page of the images of one cell, the surest first. `measured`: how many there were when the round ended."""

    said: str
    predicted: str
    is_right: bool
    tiles: Sequence[Tile]
    count: int
    measured: int | None
    number: int
    pages: int


def cell_page(project: Project, round_: Round, said: int, predicted: int, number: int) -> CellPage | None:
    """Holdout images that people say are of one class and this round takes for another, or the same, by their labels of
    now. None: the round knows no such classes. Raises NoScores."""
    if not {said, predicted} <= {*round_.classes}:
        return None
    scores = summary_of(round_)
    rows = labelled_images(project, is_holdout=True).filter(label=said).values_list("position", flat=True)
    positions = np.array(sorted(rows), np.int64)
    positions = positions[positions < len(scores)]
    positions = positions[predicted_classes(round_, scores)[positions] == predicted]
    positions = positions[np.argsort(-probability(scores, positions), kind="stable")]
    pages = max(1, -(-len(positions) // PAGE))
    number = min(max(1, number), pages)
    names = dict(LabelClass.objects.filter(pk__in={said, predicted}).values_list("pk", "name"))
    confusion = round_.metrics.get("confusion")
    at = [round_.classes.index(pk) for pk in (said, predicted)]
    return CellPage(
        said=names.get(said, _("a deleted class")),
        predicted=names.get(predicted, _("a deleted class")),
        is_right=said == predicted,
        tiles=tiles_of(round_, scores, positions[(number - 1) * PAGE : number * PAGE].tolist()),
        count=len(positions),
        measured=confusion[at[0]][at[1]] if confusion else None,
        number=number,
        pages=pages,
    )
