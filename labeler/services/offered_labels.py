"""Labels that came with images. They are offered to a manager and never assumed."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence

from django.db import transaction
from django.db.models import Exists, OuterRef

from labeler.models import Annotation, AuditKind, Image, ImageState, LabelClass, OfferedLabel, Outcome, Project, User
from labeler.services import audit
from labeler.services.classes import add_classes, class_names_in
from labeler.services.consensus import settle, settle_first_labels
from labeler.told import ntold

BATCH = 1000


def make_offered_classes(*, project: Project, names: Sequence[str], by: User | None = None) -> int:
    """Add the offered names that are no class yet; returns how many. Raises ValidationError."""
    return len(add_classes(project=project, names=class_names_in("\n".join(names)), by=by))


def take_offered_labels(*, project: Project, by: User) -> int:
    """Record the offered labels of images in the pool as answers of `by`; returns how many.

    Only names that are a class count, and only images that `by` has no live answer on: taking twice adds nothing.
    """
    from labeler.services.triggers import note_answer

    rows_of_classes = project.classes.select_related("merged_into")
    classes = {row.name.casefold(): row.meaning for row in rows_of_classes if not row.meaning.is_archived}
    taken = 0
    after = 0
    while rows := _next_rows(project, by, after):
        after = rows[-1][0]
        taken += _take(project, by, rows, classes)
    with transaction.atomic():
        if taken:
            words = ntold(
                "took %(count)s label that came with images", "took %(count)s labels that came with images", taken
            )
            audit.record(project=project, by=by, kind=AuditKind.IMPORTS, words=words)
        note_answer(project=project)
    return taken


def _next_rows(project: Project, by: User, after: int) -> list[tuple[int, str]]:
    answered = Annotation.objects.filter(image=OuterRef("image"), annotator=by, retracted_at__isnull=True).exclude(
        outcome=Outcome.UNDO
    )
    rows = OfferedLabel.objects.filter(image__project=project, image__state=ImageState.POOL, image_id__gt=after)
    return list(rows.filter(~Exists(answered)).order_by("image_id").values_list("image_id", "class_name")[:BATCH])


@transaction.atomic
def _take(project: Project, by: User, rows: list[tuple[int, str]], classes: dict[str, LabelClass]) -> int:
    wanted = {image_id: classes[name.casefold()] for image_id, name in rows if name.casefold() in classes}
    images = list(Image.objects.select_for_update().filter(pk__in=wanted, state=ImageState.POOL).order_by("pk"))
    Annotation.objects.bulk_create(
        Annotation(
            project=project,
            image=image,
            annotator=by,
            outcome=Outcome.LABEL,
            label_class=wanted[image.pk],
            key=uuid.uuid4(),
            is_imported=True,
        )
        for image in images
    )
    if project.learning.overlap > 1:
        for image in images:
            settle(image, project.learning.overlap)
        return len(images)
    by_class: dict[int, list[int]] = defaultdict(list)
    for image in images:
        by_class[wanted[image.pk].pk].append(image.pk)
    for label_id, image_ids in by_class.items():
        settle_first_labels(image_ids, label_id)
    return len(images)
