"""Comments as their manager and their writer see them, and the examples of the guide."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import F
from django.db.models.functions import Coalesce

from labeler.models import ClassExample, Comment, Image, LabelClass, Project

PAGE = 50


@dataclass(frozen=True)
class CommentPage:
    rows: list[Comment]
    open: int
    closed: int
    number: int
    pages: int


@dataclass(frozen=True)
class GuideClass:
    label_class: LabelClass
    images: list[Image]


def comment_page(project: Project, *, is_open: bool, number: int = 1) -> CommentPage:
    """Those that wait, oldest first; or those that are closed, newest first. Two statements."""
    rows = Comment.objects.filter(project=project, closed_at__isnull=is_open)
    closed = Comment.objects.filter(project=project, closed_at__isnull=False).count()
    pages = max(1, -(-(project.open_comments if is_open else closed) // PAGE))
    number = min(max(1, number), pages)
    order = "pk" if is_open else "-closed_at"
    shown = rows.select_related("image__label", "by", "closed_by").order_by(order)
    return CommentPage(list(shown[(number - 1) * PAGE : number * PAGE]), project.open_comments, closed, number, pages)


def guide_classes(project: Project) -> list[GuideClass]:
    """Classes that are offered and have examples, in their order; of an example whose label has changed since nothing.
    One statement."""
    meaning = Coalesce("label_class__merged_into", "label_class")
    rows = ClassExample.objects.filter(
        label_class__project=project, image__label=meaning, image__label__is_archived=False
    )
    found: dict[int, GuideClass] = {}
    for row in rows.select_related("image__label").order_by(F("image__label__order"), "image__label", "pk"):
        label = row.image.label
        if label is not None:
            found.setdefault(label.pk, GuideClass(label, [])).images.append(row.image)
    return list(found.values())
