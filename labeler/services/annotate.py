"""Answers: recorded once, undone, corrected. A true answer is never refused because a lease ran out or a round changed.

Locks are taken in one order, the candidate's place before the image, so that no two answers wait for each other.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from labeler.models import Annotation, Candidate, CandidateState, Image, LabelClass, Outcome, Project, User
from labeler.services.consensus import settle, settle_first_answer
from labeler.services.triggers import note_answer

ANSWERS = {Outcome.LABEL, Outcome.SKIP, Outcome.UNSURE, Outcome.BAD_IMAGE}
FREE = {"leased_to": None, "leased_at": None, "leased_until": None}


def record_answer(
    *,
    project: Project,
    annotator: User,
    image_id: int,
    candidate_id: int | None,
    outcome: str,
    label_class_id: int | None,
    key: UUID,
    seconds: float | None = None,
    answered_at: datetime | None = None,
) -> Annotation:
    """Keep an answer. The same key again returns the row of the first time.

    Somebody who has answered the image already (in another tab) corrects that answer: nothing is lost, one is live.

    Raises:
        ValidationError: naming the field, for an image or class that is not of this project, or an archived class.
    """
    check_outcome(outcome, label_class_id)

    def record() -> Annotation:
        answer = Annotation(
            project=project,
            annotator=annotator,
            image_id=image_id,
            candidate_id=candidate_id,
            outcome=outcome,
            label_class_id=label_class_id,
            key=key,
            seconds=seconds,
            answered_at=answered_at,
        )
        return _record(answer, project)

    try:
        with transaction.atomic():
            return record()
    except IntegrityError:  # the same answer, sent twice at once: the other one was faster, and is found now
        with transaction.atomic():
            return record()


def _record(answer: Annotation, project: Project) -> Annotation:
    if answer.candidate_id is not None and _take_place(answer, answer.candidate_id):
        answer.save(force_insert=True)
        is_usual = project.learning.overlap == 1 and answer.outcome != Outcome.SKIP
        if not is_usual or not _settle_at_once(answer):
            settle(_locked_image(project, answer.image_id), project.learning.overlap)
    else:
        answer = _record_with_care(answer, project)
    note_answer(project=project)
    return answer


def _take_place(answer: Annotation, candidate_id: int) -> bool:
    """Close the place that this person holds, if all is as usual: one statement that checks everything.

    False means that something is unusual: a repeated send, a lost lease, a second tab, a wrong class.
    """
    same = Annotation.objects.filter(annotator=answer.annotator)
    place = Candidate.objects.filter(
        pk=candidate_id,
        project=answer.project,
        image_id=answer.image_id,
        leased_to=answer.annotator,
        state=CandidateState.OPEN,
    ).filter(~Exists(same.filter(key=answer.key)), ~Exists(_live(same).filter(image_id=OuterRef("image_id"))))
    if answer.label_class_id is not None:
        known = LabelClass.objects.filter(pk=answer.label_class_id, project=answer.project, is_archived=False)
        place = place.filter(Exists(known))
    return place.update(**_place_after(answer.outcome)) == 1


def _place_after(outcome: str) -> dict[str, Any]:
    """A skipped place goes back to the queue, for other people."""
    if outcome == Outcome.SKIP:
        return {"state": CandidateState.OPEN, **FREE}
    return {"state": CandidateState.ANSWERED, "leased_to": None, "leased_until": None}  # leased_at stays, for an undo


def _settle_at_once(answer: Annotation) -> bool:
    return settle_first_answer(answer.image_id, answer.outcome, answer.label_class_id)


def _record_with_care(answer: Annotation, project: Project) -> Annotation:
    """The long way, under locks, for whatever is unusual about an answer."""
    place = _locked_place(answer)
    image = _locked_image(project, answer.image_id)
    mine = Annotation.objects.filter(annotator=answer.annotator)
    if sent_before := mine.filter(key=answer.key).first():
        return sent_before
    check_class(project, answer.label_class_id)
    former = _live(mine).filter(image=image).first()
    answer.candidate = place or (former.candidate if former else None)
    if former is not None:
        _retract(former)
        answer.retracts = former
    answer.save(force_insert=True)
    if place is not None and place.state == CandidateState.OPEN and place.leased_to_id in {None, answer.annotator_id}:
        Candidate.objects.filter(pk=place.pk).update(**_place_after(answer.outcome))
    settle(image, project.learning.overlap)
    return answer


@transaction.atomic
def retract_answer(*, project: Project, annotator: User, target_key: UUID, key: UUID) -> Annotation:
    """Undo: an UNDO row. The image goes back, and its place to the same person. Undoing twice is harmless."""
    target = _locked_target(project, annotator, target_key)
    if target.retracted_at is not None:
        return Annotation.objects.get(retracts=target)
    _retract(target)
    undo = Annotation.objects.create(
        project=project,
        annotator=annotator,
        image=target.image,
        candidate=target.candidate,
        outcome=Outcome.UNDO,
        key=key,
        retracts=target,
    )
    settle(target.image, project.learning.overlap)
    if target.candidate is not None:
        _lease_again(target.candidate, annotator)
    note_answer(project=project)
    return undo


@transaction.atomic
def correct_answer(
    *,
    project: Project,
    annotator: User,
    target_key: UUID,
    outcome: str,
    label_class_id: int | None,
    key: UUID,
    seconds: float | None = None,
    answered_at: datetime | None = None,
) -> Annotation:
    """Another answer in place of an own one. The same key again returns the row of the first time."""
    check_outcome(outcome, label_class_id)
    target = _locked_target(project, annotator, target_key)
    mine = Annotation.objects.filter(annotator=annotator)
    if sent_before := mine.filter(key=key).first():
        return sent_before
    check_class(project, label_class_id)
    former = _live(mine).filter(image=target.image).first()  # the target, or what it was corrected to since
    if former is not None:
        _retract(former)
    answer = Annotation.objects.create(
        project=project,
        annotator=annotator,
        image=target.image,
        candidate=target.candidate,
        outcome=outcome,
        label_class_id=label_class_id,
        key=key,
        retracts=former,
        seconds=seconds,
        answered_at=answered_at,
    )
    if target.candidate is not None and target.candidate.state != CandidateState.SUPERSEDED:
        Candidate.objects.filter(pk=target.candidate.pk).update(**_place_after(outcome))
    settle(target.image, project.learning.overlap)
    note_answer(project=project)
    return answer


def check_outcome(outcome: str, label_class_id: int | None) -> None:
    if outcome not in ANSWERS:
        raise ValidationError({"outcome": f"Unknown outcome; known: {', '.join(sorted(ANSWERS))}."})
    if (outcome == Outcome.LABEL) != (label_class_id is not None):
        raise ValidationError({"label_class": "A label names a class, and nothing else does."})


def check_class(project: Project, label_class_id: int | None) -> None:
    if label_class_id is None:
        return
    label_class = LabelClass.objects.filter(pk=label_class_id, project=project).first()
    if label_class is None:
        raise ValidationError({"label_class": "There is no such class in this project."})
    if label_class.is_archived:
        raise ValidationError({"label_class": f"The class “{label_class}” is archived. Choose another one."})


def _live(answers: QuerySet[Annotation]) -> QuerySet[Annotation]:
    return answers.filter(retracted_at__isnull=True).exclude(outcome=Outcome.UNDO)


def _retract(answer: Annotation) -> None:
    Annotation.objects.filter(pk=answer.pk).update(retracted_at=timezone.now())


def _lease_again(candidate: Candidate, annotator: User) -> None:
    now = timezone.now()
    other = Candidate.objects.filter(image_id=candidate.image_id, leased_to=annotator, state=CandidateState.OPEN)
    if other.exclude(pk=candidate.pk).exists():
        return  # a newer place of this image is theirs already
    Candidate.objects.filter(pk=candidate.pk).filter(leased_to__isnull=True).update(
        state=CandidateState.OPEN,
        leased_to=annotator,
        leased_until=now + timedelta(seconds=settings.LEASE_SECONDS),
    )


def _locked_place(answer: Annotation) -> Candidate | None:
    if answer.candidate_id is None:
        return None
    places = Candidate.objects.select_for_update().filter(project=answer.project, image_id=answer.image_id)
    return places.filter(pk=answer.candidate_id).first()


def _locked_image(project: Project, image_id: int) -> Image:
    image = Image.objects.select_for_update().filter(pk=image_id, project=project).first()
    if image is None:
        raise ValidationError({"image": "There is no such image in this project."})
    return image


def _locked_target(project: Project, annotator: User, target_key: UUID) -> Annotation:
    target = (
        Annotation.objects.filter(project=project, annotator=annotator, key=target_key)
        .exclude(outcome=Outcome.UNDO)
        .first()
    )
    if target is None:
        raise ValidationError({"target": "There is no such answer of yours."})
    if target.candidate_id is not None:
        target.candidate = Candidate.objects.select_for_update().get(pk=target.candidate_id)
    target.image = _locked_image(project, target.image_id)
    target.refresh_from_db(fields=["retracted_at"])
    return target
