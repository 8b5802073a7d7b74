"""What answers of different people say together."""

from __future__ import annotations

import pytest

from labeler.models import ImageState
from labeler.services.consensus import decide

CAT, DOG = ("label", 1), ("label", 2)
SKIP, UNSURE, BAD = ("skip", None), ("unsure", None), ("bad_image", None)


@pytest.mark.parametrize(
    ("answers", "overlap", "people", "state", "label"),
    [
        ([], 1, 2, ImageState.POOL, None),
        ([CAT], 1, 2, ImageState.LABELLED, 1),
        ([CAT], 2, 2, ImageState.POOL, None),
        ([CAT, CAT], 2, 2, ImageState.LABELLED, 1),
        ([CAT, DOG], 2, 2, ImageState.DISPUTED, None),
        ([CAT, DOG, DOG], 3, 3, ImageState.LABELLED, 2),
        ([CAT, UNSURE], 2, 3, ImageState.LABELLED, 1),
        ([UNSURE], 1, 3, ImageState.SET_ASIDE, None),
        ([BAD], 1, 3, ImageState.BAD, None),
        ([BAD, CAT], 2, 3, ImageState.LABELLED, 1),
        ([BAD, BAD, CAT], 3, 3, ImageState.BAD, None),
        ([SKIP], 1, 3, ImageState.POOL, None),
        ([SKIP, SKIP], 1, 3, ImageState.SET_ASIDE, None),
        ([SKIP], 1, 1, ImageState.SET_ASIDE, None),
        ([SKIP, SKIP, CAT], 1, 3, ImageState.LABELLED, 1),
    ],
)
def test_decide(answers, overlap, people, state, label) -> None:
    verdict = decide(answers, overlap=overlap, people=people)
    assert (verdict.state, verdict.label_id) == (state, label)


def test_the_order_of_answers_does_not_matter() -> None:
    assert decide([CAT, DOG, DOG], overlap=3, people=3) == decide([DOG, CAT, DOG], overlap=3, people=3)
