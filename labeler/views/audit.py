"""The record of who did what when, for managers: a page, and the same as a file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import path
from django.utils import timezone
from django.utils.translation import override
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from labeler.access import manager_access
from labeler.forms.setting_words import SettingWords
from labeler.models import AuditEntry, AuditKind
from labeler.selectors.audit import NOBODY, audit_page, audit_people, audit_rows, filter_from
from labeler.services.exporting import spreadsheet_safe

COLUMNS = ["at", "by", "kind", "what", "details"]
FORMATS = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}


@never_cache
@require_safe
@login_required
def audit(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    wanted = filter_from(request.GET)
    before = request.GET.get("before", "")
    page = audit_page(
        access.project,
        wanted,
        before=int(before) if before.isascii() and before.isdecimal() and len(before) < 16 else None,
    )
    words = SettingWords()
    context = {
        "access": access,
        "tab": "people",
        "page": "audit",
        "wanted": wanted,
        "entries": [(entry, words.of(entry)) for entry in page.entries],
        "older": page.older,
        "is_first": not before,
        "people": audit_people(access.project),
        "nobody": NOBODY,
        "kinds": AuditKind.choices,
    }
    return render(request, "people/audit.html", context)


@require_safe
@login_required
def audit_file(request: HttpRequest, slug: str, file_format: str) -> StreamingHttpResponse:
    """What the page shows with its filter, all pages of it, as CSV or JSON Lines."""
    access = manager_access(request, slug)
    if file_format not in FORMATS:
        raise Http404("No such format")
    words = SettingWords()
    records = (_record(row, words) for row in audit_rows(access.project, filter_from(request.GET)))
    lines = (
        _csv_lines(records)
        if file_format == "csv"
        else (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    )
    reply = StreamingHttpResponse(lines, content_type=FORMATS[file_format])
    reply["Content-Disposition"] = f'attachment; filename="{access.project.slug}-record.{file_format}"'
    return reply


def _record(entry: AuditEntry, words: SettingWords) -> dict[str, Any]:
    """Settings by what the form calls them, as on the page; in English, as programs read it. In `details` they have the
    names of the database."""
    at = entry.at.astimezone(timezone.get_default_timezone()).isoformat()
    by = entry.by.get_username() if entry.by else None
    with override("en"):
        what = words.of(entry)
    return {"at": at, "by": by, "kind": entry.kind, "what": what, "details": entry.details}


class _Line:
    """What csv writes to: hands each line on."""

    def write(self, line: str) -> str:
        return line


def _csv_lines(records: Iterator[dict[str, Any]]) -> Iterator[str]:
    writer = csv.writer(_Line())
    yield writer.writerow(COLUMNS)
    for record in records:
        record["details"] = json.dumps(record["details"], ensure_ascii=False) if record["details"] else ""
        yield writer.writerow([spreadsheet_safe(record[name]) for name in COLUMNS])


urlpatterns = [
    path("p/<slug:slug>/people/record/", audit, name="audit"),
    path("p/<slug:slug>/people/record.<slug:file_format>", audit_file, name="audit-file"),
]
