"""A round's scores in a few bytes an image: what a picture of the whole pool needs. numpy only."""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from learner.config import MEASURES
from learner.errors import ArtifactError
from learner.files import write_arrays
from learner.pool import CHUNK_SIZE
from learner.scores import read_scores, score_path

FILE = "summary.npz"
FULL = 65_535
"""The largest uint16: a probability of 1, a standard deviation of `MAX_STD`."""

MAX_STD = 0.5
"""The largest standard deviation that numbers from 0 to 1 can have."""

QUANTILES = 2001
"""Points of each measure's distribution that are kept."""


@dataclass(frozen=True)
class ScoreSummary:
    """What is kept of a round's scores, image by image in the order of positions.

    Args:
        predicted_N: Class of the largest mean probability, 0 to C - 1; the smallest unsigned type that holds C - 1.
        probability_N: Its mean probability, uint16, in 65,535ths.
        spread_N: Its standard deviation over the posterior samples, uint16, in 65,535ths of 0.5.
        quantiles: For each measure of the round its `QUANTILES` evenly spaced quantiles over all N, float32, rising.
    """

    predicted_N: npt.NDArray[np.unsignedinteger]
    probability_N: npt.NDArray[np.uint16]
    spread_N: npt.NDArray[np.uint16]
    quantiles: dict[str, npt.NDArray[np.float32]]

    def __len__(self) -> int:
        """N."""
        return len(self.probability_N)

    def percentile(self, measure: str, value: float) -> float:
        """Percent of all images whose score is lower, 0 to 100; past `QUANTILES` images up to 0.05 too high."""
        at, n = int(np.searchsorted(self.quantiles[measure], np.float32(value), side="left")), len(self)
        return 100.0 * _order(at, n) / n if n and at < QUANTILES else 100.0


def summary(directory: Path, counts: Sequence[int]) -> ScoreSummary:
    """The summary of a round whose chunks are all scored; the first call writes it beside the scores.

    Args:
        directory: The round's.
        counts: Images of chunk 0, 1, 2 and so on; all but the last are full.

    Raises:
        ArtifactError: If a chunk has not been scored, or a file is damaged.
    """
    path = directory / FILE
    if not path.exists():
        write_arrays(path, _sum_up(directory, counts))
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays: dict[str, npt.NDArray[Any]] = dict(file)
        quantiles = {name.removeprefix("q_"): column for name, column in arrays.items() if name.startswith("q_")}
        found = ScoreSummary(arrays["predicted_N"], arrays["probability_N"], arrays["spread_N"], quantiles)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"{path} is damaged ({error}); delete it, it is made again from the scores") from error
    if len(found) != sum(counts):
        raise ArtifactError(f"{path} is of {len(found)} images, the round has {sum(counts)}")
    return found


def measures_in(directory: Path) -> tuple[str, ...]:
    """The measures that a round was scored with: those of `MEASURES` that its first file has, in their order.

    Raises:
        ArtifactError: If chunk 0 has not been scored, or its file is damaged.
    """
    path = score_path(directory, 0)
    try:
        with np.load(path, allow_pickle=False) as file:
            return tuple(name for name in MEASURES if name in file.files)
    except FileNotFoundError:
        raise ArtifactError(f"chunk 0 has not been scored in this round ({path} is missing)") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"the scores of chunk 0 are damaged ({path}: {error}); score it again") from error


def score_row(directory: Path, position: int, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Columns of one image; its chunk's file is opened once.

    Raises:
        ArtifactError: If the image has not been scored, or the file is damaged.
    """
    number, offset = divmod(position, CHUNK_SIZE)
    path = score_path(directory, number)
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name][offset] for name in names}
    except FileNotFoundError:
        raise ArtifactError(f"chunk {number} has not been scored in this round ({path} is missing)") from None
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"the scores of position {position} cannot be read ({path}: {error})") from error


def _sum_up(directory: Path, counts: Sequence[int]) -> dict[str, npt.NDArray[Any]]:
    n = sum(counts)
    predicted: npt.NDArray[Any] = np.zeros(n, np.uint8)
    probability, spread = np.empty(n, np.uint16), np.empty(n, np.uint16)
    for number, count in enumerate(counts):
        if count != CHUNK_SIZE and number != len(counts) - 1:
            raise ArtifactError(f"chunk {number} has {count} images, and is not the last")
        mean_n_C = read_scores(directory, [number], "mean_probs_N_C")
        std_n_C = read_scores(directory, [number], "std_probs_N_C")
        if len(mean_n_C) != count:
            raise ArtifactError(f"chunk {number} has {len(mean_n_C)} scores for {count} images")
        part = slice(number * CHUNK_SIZE, number * CHUNK_SIZE + count)
        best, rows = mean_n_C.argmax(1), np.arange(count)
        if number == 0:
            predicted = predicted.astype(np.min_scalar_type(mean_n_C.shape[1] - 1))
        predicted[part] = best
        probability[part] = _scaled(mean_n_C[rows, best], 1.0)
        spread[part] = _scaled(std_n_C[rows, best], MAX_STD)
    orders = np.array([_order(at, n) for at in range(QUANTILES)])
    measures = measures_in(directory) if counts else ()
    columns = ((name, read_scores(directory, range(len(counts)), name)) for name in measures)
    quantiles = {f"q_{name}": _quantiles(column, orders) for name, column in columns}
    return {"predicted_N": predicted, "probability_N": probability, "spread_N": spread, **quantiles}


def _order(at: int, n: int) -> int:
    """Which of n sorted scores is the quantile of that number."""
    return at * (n - 1) // (QUANTILES - 1)


def _scaled(values: npt.NDArray[np.floating], most: float) -> npt.NDArray[np.uint16]:
    shares = np.clip(values.astype(np.float32) / most, 0, 1)
    scaled: npt.NDArray[np.uint16] = np.rint(shares * FULL).astype(np.uint16)
    return scaled


def _quantiles(column: npt.NDArray[np.floating], orders: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    if not len(column):
        return np.zeros(len(orders), np.float32)
    quantiles: npt.NDArray[np.float32] = np.sort(column)[orders].astype(np.float32)
    return quantiles
