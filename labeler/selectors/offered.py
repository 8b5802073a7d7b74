"""What came with images and is not taken yet: labels, and answers that were given in other tools."""

from __future__ import annotations

from django.db.models import Exists, F, OuterRef, QuerySet

from labeler.models import Annotation, ClassChange, ImageState, OfferedAnswer, OfferedLabel, Project


def answers_waiting(project: Project) -> QuerySet[OfferedAnswer]:
    """Those of images in the pool that were not taken yet."""
    taken = Annotation.objects.filter(image=OuterRef("image"), annotator=OuterRef("person__user"))
    waiting = OfferedAnswer.objects.filter(person__project=project, image__state=ImageState.POOL)
    return waiting.filter(~Exists(taken))


def offered_classes(project: Project, *, most: int) -> list[tuple[int, int]]:
    """Positions of images that came with a label, and the ids of their classes; bad images and names that neither are a
    class nor were one before it was renamed are left out. Of more than `most` labels as many or fewer, spread evenly
    over the pool.
    """
    rows = OfferedLabel.objects.filter(image__project=project).exclude(image__state=ImageState.BAD)
    step = -(-rows.count() // most)
    if not step:
        return []
    if step > 1:
        rows = rows.annotate(turn=F("image__position") % step).filter(turn=0)
    classes = _classes_by_name(project)
    named = rows.order_by().values_list("image__position", "class_name")
    return [(position, classes[name.casefold()]) for position, name in named if name.casefold() in classes]


def _classes_by_name(project: Project) -> dict[str, int]:
    """What each name means now, those that classes had before among them."""
    rows = {row.pk: row for row in project.classes.select_related("merged_into")}
    names = {row.name.casefold(): row.meaning.pk for row in rows.values()}
    renamed = ClassChange.objects.filter(project=project, kind=ClassChange.Kind.CHANGE, did__before__has_key="name")
    for name, pk in renamed.order_by("pk").values_list("did__before__name", "did__class"):
        if pk in rows:
            names.setdefault(name.casefold(), rows[pk].meaning.pk)
    return names
