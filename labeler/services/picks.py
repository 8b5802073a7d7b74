"""What a manager picks on the Explore pages is asked next."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Min, Q
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from labeler import clock
from labeler.models import AuditKind, Candidate, CandidateState, Image, ImageState, Project, Reason, User
from labeler.numerals import numeral
from labeler.services import audit
from labeler.services.draw import LOOKUP
from labeler.services.questions import answers_on, lacking_answers
from labeler.services.races import again_if_raced, lock_queue, not_in_work
from labeler.told import ntold

logger = logging.getLogger(__name__)
MOST = 1000  # images at once: more than that is no longer looked at before it is sent


class PickRefused(Exception):
    """Why, in words for people."""


@dataclass(frozen=True)
class Picked:
    """How many are asked next, and how many are left out for which reason."""

    sent: int
    labelled: int
    holdout: int
    set_aside: int
    held: int
    unknown: int

    @property
    def words(self) -> str:
        said = [_("Nothing was sent.")]
        if self.sent:
            words = ngettext(
                "%(images)s image will be asked next. Random and holdout images come after that.",
                "%(images)s images will be asked next. Random and holdout images come after that.",
                self.sent,
            )
            said = [words % {"images": numeral(self.sent)}]
        left = {
            _("labelled already"): self.labelled,
            _("holdout, which measures accuracy and must stay random"): self.holdout,
            _("set aside, disputed or bad"): self.set_aside,
            _("on somebody's screen right now"): self.held,
            _("not in this project"): self.unknown,
        }
        parts = [f"{numeral(number)} {why}" for why, number in left.items() if number]
        left_out = _("Left out: %(parts)s.") % {"parts": "; ".join(parts)}
        return " ".join([*said, left_out] if parts else said)


def send_to_queue(*, project: Project, positions: Sequence[int], by: User) -> Picked:
    """Put images before all that the queue holds, in the order given. Raises PickRefused.

    1. Only images of the pool go; never one of the holdout, whose draw has to stay random.
    2. A place that the queue has for an image already is moved to the front, unless somebody holds it.
    3. Others get as many new places as the image needs answers.
    4. Ranks below those of the round keep its own ranks as they were. What is not answered when the next round is
       published is carried over (services/publish.py).
    """
    wanted = list(dict.fromkeys(positions))
    if not wanted:
        raise PickRefused(_("Nothing is selected."))
    if len(wanted) > MOST:
        words = _("%(images)s images are selected; at most %(most)s can be sent at once.")
        raise PickRefused(words % {"images": numeral(len(wanted)), "most": numeral(MOST)})
    return again_if_raced(lambda: _send(project, wanted, by))


def _send(project: Project, wanted: Sequence[int], by: User) -> Picked:
    locked = Project.objects.select_for_update(of=("self",), no_key=True).select_related("learning").get(pk=project.pk)
    if locked.queue_round_id is None:
        raise PickRefused(_("There is no queue yet: it is made a few seconds after the first import."))
    lock_queue(project.pk)
    images = _images(locked, wanted)
    waiting = [image for image in images if image.state == ImageState.POOL and not image.is_holdout]
    held = _held_images(locked, waiting)
    places, in_work = _places(locked, [image for image in waiting if image.pk not in held])
    held |= in_work | {pk for pk, rows in places.items() if any(_is_held(row) for row in rows)}
    chosen = [image for image in waiting if image.pk not in held]
    _put_first(locked, locked.queue_round_id, chosen, places, by)
    left = Counter(_kind(image) for image in images if image.state != ImageState.POOL or image.is_holdout)
    if chosen:
        audit.record(
            project=project,
            by=by,
            kind=AuditKind.QUEUE,
            words=ntold(
                "sent %(count)s image to the front of the queue",
                "sent %(count)s images to the front of the queue",
                len(chosen),
            ),
            images=[image.pk for image in chosen],
        )
    logger.info("%s sent %s images of project %s to the queue", by.get_username(), len(chosen), project.pk)
    return Picked(
        sent=len(chosen),
        labelled=left["labelled"],
        holdout=left["holdout"],
        set_aside=left["set aside"],
        held=len(held),
        unknown=len(wanted) - len(images),
    )


def _kind(image: Image) -> str:
    if image.is_holdout:
        return "holdout"
    return "labelled" if image.state == ImageState.LABELLED else "set aside"


def _images(project: Project, positions: Sequence[int]) -> list[Image]:
    """Those of the positions that there are, in their order."""
    found: dict[int, Image] = {}
    for start in range(0, len(positions), LOOKUP):
        rows = Image.objects.filter(project=project, position__in=positions[start : start + LOOKUP]).order_by()
        found.update({row.position: row for row in rows.only("id", "position", "state", "is_holdout")})
    return [found[position] for position in positions if position in found]


def _held_images(project: Project, images: Sequence[Image]) -> set[int]:
    """Those on somebody's screen, by a look that locks nothing: their other places stay free for others."""
    held = Candidate.objects.filter(project=project, state=CandidateState.OPEN, leased_until__gt=clock.now())
    return set(held.filter(image__in=[image.pk for image in images]).values_list("image_id", flat=True))


def _places(project: Project, images: Sequence[Image]) -> tuple[dict[int, list[Candidate]], set[int]]:
    """What the queue's round knows of each image, and places of older rounds that are still open; all locked.

    And the images of which somebody is just taking, giving back or answering a place: those are theirs.
    """
    places: dict[int, list[Candidate]] = {image.pk: [] for image in images}
    ids, here = list(places), Q(round=project.queue_round_id)
    older = Q(project=project, state=CandidateState.OPEN)  # taken, it may be, by a claim that began before the queue
    in_work: set[int] = set()
    for start in range(0, len(ids), LOOKUP):
        rows = Candidate.objects.filter(here | older, image__in=ids[start : start + LOOKUP])
        there = dict(rows.values_list("pk", "image_id"))
        for row in not_in_work(rows).order_by("slot"):
            places[row.image_id].append(row)
            there.pop(row.pk, None)
        in_work.update(there.values())
    return places, in_work


def _is_held(place: Candidate) -> bool:
    is_live = place.leased_until is not None and place.leased_until > clock.now()
    return place.state == CandidateState.OPEN and place.leased_to_id is not None and is_live


def _put_first(
    project: Project, queue: int, images: Sequence[Image], places: dict[int, list[Candidate]], by: User
) -> None:
    lowest = Candidate.objects.filter(round=queue).aggregate(rank=Min("rank"))["rank"]
    first = min(1, 1 if lowest is None else lowest) - len(images)
    answered = answers_on(image.pk for image in images) if project.learning.overlap > 1 else {}
    note = {"picked_by": by.get_username(), "picked_at": clock.now().isoformat(timespec="seconds")}
    moved, added = [], []
    for rank, image in enumerate(images, start=first):
        missing = lacking_answers(project.learning.overlap, answered.get(image.pk, 0))
        mine = [row for row in places[image.pk] if row.round_id == queue]
        reused = [row for row in mine if row.state != CandidateState.ANSWERED][:missing]
        for row in reused:
            row.rank, row.reason, row.state, row.details = rank, Reason.PICKED, CandidateState.OPEN, row.details | note
            row.selection_probability = row.leased_to = row.leased_at = row.leased_until = None
        moved += reused
        free_slot = max((row.slot for row in mine), default=-1) + 1
        added += [
            Candidate(
                project=project,
                round_id=queue,
                image=image,
                rank=rank,
                slot=free_slot + number,
                reason=Reason.PICKED,
                details=note,
            )
            for number in range(missing - len(reused))
        ]
    fields = ["rank", "reason", "state", "details", "selection_probability", "leased_to", "leased_at", "leased_until"]
    Candidate.objects.bulk_update(moved, fields, batch_size=200)
    Candidate.objects.bulk_create(added, batch_size=500)
