"""The graph of the pool for queues and pages. Its file is read by numpy alone."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np
from django.db import connection

from labeler import clock, storage
from labeler.models import JobState, PoolGraph, Project
from labeler.models.jobs import UNFINISHED_JOB
from labeler.selectors.workers import alive_since

LEAST_IMAGES = 20  # fewer are answered sooner than they are grouped
PATIENCE = timedelta(minutes=10)  # so long answers wait for a graph that waits behind other work of the background


class Likeness(StrEnum):
    """Whether it is known which images of a project look alike."""

    KNOWN = "known"
    COMING = "coming"  # a worker is at it, or will be soon: the sweep asks for it
    UNKNOWN = "unknown"


# An expression for statements that are written out in SQL, about the project `{project}`, with `likeness_parameters`.
# Few images get no graph, one that failed is not made again of the same images, and while an import goes on none is.
LIKENESS = """
CASE
    WHEN EXISTS (
        SELECT 1 FROM labeler_poolgraph g WHERE g.project_id = {project} AND g.state = 'done' AND g.vectors <> '')
        THEN 'known'
    WHEN NOT EXISTS (
        SELECT 1 FROM labeler_worker w
        WHERE w.seen_at > %(alive_since)s AND ',' || w.queues || ',' LIKE %(background)s)
        THEN 'unknown'
    WHEN EXISTS (
        SELECT 1 FROM labeler_poolgraph g
        WHERE g.project_id = {project} AND NOT g.is_cancel_requested
            AND (g.state = 'running' OR (g.state = 'queued' AND g.created_at > %(queued_since)s)))
        THEN 'coming'
    WHEN NOT EXISTS (SELECT 1 FROM labeler_poolgraph g WHERE g.project_id = {project})
        AND NOT EXISTS (
            SELECT 1 FROM labeler_importjob i
            WHERE i.project_id = {project} AND i.state IN ('uploading', 'queued', 'running'))
        AND (SELECT sum(c.count) FROM labeler_chunk c WHERE c.project_id = {project}) >= %(least_images)s
        THEN 'coming'
    ELSE 'unknown'
END
"""


class CannotRead(Exception):
    """The graph's file is gone or damaged; the message says so for people."""


@dataclass(frozen=True)
class FirstQuestion:
    """An image that is typical of a group: its position, how many images the group has, and how it was drawn."""

    position: int
    size: int
    gain: float
    probability: float


@dataclass(frozen=True)
class GraphState:
    """The graph that counts, the one that is being made, and what went wrong with the last."""

    current: PoolGraph | None
    made: PoolGraph | None
    failed: PoolGraph | None

    @property
    def percent(self) -> int:
        return round(100 * self.made.done / self.made.total) if self.made and self.made.total else 0


def current_graph(project: Project) -> PoolGraph | None:
    return PoolGraph.objects.filter(project=project, state=JobState.DONE).first()


def likeness_parameters() -> dict[str, str | int | datetime]:
    return {
        "alive_since": _stored(alive_since()),
        "background": "%,background,%",
        "least_images": LEAST_IMAGES,
        "queued_since": _stored(clock.now() - PATIENCE),
    }


def _stored(moment: datetime) -> str | datetime:
    value: str | datetime = connection.ops.adapt_datetimefield_value(moment)  # type: ignore[assignment]
    return value


def likeness_of(project: Project) -> Likeness:
    """One statement."""
    with connection.cursor() as cursor:
        statement = f"SELECT {LIKENESS.format(project='%(project)s')}"
        cursor.execute(statement, {**likeness_parameters(), "project": project.pk})
        return Likeness(cursor.fetchone()[0])


def graph_state(project: Project) -> GraphState:
    graphs = list(PoolGraph.objects.filter(project=project)[:5])
    newest = graphs[0] if graphs else None
    return GraphState(
        current=next((row for row in graphs if row.state == JobState.DONE), None),
        made=next((row for row in graphs if row.state in UNFINISHED_JOB), None),
        failed=newest if newest and newest.state == JobState.FAILED else None,
    )


def first_questions(graph: PoolGraph) -> list[FirstQuestion]:
    """What to ask before anything is known, in order. Raises CannotRead."""
    names = ("positions", "sizes", "gains", "probabilities")
    try:
        with storage.local_path(graph.file) as path, np.load(path, allow_pickle=False) as file:
            columns = [file[f"first_{name}"].tolist() for name in names]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CannotRead("the file of the graph cannot be read") from error
    return [FirstQuestion(*row) for row in zip(*columns, strict=True)]
