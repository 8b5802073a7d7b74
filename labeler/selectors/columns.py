"""Columns of the pool as bytes for the page's script: an image is one dot, 5 bytes of a round and 1 of its state.

    header   4 x uint32: dots, images in all, bytes of a class number, 1 if the dots are a sample
    uint32   position of each dot, only of a sample
    uint16   across, uint16 up: 65,535ths
    uint8/16/32  class number

All little-endian. What does not change with a round is packed once and kept by the browser.
"""

from __future__ import annotations

import gzip
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from labeler.models import Round
from labeler.selectors.explore import AGREES, DIFFERS, HOLDOUT, LEFT, Known, is_wrong
from labeler.selectors.maps import map_records
from labeler.selectors.scores import summary_of

if TYPE_CHECKING:
    from learner.summary import ScoreSummary

MOST_DOTS = 200_000  # more than a screen has room for; of a larger pool a random sample is drawn
Integers = npt.NDArray[np.int64]


def dots(n: int) -> Integers:
    """Positions of the images that are drawn, of a pool of n: all, or a sample that is always the same."""
    if n <= MOST_DOTS:
        return np.arange(n)
    return np.sort(np.random.default_rng(n).permutation(n)[:MOST_DOTS])


@lru_cache(maxsize=4)
def round_points(folder: Path, round_: Round) -> bytes:  # noqa: ARG001  (the folder is what it is kept by)
    """Probability and spread of the predicted class, gzipped. Raises NoScores."""
    scores = summary_of(round_)
    at = dots(len(scores))
    return _packed(len(scores), at, scores.probability_N[at], scores.spread_N[at], scores.predicted_N[at])


@lru_cache(maxsize=2)
def map_points(name: str, n: int) -> bytes:
    """Where the first n images lie on a map, gzipped: the same dots as of a round, but for those it does not know.

    Those came after it, so that they are the last ones.
    """
    records, at = map_records(name), dots(n)
    known = min(n, len(records))
    at = at[at < known]
    return _packed(known, at, records["x"][at], records["y"][at], np.zeros(len(at), np.uint8))


def states(round_: Round, scores: ScoreSummary, known: Known) -> bytes:
    """What has become of each dot's image, gzipped: see the names in `labeler.selectors.explore`."""
    at = dots(len(scores))
    wrong = is_wrong(round_, scores, known)
    state = np.where(known.label_N > 0, np.where(wrong, DIFFERS, AGREES), np.where(known.is_left_N, LEFT, 0))
    state += HOLDOUT * known.is_holdout_N
    return gzip.compress(state[at].astype(np.uint8).tobytes(), 1, mtime=0)


def _packed(n: int, at: Integers, x: Any, y: Any, classes: Any) -> bytes:
    is_sample = len(at) < n
    header = np.array([len(at), n, classes.dtype.itemsize, is_sample], "<u4")
    parts = [header, at.astype("<u4")] if is_sample else [header]
    parts += [x.astype("<u2"), y.astype("<u2"), classes.astype(classes.dtype.newbyteorder("<"))]
    return gzip.compress(b"".join(part.tobytes() for part in parts), 6, mtime=0)
