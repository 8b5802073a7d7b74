"""Gold images: their class is known, and people are asked about them unseen (services/extra_places.py).

Locks are taken as answers take them: places before the image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from labeler import clock
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
from labeler.numerals import numeral
from labeler.services import audit
from labeler.services.consensus import settle, settle_gold
from labeler.services.draw import LOOKUP
from labeler.services.questions import close_questions
from labeler.services.races import not_in_work
from labeler.told import ntold, told

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
        now = ngettext("%(count)s image is gold now.", "%(count)s images are gold now.", self.marked)
        left = {
            _("gold already"): self.already,
            _("without a label"): self.unlabelled,
            _("not in this project"): self.unknown,
        }
        parts = [f"{numeral(number)} {why}" for why, number in left.items() if number]
        said = now % {"count": numeral(self.marked)} if self.marked else _("No image became gold.")
        return " ".join([said, _("Left out: %(parts)s.") % {"parts": "; ".join(parts)}]) if parts else said


@transaction.atomic
def mark_gold(*, project: Project, image_id: int, label_class: LabelClass, by: User) -> GoldImage:
    """Say what an image shows. It has that label from now on, whoever answers; gold already, its class changes.

    A holdout image that waits for its answer cannot be: which of them have a label has to stay a random draw.

    Raises:
        GoldRefused: For such an image, an archived class, or one of another project.
    """
    known = LabelClass.objects.select_for_update(no_key=True).filter(pk=label_class.pk).first()  # as it is by now
    image = Image.objects.select_for_update(no_key=True).filter(pk=image_id, project=project).first()
    if image is None:
        raise GoldRefused(_("There is no such image in this project."))
    if known is None or known.project_id != project.pk or known.is_archived:
        raise GoldRefused(_("“%(name)s” is not a class that can be chosen.") % {"name": label_class})
    if image.is_holdout and image.state == ImageState.POOL:
        raise GoldRefused(_("This image measures the accuracy and waits for its answer: its draw has to stay random."))
    gold, _is_new = GoldImage.objects.update_or_create(
        image=image, defaults={"project": project, "label_class": label_class, "created_by": by}
    )
    _settle(image, label_class.pk)
    words = told("made the image %(name)s gold: “%(label)s”", name=image.name, label=label_class)
    audit.record(project=project, by=by, kind=AuditKind.GOLD, words=words, image=image.pk)
    return gold


@transaction.atomic
def mark_labels_gold(*, project: Project, positions: Sequence[int], by: User) -> MarkedGold:
    """Make gold of labelled images, each with the label that it has. Raises GoldRefused."""
    wanted = list(dict.fromkeys(positions))
    if not wanted:
        raise GoldRefused(_("Nothing is ticked."))
    if len(wanted) > MOST:
        raise GoldRefused(
            _("%(number)s images are selected; at most %(most)s can become gold at once.")
            % {"number": numeral(len(wanted)), "most": numeral(MOST)}
        )
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
        words = ntold(
            "made %(count)s image gold, with the label that it had",
            "made %(count)s images gold, with the labels that they had",
            kinds["marked"],
        )
        audit.record(project=project, by=by, kind=AuditKind.GOLD, words=words, positions=wanted)
    return MarkedGold(kinds["marked"], kinds["already"], kinds["unlabelled"], unknown)


@transaction.atomic
def unmark_gold(*, project: Project, image_id: int, by: User | None = None) -> bool:
    """The image is what its answers say again. False: it was not gold. Who has it on the screen may still answer."""
    gold = GoldImage.objects.filter(project=project, image_id=image_id)
    if not gold.exists():
        return False
    close_gold_places(image_ids=[image_id])
    image = Image.objects.select_for_update(no_key=True).get(pk=image_id)
    gold.delete()
    settle(image, project.learning.overlap)
    words = told("took the image %(name)s out of the gold images", name=image.name)
    audit.record(project=project, by=by, kind=AuditKind.GOLD, words=words, image=image.pk)
    return True


# --- Classes that change ---------------------------------------------------------------------------------------------


def gold_of(class_ids: Sequence[int]) -> list[int]:
    """Ids of the images that are known to be of one of these classes."""
    rows = GoldImage.objects.filter(label_class__in=class_ids).order_by("image_id")
    return list(rows.values_list("image_id", flat=True))


def close_gold_places(*, image_ids: Sequence[int]) -> None:
    """Who has one on the screen may still answer."""
    places = Candidate.objects.filter(image__in=image_ids, reason=Reason.GOLD, state=CandidateState.OPEN)
    places.update(state=CandidateState.SUPERSEDED, leased_to=None, leased_at=None, leased_until=None)


def lift_gold(class_ids: Sequence[int]) -> list[list[Any]]:
    """Their class is split, so it is known no more what they show. Returns what `give_gold_back` needs, as JSON. The
    images are the caller's to settle."""
    gold = GoldImage.objects.filter(label_class__in=class_ids).order_by("image_id")
    rows: list[list[Any]] = [
        [image, label, by, at.isoformat()]
        for image, label, by, at in gold.values_list("image_id", "label_class_id", "created_by_id", "created_at")
    ]
    close_gold_places(image_ids=[row[0] for row in rows])
    gold.delete()
    return rows


def give_gold_back(*, project: Project, rows: Sequence[Sequence[Any]], answered: set[int]) -> list[int]:
    """The split is taken back: they are gold again, but for those that somebody has marked anew since. What was said
    since of those that were `answered` does not count against anybody. Returns the ids of the images."""
    image_ids = [row[0] for row in rows]
    marked = set(GoldImage.objects.filter(image__in=image_ids).values_list("image_id", flat=True))
    people = set(User.objects.filter(pk__in={row[2] for row in rows}).values_list("pk", flat=True))
    back = [row for row in rows if row[0] not in marked]
    GoldImage.objects.bulk_create(
        GoldImage(
            project=project, image_id=image, label_class_id=label, created_by_id=by if by in people else None,
            created_at=clock.now() if image in answered else datetime.fromisoformat(at),
        )
        for image, label, by, at in back
    )  # fmt: skip
    close_questions(image_ids=[row[0] for row in back])
    return [row[0] for row in back]


def _settle(image: Image, label_id: int) -> None:
    again = Candidate.objects.filter(image=image, state=CandidateState.OPEN, reason=Reason.RELABEL)
    not_in_work(again.filter(leased_to__isnull=True)).update(state=CandidateState.SUPERSEDED)
    settle_gold(image, label_id)
