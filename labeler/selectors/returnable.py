"""What would become of it if images were put back into the pool: said before it is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Count, Q

from labeler.models import Image, ImageState, Outcome, Project
from labeler.selectors.disputes import active_people
from labeler.selectors.images import ImageFilter, matching_images
from labeler.services.returning import MOST, RETURNABLE


@dataclass(frozen=True)
class Returnable:
    """`answered_by_all`: everybody who is here has answered them, so that they would wait for somebody new."""

    image_ids: Sequence[int]
    disputed: int
    set_aside: int
    bad: int
    holdout: int
    answered_by_all: int
    is_cut: bool  # there are more than can be put back at once


def returnable(project: Project, *, wanted: ImageFilter, chosen: Sequence[int] = ()) -> Returnable:
    """Of those that fit the filter, or of the chosen ones, as far as they are disputed, set aside or bad. Four
    statements."""
    images = Image.objects.filter(project=project, pk__in=chosen) if chosen else matching_images(project, wanted)
    left = images.filter(state__in=RETURNABLE).exclude(state=ImageState.POOL)  # by the partial index
    people = active_people(project)
    live = Q(annotations__retracted_at__isnull=True, annotations__annotator__in=people)
    answered = Count("annotations", filter=live & ~Q(annotations__outcome=Outcome.UNDO))
    rows = left.order_by("pk").annotate(answered=answered).values_list("pk", "state", "is_holdout", "answered")
    found = list(rows[: MOST + 1])
    states = Counter(state for _, state, _, _ in found[:MOST])
    return Returnable(
        image_ids=[pk for pk, _, _, _ in found[:MOST]],
        disputed=states[ImageState.DISPUTED],
        set_aside=states[ImageState.SET_ASIDE],
        bad=states[ImageState.BAD],
        holdout=sum(is_holdout for _, _, is_holdout, _ in found[:MOST]),
        answered_by_all=sum(n >= len(people) for _, _, _, n in found[:MOST]),
        is_cut=len(found) > MOST,
    )
