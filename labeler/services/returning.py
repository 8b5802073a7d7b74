"""Many images at once that are asked about again by a manager's word: what `consensus.put_back` does for one."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from labeler import clock
from labeler.models import AuditEntry, AuditKind, Image, ImageState, Project, Reason, User
from labeler.services import audit
from labeler.services.draw import LOOKUP
from labeler.services.questions import ask_again, wait_again
from labeler.services.races import again_if_raced
from labeler.services.settling import settle_images
from labeler.told import ntold

MOST = 10_000  # images at once
RETURNABLE = (ImageState.DISPUTED, ImageState.SET_ASIDE, ImageState.BAD)


def return_images(*, project: Project, image_ids: Sequence[int], by: User, asks_first: bool) -> int:
    """Those of the images that are disputed, set aside or bad wait for answers again; what they have stays, and counts.
    Returns how many; the others are left as they are, so that it may be done twice.

    Args:
        asks_first: Whether they come before all else in the queue, those of the holdout, too: they were drawn at random
            when they were asked first. Else they are asked about like all that wait.
    """
    ids = sorted(set(image_ids))[:MOST]
    return again_if_raced(lambda: _return(project, ids, by, asks_first=asks_first))


@transaction.atomic
def _return(project: Project, ids: Sequence[int], by: User, *, asks_first: bool) -> int:
    found: dict[int, str] = {}
    for start in range(0, len(ids), LOOKUP):
        some = Image.objects.filter(project=project, pk__in=ids[start : start + LOOKUP], state__in=RETURNABLE)
        found |= dict(some.select_for_update(no_key=True).order_by("pk").values_list("pk", "state"))
    images = list(found)
    for start in range(0, len(images), LOOKUP):
        Image.objects.filter(pk__in=images[start : start + LOOKUP]).update(
            state=ImageState.POOL, is_contested=False, doubted_label=None
        )
        wait_again(image_ids=images[start : start + LOOKUP])
    if images and asks_first:
        note = {"picked_by": by.get_username(), "picked_at": clock.now().isoformat(timespec="seconds")}
        ask_again(project=project, image_ids=images, details=note, reason=Reason.PICKED)
    if images:
        words = (
            ntold(
                "put %(count)s image back into the pool, to be asked about first",
                "put %(count)s images back into the pool, to be asked about first",
                len(images),
            )
            if asks_first
            else ntold("put %(count)s image back into the pool", "put %(count)s images back into the pool", len(images))
        )
        before = {state: [pk for pk in images if found[pk] == state] for state in sorted(set(found.values()))}
        audit.record(project=project, by=by, kind=AuditKind.REVIEW, words=words, images=before)
    return len(images)


def newest_return(*, project: Project, by: User) -> AuditEntry | None:
    """What the record has of the last images that this person put back at once."""
    entries = AuditEntry.objects.filter(project=project, by=by, kind=AuditKind.REVIEW, details__images__isnull=False)
    return next((entry for entry in entries.order_by("-id")[:1] if isinstance(entry.details["images"], dict)), None)


def take_back_return(*, project: Project, entry: AuditEntry, by: User) -> int:
    """Those of the images that still wait are again what their answers say, with all that was given since; who has one
    on the screen may go on. Returns how many; repeatable."""
    ids = sorted({pk for pks in entry.details["images"].values() for pk in pks})
    return again_if_raced(lambda: _take_back(project, ids, by))


@transaction.atomic
def _take_back(project: Project, ids: Sequence[int], by: User) -> int:
    count = 0
    for start in range(0, len(ids), LOOKUP):
        some = Image.objects.filter(project=project, pk__in=ids[start : start + LOOKUP], state=ImageState.POOL)
        count += settle_images(project=project, image_ids=list(some.order_by("pk").values_list("pk", flat=True)))
    if count:
        words = ntold(
            "took back that %(count)s image was put back into the pool",
            "took back that %(count)s images were put back into the pool",
            count,
        )
        audit.record(project=project, by=by, kind=AuditKind.REVIEW, words=words)
    return count
