"""Review: images where people disagree or the model doubts a label, a decision, and its undo. Managers only."""

from __future__ import annotations

import uuid
from typing import Annotated, Literal

from django.http import Http404, HttpRequest
from ninja import Query
from pydantic import Field

from labeler.access import Access, manager_access
from labeler.api.images import AnswerRow, answer_row
from labeler.api.operations import Id, In, Key, Operations, Out
from labeler.api.paging import Page, Paging, Rows, page_of
from labeler.api.queue import UndoIn
from labeler.api.shapes import ClassName, Likely, Outcome, class_name, likely
from labeler.models import Annotation
from labeler.selectors.answers import contested
from labeler.selectors.review import ReviewItem, doubts_of, review_item
from labeler.services.decide import decide_image, undo_decision
from labeler.views.answer_bodies import MAX_SECONDS

router = Operations("Review")
ROOT = "/projects/{slug:slug}/review"
ONE = f"{ROOT}/{{int:image_id}}"


class Contested(Out):
    image: int
    position: int
    name: str
    state: str


class Doubted(Out):
    """Images whose label the model doubts, the surest doubt first."""

    images: list[int] = Field(description="The first 200 of them.")
    count: int
    round: int | None = Field(description="Whose model doubts.")
    problem: str = Field(description="Why there is no model to ask; empty: there is one.")


class Said(Out):
    label_class: ClassName
    people: int


class ReviewOut(Out):
    image: int
    name: str
    state: str
    label: ClassName | None
    is_gold: bool
    answers: list[AnswerRow]
    said: list[Said] = Field(description="How many people say which class, decisions apart; most first.")
    round: int | None = Field(description="Of the model that was asked; null: none has seen it.")
    likely: list[Likely] = Field(description="What it says, three classes at most.")
    doubt: str = Field(description="The class that it says instead of the label; empty: it agrees.")
    seen: int = Field(description="Send it along with the decision.")


class Decide(In):
    key: Key = Field(description="A new UUID for each decision: sent again with the same key, it counts once.")
    outcome: Literal["label", "unsure", "bad_image"] = "label"
    label_class: Id | None = Field(None, description="Of a label, and of nothing else.")
    seen: Annotated[int, Field(ge=0, le=2**63 - 1)] = Field(
        description="As the review of the image gave it: what somebody else has decided since is not decided over."
    )
    seconds: Annotated[float, Field(ge=0, le=MAX_SECONDS)] | None = None


@router.read(ROOT, Page[Contested], who="manager")
def list_review(request: HttpRequest, slug: str, paging: Query[Paging]) -> Rows[Contested]:
    """Images where people disagree and nobody has decided."""
    access = manager_access(request, slug)
    page = page_of(f"review {slug}", contested(access.project), paging)
    rows = [Contested(image=row.pk, position=row.position, name=row.name, state=row.state) for row in page.items]
    return Rows(rows, page.next)


@router.read(f"{ROOT}/doubts", Doubted, who="manager")
def list_doubts(request: HttpRequest, slug: str) -> Doubted:
    """Images whose label the model in charge doubts. It reads all labels: ask once a sitting."""
    found = doubts_of(manager_access(request, slug).project)
    return Doubted(images=found.image_ids, count=found.count, round=found.round_number, problem=found.problem)


@router.read(ONE, ReviewOut, who="manager")
def read_review(request: HttpRequest, slug: str, image_id: int) -> ReviewOut:
    """What people and the model say of an image, to decide it."""
    item = review_item(manager_access(request, slug).project, image_id)
    if item is None:
        raise Http404("No such image")
    return _shown(item)


@router.make(f"{ONE}/decisions", AnswerRow)
def decide_image_(request: HttpRequest, slug: str, image_id: int, body: Decide) -> AnswerRow:
    """Settle an image, whatever was said before and comes after it. Gold it becomes by `PUT …/gold`."""
    access = manager_access(request, slug)
    _check_image(access, image_id)
    made = decide_image(
        project=access.project,
        by=access.user,
        image_id=image_id,
        outcome=body.outcome,
        label_class_id=body.label_class,
        key=body.key,
        seen=body.seen,
        seconds=body.seconds,
    )
    return answer_row(Annotation.objects.select_related("annotator", "label_class__merged_into").get(pk=made.pk))


@router.act(f"{ROOT}/decisions/{{uuid:key}}/undo", Outcome)
def undo_decision_(request: HttpRequest, slug: str, key: uuid.UUID, body: UndoIn) -> Outcome:
    """Take an own decision back: the image is what people's answers say again."""
    access = manager_access(request, slug)
    decision = Annotation.objects.filter(project=access.project, annotator=access.user, key=key, is_decision=True)
    if not decision.exists():
        raise Http404("No such decision of yours")
    undo_decision(project=access.project, by=access.user, target_key=key, key=body.key)
    return Outcome(changed=True, detail="Undone. The image is what people’s answers say again.")


def _check_image(access: Access, pk: int) -> None:
    if not access.project.images.filter(pk=pk).exists():
        raise Http404("No such image")


def _shown(item: ReviewItem) -> ReviewOut:
    image = item.image
    return ReviewOut(
        image=image.pk,
        name=image.name,
        state=image.state,
        label=class_name(image.label),
        is_gold=item.is_gold,
        answers=[answer_row(row) for row in item.answers],
        said=[Said(label_class=ClassName(id=row.pk, name=row.name), people=n) for row, n in item.tally],
        round=item.round.number if item.round else None,
        likely=[likely(bar) for bar in item.bars],
        doubt=item.doubt,
        seen=item.seen,
    )
