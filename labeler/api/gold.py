"""Gold images: their class is known, and people are checked with them unseen; and examples of the guide. Managers
only."""

from __future__ import annotations

from datetime import datetime

from django.http import Http404, HttpRequest
from ninja import Query
from pydantic import Field

from labeler.access import Access, manager_access
from labeler.api.operations import NONE, Id, In, Nothing, Operations, Out, Position
from labeler.api.paging import Page, Paging, Rows, page_of
from labeler.api.problems import invalid
from labeler.api.shapes import ClassName, Outcome, Person, person_of
from labeler.models import GoldImage, Image
from labeler.services.comments import hide_example, show_example
from labeler.services.gold import MOST, mark_gold, mark_labels_gold, unmark_gold

router = Operations("Gold and examples")
IMAGE = "/projects/{slug:slug}/images/{int:image_id}"


class GoldOut(Out):
    image: int
    label_class: ClassName
    created_by: Person | None
    created_at: datetime


class GoldClass(In):
    label_class: Id


class Positions(In):
    positions: list[Position] = Field(min_length=1, max_length=MOST, description="Of images, in the project, from 0.")


class Marked(Out):
    marked: int
    already: int = Field(description="Gold before.")
    unlabelled: int = Field(description="Left out: without a label.")
    unknown: int = Field(description="Left out: not in this project.")


@router.read("/projects/{slug:slug}/gold", Page[GoldOut], who="manager")
def list_gold(request: HttpRequest, slug: str, paging: Query[Paging]) -> Rows[GoldOut]:
    """The gold images, newest first."""
    access = manager_access(request, slug)
    rows = GoldImage.objects.filter(project=access.project).select_related("label_class", "created_by")
    page = page_of(f"gold {slug}", rows, paging, newest_first=True)
    return Rows([_shown(row) for row in page.items], page.next)


@router.act("/projects/{slug:slug}/gold", Marked)
def mark_labels_gold_(request: HttpRequest, slug: str, body: Positions) -> Marked:
    """Make gold of labelled images, each with the label that it has."""
    access = manager_access(request, slug)
    found = mark_labels_gold(project=access.project, positions=body.positions, by=access.user)
    return Marked(**{name: getattr(found, name) for name in Marked.model_fields})


@router.change(f"{IMAGE}/gold", GoldOut, method="PUT")
def put_gold(request: HttpRequest, slug: str, image_id: int, body: GoldClass) -> GoldOut:
    """Say what an image shows. It has that label from now on, whoever answers."""
    access = manager_access(request, slug)
    _image(access, image_id)
    row = access.project.classes.filter(pk=body.label_class).first()
    if row is None:
        raise invalid("label_class", "There is no such class in this project.")
    return _shown(mark_gold(project=access.project, image_id=image_id, label_class=row, by=access.user))


@router.remove(f"{IMAGE}/gold")
def remove_gold(request: HttpRequest, slug: str, image_id: int) -> None:
    """Its label is what the answers say again."""
    access = manager_access(request, slug)
    _image(access, image_id)
    unmark_gold(project=access.project, image_id=image_id, by=access.user)


@router.change(f"{IMAGE}/example", Outcome, method="PUT")
def put_example(request: HttpRequest, slug: str, image_id: int, body: Nothing = NONE) -> Outcome:  # noqa: ARG001
    """Show it in the guide, as an example of the class that it is labelled with."""
    access = manager_access(request, slug)
    _image(access, image_id)
    shown = show_example(project=access.project, image_id=image_id, by=access.user)
    return Outcome(changed=True, detail=f"The guide shows it as an example of “{shown.label_class}”.")


@router.remove(f"{IMAGE}/example")
def remove_example(request: HttpRequest, slug: str, image_id: int) -> None:
    """The guide shows it no more."""
    access = manager_access(request, slug)
    _image(access, image_id)
    hide_example(project=access.project, image_id=image_id, by=access.user)


def _image(access: Access, pk: int) -> Image:
    if (image := access.project.images.filter(pk=pk).first()) is None:
        raise Http404("No such image")
    return image


def _shown(row: GoldImage) -> GoldOut:
    label = ClassName(id=row.label_class_id, name=row.label_class.name)
    return GoldOut(
        image=row.image_id, label_class=label, created_by=person_of(row.created_by), created_at=row.created_at
    )
