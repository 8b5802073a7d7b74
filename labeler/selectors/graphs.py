"""The graph of the pool for queues and pages. Its file is read by numpy alone."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass

import numpy as np

from labeler import storage
from labeler.models import JobState, PoolGraph, Project
from labeler.models.jobs import UNFINISHED_JOB


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
