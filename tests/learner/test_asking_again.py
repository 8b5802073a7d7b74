"""Whether another answer on a labelled image is worth more than a new image: cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from learner.asking_again import skill, sureness_of_guesses, sureness_of_labels


def sure(model: float, prob: float, agrees: list[bool], rights: list[float]) -> float:
    return float(
        sureness_of_labels(
            model, np.array([prob]), np.zeros(len(agrees), np.int64), np.array(agrees), np.array(rights),
            n_classes=2, usual_right=0.9,
        )[0]
    )  # fmt: skip


def test_skill_is_what_is_better_than_guessing() -> None:
    assert skill([0.1, 0.25, 0.625, 1.0], 4).tolist() == [0.0, 0.0, 0.5, 1.0]


def test_by_hand() -> None:
    """Model 0.75 right (skill 0.5) gives 0.6; one person 0.9 right (0.8) agrees; ignorance 0.8 at one half."""
    assert sure(0.75, 0.6, [True], [0.9]) == pytest.approx((0.8 * 0.5 + 0.5 * 0.6 + 0.8 * 0.9) / (0.8 + 0.5 + 0.8))
    assert sureness_of_guesses(0.75, np.array([0.6]), n_classes=2, usual_right=0.9)[0] == pytest.approx(
        (0.8 * 0.5 + 0.5 * 0.6) / 1.3
    )


def test_doubt_makes_it_less_sure_and_agreement_more() -> None:
    assert sure(0.9, 0.05, [True], [0.9]) < sure(0.9, 0.95, [True], [0.9]) < sure(0.9, 0.95, [True, True], [0.9, 0.9])
    assert sure(0.9, 0.9, [True, False], [0.9, 0.9]) < sure(0.9, 0.9, [True], [0.9])
    assert sure(0.9, 0.9, [True], [0.6]) < sure(0.9, 0.9, [True], [0.95])


def test_a_label_that_the_model_contradicts_is_worth_more_than_a_sure_new_image() -> None:
    doubted = sure(0.95, 0.02, [True], [0.8])
    assert doubted < sureness_of_guesses(0.95, np.array([0.99]), n_classes=2, usual_right=0.9)[0]


def test_a_model_that_guesses_says_nothing() -> None:
    assert sureness_of_guesses(0.5, np.array([0.99]), n_classes=2, usual_right=0.9)[0] == pytest.approx(0.5)
    assert sureness_of_guesses(0.5, np.array([0.99]), n_classes=2, usual_right=0.5)[0] == pytest.approx(0.5)
