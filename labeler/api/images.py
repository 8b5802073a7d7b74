"""Images, their answers and pictures, and labels. Annotators see what the pages show them: no folders, no answers of
others, nothing that tells which images measure or check."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from ninja import Query
from pydantic import Field

from labeler.access import Access, manager_access, member_access
from labeler.api.operations import BIGGEST, NONE, PATTERN, In, Nothing, Operations, Out
from labeler.api.paging import Page, Paging, Rows, cursor_of, page_of, position_in
from labeler.api.problems import invalid
from labeler.api.shapes import ClassName, Outcome, class_name
from labeler.models import Annotation, Candidate, GoldImage, Image, ImageState
from labeler.selectors.images import (
    ImageFilter,
    filter_from,
    image_page,
    image_with_history,
    metadata_columns,
    untold_gold,
)
from labeler.services.consensus import put_back
from labeler.services.returning import return_images as put_many_back
from labeler.views.media import media

router = Operations("Images")
ROOT = "/projects/{slug:slug}/images"
ONE = f"{ROOT}/{{int:image_id}}"
StateName = Literal["", "pool", "labelled", "disputed", "set_aside", "bad"]


class ImageRow(Out):
    id: int
    position: int = Field(description="In the project, from 0, in the order of import.")
    name: str
    width: int
    height: int
    state: str
    label: ClassName | None
    is_holdout: bool | None = Field(description="Managers only; null for others.")
    label_probability: float | None = Field(description="That the label is right, as far as people can be trusted.")


class Return(In):
    images: list[Annotated[int, Field(ge=1, le=BIGGEST)]] = Field(min_length=1, max_length=1000, description="Ids.")
    ask_first: bool = Field(False, description="Before all that is in the queue; else when their turn comes.")


class Returned(Out):
    returned: int = Field(description="They wait for answers again; those that they have stay.")
    kept: int = Field(description="Not disputed, set aside or bad, or not of this project: left as they are.")


class AnswerRow(Out):
    id: int
    image: int
    annotator: str
    outcome: str = Field(description="label, skip, unsure, bad_image or undo.")
    named: ClassName | None = Field(description="The class that the person chose.")
    means: ClassName | None = Field(description="What that class means now: another one, where it was merged.")
    seconds: float | None
    is_live: bool = Field(description="Not corrected, undone or void.")
    is_decision: bool
    key: str
    created_at: datetime


class QuestionRow(Out):
    """A place in a round's queue."""

    round: int
    rank: int
    slot: int
    reason: str
    score: float | None
    percentile: float | None
    selection_probability: float | None
    state: str


class ImageOut(ImageRow):
    content_hash: str
    is_contested: bool | None
    doubted_label: ClassName | None = Field(
        description="What it was labelled until another class became likelier; managers only."
    )
    offered_label: str | None = Field(description="That came with the image; managers only.")
    gold: ClassName | None
    metadata: dict[str, Any] | None = Field(
        description="What tables said of it beside its label, by column; managers only, null for others."
    )
    answers: list[AnswerRow]
    questions: list[QuestionRow]


class LabelRow(Out):
    image: int
    position: int
    name: str
    label: ClassName
    label_probability: float | None
    is_holdout: bool
    is_contested: bool
    labelled_at: datetime | None


class Narrowed(Paging):
    state: StateName = ""
    label: int = Field(0, ge=0, le=BIGGEST, description="The id of a class; 0: any.")
    holdout: Literal["", "yes", "no"] = Field("", description="Managers only.")
    name: Annotated[str, Field(max_length=100, pattern=PATTERN)] = Field("", description="A part of the name.")
    column: Annotated[str, Field(max_length=100, pattern=PATTERN)] = Field(
        "", description="Of the metadata: images of which it says something. Managers only."
    )
    value: Annotated[str, Field(max_length=1000, pattern=PATTERN)] = Field(
        "", description="That the column has to have, as text, number or true | false. Managers only."
    )


@router.read(ROOT, Page[ImageRow])
def list_images(request: HttpRequest, slug: str, paging: Query[Narrowed]) -> Rows[ImageRow]:
    """Images in the order of import. A page has 60 at most; of a filter over a large pool it may have fewer and still
    be followed by others."""
    access = member_access(request, slug)
    wanted = _filter(access, paging)
    name = f"images {slug} {wanted}"
    page = image_page(access.project, wanted, start=position_in(name, paging.cursor) or 0)
    rows, start = page.images[: paging.limit], page.start
    if len(page.images) > paging.limit:
        start = page.images[paging.limit].position
    untold = _untold(access, rows)
    shown = [ImageRow(**_row(access, row, row.pk in untold)) for row in rows]
    return Rows(shown, cursor_of(name, start) if start is not None else None)


@router.read(ONE, ImageOut)
def read_image(request: HttpRequest, slug: str, image_id: int) -> ImageOut:
    """An image with its answers (an annotator's own) and, for managers, why it was asked about, with scores."""
    access = member_access(request, slug)
    image = image_with_history(access.project, image_id, answers_of=None if access.is_manager else access.user)
    if image is None:
        raise Http404("No such image")
    gold = GoldImage.objects.filter(image=image).select_related("label_class").first() if access.is_manager else None
    offered = getattr(image, "offered", None) if access.is_manager else None
    return ImageOut(
        **_row(access, image, image.pk in _untold(access, [image])),
        content_hash=image.content_hash,
        is_contested=image.is_contested if access.is_manager else None,
        doubted_label=class_name(image.doubted_label) if access.is_manager else None,
        offered_label=offered.class_name if offered is not None else None,
        gold=class_name(gold.label_class) if gold is not None else None,
        metadata=_metadata(image) if access.is_manager else None,
        answers=[answer_row(row) for row in image.annotations.all()],
        questions=[_question(row) for row in image.candidates.all()] if access.is_manager else [],
    )


@router.read(f"{ONE}/picture", None, media=("image/png", "image/jpeg", "image/webp"))
def read_picture(request: HttpRequest, slug: str, image_id: int) -> HttpResponse:
    """The picture as people see it."""
    member_access(request, slug)
    return media(request, slug, image_id)


@router.act(f"{ONE}/return", Outcome)
def return_image(request: HttpRequest, slug: str, image_id: int, body: Nothing = NONE) -> Outcome:  # noqa: ARG001
    """Ask again about one that was set aside, disputed or bad."""
    access = manager_access(request, slug)
    image = access.project.images.filter(pk=image_id).first()
    if image is None:
        raise Http404("No such image")
    changed = put_back(image.pk, by=access.user)
    return Outcome(changed=changed, detail="It is back in the pool." if changed else "It was in the pool or labelled.")


@router.act(f"{ROOT}/return", Returned)
def return_images(request: HttpRequest, slug: str, body: Return) -> Returned:
    """Ask again about many that were set aside, disputed or bad."""
    access = manager_access(request, slug)
    ids = set(body.images)
    count = put_many_back(project=access.project, image_ids=list(ids), by=access.user, asks_first=body.ask_first)
    return Returned(returned=count, kept=len(ids) - count)


@router.read("/projects/{slug:slug}/labels", Page[LabelRow], who="manager")
def list_labels(request: HttpRequest, slug: str, paging: Query[Paging]) -> Rows[LabelRow]:
    """What the answers say: an item an image that has a label. For millions of them, make an export."""
    access = manager_access(request, slug)
    rows = Image.objects.filter(project=access.project, state=ImageState.LABELLED).select_related("label")
    page = page_of(f"labels {slug}", rows, paging)
    return Rows([_label(row) for row in page.items], page.next)


def answer_row(row: Annotation) -> AnswerRow:
    return AnswerRow(
        id=row.pk,
        image=row.image_id,
        annotator=row.annotator.get_username(),
        outcome=row.outcome,
        named=class_name(row.label_class),
        means=class_name(row.label_class.meaning) if row.label_class else None,
        seconds=row.seconds,
        is_live=row.retracted_at is None and row.outcome != "undo",
        is_decision=row.is_decision,
        key=str(row.key),
        created_at=row.given_at,
    )


@router.read("/projects/{slug:slug}/metadata", list[str], who="manager")
def list_metadata(request: HttpRequest, slug: str) -> list[str]:
    """The columns of the metadata: what tables said of images beside their labels. `GET …/images` filters by them."""
    return metadata_columns(manager_access(request, slug).project)


def _filter(access: Access, wanted: Narrowed) -> ImageFilter:
    """As the Images page has it; what a person may not narrow by is refused, not passed over."""
    if not access.is_manager and (wanted.holdout or wanted.column or wanted.value):
        raise PermissionDenied("Only a manager of this project can narrow by holdout or by metadata.")
    if wanted.value and not wanted.column:
        raise invalid("column", "Say of which column this value is.")
    if wanted.column and wanted.column not in (there := metadata_columns(access.project)):
        known = f"There are: {', '.join(there)}." if there else "This project's images have none."
        raise invalid("column", f"No table had a column of this name. {known}")
    said = {name: getattr(wanted, name) for name in ("state", "holdout", "name", "column", "value")}
    return filter_from(
        {**said, "class": str(wanted.label or "")}, annotator=None if access.is_manager else access.user.pk
    )


def _untold(access: Access, rows: list[Image]) -> set[int]:
    return set() if access.is_manager else untold_gold(access.project, access.user, [row.pk for row in rows])


def _row(access: Access, image: Image, is_untold: bool) -> dict[str, Any]:
    is_manager = access.is_manager
    return {
        "id": image.pk,
        "position": image.position,
        "name": image.name if is_manager else image.base_name,
        "width": image.width,
        "height": image.height,
        "state": ImageState.POOL if is_untold else image.state,
        "label": None if is_untold else class_name(image.label),
        "is_holdout": image.is_holdout if is_manager else None,
        "label_probability": image.label_probability if is_manager else None,
    }


def _metadata(image: Image) -> dict[str, Any]:
    kept = getattr(image, "kept_metadata", None)
    return dict(kept.values) if kept is not None else {}


def _question(row: Candidate) -> QuestionRow:
    names = ("rank", "slot", "reason", "score", "percentile", "selection_probability", "state")
    return QuestionRow(**{name: getattr(row, name) for name in names}, round=row.round.number)


def _label(row: Image) -> LabelRow:
    names = ("position", "name", "label_probability", "is_holdout", "is_contested", "labelled_at")
    label = class_name(row.label)
    assert label is not None
    return LabelRow(image=row.pk, label=label, **{name: getattr(row, name) for name in names})
