"""A manager's decision: an answer that settles its image, whatever was said before and comes after it."""

from __future__ import annotations

from uuid import UUID, uuid5

from django.utils.translation import gettext as _

from labeler.models import (
    Annotation,
    Candidate,
    CandidateState,
    Image,
    ImageState,
    Outcome,
    Project,
    Reason,
    User,
)
from labeler.services import audit
from labeler.services.annotate import check_outcome, correct_answer, record_answer, retract_answer
from labeler.services.consensus import live_answers
from labeler.services.races import again_if_raced, not_in_work


class DecisionRefused(Exception):
    """Why, in words for people."""


def decide_image(
    *,
    project: Project,
    by: User,
    image_id: int,
    outcome: str,
    label_class_id: int | None,
    key: UUID,
    seen: int,
    seconds: float | None = None,
) -> Annotation:
    """Settle an image. The same key again returns the row of the first time.

    An own answer on the image gives way to the decision, and comes back if that is undone. What has changed since the
    manager looked matters only where somebody else has decided: that is not decided over unseen.

    Args:
        seen: The newest answer that the manager saw on the image.

    Raises:
        DecisionRefused: Somebody else has decided since, or the image waits for answers: a holdout image that is
            decided out of turn would no longer be drawn at random.
        ValidationError: As `record_answer` does.
    """
    check_outcome(outcome, label_class_id)

    def work() -> Annotation:
        sent_before = Annotation.objects.filter(annotator=by, key=key).first()
        if sent_before is not None:
            return sent_before
        image = _locked(project, image_id)
        _check_seen(image, by, seen)
        answer = record_answer(
            project=project,
            annotator=by,
            image_id=image_id,
            candidate_id=None,
            outcome=outcome,
            label_class_id=label_class_id,
            key=key,
            seconds=seconds,
            is_decision=True,
        )
        again = Candidate.objects.filter(image=image, state=CandidateState.OPEN, reason=Reason.RELABEL)
        not_in_work(again.filter(leased_to__isnull=True)).update(state=CandidateState.SUPERSEDED)
        audit.record_decision(decision=answer)
        return answer

    return again_if_raced(work)


def undo_decision(*, project: Project, by: User, target_key: UUID, key: UUID) -> Annotation:
    """Take a decision back: the image is what people's answers say again, the manager's own former one among them.

    Undoing twice is harmless. Raises ValidationError as `retract_answer` does.
    """

    def work() -> Annotation:
        undo = retract_answer(project=project, annotator=by, target_key=target_key, key=key)
        decision = Annotation.objects.select_related("retracts").get(annotator=by, key=target_key)
        former = decision.retracts
        if former is not None and not former.is_decision and former.outcome != Outcome.UNDO and undo.key == key:
            correct_answer(
                project=project,
                annotator=by,
                target_key=former.key,
                outcome=former.outcome,
                label_class_id=former.label_class_id,
                key=uuid5(key, "former"),
                seconds=former.seconds,
            )
        return undo

    return again_if_raced(work)


def _check_seen(image: Image, by: User, seen: int) -> None:
    others = live_answers(image).filter(is_decision=True, pk__gt=seen).exclude(annotator=by)
    if (newer := others.select_related("annotator", "label_class").order_by("-pk").first()) is not None:
        words = newer.label_class.name if newer.label_class else newer.get_outcome_display()
        raise DecisionRefused(
            _("%(person)s has decided meanwhile: %(words)s. Nothing was changed.")
            % {"person": newer.annotator.get_username(), "words": words}
        )
    if image.state == ImageState.POOL:
        raise DecisionRefused(_("This image waits for answers again. Nothing was changed."))


def _locked(project: Project, image_id: int) -> Image:
    image = Image.objects.select_for_update(no_key=True).filter(pk=image_id, project=project).first()
    if image is None:
        raise DecisionRefused(_("This image is not there any more. Nothing was changed."))
    return image
