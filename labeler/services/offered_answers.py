"""Answers that people gave in another tool, taken as theirs: nobody here is made to have said what they did not say."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from django.db import transaction
from django.db.models import F

from labeler import clock
from labeler.models import (
    Annotation,
    AuditKind,
    Image,
    ImageState,
    ImportedPerson,
    LabelClass,
    Membership,
    Outcome,
    Project,
    Role,
    User,
)
from labeler.selectors.offered import answers_waiting
from labeler.services import audit
from labeler.services.consensus import settle
from labeler.told import told

BATCH = 500  # images a transaction


def take_offered_answers(*, project: Project, by: User) -> int:
    """Record the answers under the names of who gave them, with the time and date they came with; returns how many.

    Only names that are a class count. People become members who are deactivated, with accounts that nobody can sign in
    to. Taking twice adds nothing.
    """
    from labeler.services.triggers import note_answer

    rows = project.classes.select_related("merged_into")
    classes = {row.name.casefold(): row for row in rows if not row.meaning.is_archived}
    users = _accounts(project)
    taken = after = 0
    while image_ids := _next_images(project, after):
        after = image_ids[-1]
        taken += _take(project, image_ids, classes, users)
    with transaction.atomic():
        if taken:
            words = told(
                "took answers that people gave in another tool: %(answers)s of %(people)s", answers=taken,
                people=len(users),
            )  # fmt: skip
            audit.record(project=project, by=by, kind=AuditKind.IMPORTS, words=words)
        note_answer(project=project)
    return taken


@transaction.atomic
def _accounts(project: Project) -> dict[int, User]:
    """An account for each person of another tool: without a password, inactive, a deactivated member."""
    people = ImportedPerson.objects.select_for_update(of=("self",)).filter(project=project).select_related("user")
    users: dict[int, User] = {}
    for person in people.order_by("pk"):
        if person.user is None:
            name = f"{person.name[:90]} (imported, {project.slug[:40]})"
            person.user, _ = User.objects.get_or_create(username=name, defaults={"password": "!", "is_active": False})
            person.save(update_fields=["user"])
            Membership.objects.get_or_create(
                project=project, user=person.user, defaults={"role": Role.ANNOTATOR, "deactivated_at": clock.now()}
            )
        users[person.pk] = person.user
    return users


def _next_images(project: Project, after: int) -> list[int]:
    waiting = answers_waiting(project).filter(image_id__gt=after).order_by("image_id")
    return list(waiting.values_list("image_id", flat=True).distinct()[:BATCH])


@transaction.atomic
def _take(project: Project, image_ids: Sequence[int], classes: dict[str, LabelClass], users: dict[int, User]) -> int:
    locked = Image.objects.select_for_update().filter(pk__in=image_ids, state=ImageState.POOL).order_by("pk")
    images = {image.pk: image for image in locked}
    rows = [
        row
        for row in answers_waiting(project).filter(image__in=images).order_by(F("answered_at").asc(nulls_first=True))
        if not row.class_name or row.class_name.casefold() in classes
    ]
    Annotation.objects.bulk_create(
        Annotation(
            project=project,
            image=images[row.image_id],
            annotator=users[row.person_id],
            outcome=Outcome.LABEL if row.class_name else Outcome.SKIP,
            label_class=classes[row.class_name.casefold()] if row.class_name else None,
            seconds=row.seconds,
            answered_at=row.answered_at,
            key=uuid.uuid4(),
            is_imported=True,
        )
        for row in rows
    )
    for image_id in sorted({row.image_id for row in rows}):
        settle(images[image_id], project.learning.overlap)
    return len(rows)
