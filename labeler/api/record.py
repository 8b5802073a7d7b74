"""Who did what when, and what managers should hear of. Managers only."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from django.http import Http404, HttpRequest
from ninja import Query
from pydantic import Field

from labeler.access import manager_access
from labeler.api.operations import NONE, Nothing, Operations, Out
from labeler.api.paging import Page, Paging, Rows, page_of
from labeler.api.shapes import Outcome, Person, person_of
from labeler.models import AuditEntry, AuditKind, Notice, NoticeDismissal
from labeler.services.notices import dismiss_notices

router = Operations("Record and notices")
NOTICES = "/projects/{slug:slug}/notices"


class EntryOut(Out):
    id: int
    at: datetime
    by: Person | None = Field(description="null: a command or a worker.")
    kind: str
    words: str
    details: dict[str, Any]


class NoticeOut(Out):
    id: int
    kind: str
    words: str
    round: int | None
    is_read: bool
    created_at: datetime
    over_at: datetime | None = Field(description="Since when it is not so any more; null: it is so, or was an event.")


class OfKind(Paging):
    kind: Literal[("", *AuditKind.values)] = ""  # type: ignore[valid-type]


@router.read("/projects/{slug:slug}/record", Page[EntryOut], who="manager")
def list_record(request: HttpRequest, slug: str, paging: Query[OfKind]) -> Rows[EntryOut]:
    """Who did what when, newest first."""
    access = manager_access(request, slug)
    rows = AuditEntry.objects.filter(project=access.project).select_related("by")
    if paging.kind:
        rows = rows.filter(kind=paging.kind)
    page = page_of(f"record {slug} {paging.kind}", rows, paging, newest_first=True)
    names = ("id", "at", "kind", "words", "details")
    shown = [EntryOut(**{name: getattr(row, name) for name in names}, by=person_of(row.by)) for row in page.items]
    return Rows(shown, page.next)


@router.read(NOTICES, Page[NoticeOut], who="manager")
def list_notices(request: HttpRequest, slug: str, paging: Query[Paging]) -> Rows[NoticeOut]:
    """What managers should hear of, newest first. `is_read` is the person's own."""
    access = manager_access(request, slug)
    rows = Notice.objects.filter(project=access.project).select_related("round")
    page = page_of(f"notices {slug}", rows, paging, newest_first=True)
    seen = NoticeDismissal.objects.filter(user=access.user, notice__in=[row.pk for row in page.items])
    read = set(seen.values_list("notice_id", flat=True))
    return Rows([_notice(row, row.pk in read) for row in page.items], page.next)


@router.act(f"{NOTICES}/{{int:notice_id}}/dismiss", Outcome)
def dismiss_notice(request: HttpRequest, slug: str, notice_id: int, body: Nothing = NONE) -> Outcome:  # noqa: ARG001
    """The person has read it."""
    access = manager_access(request, slug)
    row = access.project.notices.filter(pk=notice_id).first()
    if row is None:
        raise Http404("No such notice")
    dismiss_notices(user=access.user, notices=[row])
    return Outcome(changed=True)


def _notice(row: Notice, is_read: bool) -> NoticeOut:
    return NoticeOut(
        id=row.pk,
        kind=row.kind,
        words=row.words,
        round=row.round.number if row.round is not None else None,
        is_read=is_read,
        created_at=row.created_at,
        over_at=row.over_at,
    )
