"""The grid: tiles of what the model in charge takes for one class, and how often what was accepted there is wrong.

What is accepted on a page was not looked at image by image. A share of it is drawn at random and looked at singly; a
label that rests on the grid alone is kept, and trains nothing until those looks say that the grid is right often enough
(`GridMeasure.is_trusted`, the one place where that is decided).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.core.cache import cache
from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from redis.exceptions import RedisError

from labeler import clock
from labeler.intervals import Interval, Z, wilson
from labeler.models import (
    Annotation,
    Candidate,
    CandidateState,
    GoldImage,
    GridCheck,
    GridPage,
    Image,
    ImageState,
    LabelClass,
    Outcome,
    Project,
    Round,
    User,
)
from labeler.numerals import localised, numeral
from labeler.selectors.classes import MEANING
from labeler.selectors.pool import labelled_images, waiting_positions
from labeler.selectors.scores import NoScores, predicted_classes, probability, scored_round, spread, summary_of

logger = logging.getLogger(__name__)

TILES = 24
ERROR_LIMIT = 0.02  # accepted labels train once the upper end of the interval of their error is below this
LEAST_CHECKED = 10  # fewer say nothing
LOOKUP = 500
REMEMBERED = 200  # pages of a person whose left-out tiles are not shown to them again


@dataclass(frozen=True)
class GridMeasure:
    """`accepted`: tiles that stand. `wrong`: of those `checked`, how many a single look did not confirm."""

    accepted: int
    checked: int
    wrong: int
    waiting: int

    @property
    def error(self) -> Interval | None:
        return wilson(self.wrong, self.checked) if self.checked >= LEAST_CHECKED else None

    @property
    def is_trusted(self) -> bool:
        """Whether accepted labels train. The one rule."""
        return self.error is not None and self.error.high < ERROR_LIMIT

    @property
    def missing_words(self) -> str:
        more = max(0, LEAST_CHECKED - self.checked)
        words = ngettext("not measured yet: %(count)s more check", "not measured yet: %(count)s more checks", more)
        return words % {"count": numeral(more)}

    @property
    def limit_words(self) -> str:
        return localised(f"{ERROR_LIMIT * 100:g} %")

    @property
    def checks_to_trust(self) -> int:
        """So many more checks, all of them right, would do."""
        return max(0, checks_wanted(self.wrong) - self.checked)


@dataclass(frozen=True)
class Tile:
    image: Image
    mean: float
    std: float

    @property
    def words(self) -> str:
        return f"{numeral(self.mean, 2)} ± {numeral(self.std, 2)}"


@dataclass(frozen=True)
class ClassCount:
    label_class: LabelClass
    waiting: int


@dataclass(frozen=True)
class Grid:
    """A page. `problem`: why there is nothing to show, in words. `is_shared`: others look at some of the class."""

    measure: GridMeasure
    round: Round | None = None
    classes: Sequence[ClassCount] = ()
    chosen: LabelClass | None = None
    tiles: Sequence[Tile] = ()
    last: GridPage | None = None
    problem: str = ""
    is_shared: bool = False


def checks_wanted(wrong: int) -> int:
    """The fewest checks, `wrong` of them not confirmed, with which the interval's upper end is below the limit."""
    low, high = max(LEAST_CHECKED, wrong), math.ceil((Z * Z + 2 * wrong + LEAST_CHECKED) * 4 / ERROR_LIMIT)
    while low < high:
        middle = (low + high) // 2
        found = wilson(wrong, middle)
        if found is not None and found.high < ERROR_LIMIT:
            high = middle
        else:
            low = middle + 1
    return low


def measure_grid(project: Project) -> GridMeasure:
    """Two statements. A check is answered by whoever looked at the image singly since: by a manager's decision, else by
    the first of them. Only who names the accepted class confirms it; “unsure” and “bad image” do not."""
    later = Annotation.objects.filter(
        image=OuterRef("image"), pk__gt=OuterRef("accepted"), is_grid=False, retracted_at__isnull=True
    ).exclude(outcome__in=[Outcome.UNDO, Outcome.SKIP])
    first = later.order_by("-is_decision", "pk")
    known = GoldImage.objects.filter(image=OuterRef("image")).annotate(meaning=MEANING)
    accepted = Coalesce("accepted__label_class__merged_into", "accepted__label_class")
    word = Subquery(first.annotate(meaning=MEANING).values("meaning")[:1])
    rows = GridCheck.objects.filter(project=project).annotate(
        label=accepted,
        answer=Coalesce(Subquery(known.values("meaning")[:1]), word),
        is_answered=Exists(later) | Exists(known),
    )
    checks = list(rows.values_list("label", "answer", "is_answered"))
    said = [(label, answer) for label, answer, is_answered in checks if is_answered]
    wrong = sum(label != answer for label, answer in said)
    return GridMeasure(grid_answers(project).count(), len(said), wrong, len(checks) - len(said))


def grid_answers(project: Project) -> QuerySet[Annotation]:
    """What was accepted by the page and still stands, by its partial index."""
    return Annotation.objects.filter(project=project, is_grid=True, retracted_at__isnull=True)


def training_images(project: Project) -> QuerySet[Image]:
    """Labelled images that may be learned from: not the holdout, and of what rests on the grid alone nothing until it
    is measured to be right often enough."""
    images = labelled_images(project, is_holdout=False)
    if measure_grid(project).is_trusted:
        return images
    looks = Annotation.objects.filter(image=OuterRef("image"), is_grid=False, retracted_at__isnull=True)
    singly = looks.exclude(outcome__in=[Outcome.UNDO, Outcome.SKIP])
    alone = grid_answers(project).filter(~Exists(singly), image__gold__isnull=True)
    return images.exclude(pk__in=alone.order_by().values("image"))


# Written out: while all labels are of one class, every answer asks. EXISTS with OFFSET looks into the index of labels
# once a class, and stops; PostgreSQL would make a join of it that reads them all. Beside it the same without labels
# that rest on the grid alone, as `training_images` has it.
LEARNED = """
WITH classes AS (SELECT k.id FROM labeler_labelclass k WHERE k.project_id = %(project)s)
SELECT
    (SELECT COUNT(*) FROM (
        SELECT k.id FROM classes k WHERE EXISTS (
            SELECT 1 FROM labeler_image i WHERE i.label_id = k.id AND NOT i.is_holdout LIMIT 1 OFFSET 0)
        LIMIT %(most)s) AS labelled),
    (SELECT COUNT(*) FROM (
        SELECT k.id FROM classes k WHERE EXISTS (
            SELECT 1 FROM labeler_image i WHERE i.label_id = k.id AND NOT i.is_holdout
            AND (NOT EXISTS (
                    SELECT 1 FROM labeler_annotation a WHERE a.project_id = %(project)s AND a.image_id = i.id
                    AND a.is_grid AND a.retracted_at IS NULL)
                OR EXISTS (
                    SELECT 1 FROM labeler_annotation a WHERE a.image_id = i.id AND NOT a.is_grid
                    AND a.retracted_at IS NULL AND NOT (a.outcome = 'undo') AND a.outcome <> 'skip')
                OR EXISTS (SELECT 1 FROM labeler_goldimage g WHERE g.image_id = i.id))
            LIMIT 1 OFFSET 0)
        LIMIT %(most)s) AS looked_at)
"""


def learned_classes(project: Project, *, most: int) -> int:
    """How many classes have a label that may be learned from, counted up to `most`. One statement, unless the grid
    decides."""
    with connection.cursor() as cursor:
        cursor.execute(LEARNED, {"project": project.pk, "most": most})
        labelled, looked_at = cursor.fetchone()
    if looked_at < labelled and measure_grid(project).is_trusted:
        return int(labelled)
    return int(looked_at)


def why_no_grid(project: Project) -> str:
    """Empty if pages can be accepted."""
    if project.learning.overlap > 1:
        return _(
            "%(number)s people answer each image here. The grid is one look at many images: it is for projects where "
            "one answer makes a label."
        ) % {"number": project.learning.overlap}
    return ""


def grid_of(project: Project, person: User, class_id: int | None) -> Grid:
    """What to show: the classes that the model in charge says of waiting images, and tiles of one, the surest first."""
    measure, last = measure_grid(project), last_page(project, person)
    round_ = scored_round(project, None)
    if problem := why_no_grid(project) or ("" if round_ else _("No model has learned from the answers yet.")):
        return Grid(measure, last=last, problem=problem)
    assert round_ is not None
    try:
        scores = summary_of(round_)
    except NoScores as error:
        return Grid(measure, round=round_, last=last, problem=str(error))
    positions = waiting_positions(project, is_holdout=False)
    positions = positions[positions < len(scores)]
    predicted = predicted_classes(round_, scores)[positions]
    ids, counts = np.unique(predicted, return_counts=True)
    waiting = dict(zip(ids.tolist(), counts.tolist(), strict=True))
    offered = LabelClass.objects.filter(project=project, is_archived=False)
    classes = [ClassCount(row, waiting.get(row.pk, 0)) for row in offered]
    chosen = next((row.label_class for row in classes if row.label_class.pk == class_id), None)
    chosen = chosen or next((row.label_class for row in classes if row.waiting), None)
    tiles, is_shared = list[Tile](), False
    if chosen is not None:
        tiles, is_shared = _tiles(project, person, chosen, scores, positions[predicted == chosen.pk])
    return Grid(measure, round_, classes, chosen, tiles, last, is_shared=is_shared)


def last_page(project: Project, person: User) -> GridPage | None:
    """The newest page of this person that can be undone."""
    own = GridPage.objects.filter(project=project, by=person, undone_at__isnull=True)
    return own.select_related("label_class").first()


def _tiles(project: Project, person: User, chosen: LabelClass, scores: Any, positions: Any) -> tuple[list[Tile], bool]:
    """The surest that nobody holds or has answered, and that this person has not taken out before. Those on somebody
    else's page come last: of two people who look at the same, one would look in vain. The second: whether any is."""
    sure = probability(scores, positions)
    order = positions[np.argsort(-sure, kind="stable")].tolist()
    own = GridPage.objects.filter(project=project, by=person, label_class=chosen).values_list("left_out", flat=True)
    without = {pk for page in own[:REMEMBERED] for pk in page}
    elsewhere = shown_to_others(project, person)
    found, later = list[Image](), list[Image]()
    for start in range(0, len(order), LOOKUP):
        rows = open_images(project).filter(position__in=order[start : start + LOOKUP]).order_by()
        by_position = {row.position: row for row in rows if row.pk not in without}
        for at in order[start : start + LOOKUP]:
            if (row := by_position.get(at)) is not None:
                (later if row.pk in elsewhere else found).append(row)
        if len(found) >= TILES:
            break
    shown = [*found, *later][:TILES]
    at = [image.position for image in shown]
    both = zip(shown, probability(scores, at).tolist(), spread(scores, at).tolist(), strict=True) if shown else ()
    return [Tile(*each) for each in both], bool(later)


def shown_key(project: Project, person_id: int) -> str:
    """In the cache: the images on the page that was shown to the person last (`remember_shown`)."""
    return f"grid:{project.pk}:{person_id}"


def shown_to_others(project: Project, person: User) -> set[int]:
    """Images on a page that another member, or a site admin, has opened just now. One statement. The cache is asked
    and not the database: whose page is still open is a guess, and a wrong one costs nothing but the order of tiles."""
    others = User.objects.filter(Q(memberships__project=project) | Q(is_superuser=True)).exclude(pk=person.pk)
    keys = [shown_key(project, pk) for pk in others.order_by().values_list("pk", flat=True).distinct()]
    try:
        pages = cache.get_many(keys)
    except RedisError as error:
        logger.warning("Pages of the grid that others look at are not known: %s", error)
        return set()
    return {pk for page in pages.values() for pk in page}


def open_images(project: Project) -> QuerySet[Image]:
    """Images that a page may show and accept: they wait, measure nothing, and are nobody's at this moment."""
    answered = Annotation.objects.filter(image=OuterRef("pk"), retracted_at__isnull=True)
    held = Candidate.objects.filter(
        image=OuterRef("pk"), state=CandidateState.OPEN, leased_to__isnull=False, leased_until__gt=clock.now()
    )
    images = Image.objects.filter(project=project, state=ImageState.POOL, is_holdout=False, gold__isnull=True)
    return images.filter(~Exists(held), ~Exists(answered.exclude(outcome=Outcome.UNDO)))
