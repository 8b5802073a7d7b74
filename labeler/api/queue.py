"""What to answer next, and answers: the same leases and the same rules as the Label page's."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal

from django.conf import settings
from django.http import HttpRequest
from ninja import Query
from pydantic import Field

from labeler.access import Access, manager_access, member_access
from labeler.api.images import AnswerRow, answer_row
from labeler.api.operations import PATTERN, Id, In, Key, Operations, Out
from labeler.api.paging import Page, Paging, Rows, page_of
from labeler.api.shapes import Outcome
from labeler.models import Annotation, Candidate, Scope, Shown
from labeler.selectors.alike import shown_members
from labeler.selectors.labelling import (
    classes_of,
    item_of,
    progress_of,
    version_of,
    why_empty,
)
from labeler.selectors.suggestions import names_for, told_after
from labeler.services.annotate import answer_and_lease, retract_answer
from labeler.services.lease import release_leases, renew_leases
from labeler.services.refill import lease_or_refill
from labeler.views.answer_bodies import MAX_SECONDS, Answer
from labeler.views.label import save_answer

router = Operations("Labelling")
ROOT = "/projects/{slug:slug}"
MOST = settings.LEASES_PER_ANNOTATOR
Places = Annotated[list[Id], Field(max_length=100)]


class Suggestion(Out):
    label_class: int
    words: str
    when: str = Field(description="before or after the answer: when the project tells it to people.")


class Question(Out):
    """An image that is the person's for some minutes (a lease)."""

    candidate: int = Field(description="The place in the queue. Send it along with the answer.")
    image: int
    picture: str = Field(description="Where the picture is.")
    name: str
    width: int
    height: int
    round: int
    rank: int
    reason: str
    reason_words: str
    score: float | None
    measure: str
    unit: str
    percentile: float | None
    likely: list[str] = Field(description="`class: mean ± std`, where people may know before they answer.")
    question: str
    alike: str = Field(description="Where it stands for a group of images that look alike: how many they are.")
    groups: str = Field(description="About how many groups there are in all.")
    members: list[str] = Field(description="Pictures of others of the group, where the project shows them.")
    suggestion: Suggestion | None = Field(description="Where the project tells it before the answer.")


class Empty(Out):
    """Why there is nothing to answer. `retry_seconds` is null where waiting would be in vain."""

    why: str
    words: str
    retry_seconds: int | None


class Progress(Out):
    labelled: int
    total: int
    mine_today: int
    seconds: float | None = Field(description="The median of the person's last answers.")


class Questions(Out):
    items: list[Question]
    empty: Empty | None


class Next(Questions):
    progress: Progress
    classes: str = Field(description="Changes when the classes do.")


class Wish(In):
    want: int = Field(1, ge=1, le=MOST, description="How many to hold in all.")
    holding: Places = Field([], description="Places that are known already: they are not sent again.")


class AnswerIn(In):
    key: Key = Field(description="A new UUID for each answer: sent again with the same key, it counts once.")
    image: Id
    candidate: Id | None = Field(None, description="The place that it was asked at; none: the image was not asked.")
    outcome: Literal["label", "skip", "unsure", "bad_image"]
    label_class: Id | None = Field(None, description="Of a label, and of nothing else.")
    propose: Annotated[str, Field(min_length=1, max_length=100, pattern=PATTERN)] | None = Field(
        None, description="Instead of `label_class`: a class that there is not yet, where the project takes proposals."
    )
    corrects: Key | None = Field(None, description="The key of an own answer that this one replaces.")
    seconds: Annotated[float, Field(ge=0, le=MAX_SECONDS)] | None = None
    suggestion: Literal["", "before", "after"] = Field(
        "", description="before: the person saw what the model says. What is told after answers the server knows."
    )
    want: int = Field(0, ge=0, le=MOST, description="Questions to hold afterwards; 0: none are sent along.")
    holding: Places = []


class Answered(Out):
    answer: AnswerRow
    items: list[Question]
    empty: Empty | None
    told: Suggestion | None = Field(description="Where the project tells it after the answer.")


class Whose(Paging):
    of: Literal["me", "everybody"] = Field("me", description="everybody: managers only.")


class UndoIn(In):
    key: Key = Field(description="A new UUID.")


class Held(In):
    candidates: Places


class StillHeld(Out):
    held: list[int]


@router.act(f"{ROOT}/queue/next", Next, who="member", scope=Scope.ANNOTATE)
def lease_next(request: HttpRequest, slug: str, body: Wish) -> Next:
    """Lease what to answer next: what the person holds already, then the best that is free."""
    access = member_access(request, slug)
    classes = classes_of(access.project)
    places = lease_or_refill(project=access.project, annotator=access.user, want=body.want) if classes else []
    fresh = [place for place in places if place.pk not in body.holding]
    progress = progress_of(access.project, access.user)
    return Next(
        **_questions(access, fresh, is_idle=not places),
        progress=Progress(**{name: getattr(progress, name) for name in Progress.model_fields}),
        classes=version_of(classes),
    )


@router.make(f"{ROOT}/answers", Answered, who="member", scope=Scope.ANNOTATE)
def make_answer(request: HttpRequest, slug: str, body: AnswerIn) -> Answered:
    """Answer an image. It counts also where its lease has run out, or a new round has come meanwhile."""
    access = member_access(request, slug)
    answer = Answer(
        key=body.key,
        image_id=body.image,
        candidate_id=body.candidate,
        outcome=body.outcome,
        label_class_id=body.label_class,
        seconds=body.seconds,
        answered_at=None,
        corrects=body.corrects,
        proposed=body.propose or "",
        suggestion=Shown.BEFORE if body.suggestion == "before" else "",
    )
    room = max(0, body.want - len(body.holding))
    kept, places = answer_and_lease(
        project=access.project, annotator=access.user, save=lambda: save_answer(access, answer), room=room
    )
    row = _with_classes(kept)
    told = _suggestion(told_after(access.project, kept))
    questions = _questions(access, places, is_idle=body.want > 0 and room >= body.want)
    return Answered(answer=answer_row(row), told=told, **questions)


@router.read(f"{ROOT}/answers", Page[AnswerRow])
def list_answers(request: HttpRequest, slug: str, paging: Query[Whose]) -> Rows[AnswerRow]:
    """Answers as they were given, newest first: one's own, or everybody's."""
    access = manager_access(request, slug) if paging.of == "everybody" else member_access(request, slug)
    rows = Annotation.objects.filter(project=access.project).select_related("annotator", "label_class__merged_into")
    if paging.of == "me":
        rows = rows.filter(annotator=access.user)
    page = page_of(f"answers {slug} {paging.of}", rows, paging, newest_first=True)
    return Rows([answer_row(row) for row in page.items], page.next)


@router.act(f"{ROOT}/answers/{{uuid:key}}/undo", Outcome, who="member", scope=Scope.ANNOTATE)
def undo_answer(request: HttpRequest, slug: str, key: uuid.UUID, body: UndoIn) -> Outcome:
    """Take an own answer back; the image is asked again."""
    access = member_access(request, slug)
    retract_answer(project=access.project, annotator=access.user, target_key=key, key=body.key)
    return Outcome(changed=True, detail="The answer is taken back.")


@router.act(f"{ROOT}/queue/renew", StillHeld, who="member", scope=Scope.ANNOTATE)
def renew(request: HttpRequest, slug: str, body: Held) -> StillHeld:
    """Keep leases for longer. Returned are those that are still the person's."""
    access = member_access(request, slug)
    held = renew_leases(project=access.project, annotator=access.user, candidate_ids=body.candidates)
    return StillHeld(held=held)


@router.act(f"{ROOT}/queue/release", StillHeld, who="member", scope=Scope.ANNOTATE)
def release(request: HttpRequest, slug: str, body: Held) -> StillHeld:
    """Give leases back, for others to have."""
    access = member_access(request, slug)
    release_leases(project=access.project, annotator=access.user, candidate_ids=body.candidates)
    return StillHeld(held=[])


def _with_classes(kept: Annotation) -> Annotation:
    return Annotation.objects.select_related("annotator", "label_class__merged_into").get(pk=kept.pk)


def _questions(access: Access, places: list[Candidate], *, is_idle: bool) -> dict[str, Any]:
    names = names_for(access.project, places)
    is_empty = is_idle and not places
    empty = why_empty(access.project, access.user, is_manager=access.is_manager) if is_empty else None
    return {
        "items": [_question(access, place, names) for place in places],
        "empty": Empty(why=empty.why, words=empty.words, retry_seconds=empty.retry_seconds) if empty else None,
    }


def _picture(access: Access, image_id: int) -> str:
    return f"/api/v1/projects/{access.project.slug}/images/{image_id}/picture"


def _question(access: Access, place: Candidate, names: dict[int, str]) -> Question:
    item = item_of(access.project, place, names)
    shown = {
        name: item[name] for name in Question.model_fields if name in item and name not in ("suggestion", "members")
    }
    return Question(
        **shown,
        picture=_picture(access, place.image_id),
        members=[_picture(access, pk) for pk in shown_members(access.project, place)],
        suggestion=_suggestion(item["suggestion"]),
    )


def _suggestion(said: dict[str, Any] | None) -> Suggestion | None:
    return Suggestion(label_class=said["class"], words=said["words"], when=said["when"]) if said else None
