"""Queues for tests, made without a model."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from labeler.models import Annotation, Candidate, Image, Outcome, Project, Reason, Round, RoundState, Trigger, User
from labeler.services.annotate import record_answer
from labeler.services.rounds import config_of


def fill_queue(project: Project, images: Sequence[Image], *, overlap: int = 1) -> Round:
    """A finished round whose candidates are the images in their order; it becomes the queue."""
    project = fresh(project)
    if project.learning.overlap != overlap:
        project.learning.overlap = overlap
        project.learning.save()
    newest = Annotation.objects.order_by("-id").values_list("id", flat=True).first()
    round_ = Round.objects.create(
        project=project,
        number=project.rounds.count() + 1,
        trigger=Trigger.COLD_START,
        reason="for a test",
        state=RoundState.DONE,
        config=config_of(project.learning),
        seed=0,
        last_annotation_id=newest or 0,
    )
    Candidate.objects.bulk_create(
        Candidate(project=project, round=round_, image=image, rank=rank, slot=slot, reason=Reason.COLD_START)
        for rank, image in enumerate(images)
        for slot in range(overlap)
    )
    Project.objects.filter(pk=project.pk).update(queue_round=round_)
    return round_


def fresh(project: Project) -> Project:
    """The project as a view gets it."""
    return Project.objects.select_related("learning", "queue_round").get(pk=project.pk)


def answer_place(
    project: Project, annotator: User, place: Candidate, outcome: str = Outcome.LABEL, label: str = "cat"
) -> Annotation:
    label_class = project.classes.get(name=label) if outcome == Outcome.LABEL else None
    return record_answer(
        project=fresh(project),
        annotator=annotator,
        image_id=place.image_id,
        candidate_id=place.pk,
        outcome=outcome,
        label_class_id=label_class.pk if label_class else None,
        key=uuid.uuid4(),
        seconds=1.0,
    )
