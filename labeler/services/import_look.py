"""A look at what an import would bring, before it does: bounded work, and nothing of it is kept but what was found."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from labeler import clock
from labeler.imaging.decode import DecodedImage, Refused
from labeler.imaging.sources import Entry, Source
from labeler.imaging.zips import BadArchive
from labeler.models import Image, ImportFile, ImportJob, JobState
from labeler.services.import_plan import Plan, RowsSource, make_plan, opened, with_row
from labeler.services.jobs import ClaimLost
from labeler.told import keep

ENTRIES = 20_000  # whose labels are counted
READ = 100  # images that are opened
SECONDS = 20.0  # after which no further entry is looked at
SHOWN = 20
CLASSES = 200


def look(plan: Plan) -> None:
    """Say what is in the files of the import, and wait for somebody to start it."""
    until = time.monotonic() + SECONDS
    make_plan(plan)
    seen = _Seen()
    files = [file for file in plan.job.files.all() if file.kind != ImportFile.Kind.ROWS]
    for file in files:
        try:
            with opened(plan, file) as source:
                _look_into(plan, source, seen, until)
                seen.is_cut = seen.is_cut or getattr(source, "is_cut", False)
        except BadArchive as error:
            seen.refusals.append((file.name, str(error)))
    if plan.index is not None:
        _look_into(plan, RowsSource(plan.index, plan.limits), seen, until)
    jobs = ImportJob.objects.filter(pk=plan.job.pk, claim=plan.job.claim, state=JobState.RUNNING)
    if not jobs.update(
        state=JobState.UPLOADING, found=_found(plan, seen), looks_first=False, claim="", attempts=0,
        heartbeat_at=clock.now(), started_at=None,
    ):  # fmt: skip
        raise ClaimLost


class _Seen:
    def __init__(self) -> None:
        self.entries = self.read = self.new = self.known = self.refused = 0
        self.is_cut = False
        self.labels: Counter[str] = Counter()
        self.people: set[str] = set()
        self.refusals: list[tuple[str, str]] = []
        self.notes: list[tuple[str, str]] = []
        self.hashes: set[str] = set()


def _look_into(plan: Plan, source: Source, seen: _Seen, until: float) -> None:
    for entry in source.entries(0):
        if seen.entries >= ENTRIES or time.monotonic() > until:
            seen.is_cut = True
            return
        seen.entries += 1
        plan.beat()
        entry = with_row(plan, entry)
        if entry.load is None:
            continue
        if entry.label:
            seen.labels[entry.label] += 1
        if entry.row is not None:
            seen.people |= {answer.by for answer in entry.row.answers}
            if entry.row.note and len(seen.notes) < SHOWN:
                seen.notes.append((entry.name, entry.row.note))
        if seen.read < READ:
            _read(plan, entry, seen)


def _read(plan: Plan, entry: Entry, seen: _Seen) -> None:
    assert entry.load is not None
    seen.read += 1
    result = entry.load()
    if isinstance(result, Refused):
        seen.refused += 1
        if len(seen.refusals) < SHOWN:
            seen.refusals.append((entry.name, result.reason))
        return
    assert isinstance(result, DecodedImage)
    same = Image.objects.filter(project=plan.job.project_id, content_hash=result.content_hash)
    if result.content_hash in seen.hashes or same.exists():
        seen.known += 1
    else:
        seen.new += 1
    seen.hashes.add(result.content_hash)


def _found(plan: Plan, seen: _Seen) -> dict[str, Any]:
    """As selectors/imports.py shows it. JSON: lists in place of tuples."""
    return {
        "entries": plan.total,
        "is_cut": seen.is_cut or plan.is_cut,
        "looked_at": seen.entries,
        "read": seen.read,
        "new": seen.new,
        "known": seen.known,
        "refused": seen.refused,
        "labels": [[name, count] for name, count in seen.labels.most_common(CLASSES)],
        "label_count": len(seen.labels),
        "people": sorted(seen.people)[:CLASSES],
        "columns": list(plan.columns),
        "tables": plan.tables,
        "refusals": [[name, keep(why)] for name, why in seen.refusals],
        "notes": [[name, keep(why)] for name, why in seen.notes],
    }
