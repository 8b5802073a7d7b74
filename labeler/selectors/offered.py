"""What was answered in other tools and is not taken yet."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, QuerySet

from labeler.models import Annotation, ImageState, OfferedAnswer, Project


def answers_waiting(project: Project) -> QuerySet[OfferedAnswer]:
    """Those of images in the pool that were not taken yet."""
    taken = Annotation.objects.filter(image=OuterRef("image"), annotator=OuterRef("person__user"))
    waiting = OfferedAnswer.objects.filter(person__project=project, image__state=ImageState.POOL)
    return waiting.filter(~Exists(taken))
