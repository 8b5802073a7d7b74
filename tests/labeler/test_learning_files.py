"""What the learner reads of a project."""

from __future__ import annotations

import numpy as np
import pytest

from labeler.learning.files import in_chunks


@pytest.mark.parametrize("order", [1, -1], ids=["ascending", "descending"])
@pytest.mark.parametrize(
    ("counts", "inside"),
    [({}, []), ({0: 4}, [0, 3]), ({1: 10}, [4096, 4105]), ({0: 4096, 6: 1}, [0, 3, 4, 4095, 24_576]), ({9: 5}, [])],
)
def test_of_positions_in_any_order_those_that_stand_in_chunks_are_left(counts, inside, order) -> None:
    """An image may have come since: in a chunk that is not there yet, or in what has been added to one."""
    positions = np.array([0, 3, 4, 4095, 4096, 4105, 4106, 24_576, 24_577], np.int64)[::order]
    assert in_chunks(positions, counts).tolist() == inside[::order]
    assert in_chunks(positions[:0], counts).tolist() == []
