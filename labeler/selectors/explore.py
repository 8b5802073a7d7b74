"""The Explore pages: where the images of the pool lie between sure and unsure, as regions, lists and columns of bytes.

Known labels are those of people (`Image.label`); labels that came with the images are never looked at.
"""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from django.db.models import QuerySet
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from labeler.models import Image, ImageState, LabelClass, Project, Round
from labeler.numerals import numeral
from labeler.selectors.scores import meanings_of, predicted_classes, probability, spread

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

    from learner.summary import ScoreSummary

Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

PAGE = 60
HIGH, LOW, CALM, WILD = 0.9, 0.6, 0.1, 0.2  # probabilities of the predicted class; standard deviations
GONE = [state for state in ImageState if state != ImageState.POOL]  # said twice in queries: SQLite takes the index then
AGREES, DIFFERS, LEFT, HOLDOUT = (
    1,
    2,
    3,
    8,
)  # what the page's script knows of an image, in one byte; 0: it waits for an answer


@dataclass(frozen=True)
class Region:
    key: str
    name: StrOrPromise
    words: StrOrPromise
    corner: tuple[float, float, float, float]  # probability from, to; spread from, to

    @property
    def empty(self) -> str:
        """Said where no image is in it."""
        return none_torn() if self.key == "torn" else ""


REGIONS = [
    Region("sure", _("Sure"), _("One class, and the samples agree on it."), (HIGH, 1.0, 0.0, CALM)),
    Region(
        "torn",
        _("Torn"),
        _("Between classes, and the samples agree on that: to this model the image is ambiguous."),
        (0.0, LOW, 0.0, CALM),
    ),
    Region(
        "lost", _("Lost"), _("The samples contradict each other: here a label teaches most."), (0.0, 1.0, WILD, 0.5)
    ),
    Region("wrong", _("Confident but wrong"), _("Sure of a class, and people say another."), (HIGH, 1.0, 0.0, CALM)),
]
GALLERIES = {
    "sure": (_("Most confident"), _("The highest probability and the least spread first.")),
    "unsure": (_("Least confident"), _("The lowest probability of the predicted class first.")),
    "wrong": (
        _("Most confident but wrong"),
        _("The model is sure and people say otherwise: a slip of theirs or of the model."),
    ),
    "torn": (
        _("Torn but sure"),
        _(
            "In between classes (a probability below %(low)s), and the samples agree on that (a standard deviation of "
            "at most %(calm)s)."
        ),
    ),
    "lost": (_("Lost"), _("The samples contradict each other most.")),
    "disagreement": (
        _("Disagreement"),
        _("People against the model or among themselves; the newest answers first."),
    ),
}
DUPLICATES = (
    _("Near-duplicates"),
    _(
        "Pairs that look most alike, nearest first, whatever the model says: copies have a distance of 0, two images "
        "drawn at random about 1.4. They are found on the map."
    ),
)


def none_torn() -> str:
    words = gettext(
        "No image has a probability below %(low)s and a standard deviation of at most %(calm)s. Posteriors that "
        "spread widely, such as MC dropout, leave few images there or none: look under Lost and Least confident."
    )
    return words % _bounds()


def gallery_words(key: str) -> tuple[str, str]:
    """Title, and what is shown there in which order."""
    title, words = GALLERIES[key]
    return str(title), str(words) % _bounds()


def _bounds() -> dict[str, str]:
    return {"low": numeral(LOW, 2), "calm": numeral(CALM, 2)}


@dataclass(frozen=True)
class Known:
    """What people have made of the images of a round, by position; `label_N` is 0 where there is no label."""

    label_N: Integers
    is_left_N: Mask  # no longer waiting for answers
    is_holdout_N: Mask
    is_disputed_N: Mask


@dataclass(frozen=True)
class RegionCount:
    region: Region
    count: int
    waiting: int


@dataclass(frozen=True)
class Tile:
    """An image on an Explore page with what the round thinks of it."""

    image: Image
    predicted: LabelClass | None
    mean: float
    std: float
    is_wrong: bool

    @property
    def words(self) -> str:
        name = self.predicted.name if self.predicted else gettext("a deleted class")
        return f"{name}: {numeral(self.mean, 2)} ± {numeral(self.std, 2)}"

    @property
    def can_be_sent(self) -> bool:
        return self.image.state == ImageState.POOL and not self.image.is_holdout


def gallery_pages() -> list[tuple[str, str]]:
    """Key and title of each, for the navigation."""
    return [*((key, str(title)) for key, (title, _words) in GALLERIES.items()), ("duplicates", str(DUPLICATES[0]))]


def known_of(project: Project, n: int) -> Known:
    """By the partial indexes of what has left the pool and of the holdout: the rest is not read."""
    images = Image.objects.filter(project=project).order_by()  # a bound on positions would lead past those indexes
    label, is_left, is_holdout, is_disputed = np.zeros(n, np.int64), *(np.zeros(n, np.bool_) for _ in range(3))
    gone = images.filter(state__in=GONE).exclude(state=ImageState.POOL).values_list("position", "label_id", "state")
    for position, label_id, state in gone.iterator(20_000):
        if position >= n:
            continue
        is_left[position] = True
        label[position] = label_id or 0
        is_disputed[position] = state == ImageState.DISPUTED
    holdout = images.filter(is_holdout=True).values_list("position", flat=True).iterator(20_000)
    positions = np.fromiter(holdout, np.int64)
    is_holdout[positions[positions < n]] = True
    return Known(label, is_left, is_holdout, is_disputed)


def is_wrong(round_: Round, scores: ScoreSummary, known: Known) -> Mask:
    """People have given a label, and it is not the predicted class."""
    wrong: Mask = (known.label_N > 0) & (known.label_N != predicted_classes(round_, scores))
    return wrong


def region_masks(round_: Round, scores: ScoreSummary, known: Known) -> dict[str, Mask]:
    everywhere = np.arange(len(scores))
    p, s = probability(scores, everywhere), spread(scores, everywhere)
    is_sure = (p >= HIGH) & (s <= CALM)
    return {
        "sure": is_sure,
        "torn": (p < LOW) & (s <= CALM),
        "lost": s >= WILD,
        "wrong": is_sure & is_wrong(round_, scores, known),
    }


def region_counts(round_: Round, scores: ScoreSummary, known: Known) -> list[RegionCount]:
    waiting = ~known.is_left_N & ~known.is_holdout_N
    masks = region_masks(round_, scores, known)
    return [
        RegionCount(region, int(masks[region.key].sum()), int((masks[region.key] & waiting).sum()))
        for region in REGIONS
    ]


def gallery_positions(
    key: str, round_: Round, scores: ScoreSummary, known: Known, *, only_waiting: bool = False
) -> Integers:
    """The images of a gallery, in its order."""
    p, s = scores.probability_N.astype(np.int64), scores.spread_N.astype(np.int64)
    waiting = ~known.is_left_N & ~known.is_holdout_N
    if key == "disagreement":
        found = _disagreements(round_, scores, known)
        return found[waiting[found]] if only_waiting else found
    mask = region_masks(round_, scores, known).get(key, np.ones(len(scores), np.bool_))
    if only_waiting:
        mask = mask & waiting
    chosen = np.flatnonzero(mask)
    order = {"sure": s - p, "wrong": s - p, "unsure": p, "torn": s, "lost": -s}[key]
    return chosen[np.argsort(order[chosen], kind="stable")]


def _disagreements(round_: Round, scores: ScoreSummary, known: Known) -> Integers:
    chosen = set(np.flatnonzero(is_wrong(round_, scores, known) | known.is_disputed_N).tolist())
    rows = Image.objects.filter(project=round_.project_id, state__in=GONE).exclude(state=ImageState.POOL).order_by()
    when = {
        position: at.timestamp() if at else float("inf")  # a dispute is nobody's last word
        for position, at in rows.values_list("position", "labelled_at")
        if position in chosen
    }
    return np.array(sorted(when, key=lambda position: (-when[position], position)), np.int64)


def tiles_of(round_: Round, scores: ScoreSummary, positions: Sequence[int]) -> list[Tile]:
    """The images at those positions, in their order; those that there are not are left out."""
    wanted = [position for position in positions if 0 <= position < len(scores)]
    found = {image.position: image for image in _images(round_.project_id, wanted)}
    classes = LabelClass.objects.in_bulk({*round_.classes, *meanings_of(round_)})
    means, stds, predicted = probability(scores, wanted), spread(scores, wanted), predicted_classes(round_, scores)
    return [
        Tile(
            found[position],
            classes.get(int(predicted[position])),
            float(mean),
            float(std),
            found[position].label_id not in (None, int(predicted[position])),
        )
        for position, mean, std in zip(wanted, means, stds, strict=True)
        if position in found
    ]


def _images(project_id: int, positions: Iterable[int]) -> QuerySet[Image]:
    return Image.objects.filter(project=project_id, position__in=list(positions)).select_related("label").order_by()


def position_image(project: Project, position: int) -> int | None:
    """The id of the image at a position."""
    return Image.objects.filter(project=project, position=position).values_list("pk", flat=True).first()
