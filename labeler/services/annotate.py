"""Answers: recorded once, undone, corrected. A true answer is never refused because a lease ran out or a round changed.

Locks are taken in one order, the candidate's place before the image, so that two answers seldom wait for each other;
where they do, or meet at a unique constraint, the later one runs again and finds the earlier (services/races.py).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import connection

from labeler import clock
from labeler.models import Annotation, Candidate, CandidateState, Image, Outcome, Project, Reason, User
from labeler.models.rounds import NOT_OF_THE_POOL
from labeler.rows import Reader, Writer
from labeler.services import audit
from labeler.services.consensus import settle, settle_first_answer
from labeler.services.lease import claim_places
from labeler.services.named_classes import hold_class, with_class_held
from labeler.services.proposals import lock_proposal, take_back_unused
from labeler.services.races import again_if_raced, lock_person
from labeler.services.shown import note_shown
from labeler.services.triggers import note_answer
from labeler.services.undone_places import is_live, is_used_by_others, lease_again, live

ANSWERS = {Outcome.LABEL, Outcome.SKIP, Outcome.UNSURE, Outcome.BAD_IMAGE}
ANSWER_ROWS = Writer(Annotation)
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
    is_decision: bool = False,
    suggestion: str = "",
) -> Annotation:
    """Keep an answer. The same key again returns the row of the first time.

    Somebody who has answered the image already (in another tab) corrects that answer: nothing is lost, one is live. Who
    corrects a decision of theirs decides once more (services/decide.py).

    Raises:
        ValidationError: naming the field, for an image or class that is not of this project. A class that was archived,
            merged or split since is no reason to refuse an answer.
    """
    check_outcome(outcome, label_class_id)

    def work() -> Annotation:
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
            is_decision=is_decision,
            suggestion=suggestion,
        )
        return _record(project, answer)

    return again_if_raced(work)


def answer_and_lease(
    *, project: Project, annotator: User, save: Callable[[], Annotation], room: int
) -> tuple[Annotation, list[Candidate]]:
    """`save` (which records or corrects) and lease up to `room` fresh places, in one transaction.

    It is one flush to the disk in place of two. A send that failed half-way has saved nothing, and is sent again.
    """

    def work() -> tuple[Annotation, list[Candidate]]:
        return save(), claim_places(project=project, annotator=annotator, count=room)

    return again_if_raced(work)


def retract_answer(*, project: Project, annotator: User, target_key: UUID, key: UUID) -> Annotation:
    """Undo: an UNDO row. The image goes back, and its place to the same person. Undoing twice is harmless.

    An answer that was corrected since is undone as what it was corrected to.

    Raises:
        ValidationError: naming `target`, if the person has given no such answer.
    """
    return again_if_raced(lambda: _retract_answer(project, annotator, target_key, key))


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
    suggestion: str = "",
) -> Annotation:
    """Another answer in place of an own one, whether that was corrected or undone since or not.

    The same key again returns the row of the first time. Raises ValidationError as `record_answer` and
    `retract_answer` do.
    """
    check_outcome(outcome, label_class_id)

    def work() -> Annotation:
        target = _own_answer(project, annotator, target_key)
        if project.learning.overlap > 1:
            lock_person(annotator)
        answer = Annotation(
            project=project,
            annotator=annotator,
            image_id=target.image_id,
            candidate_id=target.candidate_id,
            outcome=outcome,
            label_class_id=label_class_id,
            key=key,
            seconds=seconds,
            answered_at=answered_at,
            suggestion=suggestion,
        )
        answer = _record_with_care(answer, project)
        note_answer(project=project)
        return answer

    return again_if_raced(work)


def check_outcome(outcome: str, label_class_id: int | None) -> None:
    if outcome not in ANSWERS:
        raise ValidationError({"outcome": f"Unknown outcome; known: {', '.join(sorted(ANSWERS))}."})
    if (outcome == Outcome.LABEL) != (label_class_id is not None):
        raise ValidationError({"label_class": "A label names a class, and nothing else does."})


# --- The usual answer: four statements ------------------------------------------------------------------------------


def _record(project: Project, answer: Annotation) -> Annotation:
    overlap = project.learning.overlap
    if overlap > 1:
        lock_person(answer.annotator)
    if answer.candidate_id is not None and (place := _take_place(project, answer, answer.candidate_id)):
        ANSWER_ROWS.insert(answer)
        if place.reason != Reason.GOLD and not _settle_at_once(
            answer, overlap, place.reason
        ):  # what is gold is settled
            settle(_locked_image(project, answer.image_id), overlap)
    else:
        answer = _record_with_care(answer, project)
    note_answer(project=project)
    return answer


# Written out, as the statements of lease.py and consensus.py that every answer runs: to build such a query by the ORM
# takes ten times as long as to run it.
TAKE = """
UPDATE labeler_candidate
SET state = %(state)s, leased_to_id = NULL, leased_until = NULL,
    leased_at = CASE WHEN %(state)s = 'open' THEN NULL ELSE leased_at END
WHERE id = %(place)s AND project_id = %(project)s AND image_id = %(image)s AND leased_to_id = %(me)s AND state = 'open'
  AND NOT EXISTS (
      SELECT 1 FROM labeler_annotation a WHERE a.annotator_id = %(me)s AND a.key = %(key)s)
  AND NOT EXISTS (
      SELECT 1 FROM labeler_annotation a
      WHERE a.image_id = %(image)s AND a.annotator_id = %(me)s
        AND a.retracted_at IS NULL AND NOT (a.outcome = 'undo'))
  AND (%(class)s IS NULL OR EXISTS (
      SELECT 1 FROM labeler_labelclass k
      WHERE k.id = %(class)s AND k.project_id = %(project)s AND NOT k.is_archived {lock}))
RETURNING id, reason, details, EXISTS (
    SELECT 1 FROM labeler_annotation a
    WHERE a.image_id = %(image)s AND a.annotator_id = %(me)s AND NOT (a.suggestion = ''))
"""
TAKEN = Reader(Candidate, ["id", "reason", "details"])


def _take_place(project: Project, answer: Annotation, candidate_id: int) -> Candidate | None:
    """Close the place that this person holds, if all is as usual: one statement that checks everything.

    Returns it, with why it was asked. None means that something is unusual: a repeated send, a lost lease, a second
    tab, a wrong class.
    """
    parameters = {
        "state": _place_after(answer.outcome)["state"],
        "place": candidate_id,
        "project": project.pk,
        "image": answer.image_id,
        "me": answer.annotator_id,
        "key": Annotation._meta.get_field("key").get_db_prep_value(answer.key, connection),
        "class": answer.label_class_id,
    }
    with connection.cursor() as cursor:
        cursor.execute(with_class_held(TAKE), parameters)
        row = cursor.fetchone()
    if row is None:
        return None
    values = iter(row)
    answer.candidate = place = TAKEN.take(values)
    note_shown(project, answer, place, was_told=bool(next(values)))
    return place


def _place_after(outcome: str) -> dict[str, Any]:
    """A skipped place goes back to the queue, for other people."""
    if outcome == Outcome.SKIP:
        return {"state": CandidateState.OPEN, **FREE}
    return {"state": CandidateState.ANSWERED, "leased_to": None, "leased_until": None}  # leased_at stays, for an undo


def _settle_at_once(answer: Annotation, overlap: int, reason: str) -> bool:
    """If one answer is all that the image needs."""
    if overlap > 1 or answer.outcome == Outcome.SKIP or reason in NOT_OF_THE_POOL:
        return False
    return settle_first_answer(answer.pk, answer.image_id, answer.annotator_id, answer.outcome, answer.label_class_id)


# --- The long way, under locks, for whatever is unusual about an answer ---------------------------------------------


def _record_with_care(answer: Annotation, project: Project) -> Annotation:
    own = Annotation.objects.filter(annotator=answer.annotator)
    if sent_before := own.filter(key=answer.key).first():
        return sent_before  # without a lock: others would pass over its place while it is held
    counts = hold_class(answer)
    asked, mine = _locked_places(answer)
    image = _locked_image(project, answer.image_id)
    if sent_before := own.filter(key=answer.key).first():
        return sent_before
    former = live(own).filter(image=image).select_related("candidate", "label_class__merged_into").first()
    answer.candidate = asked or mine or (former.candidate if former else None)
    if former is not None:
        _retract(former)
        answer.retracts, is_new = former, answer.is_decision
        answer.is_decision = is_new or former.is_decision
    was_told = own.filter(image=image).exclude(suggestion="").exists()
    note_shown(project, answer, answer.candidate, was_told=was_told)
    answer.save(force_insert=True)
    if former is not None and former.is_decision and not is_new:  # a new one is recorded by decide.py
        audit.record_decision(decision=answer, did=audit.ANEW)
    place = mine or asked
    if place is not None and _may_move(place, answer):
        Candidate.objects.filter(pk=place.pk).update(**_place_after(answer.outcome if counts else Outcome.SKIP))
    settle(image, project.learning.overlap)
    if former is not None:
        take_back_unused(answer=former)
    return answer


def _locked_places(answer: Annotation) -> tuple[Candidate | None, Candidate | None]:
    """The place that the answer names, and the place of its image that the person holds; usually one and the same.

    Only the one that the answer is going to change is locked: others pass over what is locked, though it be free.
    """
    of_image = Candidate.objects.filter(project=answer.project, image_id=answer.image_id)
    asked = of_image.filter(pk=answer.candidate_id or 0)
    mine = of_image.filter(leased_to=answer.annotator, state=CandidateState.OPEN)
    if (held := mine.select_for_update(no_key=True).order_by("pk").first()) is not None:
        return held if held.pk == answer.candidate_id else asked.first(), held
    return asked.select_for_update(no_key=True).first(), None


def _may_move(place: Candidate, answer: Annotation) -> bool:
    """An open place unless somebody else holds it; one that was answered, to give it back, unless by somebody else."""
    if place.state == CandidateState.OPEN:
        return place.leased_to_id == answer.annotator_id or not is_live(place)
    is_no_answer = answer.outcome == Outcome.SKIP or answer.retracted_at is not None
    is_given_back = place.state == CandidateState.ANSWERED and is_no_answer
    return is_given_back and not is_used_by_others(place, answer.annotator)


def _retract_answer(project: Project, annotator: User, target_key: UUID, key: UUID) -> Annotation:
    target = _own_answer(project, annotator, target_key)
    if project.learning.overlap > 1:
        lock_person(annotator)
    if target.candidate_id is not None:
        target.candidate = _place_of_target(target.candidate_id)
    image = _locked_image(project, target.image_id)
    if sent_before := Annotation.objects.filter(annotator=annotator, key=key).first():
        return sent_before
    last = _last_word(target)
    if last.retracted_at is not None or last.outcome == Outcome.UNDO:
        return last
    _retract(last)
    undo = Annotation.objects.create(
        project=project,
        annotator=annotator,
        image=image,
        candidate=target.candidate,
        outcome=Outcome.UNDO,
        key=key,
        retracts=last,
    )
    settle(image, project.learning.overlap)
    take_back_unused(answer=last)
    if last.is_decision:
        audit.record_decision(decision=last, did=audit.TAKEN_BACK)
    if target.candidate is not None:
        lease_again(target.candidate, annotator, project.learning.overlap)
    note_answer(project=project)
    return undo


def _place_of_target(candidate_id: int) -> Candidate:
    """Locked if it is closed. An open one is free for others, who would pass over it, and it may stay as it is."""
    place = Candidate.objects.filter(pk=candidate_id)
    closed = place.exclude(state=CandidateState.OPEN).select_for_update(no_key=True).first()
    return closed if closed is not None else place.get()


def _last_word(answer: Annotation) -> Annotation:
    """What the answer became: itself, its newest correction, or the undo that ended it."""
    while (
        newer := Annotation.objects.filter(retracts=answer).select_related("label_class__merged_into").first()
    ) is not None:
        answer = newer
    answer.refresh_from_db(fields=["retracted_at"])
    return answer


def _own_answer(project: Project, annotator: User, key: UUID) -> Annotation:
    own = Annotation.objects.filter(project=project, annotator=annotator, key=key)
    target = own.exclude(outcome=Outcome.UNDO).select_related("candidate", "label_class__merged_into").first()
    if target is None:
        raise ValidationError({"target": "There is no such answer of yours."})
    lock_proposal(target)
    return target


def _locked_image(project: Project, image_id: int) -> Image:
    image = Image.objects.select_for_update(no_key=True).filter(pk=image_id, project=project).first()
    if image is None:
        raise ValidationError({"image": "There is no such image in this project."})
    return image


def _retract(answer: Annotation) -> None:
    Annotation.objects.filter(pk=answer.pk).update(retracted_at=clock.now())
