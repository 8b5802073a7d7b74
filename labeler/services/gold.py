"""Gold images: their class is known, and people are asked about them unseen (services/extra_places.py).

Locks are taken as answers take them: places before the image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction

from labeler.models import (
    AuditKind,
    Candidate,
    CandidateState,
    GoldImage,
    Image,
    ImageState,
    LabelClass,
    Project,
    Reason,
    User,
)
from labeler.services import audit
from labeler.services.consensus import settle, settle_gold
from labeler.services.draw import LOOKUP
from labeler.services.races import not_in_work

MOST = 1000  # images at once


class GoldRefused(Exception):
    """Why, in words for people."""


@dataclass(frozen=True)
class MarkedGold:
    """How many are gold now, and how many are left out for which reason."""

    marked: int
    already: int
    unlabelled: int
    unknown: int

    @property
    def words(self) -> str:
        now = f"{self.marked:,} image{' is' if self.marked == 1 else 's are'} gold now."
        left = {
            "gold already": self.already,
            "without a label": self.unlabelled,
            "not in this project": self.unknown,
        }
        parts = [f"{number:,} {why}" for why, number in left.items() if number]
        said = now if self.marked else "No image became gold."
        return f"{said} Left out: {'; '.join(parts)}." if parts else said


@transaction.atomic
def mark_gold(*, project: Project, image_id: int, label_class: LabelClass, by: User) -> GoldImage:
    """Say what an image shows. It has that label from now on, whoever answers; gold already, its class changes.

    A holdout image that waits for its answer cannot be: which of them have a label has to stay a random draw.

    Raises:
        GoldRefused: For such an image, an archived class, or one of another project.
    """
    image = Image.objects.select_for_update(no_key=True).filter(pk=image_id, project=project).first()
    if image is None:
        raise GoldRefused("There is no such image in this project.")
    if label_class.project_id != project.pk or label_class.is_archived:
        raise GoldRefused(f"“{label_class}” is not a class that can be chosen.")
    if image.is_holdout and image.state == ImageState.POOL:
        raise GoldRefused("This image measures the accuracy and waits for its answer: its draw has to stay random.")
    gold, _ = GoldImage.objects.update_or_create(
        image=image, defaults={"project": project, "label_class": label_class, "created_by": by}
    )
    _settle(image, label_class.pk)
    words = f"made the image {image.name} gold: “{label_class}”"
    audit.record(project=project, by=by, kind=AuditKind.GOLD, words=words, image=image.pk)
    return gold


@transaction.atomic
def mark_labels_gold(*, project: Project, positions: Sequence[int], by: User) -> MarkedGold:
    """Make gold of labelled images, each with the label that it has. Raises GoldRefused."""
    wanted = list(dict.fromkeys(positions))
    if not wanted:
        raise GoldRefused("Nothing is ticked.")
    if len(wanted) > MOST:
        raise GoldRefused(f"{len(wanted):,} images are selected; at most {MOST:,} can become gold at once.")
    kinds: Counter[str] = Counter()
    for start in range(0, len(wanted), LOOKUP):
        some = Image.objects.filter(project=project, position__in=wanted[start : start + LOOKUP])
        images = list(some.select_for_update(no_key=True).order_by("pk"))
        known = set(GoldImage.objects.filter(image__in=images).values_list("image_id", flat=True))
        for image in images:
            if image.pk in known:
                kinds["already"] += 1
            elif image.label_id is None:
                kinds["unlabelled"] += 1
            else:
                GoldImage.objects.create(project=project, image=image, label_class_id=image.label_id, created_by=by)
                _settle(image, image.label_id)
                kinds["marked"] += 1
    unknown = len(wanted) - sum(kinds.values())
    if kinds["marked"]:
        words = (
            f"made {kinds['marked']:,} image{'' if kinds['marked'] == 1 else 's'} gold, with the labels that they had"
        )
        audit.record(project=project, by=by, kind=AuditKind.GOLD, words=words, positions=wanted)
    return MarkedGold(kinds["marked"], kinds["already"], kinds["unlabelled"], unknown)


@transaction.atomic
def unmark_gold(*, project: Project, image_id: int, by: User | None = None) -> bool:
    """The image is what its answers say again. False: it was not gold. Who has it on the screen may still answer."""
    gold = GoldImage.objects.filter(project=project, image_id=image_id)
    if not gold.exists():
        return False
    places = Candidate.objects.filter(image_id=image_id, reason=Reason.GOLD, state=CandidateState.OPEN)
    places.update(state=CandidateState.SUPERSEDED, leased_to=None, leased_at=None, leased_until=None)
    image = Image.objects.select_for_update(no_key=True).get(pk=image_id)
    gold.delete()
    settle(image, project.learning.overlap)
    words = f"took the image {image.name} out of the gold images"
    audit.record(project=project, by=by, kind=AuditKind.GOLD, words=words, image=image.pk)
    return True


def _settle(image: Image, label_id: int) -> None:
    again = Candidate.objects.filter(image=image, state=CandidateState.OPEN, reason=Reason.RELABEL)
    not_in_work(again.filter(leased_to__isnull=True)).update(state=CandidateState.SUPERSEDED)
    settle_gold(image, label_id)
