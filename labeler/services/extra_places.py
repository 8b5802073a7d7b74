"""Questions about images that wait for no answer: gold images, which check people, labels that are in doubt, tiles
that were accepted in the grid, and holdout images that people disagree about.

They are mixed into the queue anywhere (disputes of the holdout come first, the rest of the others last, where too few
new images are left), one place for one person each, and look like images drawn at random to who answers
(selectors/labelling.py). That nobody gets an image twice is held by the
lease statement, as for all places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from django.db.models import Exists, OuterRef

from labeler.models import (
    Annotation,
    GoldImage,
    GridCheck,
    Image,
    ImageState,
    LabelClass,
    Outcome,
    Project,
    Reason,
    Round,
)
from labeler.selectors.classes import MEANING
from labeler.selectors.disputes import active_people, answered_by, holdout_disputes, pool_disputes
from labeler.services.draw import LOOKUP, Place

MOST_CHECKS = 100  # of the grid in one queue
MOST_DISPUTES = 100  # of the holdout in one queue: people wait for no round that long
SEED = 101  # of the draw, beside those of services/draw.py


@dataclass(frozen=True)
class Found:
    """A place whose image is in the database and may stand in the queue, with the slots it still needs."""

    place: Place
    image_id: int
    slots: int
    first_slot: int = 0  # past 0 for an image that has places of other ranks


def disputes_first(*, project: Project, taken: set[int]) -> list[Found]:
    """Places for a further answer on disputed holdout images, whatever the settings say of asking again.

    While they have no label they are missing from what is measured, and they are the hard ones: without them every
    accuracy is too high.
    """
    open_ = (each for each in holdout_disputes(project).open_ if each.image_id not in taken)
    return [Found(Place(each.position, Reason.RELABEL), each.image_id, 1) for each in islice(open_, MOST_DISPUTES)]


def disputes_last(*, project: Project, room: int, taken: set[int]) -> list[Found]:
    """Up to `room` places for a further answer on other disputed images, where fewer new ones are left than are asked
    for: as far as the settings ask again at all, and of what somebody active has not answered."""
    if room <= 0:
        return []
    rows = pool_disputes(project, active_people(project)).exclude(pk__in=taken).values_list("pk", "position")[:room]
    return [Found(Place(position, Reason.RELABEL), pk, 1) for pk, position in rows]


def mixed_in(
    *, project: Project, round_: Round, queue: Sequence[Found], again: Sequence[Place], taken: set[int]
) -> list[Found]:
    """The queue with gold places and those of images that are asked about again, at ranks drawn at random.

    The more questions are ordinary, the more are gold: `gold_share` is of all. An empty queue gets none.
    """
    rng = np.random.default_rng([round_.seed, SEED])
    ordinary = sum(found.slots for found in queue)
    share = project.learning.gold_share
    wanted = int(ordinary * share / (1 - share) + rng.random())  # rounded at random, so that small queues have some
    checks = _grid_checks(project, taken)
    if not checks and (not ordinary or not (wanted or again)):
        return list(queue)
    people = active_people(project)
    taken = {*taken, *(found.image_id for found in checks)}
    extra = checks + (_gold(project, people, wanted, taken, rng) if ordinary and wanted else [])
    if ordinary and again:
        extra += _again(project, people, again, {*taken, *(found.image_id for found in extra)})
    at = np.sort(rng.choice(len(queue) + len(extra), len(extra), replace=False)).tolist()
    mixed = list(queue)
    for rank, number in zip(at, rng.permutation(len(extra)).tolist(), strict=True):
        mixed.insert(rank, extra[number])
    return _numbered(mixed)


def _grid_checks(project: Project, taken: set[int]) -> list[Found]:
    """Accepted tiles that were drawn to be looked at singly, and that nobody has looked at yet."""
    looks = Annotation.objects.filter(image=OuterRef("image"), is_grid=False, retracted_at__isnull=True)
    singly = looks.exclude(outcome__in=[Outcome.UNDO, Outcome.SKIP])
    waiting = GridCheck.objects.filter(~Exists(singly), project=project, image__gold__isnull=True)
    rows = waiting.filter(image__state=ImageState.LABELLED).values_list("image_id", "image__position")[:MOST_CHECKS]
    return [Found(Place(at, Reason.GRID_CHECK), pk, 1) for pk, at in rows if pk not in taken]


def _gold(project: Project, people: set[int], wanted: int, taken: set[int], rng: np.random.Generator) -> list[Found]:
    """Up to `wanted` places: of each image as many as active people have not answered it, least answered first."""
    unshown = GoldImage.objects.filter(project=project, image__example__isnull=True)  # the guide gives no answer away
    offered = LabelClass.objects.filter(project=project, is_archived=False)  # else nobody could say what it shows
    unshown = unshown.annotate(meaning=MEANING).filter(meaning__in=offered.values("pk"))
    rows = list(unshown.values_list("image_id", "image__position", "created_by_id"))
    answered = answered_by([image_id for image_id, _, _ in rows])
    left = {
        image_id: (position, len(people - answered[image_id] - {creator}))
        for image_id, position, creator in rows
        if image_id not in taken
    }
    places: list[Found] = []
    order = rng.permutation(len(left)).tolist()
    images = [list(left.items())[at] for at in order]
    images.sort(key=lambda row: -row[1][1])
    for turn in range(max((count for _, (_, count) in images), default=0)):
        for image_id, (position, count) in images:
            if len(places) == wanted:
                return places
            if turn < count:
                places.append(Found(Place(position, Reason.GOLD), image_id, 1))
    return places


def _again(project: Project, people: set[int], again: Sequence[Place], taken: set[int]) -> list[Found]:
    """Those that still have a label or a dispute, nobody's decision, and somebody active who has not answered."""
    rows: dict[int, int] = {}
    for start in range(0, len(again), LOOKUP):
        positions = [place.position for place in again[start : start + LOOKUP]]
        images = Image.objects.filter(project=project, position__in=positions, is_holdout=False, gold__isnull=True)
        images = images.filter(state__in=[ImageState.LABELLED, ImageState.DISPUTED])
        rows |= dict(images.order_by().values_list("position", "id"))
    answered, decided = answered_by(rows.values()), _decided(rows.values())
    return [
        Found(place, rows[place.position], 1)
        for place in again
        if place.position in rows
        and rows[place.position] not in taken | decided
        and people - answered[rows[place.position]]
    ]


def _decided(image_ids: Iterable[int]) -> set[int]:
    ids, found = sorted(image_ids), set[int]()
    for start in range(0, len(ids), LOOKUP):
        rows = Annotation.objects.filter(image__in=ids[start : start + LOOKUP], is_decision=True)
        found |= set(rows.filter(retracted_at__isnull=True).order_by().values_list("image_id", flat=True))
    return found


def _numbered(queue: Sequence[Found]) -> list[Found]:
    """Slots of an image count on from rank to rank."""
    used: Counter[int] = Counter()
    numbered = []
    for found in queue:
        numbered.append(replace(found, first_slot=used[found.image_id]))
        used[found.image_id] += found.slots
    return numbered
