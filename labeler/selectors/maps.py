"""The map of the pool for pages: where it stands, and whom it puts beside whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from django.utils.translation import gettext as _

from labeler import storage
from labeler.models import Image, ImageState, JobState, PoolMap, Project
from labeler.models.jobs import UNFINISHED_JOB
from labeler.selectors.features import ready_features
from labeler.selectors.pool import total_images
from labeler.selectors.workers import Missing, missing_workers

NEIGHBOURS = 8
MOST_LABELLED = 20_000  # labelled images that neighbours are looked for among, the newest
MOST_PAIRS = 3000


class NoMap(Exception):
    """The map's file is gone; the message says so for people."""


@dataclass(frozen=True)
class MapState:
    """The map that is shown, the one that is being drawn, and what went wrong with the last."""

    shown: PoolMap | None
    drawn: PoolMap | None
    failed: PoolMap | None
    missing: int  # images that came after it
    is_outdated: bool  # of pixels, where there are features
    missing_workers: Sequence[Missing]

    @property
    def percent(self) -> int:
        return round(100 * self.drawn.done / self.drawn.total) if self.drawn and self.drawn.total else 0


@dataclass(frozen=True)
class Neighbour:
    image: Image
    distance: float


def map_state(project: Project) -> MapState:
    maps = list(PoolMap.objects.filter(project=project)[:5])
    shown = next((row for row in maps if row.state == JobState.DONE), None)
    drawn = next((row for row in maps if row.state in UNFINISHED_JOB), None)
    newest = maps[0] if maps else None
    return MapState(
        shown=shown,
        drawn=drawn,
        failed=newest if newest and newest.state == JobState.FAILED else None,
        missing=max(0, total_images(project) - shown.total) if shown else 0,
        is_outdated=shown is not None and not shown.is_of_features and ready_features(project) is not None,
        missing_workers=missing_workers(["background"]) if drawn is not None else [],
    )


def current_map(project: Project) -> PoolMap | None:
    return PoolMap.objects.filter(project=project, state=JobState.DONE).first()


@lru_cache(maxsize=2)
def map_records(name: str) -> npt.NDArray[Any]:
    """The map's records, mapped into memory. Raises NoMap."""
    try:
        with storage.local_path(name) as path:
            records: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise NoMap(_("The map's file cannot be read. Draw the map again.")) from error
    return records


def labelled_neighbours(project: Project, pool_map: PoolMap, image: Image) -> list[Neighbour]:
    """The labelled images that look most like this one, nearest first. Raises NoMap."""
    records = map_records(pool_map.file)
    if image.position >= len(records):
        return []
    labelled = Image.objects.filter(project=project, state=ImageState.LABELLED).exclude(state=ImageState.POOL)
    newest = labelled.order_by("-labelled_at").values_list("position", flat=True)[:MOST_LABELLED]
    rows = [position for position in newest if position != image.position and position < len(records)]
    positions = np.sort(np.array(rows, np.int64))
    if not len(positions):
        return []
    there = records["features"][positions].astype(np.float32)
    distance = np.linalg.norm(there - records["features"][image.position].astype(np.float32), axis=1)
    nearest = np.argsort(distance, kind="stable")[:NEIGHBOURS]
    found = _by_position(project, positions[nearest].tolist())
    return [
        Neighbour(found[position], float(distance[index]))
        for index, position in zip(nearest.tolist(), positions[nearest].tolist(), strict=True)
        if position in found
    ]


def near_duplicates(pool_map: PoolMap) -> list[tuple[int, int, float]]:
    """Pairs of positions that look most alike, nearest first, each pair once. Raises NoMap."""
    records = map_records(pool_map.file)
    distance = np.asarray(records["distance"])
    nearest = np.asarray(records["nearest"]).astype(np.int64)
    order = np.argsort(distance, kind="stable")[: 2 * MOST_PAIRS]
    pairs: dict[tuple[int, int], float] = {}
    for at in order[np.isfinite(distance[order])].tolist():
        other = int(nearest[at])
        pairs.setdefault((min(at, other), max(at, other)), float(distance[at]))
    return [(one, other, far) for (one, other), far in pairs.items()][:MOST_PAIRS]


def _by_position(project: Project, positions: Sequence[int]) -> dict[int, Image]:
    rows = Image.objects.filter(project=project, position__in=positions).select_related("label").order_by()
    return {row.position: row for row in rows}
