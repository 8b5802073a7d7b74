"""Exports for pages."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from labeler.export_formats import ALL, COLUMNS, WITH_MODEL, Filters
from labeler.models import ExportJob, LabelClass, Project, User
from labeler.models.jobs import UNFINISHED_JOB
from labeler.numerals import localised
from labeler.selectors.export_rows import preview_rows

SHOWN = 50
PREVIEW = 5


@dataclass(frozen=True)
class Preview:
    """The first rows as a table."""

    columns: list[tuple[str, str]]  # name and what it says
    rows: list[list[Any]]


@dataclass(frozen=True)
class Line:
    """An export as the list has it, and which images it holds in words."""

    job: ExportJob
    words: str


def export_lines(project: Project) -> list[Line]:
    """The newest. Three queries."""
    jobs = project.exports.select_related("created_by", "project")[:SHOWN]
    classes, people = names_for(project)
    return [Line(job, filter_words(job, classes, people)) for job in jobs]


def is_any_unfinished(exports: list[ExportJob]) -> bool:
    return any(job.state in UNFINISHED_JOB for job in exports)


def filters_of(job: ExportJob) -> Filters:
    known = {field.name for field in fields(Filters)}
    values = {name: value for name, value in job.filters.items() if name in known}
    for name in ("since", "until"):
        if values.get(name):
            values[name] = datetime.fromisoformat(values[name])
    return Filters(**values)


def preview_of(project: Project, filters: Filters) -> Preview:
    rows = preview_rows(project, filters, PREVIEW)
    shown = [[_cell(value) for value in row.record.values()] for row in rows]
    return Preview([(name, str(words)) for name, words in COLUMNS.items()], shown)


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, list):
        return "; ".join(value)
    return value


def filter_words(job: ExportJob, classes: dict[int, str], people: dict[int, str]) -> str:
    """Which images an export holds, for the list."""
    filters = filters_of(job)
    which = {ALL: _("all images"), WITH_MODEL: _("labels and the model's surest")}
    words = [which.get(filters.images, _("labels"))]
    if filters.model_above is not None and filters.images == WITH_MODEL:
        words.append(_("from probability %(share)s") % {"share": localised(f"{filters.model_above:g}")})
    if filters.label_class is not None:
        name = classes.get(filters.label_class)
        words.append(_("class %(name)s") % {"name": name} if name else _("class that is gone"))
    if filters.annotator is not None:
        name = people.get(filters.annotator)
        words.append(_("answered by %(name)s") % {"name": name} if name else _("answered by somebody who has left"))
    if filters.since is not None:
        words.append(_("since %(day)s") % {"day": f"{filters.since:%Y-%m-%d}"})
    if filters.until is not None:
        words.append(_("before %(day)s") % {"day": f"{filters.until:%Y-%m-%d}"})
    if filters.holdout:
        words.append({"only": _("holdout only"), "without": _("without the holdout")}[filters.holdout])
    if filters.least_agreement is not None:
        words.append(_("agreement from %(share)s") % {"share": localised(f"{filters.least_agreement:g}")})
    if filters.with_images:
        words.append(_("with the images"))
    return ", ".join(words)


def names_for(project: Project) -> tuple[dict[int, str], dict[int, str]]:
    """Of all classes and of whoever has answered, by id."""
    classes = dict(LabelClass.objects.filter(project=project).values_list("pk", "name"))
    people = dict(User.objects.filter(memberships__project=project).values_list("pk", "username"))
    return classes, people
