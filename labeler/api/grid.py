"""The grid: a page of tiles that the model takes for one class, accepted at once with exceptions, and its undo. For
managers, and for annotators where the project's settings let them."""

from __future__ import annotations

from typing import Annotated

from django.http import Http404, HttpRequest
from ninja import Query, Schema
from pydantic import Field

from labeler.access import Access
from labeler.api.operations import BIGGEST, NONE, Id, In, Key, Nothing, Operations, Out
from labeler.api.problems import Problem, invalid
from labeler.api.shapes import ClassName, Measured, Outcome, class_name, of_interval
from labeler.models import GridPage, Round, Scope
from labeler.selectors.grid import TILES, Grid, GridMeasure, grid_of
from labeler.services.grid import accept_page, remember_shown, undo_page
from labeler.views.grid import grid_access

router = Operations("Grid")
ROOT = "/projects/{slug:slug}/grid"
OFF = "The grid is off. A manager can turn it on in the learning settings."
Tiles = Annotated[list[Id], Field(max_length=TILES)]


class OfClass(Schema):
    label_class: int = Field(0, ge=0, le=BIGGEST, description="The id of a class; 0: the first that there is work of.")


class Waiting(Out):
    label_class: ClassName
    images: int


class GridTile(Out):
    image: int
    name: str
    picture: str
    mean: float = Field(description="Of the class's probability, over the posterior samples.")
    std: float


class Checked(Out):
    """How often what was accepted is wrong: a share of it is looked at singly."""

    accepted: int
    checked: int
    wrong: int
    waiting: int
    error: Measured | None = Field(description="Share of wrong ones; null: too few were checked.")
    is_trusted: bool = Field(description="Whether accepted labels train.")


class GridOut(Out):
    problem: str = Field(description="Why there is nothing to show; empty: there is.")
    round: int | None
    classes: list[Waiting]
    chosen: ClassName | None
    tiles: list[GridTile]
    last_page: int | None = Field(description="The person's newest page that can be undone.")
    checks: Checked


class Corrected(In):
    image: Id
    label_class: Id


class PageIn(In):
    key: Key = Field(description="A new UUID for each page: sent again with the same key, it counts once.")
    label_class: Id
    round: Id = Field(description="The round by which the page was sorted.")
    accepted: Tiles = Field([], description="Images that are all of the class.")
    corrected: list[Corrected] = Field([], max_length=TILES, description="Images that are of another class.")
    left_out: Tiles = Field([], description="Images that get no answer here: the queue asks about them.")


class PageOut(Out):
    page: int
    accepted: int
    corrected: int
    checks: int = Field(description="Of the accepted, so many will be looked at singly.")
    missed: int = Field(description="Left out: somebody else has or had them meanwhile.")
    words: str


@router.read(ROOT, GridOut, who="manager")
def read_grid(request: HttpRequest, slug: str, wanted: Query[OfClass]) -> GridOut:
    """A page of what the model in charge takes for one class, the surest first, and how right such pages were.
    What somebody else's page shows just now comes last.
    Annotators see it where the settings open the grid to everybody."""
    access = grid_access(request, slug)
    if not access.may_use_grid:
        raise Problem(409, OFF)
    found = grid_of(access.project, access.user, wanted.label_class or None)
    remember_shown(project=access.project, person=access.user, image_ids=[tile.image.pk for tile in found.tiles])
    return _shown(access, found)


@router.make(f"{ROOT}/pages", PageOut, scope=Scope.ANNOTATE)
def accept_grid_page(request: HttpRequest, slug: str, body: PageIn) -> PageOut:
    """Accept a page with its exceptions. Annotators may where the settings open the grid to everybody."""
    access = grid_access(request, slug)
    if not access.project.classes.filter(pk=body.label_class).exists():
        raise invalid("label_class", "There is no such class in this project.")
    round_ = Round.objects.filter(project=access.project, number=body.round).first()
    if round_ is None:
        raise invalid("round", "There is no such round in this project.")
    if not access.may_use_grid:
        raise Problem(409, OFF)
    corrected = {each.image: each.label_class for each in body.corrected}
    if len(corrected) < len(body.corrected):
        raise invalid("corrected", "An image is named twice.")
    made = accept_page(
        project=access.project,
        by=access.user,
        class_id=body.label_class,
        round_id=round_.pk,
        accepted=body.accepted,
        corrected=corrected,
        left_out=body.left_out,
        key=body.key,
    )
    names = ("accepted", "corrected", "checks", "missed", "words")
    return PageOut(page=made.page.pk, **{name: getattr(made, name) for name in names})


@router.act(f"{ROOT}/pages/{{int:page_id}}/undo", Outcome, scope=Scope.ANNOTATE)
def undo_grid_page(request: HttpRequest, slug: str, page_id: int, body: Nothing = NONE) -> Outcome:  # noqa: ARG001
    """Take back all answers of an own page that nobody has touched since. Annotators may where they may use the
    grid."""
    access = grid_access(request, slug)
    if not GridPage.objects.filter(project=access.project, by=access.user, pk=page_id).exists():
        raise Http404("No such page of yours")
    number = undo_page(project=access.project, by=access.user, page_id=page_id)
    words = f"{number} answers taken back." if number else "Nothing was left to undo."
    return Outcome(changed=number > 0, detail=words)


def _shown(access: Access, found: Grid) -> GridOut:
    root = f"/api/v1/projects/{access.project.slug}/images"
    tiles = [
        GridTile(
            image=tile.image.pk,
            name=tile.image.name if access.is_manager else tile.image.base_name,
            picture=f"{root}/{tile.image.pk}/picture",
            mean=tile.mean,
            std=tile.std,
        )
        for tile in found.tiles
    ]
    return GridOut(
        problem=found.problem,
        round=found.round.number if found.round else None,
        classes=[
            Waiting(label_class=ClassName(id=row.label_class.pk, name=row.label_class.name), images=row.waiting)
            for row in found.classes
        ],
        chosen=class_name(found.chosen),
        tiles=tiles,
        last_page=found.last.pk if found.last else None,
        checks=_checked(found.measure),
    )


def _checked(measure: GridMeasure) -> Checked:
    names = ("accepted", "checked", "wrong", "waiting", "is_trusted")
    return Checked(**{name: getattr(measure, name) for name in names}, error=of_interval(measure.error, "wilson"))
