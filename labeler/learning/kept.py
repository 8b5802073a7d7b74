"""What a round keeps of what it learned from, and how its files are found again when time has gone on.

Beside the model stands `training.npz`: positions and label classes, the images that labels could be passed on to, and
bad images.
Chunks grow by new files and never change, so that the first images of a grown one are still those of then.
"""

from __future__ import annotations

import hashlib
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from labeler import storage
from labeler.learning.files import CannotLearn, Integers, folder_of
from labeler.learning.requests import TrainingSet
from labeler.models import ChunkFeatures, PoolGraph, Round, RoundChunk
from labeler.selectors.reruns import TRAINING
from labeler.storage import local_path
from labeler.told import told

if TYPE_CHECKING:
    from learner.pool import Chunk as PixelChunk


@dataclass(frozen=True)
class Kept:
    """What a round learns from: labels, and the positions that labels may be passed on to."""

    training: TrainingSet
    open_to: Integers


def keep_training(round_: Round, kept: Kept) -> None:
    """Write it into the round's folder, whole or not at all."""
    from learner.files import write_arrays

    training = kept.training
    is_open = np.zeros(int(kept.open_to.max(initial=-1)) + 1, np.bool_)
    is_open[kept.open_to] = True
    arrays: dict[str, npt.NDArray[Any]] = {
        "positions": training.positions,
        "labels": np.array([training.classes[label] for label in training.labels.tolist()], np.int64),
        "open": np.packbits(is_open),
        "rejected": training.rejected,
    }
    write_arrays(folder_of(round_) / TRAINING, arrays)


def read_training(round_: Round) -> Kept:
    """What `keep_training` wrote. Raises CannotLearn."""
    path = folder_of(round_) / TRAINING
    try:
        with np.load(path, allow_pickle=False) as file:
            positions, labels, is_open = (file[name] for name in ("positions", "labels", "open"))
            rejected = file["rejected"] if "rejected" in file else np.empty(0)  # rounds of before learned nothing of it
    except FileNotFoundError as error:
        raise CannotLearn(
            told(
                "The file of what round %(number)s learned from is missing (%(name)s).",
                number=str(round_.number),
                name=path.name,
            )
        ) from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CannotLearn(
            told(
                "The file of what round %(number)s learned from is damaged (%(name)s).",
                number=str(round_.number),
                name=path.name,
            )
        ) from error
    number = {pk: index for index, pk in enumerate(round_.classes)}
    if unknown := sorted({*labels.tolist()} - {*number}):
        raise CannotLearn(
            told(
                "The file of what round %(number)s learned from names classes it never had: %(unknown)s.",
                number=str(round_.number),
                unknown=unknown,
            )
        )
    numbers = np.array([number[pk] for pk in labels.tolist()], np.int64)
    open_to = np.flatnonzero(np.unpackbits(is_open)).astype(np.int64)
    training = TrainingSet(positions.astype(np.int64), numbers, list(round_.classes), rejected.astype(np.int64))
    return Kept(training, open_to)


def surroundings(round_: Round, graph: Path | None) -> dict[str, Any]:
    """Beside labels, images, settings and seed, what the bits of a model depend on."""
    import torch

    from learner.fit import choose_device

    return {
        "device": str(choose_device(round_.config["device"])),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "processor": torch.backends.cpu.get_cpu_capability(),
        "graph_digest": file_digest(graph) if graph is not None else None,
    }


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def graph_as_it_was(round_: Round, stack: ExitStack) -> Path | None:
    """The file of the graph that labels were passed on by. Raises CannotLearn where another has come in its place."""
    digest = round_.metrics["fit"].get("graph_digest")
    if digest is None:
        return None
    row = PoolGraph.objects.filter(pk=round_.config["graph"]).exclude(file="").first()
    try:
        path = stack.enter_context(local_path(row.file)) if row is not None else None
    except FileNotFoundError:
        path = None
    if path is None or file_digest(path) != digest:
        raise CannotLearn(
            told(
                "Which images look alike has been found anew since round %(number)s, and what it went by is gone.",
                number=str(round_.number),
            )
        )
    return path


def chunks_as_they_were(round_: Round, scratch: Path, stack: ExitStack) -> tuple[PixelChunk, ...]:
    """The pool as the round read it. Of a chunk that has grown, a copy of its first images goes to `scratch`. Raises
    CannotLearn, naming what is gone."""
    rows = RoundChunk.objects.filter(round=round_).select_related("chunk").order_by("chunk__number")
    return tuple(_as_it_was(round_, row, scratch, stack) for row in rows)


def bare_chunks(round_: Round) -> tuple[PixelChunk, ...]:
    """The chunks of a round by number and size, for who does not look into them."""
    from learner.pool import Chunk as PixelChunk

    rows = RoundChunk.objects.filter(round=round_).order_by("chunk__number").values_list("chunk__number", "count")
    return tuple(PixelChunk(number, Path("not read"), count) for number, count in rows)


def _as_it_was(round_: Round, row: RoundChunk, scratch: Path, stack: ExitStack) -> PixelChunk:
    from learner.pool import Chunk as PixelChunk

    number = row.chunk.number
    name = row.features or row.pixels
    if name and storage.exists(name):
        return PixelChunk(number, stack.enter_context(local_path(name)), row.count, row.row)
    grown = _grown(round_, row)
    if not grown or not storage.exists(grown):
        numbers = {"number": str(number), "round": str(round_.number)}
        raise CannotLearn(
            told("What was seen of the images of chunk %(number)s as round %(round)s read them is gone.", **numbers)
            if row.features
            else told("The pixels of chunk %(number)s as round %(round)s read them are gone.", **numbers)
        )
    from learner.files import write_array

    with local_path(grown) as path:
        first = np.load(path, mmap_mode="r", allow_pickle=False)[: row.count]
        return PixelChunk(number, write_array(scratch / f"{number:06d}.npy", first), row.count)


def _grown(round_: Round, row: RoundChunk) -> str:
    """The file in whose place another came since, with the same images first. Empty: there is none."""
    if not row.features:
        return row.chunk.pixels
    if row.row is not None:  # vectors of likeness: another graph has others
        return ""
    rows = ChunkFeatures.objects.filter(chunk=row.chunk, backbone=round_.config.get("features") or "")
    return rows.filter(count__gte=row.count).values_list("file", flat=True).first() or ""
