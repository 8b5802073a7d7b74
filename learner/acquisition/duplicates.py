"""A batch without near-duplicates: what looks like something taken already is passed over.

Only the images that come up are looked at, so the cost grows with the batch and not with the pool.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from learner.acquisition.coverage import squared_distances
from learner.config import Report, ignore

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

BLOCK = 256
MOST_A_CANDIDATE, MOST_AT_LEAST = 20, 1000
"""How far down a ranking is looked for a batch: so many images a candidate, and some more."""


def spread(
    order: Integers,
    count: int,
    vectors_of: Callable[[Integers], Floats],
    least: float,
    *,
    fill: int | None = None,
    report: Report = ignore,
) -> Integers:
    """Walk a ranking and put off whatever is near something already taken.

    Args:
        order: int64 `[n]`, best first.
        count: How many to take, at most n.
        vectors_of: What some of `order` look like, `[m, D]`.
        least: Images at a squared distance below this are near.
        fill: At least so many, near or not, at most `count`; None: `count`.
        report: Called as images are taken with the phase `"acquire"`.

    Returns:
        int64 `[count]` of `order`, or at least `[fill]`, as the walk took them. If `MOST_A_CANDIDATE` images a
        candidate and `MOST_AT_LEAST` more have come up and too few are apart, those put off fill up in the order of
        their rank.
    """
    taken: list[int] = []
    put_off: list[int] = []
    vectors_b_D: Floats | None = None
    reach = order[: MOST_A_CANDIDATE * count + MOST_AT_LEAST]
    for start in range(0, len(reach), BLOCK):
        if len(taken) == count:
            break
        block = reach[start : start + BLOCK]
        vectors_m_D = vectors_of(block)
        if vectors_b_D is None:
            vectors_b_D = np.empty((count, vectors_m_D.shape[1]), np.float32)
        is_near = squared_distances(vectors_m_D, vectors_b_D[: len(taken)]).min(1, initial=np.inf) < least
        among_m_m = squared_distances(vectors_m_D, vectors_m_D) < least
        for i, position in enumerate(block.tolist()):
            if len(taken) == count:
                break
            if is_near[i]:
                put_off.append(position)
                continue
            vectors_b_D[len(taken)] = vectors_m_D[i]
            taken.append(position)
            is_near |= among_m_m[i]
        report("acquire", len(taken), count)
    wanted = count if fill is None else max(fill, len(taken))
    return np.array((taken + put_off)[:wanted], dtype=np.int64)
