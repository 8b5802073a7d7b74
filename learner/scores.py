"""A round's scores: one file a chunk, readable without torch."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from learner.config import MEASURES
from learner.errors import ArtifactError, check_known
from learner.files import write_arrays
from learner.pool import CHUNK_SIZE

COLUMNS = ("mean_probs_N_C", "std_probs_N_C", *MEASURES)
"""What a score file can hold: float16 `[N, C]` twice, then float32 `[N]` for each measure of the round."""


def columns_of(measures: Sequence[str]) -> tuple[str, ...]:
    """The columns that a round's score files hold; see `learner.config.RoundConfig.measures`."""
    return (*COLUMNS[:2], *measures)


def score_path(directory: Path, chunk_number: int) -> Path:
    """Where the scores of a chunk are: `directory/scores/000012.npz`."""
    return directory / "scores" / f"{chunk_number:06d}.npz"


def write_scores(directory: Path, chunk_number: int, model: str, columns: Mapping[str, npt.NDArray[Any]]) -> Path:
    """Write the scores of a chunk, whole or not at all.

    Args:
        directory: The round's.
        chunk_number: Which chunk.
        model: Digest of the model that scored it.
        columns: An array for each of `columns_of` the round's measures.
    """
    assert set(COLUMNS[:2]) <= set(columns) <= set(COLUMNS)
    return write_arrays(score_path(directory, chunk_number), {**columns, "model": np.array(model)})


def is_scored(directory: Path, chunk_number: int, model: str, count: int, columns: Sequence[str] = COLUMNS) -> bool:
    """Whether a chunk has these scores of this very model; false for a damaged file, which shall be written anew."""
    try:
        with np.load(score_path(directory, chunk_number), allow_pickle=False) as file:
            return str(file["model"]) == model and all(len(file[name]) == count for name in columns)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return False


def read_scores(directory: Path, chunk_numbers: Iterable[int], name: str) -> npt.NDArray[Any]:
    """Read one column of several chunks.

    Args:
        directory: The round's.
        chunk_numbers: Which chunks, in the order wanted.
        name: One of `COLUMNS`.

    Returns:
        The chunks' arrays one after the other: float32 `[N]`, or float16 `[N, C]` for the two of probabilities.

    Raises:
        UnknownNameError: If there is no such column.
        ArtifactError: If a chunk has not been scored, or not with this measure, or its file is damaged.
    """
    check_known("score", name, COLUMNS)
    parts = [_read(directory, number, name) for number in chunk_numbers]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.float32)


def scores_at(directory: Path, positions: npt.NDArray[np.int64], name: str) -> npt.NDArray[Any]:
    """Read one column at some positions, in their order; only their chunks' files are opened, one at a time.

    Returns:
        `[n, ...]`; of no positions `[0]`.

    Raises:
        UnknownNameError: If there is no such column.
        ArtifactError: If a position has not been scored, or not with this measure, or a file is damaged.
    """
    check_known("score", name, COLUMNS)
    numbers, offsets = np.divmod(positions, CHUNK_SIZE)
    order = np.argsort(numbers, kind="stable")
    present, starts = np.unique(numbers[order], return_index=True)
    out: npt.NDArray[Any] | None = None
    parts = np.split(order, starts[1:]) if len(order) else []
    for number, mine in zip(present.tolist(), parts, strict=True):
        column = _read(directory, number, name)
        if offsets[mine].max() >= len(column):
            raise ArtifactError(f"position {positions[mine].max()} is beyond the end of scored chunk {number}")
        if out is None:
            out = np.empty((len(positions), *column.shape[1:]), dtype=column.dtype)
        out[mine] = column[offsets[mine]]
    return np.empty(0, dtype=np.float32) if out is None else out


def opinion_of(
    directory: Path, positions: npt.NDArray[np.int64], classes: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.floating[Any]]]:
    """What the round's model finds likeliest of images, and how likely it finds that each is of some class.

    Args:
        directory: The round's.
        positions: int64 `[n]`; where they ascend each chunk's file is read once or twice.
        classes: int64 `[n]`.

    Returns:
        int64 `[n]`, the likeliest classes, and float16 `[n]`, the probabilities of `classes`; both by means over the
        posterior samples. Memory beside them is that of the probabilities of a chunk.

    Raises:
        ArtifactError: As of `scores_at`.
    """
    best, probs = np.empty(len(positions), np.int64), np.empty(len(positions), np.float16)
    for start in range(0, len(positions), CHUNK_SIZE):
        part = slice(start, start + CHUNK_SIZE)
        probs_b_C = scores_at(directory, positions[part], "mean_probs_N_C")
        best[part], probs[part] = probs_b_C.argmax(1), probs_b_C[np.arange(len(probs_b_C)), classes[part]]
    return best, probs


def _read(directory: Path, number: int, name: str) -> npt.NDArray[Any]:
    path = score_path(directory, number)
    try:
        with np.load(path, allow_pickle=False) as file:
            if name not in file.files:
                raise ArtifactError(f"chunk {number} was scored without {name} ({path}): score it with {name}")
            column: npt.NDArray[Any] = file[name]
    except FileNotFoundError:
        raise ArtifactError(f"chunk {number} has not been scored in this round ({path} is missing)") from None
    except ArtifactError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"the scores of chunk {number} are damaged ({path}: {error}); score it again") from error
    return column
