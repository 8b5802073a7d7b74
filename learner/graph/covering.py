"""What to ask about first where groups mean little: images that each stand for many others of the pool."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from learner.acquisition.herding import herding
from learner.config import Report, ignore
from learner.graph.neighbours import Floats, of_length_1
from learner.graph.strategy import Question
from learner.seeds import derive

Integers = npt.NDArray[np.int64]

COVERED = 4000
"""Images that are covered, and as many that are chosen among; of a larger pool a random sample."""


def cover(
    vectors_of: Callable[[Integers], Floats],
    n: int,
    eligible: Integers,
    answered: Integers,
    count: int,
    *,
    seed: int,
    report: Report = ignore,
) -> list[Question]:
    """Choose images that each stand for many others of the pool, none of which is near one that was chosen before.

    Args:
        vectors_of: Gives what images are compared by, float32 `[m, D]`, by position.
        n: Images of the pool.
        eligible: int64, which may be asked about.
        answered: int64, which have an answer.
        count: How many; fewer where fewer are eligible.
        seed: Of the sample that is covered and chosen among, where the pool is larger than `COVERED`.
        report: Called every question with the phase `"acquire"`.

    Returns:
        Questions whose gain and size are how many images they stand for that none before stood for; of all questions
        together no more than there are.
    """
    rng = np.random.default_rng(derive(seed, "cover"))
    open_ = np.setdiff1d(eligible, answered)
    targets, candidates = (np.sort(rng.permutation(some)[:COVERED]) for some in (np.arange(n), open_))
    to_cover_T_D = of_length_1(vectors_of(targets))
    known_L_D = of_length_1(vectors_of(answered)) if len(answered) else to_cover_T_D[:0]
    to_choose_M_D = of_length_1(vectors_of(candidates)) if len(candidates) else to_cover_T_D[:0]
    found = herding(to_choose_M_D, to_cover_T_D, np.ones(len(targets)), known_L_D, count, report=report)
    chance = len(candidates) / max(1, len(open_))
    return [
        Question(int(candidates[index]), gain * n, "unnamed", max(1, round(gain * n)), chance)
        for index, gain in zip(found.indices.tolist(), found.gains.tolist(), strict=True)
    ]
