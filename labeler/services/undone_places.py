"""The place of an undone answer: back to who undid it, unless others have it, or all of its image, by now."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet

from labeler import clock
from labeler.models import Annotation, Candidate, CandidateState, Outcome, User
from labeler.models.rounds import NOT_OF_THE_POOL
from labeler.services.races import lock_queue


def lease_again(place: Candidate, annotator: User, overlap: int) -> None:
    """The place of an undone answer; unless others have it, or all of its image, now.

    Where a newer queue has places enough for the image, it is one of those: with the old one beside them one person too
    many would get the image.
    """
    lock_queue(place.project_id)
    now = clock.now()
    held = Candidate.objects.filter(image_id=place.image_id, state=CandidateState.OPEN).exclude(pk=place.pk)
    if held.filter(leased_to=annotator).exists():
        return  # a newer place of this image is theirs already
    place.refresh_from_db(fields=["state", "leased_to", "leased_until"])
    is_taken = place.state == CandidateState.OPEN and place.leased_to_id != annotator.pk and is_live(place)
    if is_taken or (place.state == CandidateState.ANSWERED and is_used_by_others(place, annotator)):
        return
    if place.reason in NOT_OF_THE_POOL:  # places of such images are for so many people each, whoever has answered
        _give_place(place, annotator, now)
        return
    answered = live(Annotation.objects.filter(image_id=place.image_id)).exclude(outcome=Outcome.SKIP).count()
    if held.filter(leased_until__gt=now).count() + answered >= overlap:
        return
    if held.count() + answered >= overlap:
        free = held.exclude(leased_until__gt=now)
        newest = free.order_by("-round_id", "slot").values_list("pk", flat=True).first()
        if newest is not None:
            free.filter(pk=newest).update(leased_at=now, **_lease(annotator, now))
        return
    _give_place(place, annotator, now)


def _give_place(place: Candidate, annotator: User, now: datetime) -> None:
    is_others = Q(state=CandidateState.OPEN, leased_until__gt=now) & ~Q(leased_to=annotator)
    Candidate.objects.filter(~is_others, pk=place.pk).update(
        state=CandidateState.OPEN, leased_at=place.leased_at or now, **_lease(annotator, now)
    )


def _lease(annotator: User, now: datetime) -> dict[str, Any]:
    return {"leased_to": annotator, "leased_until": now + timedelta(seconds=settings.LEASE_SECONDS)}


def is_live(place: Candidate) -> bool:
    return place.leased_until is not None and place.leased_until > clock.now()


def is_used_by_others(place: Candidate, annotator: User) -> bool:
    answers = live(Annotation.objects.filter(candidate=place)).exclude(outcome=Outcome.SKIP)
    return answers.exclude(annotator=annotator).exists()


def live(answers: QuerySet[Annotation]) -> QuerySet[Annotation]:
    return answers.filter(retracted_at__isnull=True).exclude(outcome=Outcome.UNDO)
