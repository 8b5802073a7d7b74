"""Explore: regions, galleries, near-duplicates, the map, what is asked next by hand, and two rounds side by side.
Managers only."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from django.http import Http404, HttpRequest
from ninja import Query, Schema
from pydantic import Field

from labeler.access import Access, manager_access
from labeler.api.jobs import JobOut, job_of
from labeler.api.learning import ComparedSettings
from labeler.api.operations import BIGGEST, NONE, In, Nothing, Operations, Out, Position
from labeler.api.paging import Page, Paging, Rows, cursor_of, position_in
from labeler.api.predictions import RoundNumber, round_of
from labeler.api.problems import Problem
from labeler.api.rounds import RUNNING, RoundOut, begun
from labeler.api.shapes import Measured, measured
from labeler.api.tiles import TileOut, tile_of
from labeler.models import Image
from labeler.selectors.compare import Comparison, compare, planned_words
from labeler.selectors.explore import GALLERIES, PAGE, gallery_positions, known_of, region_counts, tiles_of
from labeler.selectors.maps import NoMap, current_map, labelled_neighbours, map_records, map_state, near_duplicates
from labeler.selectors.scores import NoScores, summary_of
from labeler.services.comparisons import start_comparison
from labeler.services.maps import request_map
from labeler.services.picks import MOST, send_to_queue
from labeler.services.rounds import config_of
from labeler.told import told

router = Operations("Explore")
ROOT = "/projects/{slug:slug}/explore"
MAP = f"{ROOT}/map"
COMPARISON = f"{ROOT}/comparison"
NO_MAP = "No map has been drawn yet."
Offset = Annotated[str, Field(max_length=500)]


class OneRound(Schema):
    round: RoundNumber = 0


class RegionOut(Out):
    key: str
    name: str
    words: str
    images: int
    waiting: int = Field(description="That still wait for an answer and are no holdout.")


class Regions(Out):
    round: int
    scored: int
    regions: list[RegionOut]


class OfGallery(Schema):
    round: RoundNumber = 0
    only_waiting: bool = Field(False, description="Only what still waits for an answer and is no holdout.")
    cursor: Offset = Field("", description="`next` of the page before; empty: the first page.")


class OfPairs(Schema):
    cursor: Offset = Field("", description="`next` of the page before; empty: the first page.")


class Pair(Out):
    one: int
    other: int
    distance: float = Field(description="0: copies; two images drawn at random have about 1.4.")


class Neighbour(Out):
    image: int
    label: str
    distance: float


class MapOut(Out):
    images: int | None = Field(description="On the map that is there; null: none is.")
    drawn_at: datetime | None
    missing: int = Field(description="Images that came after it.")
    is_outdated: bool
    running: JobOut | None
    failed: JobOut | None


class Dot(Out):
    position: int
    x: float
    y: float


class Send(In):
    positions: list[Position] = Field(min_length=1, max_length=MOST, description="Of images, in the order to be asked.")


class Sent(Out):
    sent: int
    labelled: int = Field(description="Left out: labelled already.")
    holdout: int = Field(description="Left out: its draw has to stay random.")
    set_aside: int = Field(description="Left out: set aside, disputed or bad.")
    held: int = Field(description="Left out: on somebody's screen.")
    unknown: int = Field(description="Left out: not in this project.")
    words: str


class TwoRounds(Schema):
    one: int = Field(ge=1, le=BIGGEST, description="The number of a round.")
    other: int = Field(ge=1, le=BIGGEST)
    page: int = Field(1, ge=1, le=100_000, description="Of the images that they differ about.")


class SideOut(Out):
    round: int
    words: str = Field(description="Estimator and network.")
    fit_seconds: float | None
    score_seconds: float | None
    accuracy: Measured | None
    nll: Measured | None
    brier: Measured | None
    ece: Measured | None


class DifferingClasses(Out):
    one: str
    other: str
    images: int


class DifferingImage(Out):
    one: TileOut
    other: TileOut


class ComparisonOut(Out):
    """On the images that both have scored, and on the holdout as it is labelled now."""

    images: int
    differing: int
    holdout: int
    sides: list[SideOut]
    classes: list[DifferingClasses] = Field(description="What they differ about most, twelve pairs at most.")
    items: list[DifferingImage] = Field(description="Where both are surest, first; sixty a page.")
    pages: int


@router.read(ROOT, Regions, who="manager")
def read_regions(request: HttpRequest, slug: str, wanted: Query[OneRound]) -> Regions:
    """How many images a round is sure of, torn or lost about, or sure of and wrong."""
    access = manager_access(request, slug)
    round_ = round_of(access, wanted.round)
    try:
        scores = summary_of(round_)
    except NoScores as error:
        raise Problem(409, str(error)) from error
    rows = region_counts(round_, scores, known_of(access.project, len(scores)))
    regions = [
        RegionOut(
            key=row.region.key,
            name=str(row.region.name),
            words=str(row.region.words),
            images=row.count,
            waiting=row.waiting,
        )
        for row in rows
    ]
    return Regions(round=round_.number, scored=len(scores), regions=regions)


@router.read(f"{ROOT}/galleries/{{slug:gallery}}", Page[TileOut], who="manager")
def read_gallery(
    request: HttpRequest,
    slug: str,
    gallery: Literal[tuple(GALLERIES)],  # type: ignore[valid-type]
    wanted: Query[OfGallery],
) -> Rows[TileOut]:
    """The images of a gallery in its order, sixty a page. Its list is made anew for each page: what is answered
    meanwhile moves it."""
    access = manager_access(request, slug)
    round_ = round_of(access, wanted.round)
    name = f"gallery {slug} {gallery} {round_.number} {wanted.only_waiting}"
    start = position_in(name, wanted.cursor) or 0
    try:
        scores = summary_of(round_)
        known = known_of(access.project, len(scores))
        found = gallery_positions(gallery, round_, scores, known, only_waiting=wanted.only_waiting)
        tiles = tiles_of(round_, scores, found[start : start + PAGE].tolist())
    except NoScores as error:
        raise Problem(409, str(error)) from error
    following = start + PAGE
    return Rows([tile_of(tile) for tile in tiles], cursor_of(name, following) if following < len(found) else None)


@router.read(f"{ROOT}/duplicates", Page[Pair], who="manager")
def list_duplicates(request: HttpRequest, slug: str, wanted: Query[OfPairs]) -> Rows[Pair]:
    """Pairs of images that look most alike, nearest first, sixty a page: found on the map."""
    access = manager_access(request, slug)
    shown = current_map(access.project)
    if shown is None:
        raise Problem(409, NO_MAP)
    name = f"duplicates {slug} {shown.pk}"
    start = position_in(name, wanted.cursor) or 0
    try:
        pairs = near_duplicates(shown)
    except NoMap as error:
        raise Problem(409, str(error)) from error
    on_page = pairs[start : start + PAGE]
    ids = _ids(access, {position for one, other, _ in on_page for position in (one, other)})
    rows = [
        Pair(one=ids[one], other=ids[other], distance=far) for one, other, far in on_page if one in ids and other in ids
    ]
    return Rows(rows, cursor_of(name, start + PAGE) if start + PAGE < len(pairs) else None)


@router.act(f"{ROOT}/send", Sent)
def send_images(request: HttpRequest, slug: str, body: Send) -> Sent:
    """Have images asked next, before all that the queue holds."""
    access = manager_access(request, slug)
    picked = send_to_queue(project=access.project, positions=body.positions, by=access.user)
    return Sent(**{name: getattr(picked, name) for name in Sent.model_fields})


@router.read(MAP, MapOut, who="manager")
def read_map(request: HttpRequest, slug: str) -> MapOut:
    """Whether there is a map of the pool, and how far one is that is drawn."""
    return _map(manager_access(request, slug))


@router.act(MAP, MapOut)
def draw_map(request: HttpRequest, slug: str, body: Nothing = NONE) -> MapOut:  # noqa: ARG001
    """Have it drawn anew."""
    access = manager_access(request, slug)
    if request_map(project=access.project, by=access.user) is None:
        raise Problem(409, "The map is being drawn already, or there are no images yet.")
    return _map(access)


@router.read(f"{MAP}/points", Page[Dot], who="manager")
def list_map_points(request: HttpRequest, slug: str, paging: Query[Paging]) -> Rows[Dot]:
    """Where each image lies on the map, by its position."""
    access = manager_access(request, slug)
    shown = current_map(access.project)
    if shown is None:
        raise Problem(409, NO_MAP)
    name = f"map {slug} {shown.pk}"
    start = position_in(name, paging.cursor) or 0
    try:
        records = map_records(shown.file)
    except NoMap as error:
        raise Problem(409, str(error)) from error
    end = min(start + paging.limit, len(records))
    columns = (records[axis][start:end].astype(float).tolist() for axis in ("x", "y"))
    dots = [Dot(position=start + at, x=x, y=y) for at, (x, y) in enumerate(zip(*columns, strict=True))]
    return Rows(dots, cursor_of(name, end) if end < len(records) else None)


@router.read("/projects/{slug:slug}/images/{int:image_id}/neighbours", list[Neighbour], who="manager")
def list_neighbours(request: HttpRequest, slug: str, image_id: int) -> list[Neighbour]:
    """The labelled images that look most like this one, nearest first."""
    access = manager_access(request, slug)
    image = access.project.images.filter(pk=image_id).first()
    if image is None:
        raise Http404("No such image")
    shown = current_map(access.project)
    if shown is None:
        raise Problem(409, NO_MAP)
    try:
        found = labelled_neighbours(access.project, shown, image)
    except NoMap as error:
        raise Problem(409, str(error)) from error
    return [Neighbour(image=row.image.pk, label=str(row.image.label), distance=row.distance) for row in found]


@router.read(COMPARISON, ComparisonOut, who="manager")
def read_comparison(request: HttpRequest, slug: str, wanted: Query[TwoRounds]) -> ComparisonOut:
    """Two rounds side by side: where they differ, what they cost, how good each is."""
    access = manager_access(request, slug)
    one, other = round_of(access, wanted.one), round_of(access, wanted.other)
    try:
        return _comparison(compare(access.project, one, other, wanted.page))
    except NoScores as error:
        raise Problem(409, str(error)) from error


@router.make(COMPARISON, RoundOut)
def start_comparison_(request: HttpRequest, slug: str, body: ComparedSettings) -> RoundOut:
    """A round with other settings that is only looked at: it scores the pool, and the queue stays as it is."""
    access = manager_access(request, slug)
    values = body.model_dump(exclude_unset=True)
    words = planned_words(access.project, {**config_of(access.project.learning), **values})
    reason = told("%(person)s compares %(what)s", person=access.user.get_username(), what=words)
    made = start_comparison(project=access.project, values=values, reason=reason, by=access.user)
    if made is None:
        raise Problem(409, RUNNING)
    return begun(access, made)


def _ids(access: Access, positions: set[int]) -> dict[int, int]:
    rows = Image.objects.filter(project=access.project, position__in=positions).order_by()
    return dict(rows.values_list("position", "pk"))


def _map(access: Access) -> MapOut:
    state = map_state(access.project)
    return MapOut(
        images=state.shown.total if state.shown is not None else None,
        drawn_at=state.shown.finished_at if state.shown is not None else None,
        missing=state.missing,
        is_outdated=state.is_outdated,
        running=job_of(state.drawn),
        failed=job_of(state.failed),
    )


def _comparison(found: Comparison) -> ComparisonOut:
    values = {
        row_name: row.values for row_name, row in zip(("accuracy", "nll", "brier", "ece"), found.rows, strict=True)
    }
    sides = [
        SideOut(
            round=side.round.number,
            words=side.name,
            fit_seconds=side.fit_seconds,
            score_seconds=side.score_seconds,
            **{name: measured(each[at]) for name, each in values.items()},
        )
        for at, side in enumerate(found.sides)
    ]
    return ComparisonOut(
        images=found.images,
        differing=found.differing,
        holdout=found.holdout,
        sides=sides,
        classes=[DifferingClasses(one=row.one, other=row.other, images=row.count) for row in found.pairs],
        items=[DifferingImage(one=tile_of(pair.one), other=tile_of(pair.other)) for pair in found.tiles],
        pages=found.pages,
    )
