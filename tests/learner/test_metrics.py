import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from learner.errors import LabelError, LearnerError
from learner.metrics import (
    calibration_error,
    calibration_interval,
    metrics,
    normal_mean,
    reliability,
    sign_test,
    wilson,
)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_its_share_and_stays_within_0_and_1(case):
    got = wilson(*case)
    assert 0 <= got.low <= got.value <= got.high <= 1
    assert got.low < got.high
    assert (got.n, got.method) == (case[1], "wilson")


def test_wilson_ends_solve_its_equation():
    got = wilson(37, 50)
    for end in (got.low, got.high):
        assert abs(got.value - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / 50), rel=1e-6)


def test_wilson_covers_about_95_percent():
    rng = np.random.default_rng(0)
    intervals = [wilson(int(k), 80) for k in rng.binomial(80, 0.9, 2000)]
    assert 0.93 < np.mean([each.low <= 0.9 <= each.high for each in intervals]) < 0.98


@pytest.mark.parametrize("case", [(0, 0), (-1, 3), (4, 3)])
def test_wilson_of_nothing(case):
    with pytest.raises(LearnerError):
        wilson(*case)


def test_a_mean_covers_about_95_percent_and_one_value_says_nothing():
    rng = np.random.default_rng(0)
    intervals = [normal_mean(rng.exponential(size=200)) for _ in range(500)]
    assert 0.91 < np.mean([each.low <= 1 <= each.high for each in intervals]) < 0.98
    assert normal_mean(np.array([1.0])).high == math.inf


def test_the_calibration_interval_is_not_fooled_by_its_own_bias():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 300)
    got = calibration_interval(confidence, rng.random(300) < confidence)
    assert got.low <= 0.03
    assert got.low <= got.value <= got.high
    sure_and_wrong = calibration_interval(np.full(300, 0.95), rng.random(300) < 0.5)
    assert sure_and_wrong.low > 0.35


def test_calibration_error_of_known_cases():
    assert calibration_error(np.array([1.0, 1.0]), np.array([True, True])) == 0
    assert calibration_error(np.array([1.0, 1.0]), np.array([False, False])) == 1
    assert calibration_error(np.array([0.5, 0.5]), np.array([True, False])) == 0


def test_perfect_and_uniform_predictions():
    labels = np.array([0, 1, 2, 0])
    perfect = metrics(np.eye(3)[labels], labels)
    assert (perfect.accuracy.value, perfect.nll.value, perfect.brier.value, perfect.ece.value) == (1, 0, 0, 0)
    uniform = metrics(np.full((4, 3), 1 / 3), labels)
    assert uniform.nll.value == pytest.approx(math.log(3))
    assert uniform.brier.value == pytest.approx(2 / 3)


def test_recall_and_confusion_are_by_class_and_a_class_without_images_has_none():
    labels = np.array([0, 0, 0, 2])
    got = metrics(np.eye(3)[[0, 0, 1, 2]], labels)
    assert got.confusion_C_C.tolist() == [[2, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert [each and round(each.value, 3) for each in got.recall] == [0.667, None, 1.0]
    assert got.accuracy.value == 0.75
    assert got.n == 4


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(2, 8), st.integers(0, 1000))
def test_every_number_lies_in_its_interval_and_range(n, n_classes, seed):
    rng = np.random.default_rng(seed)
    got = metrics(rng.dirichlet(np.ones(n_classes), n).astype(np.float16), rng.integers(0, n_classes, n))
    for each, most in ((got.accuracy, 1), (got.nll, math.inf), (got.brier, 2.01), (got.ece, 1)):
        assert 0 <= each.low <= each.value <= each.high
        assert each.value <= most
    assert got.confusion_C_C.sum() == n


def test_a_probability_of_zero_is_finite():
    assert math.isfinite(metrics(np.eye(2, dtype=np.float16)[[0, 0]], np.array([0, 1])).nll.value)


@pytest.mark.parametrize(("probs", "labels"), [(np.empty((0, 3)), []), (np.eye(3), [0, 1, 3]), (np.eye(3), [0, 1])])
def test_labels_that_do_not_fit(probs, labels):
    with pytest.raises(LabelError):
        metrics(probs, np.array(labels, dtype=np.int64))


def test_numbers_are_shown_with_their_uncertainty():
    assert str(wilson(93, 100)) == "0.930 ± 0.052"


def test_what_the_web_process_may_import_does_not_load_torch():
    program = (
        "import sys\n"
        "import learner, learner.config, learner.pool, learner.scores, learner.metrics, learner.acquisition\n"
        "import learner.uncertainty, learner.round, learner.estimators\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (5, 0), (0, 5), (7, 2), (30, 21)])
def test_the_sign_test_is_the_binomial_one(gained, lost):
    n = gained + lost
    expected = binomtest(gained, n, 0.5, alternative="greater").pvalue if n else 1.0
    assert sign_test(gained, lost) == pytest.approx(expected)


def test_predictions_that_are_not_finite_are_refused():
    probs = np.full((3, 2), 0.5)
    probs[1] = np.nan
    with pytest.raises(LearnerError, match="the model is broken; fit it again"):
        metrics(probs, np.zeros(3, np.int64))


def test_the_bins_of_a_reliability_diagram_add_up_to_the_calibration_error():
    rng = np.random.default_rng(3)
    confidence = np.append(rng.uniform(0.25, 1, 400), [1.0, 0.3, 0.95])
    is_right = rng.random(403) < confidence * 0.8
    bins = reliability(confidence, is_right)
    assert [(each.low, each.high) for each in bins] == [(b / 10, (b + 1) / 10) for b in range(10)]
    assert sum(each.n for each in bins) == 403
    assert bins[0].n == bins[1].n == 0 and bins[0].accuracy is None and bins[0].confidence is None
    for each in bins[2:]:
        inside = (confidence >= each.low) & ((confidence < each.high) | (each.high == 1))
        assert each.n == int(inside.sum())
        assert each.confidence == pytest.approx(confidence[inside].mean())
        assert each.accuracy == wilson(int(is_right[inside].sum()), each.n)
    gaps = sum(each.n * abs(each.confidence - each.accuracy.value) for each in bins if each.n) / 403
    assert gaps == pytest.approx(calibration_error(confidence, is_right))


@pytest.mark.parametrize(("row", "total"), [([2.0, -1.0], "1"), ([0.3, 0.3], "0.6"), ([4.0, 2.5], "6.5")])
def test_numbers_that_are_no_probabilities_are_refused(row, total):
    probs = np.full((3, 2), 0.5)
    probs[2] = row
    with pytest.raises(LearnerError, match=rf"no probabilities: those of 1 of 3 .* number 2 \(sum {total}\)"):
        metrics(probs, np.zeros(3, np.int64))


def test_what_float16_loses_is_no_reason_to_refuse():
    probs = np.random.default_rng(0).dirichlet(np.full(1000, 0.01), 50).astype(np.float16)
    assert metrics(probs, np.arange(50)).n == 50
