from dataclasses import replace

import numpy as np
import pytest

from learner.errors import LabelError
from learner.simulate import simulate


def test_the_curve_grows_by_the_budget_and_ends_at_the_last_label(make_chunks, digits, quick):
    points = simulate(
        make_chunks(digits[0]),
        digits[1],
        config=replace(quick, budget=20, acquisition="top_margin"),
        pool_positions=np.arange(1000),
        holdout_positions=np.arange(1000, 1797),
        start=10,
        until=45,
    )
    assert [point.labels for point in points] == [10, 30, 45]
    assert all(point.accuracy.n == 797 for point in points)


def test_a_holdout_inside_the_pool_is_refused(make_chunks, digits, quick):
    with pytest.raises(LabelError, match="overlap"):
        simulate(
            make_chunks(digits[0]), digits[1], config=quick, pool_positions=np.arange(9), holdout_positions=np.arange(9)
        )
