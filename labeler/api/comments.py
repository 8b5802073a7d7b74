"""What people tell the managers about images, and what they answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from django.http import Http404, HttpRequest
from ninja import Query
from pydantic import Field

from labeler.access import manager_access, member_access
from labeler.api.operations import NONE, PATTERN, Id, In, Key, Nothing, Operations, Out
from labeler.api.paging import Page, Paging, Rows, page_of
from labeler.api.shapes import Outcome, Person, person_of
from labeler.models import Comment, Scope
from labeler.services.comments import LONGEST, close_comment, comment_image, note_reply_read

router = Operations("Comments")
ROOT = "/projects/{slug:slug}/comments"
ONE = f"{ROOT}/{{int:comment_id}}"


class CommentNew(In):
    key: Key = Field(description="A new UUID: sent again with the same key, it is there once.")
    image: Id
    text: Annotated[str, Field(min_length=1, max_length=LONGEST, pattern=PATTERN)]


class CommentOut(Out):
    id: int
    image: int
    by: Person | None
    text: str
    reply: str
    closed_by: Person | None
    closed_at: datetime | None
    created_at: datetime


class Reply(In):
    reply: Annotated[str, Field(max_length=LONGEST, pattern=PATTERN)] = Field("", description="Empty: without a word.")


class Which(Paging):
    show: Literal["open", "closed", "all"] = "open"


@router.read(ROOT, Page[CommentOut])
def list_comments(request: HttpRequest, slug: str, paging: Query[Which]) -> Rows[CommentOut]:
    """Managers see all, others their own."""
    access = member_access(request, slug)
    rows = Comment.objects.filter(project=access.project).select_related("by", "closed_by")
    if not access.is_manager:
        rows = rows.filter(by=access.user)
    if paging.show != "all":
        rows = rows.filter(closed_at__isnull=paging.show == "open")
    page = page_of(f"comments {slug} {paging.show}", rows, paging)
    return Rows([_shown(row) for row in page.items], page.next)


@router.make(ROOT, CommentOut, who="member", scope=Scope.ANNOTATE)
def make_comment(request: HttpRequest, slug: str, body: CommentNew) -> CommentOut:
    """Tell the managers something about an image."""
    access = member_access(request, slug)
    made = comment_image(project=access.project, by=access.user, image_id=body.image, text=body.text, key=body.key)
    return _shown(made)


@router.act(f"{ONE}/close", Outcome)
def close_comment_(request: HttpRequest, slug: str, comment_id: int, body: Reply) -> Outcome:
    """Answer it, or close it without a word."""
    access = manager_access(request, slug)
    if not Comment.objects.filter(project=access.project, pk=comment_id).exists():
        raise Http404("No such comment")
    changed = close_comment(project=access.project, by=access.user, comment_id=comment_id, reply=body.reply)
    return Outcome(changed=changed, detail="Closed." if changed else "Somebody else has closed it already.")


@router.act(f"{ONE}/read", Outcome, who="member", scope=Scope.ANNOTATE)
def read_reply(request: HttpRequest, slug: str, comment_id: int, body: Nothing = NONE) -> Outcome:  # noqa: ARG001
    """The reply to an own comment has been read."""
    access = member_access(request, slug)
    if not Comment.objects.filter(project=access.project, by=access.user, pk=comment_id).exists():
        raise Http404("No such comment")
    note_reply_read(project=access.project, person=access.user, comment_id=comment_id)
    return Outcome(changed=True)


def _shown(row: Comment) -> CommentOut:
    names = ("id", "text", "reply", "closed_at", "created_at")
    return CommentOut(
        **{name: getattr(row, name) for name in names},
        image=row.image_id,
        by=person_of(row.by),
        closed_by=person_of(row.closed_by),
    )
