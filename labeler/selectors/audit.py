"""The record of acts, narrowed to a person, a kind and days, newest first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from urllib.parse import urlencode

from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_date

from labeler.models import AuditEntry, AuditKind, Project, User

PAGE = 50
NOBODY = "0"  # what a command or a worker did


@dataclass(frozen=True)
class AuditFilter:
    """What the list is narrowed to; only these keys and values are taken from an address."""

    person: str = ""
    kind: str = ""
    since: date | None = None
    until: date | None = None  # that day included

    @property
    def is_active(self) -> bool:
        return self != AuditFilter()

    @property
    def query(self) -> str:
        values = {"person": self.person, "kind": self.kind, "since": self.since, "until": self.until}
        return urlencode({name: value for name, value in values.items() if value})


@dataclass(frozen=True)
class AuditPage:
    """`older`: the next page begins before this entry; None: there is none."""

    entries: list[AuditEntry]
    older: int | None


def filter_from(query: Mapping[str, str]) -> AuditFilter:
    person = query.get("person", "")
    return AuditFilter(
        person=person if person.isascii() and person.isdecimal() and len(person) < 16 else "",
        kind=query.get("kind", "") if query.get("kind") in AuditKind.values else "",
        since=_day(query.get("since", "")),
        until=_day(query.get("until", "")),
    )


def _day(text: str) -> date | None:
    try:
        day = parse_date(text)
    except ValueError:
        return None
    return day if day is not None and day.year < 9999 else None


def audit_page(project: Project, wanted: AuditFilter, *, before: int | None = None) -> AuditPage:
    """Two queries, whatever its length."""
    rows = _narrowed(project, wanted).select_related("by")
    if before is not None:
        rows = rows.filter(pk__lt=before)
    page = list(rows[: PAGE + 1])
    return AuditPage(page[:PAGE], page[PAGE - 1].pk if len(page) > PAGE else None)


def audit_rows(project: Project, wanted: AuditFilter) -> Iterator[AuditEntry]:
    """All of it, oldest first, in flat memory: for a file."""
    return _narrowed(project, wanted).select_related("by").order_by("pk").iterator(chunk_size=2000)


def audit_people(project: Project) -> QuerySet[User]:
    """Who stands in the record."""
    return User.objects.filter(pk__in=AuditEntry.objects.filter(project=project).order_by().values("by")).order_by(
        "username"
    )


def _narrowed(project: Project, wanted: AuditFilter) -> QuerySet[AuditEntry]:
    where = Q()
    if wanted.person:
        where &= Q(by__isnull=True) if wanted.person == NOBODY else Q(by=int(wanted.person))
    if wanted.kind:
        where &= Q(kind=wanted.kind)
    if wanted.since:
        where &= Q(at__gte=_midnight(wanted.since))
    if wanted.until:
        where &= Q(at__lt=_midnight(wanted.until + timedelta(days=1)))
    return AuditEntry.objects.filter(where, project=project)


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))
