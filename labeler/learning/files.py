"""What the learner is given, and what it says: chunk files, a heartbeat, refusals in words."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from django.conf import settings
from django.db import Error as DatabaseProblem
from django.db import connection

from labeler.learning.spoken import sentence
from labeler.models import ChunkFeatures, PoolFeatures, Project, Round, RoundChunk
from labeler.models.images import CHUNK_SIZE
from labeler.round_files import held
from labeler.selectors.features import ChunkInput, chunk_inputs, likeness_inputs
from labeler.selectors.graphs import current_graph
from labeler.services.features import forget_lost
from labeler.storage import local_path
from labeler.told import Told, told

if TYPE_CHECKING:
    from learner.pool import Chunk as PixelChunk

logger = logging.getLogger(__name__)

BEAT_SECONDS = 0.5
PATIENCE_SECONDS = 2.0  # between heartbeats while the database is away
Integers = npt.NDArray[np.int64]


class CannotLearn(Exception):
    """The learner said no, in words for people. Trying again would end the same way."""


class Beat:
    """The learner's report: a heartbeat at most twice a second. What `write` raises (RoundLost) stops the learner.

    A database that is away does not stop the work; the last write finds out whose it is.
    """

    def __init__(self, write: Callable[[int, int], None]) -> None:
        self.write, self.next_at = write, 0.0

    def __call__(self, _phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now < self.next_at:
            return
        self.next_at = now + BEAT_SECONDS
        try:
            self.write(done, total)
        except DatabaseProblem as error:
            logger.warning("The database is away (%s); the work goes on.", error)
            connection.close()
            self.next_at = now + PATIENCE_SECONDS


def folder_of(round_: Round, *, scores: bool = True) -> Path:
    """With all that the round has so far, of whichever machine; or all but the scores."""
    return held(round_, scores=scores)


def limit_threads() -> None:
    import torch

    torch.set_num_threads(settings.LEARNER_THREADS or max(1, (os.cpu_count() or 1) - 1))


def load() -> None:
    """Everything that a round imports, and what torch loads with the first optimiser."""
    import torch

    import learner.fit
    import learner.graph.pool_graph
    import learner.scoring  # noqa: F401

    limit_threads()
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)], fused=True)


def opened(each: ChunkInput | RoundChunk, stack: ExitStack) -> PixelChunk:
    """The vectors of a chunk where there are any, else its pixels. Raises CannotLearn; vectors are made again."""
    from learner.pool import Chunk as PixelChunk

    number = each.chunk.number
    try:
        path = stack.enter_context(local_path(each.features or each.pixels))
    except FileNotFoundError as error:
        if not each.features:
            raise CannotLearn(
                told(
                    "The pixels of chunk %(number)s are missing in the storage: %(why)s.",
                    number=str(number),
                    why=str(error),
                )
            ) from error
        forget_lost(file=each.features)
        raise CannotLearn(_lost(number)) from error
    return PixelChunk(number, path, each.count, each.row)


def chunks_now(project: Project, stack: ExitStack, features: PoolFeatures | None = None) -> list[PixelChunk]:
    """All pixels of a project, or what there is of some features."""
    return [opened(each, stack) for each in chunk_inputs(project, features)]


def in_chunks(positions: Integers, counts: dict[int, int]) -> Integers:
    """Those of positions, in any order, that stand in chunks, by number and count."""
    known = np.zeros(max([*counts, int(positions.max(initial=0)) // CHUNK_SIZE]) + 1, dtype=np.int64)
    for number, count in counts.items():
        known[number] = count
    return positions[positions % CHUNK_SIZE < known[positions // CHUNK_SIZE]]


@contextmanager
def mending(project: Project) -> Iterator[None]:
    """Vectors that turn out to be damaged are made again. Raises CannotLearn where that is so."""
    from learner.errors import ChunkError

    try:
        yield
    except ChunkError as error:
        rows = ChunkFeatures.objects.filter(chunk__project=project).select_related("chunk")
        inputs = [ChunkInput(row.chunk, row.count, row.file) for row in rows]
        if (graph := current_graph(project)) is not None and graph.vectors:
            inputs += likeness_inputs(graph)
        damaged = [each for each in inputs if not _is_sound(each)]
        for each in damaged:
            forget_lost(file=each.features)
        if damaged:
            raise CannotLearn(_lost(damaged[0].chunk.number)) from error
        raise


def _is_sound(each: ChunkInput) -> bool:
    from learner.errors import ChunkError
    from learner.pool import Chunk as PixelChunk
    from learner.pool import open_chunk

    try:
        with local_path(each.features) as path:
            open_chunk(PixelChunk(each.chunk.number, path, each.count, each.row))
    except (ChunkError, FileNotFoundError):
        return False
    return True


def _lost(number: int) -> Told:
    return told(
        "The vectors of chunk %(number)s were lost or damaged, and are being computed again. Try again in a few "
        "minutes.",
        number=str(number),
    )


@contextmanager
def in_words() -> Iterator[None]:
    from learner.errors import LearnerError

    try:
        yield
    except LearnerError as error:
        raise CannotLearn(sentence(str(error).strip())) from error
