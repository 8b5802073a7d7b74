"""Where a learning curve leads: known curves are found, intervals hold what they should at about their rate."""

from __future__ import annotations

import math

import numpy as np
import pytest

from learner.forecast import LEAST_IMAGES, MOST_ROUNDS, Forecast, Lacking, forecast, lacking


def rounds_of(curve, answers, n, rng=None, luck=0.0):
    """Rounds measured on the same n images: each has its own difficulty, which models mostly agree about."""
    if rng is None:
        return [round(n * curve(at)) for at in answers], [n] * len(answers)
    difficulty, wrong = rng.random(n), []
    for at in answers:
        error = min(0.99, curve(at) * (1 + luck * rng.standard_normal()))
        wrong.append(int((np.where(rng.random(n) < 0.8, difficulty, rng.random(n)) < error).sum()))
    return wrong, [n] * len(answers)


def power(floor, scale, exponent):
    return lambda answers: floor + scale * (answers / 30) ** -exponent


def fitted(curve, answers, n) -> Forecast:
    found = forecast(answers, *rounds_of(curve, answers, n))
    assert found is not None
    return found


def test_a_curve_measured_on_very_many_images_is_found_and_followed() -> None:
    curve = power(0.0, 0.3, 0.5)
    found = fitted(curve, [20, 40, 80, 160, 320], 1_000_000)
    error = found.error_at(640)
    assert error.low <= curve(640) <= error.high
    assert error.value == pytest.approx(curve(640), rel=0.1)
    needed = 30 * (0.3 / 0.05) ** 2  # error 0.05, solved by hand: 1,080 answers
    span = found.answers_to(0.95)
    assert span.low <= needed <= span.high


def test_a_target_below_the_floor_is_hardly_ever_reached() -> None:
    found = fitted(power(0.15, 0.4, 1.2), [20, 40, 80, 160, 320, 640, 1280], 20_000)
    assert found.chance_of(0.95) < 0.05
    assert math.isinf(found.answers_to(0.95).value)
    assert found.chance_of(0.80) > 0.95


def test_the_next_answers_gain_less_the_later_it_is() -> None:
    curve = power(0.0, 0.2, 0.8)
    early, late = fitted(curve, [10, 20, 40, 80], 500), fitted(curve, [10, 20, 40, 80, 320, 1280], 500)
    assert early.gain(100).value > late.gain(100).value > 0
    assert late.gain(100).low < late.gain(100).value < late.gain(100).high


def test_what_answers_are_worth_leaves_out_the_luck_of_a_round() -> None:
    """Of a curve that is flat for long a single round may measure points more or less; the answers bring none."""
    answers = [20, 40, 80, 160, 320, 640, 1280, 2560]
    found = fitted(lambda at: max(0.2, 0.45 * (at / 20) ** -0.7), answers, 400)
    gain, worth = found.gain(100), found.worth(100)
    assert 0 <= worth.low <= worth.value <= worth.high < 0.01 < gain.high
    assert worth.value == pytest.approx(gain.value, abs=1e-3)
    steep = fitted(curve := power(0.0, 0.3, 0.5), [20, 40, 80, 160, 320], 1_000_000).worth(100)
    assert steep.value == pytest.approx(curve(320) - curve(420), rel=0.1)


@pytest.mark.parametrize(
    ("answers", "n"),
    [([20, 40, 80], 500), ([100, 110, 120, 130, 140], 500), ([20, 40, 80, 160], LEAST_IMAGES - 1), ([], 100)],
    ids=["three rounds", "hardly more answers", "few images", "nothing"],
)
def test_too_early_to_say(answers, n) -> None:
    assert forecast(answers, [n // 4] * len(answers), [n] * len(answers)) is None


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="length"):
        forecast([10, 20], [1], [30, 30])
    with pytest.raises(ValueError, match="wrong"):
        forecast([10], [31], [30])


def test_many_rounds_and_perfect_ones_do_no_harm() -> None:
    answers = list(range(10, 10 + 20 * 100, 20))
    assert len(answers) > MOST_ROUNDS
    found = fitted(power(0.0, 0.3, 0.5), answers, 400)
    assert found.weight_G.sum() == pytest.approx(1)
    perfect = forecast([10, 20, 40, 80], [0, 0, 0, 0], [50] * 4)
    assert perfect is not None
    assert perfect.error_at(160).high < 0.2


def test_weighted_quantiles_against_a_loop() -> None:
    found = fitted(power(0.02, 0.3, 0.6), [20, 40, 80, 160], 200)
    values = found._curves(300)
    pairs, total, low = sorted(zip(values, found.weight_G, strict=True)), 0.0, None
    for value, weight in pairs:
        total += weight
        if total >= 0.025:
            low = value
            break
    assert found.error_at(300).low == pytest.approx(low)


def test_intervals_hold_the_truth_at_about_their_rate() -> None:
    """80 simulated projects: floor or none, steep or flat, 100 to 400 holdout images that rounds share."""
    rng, held = np.random.default_rng(3), {"answers": [], "error": [], "gain": [], "worth": []}
    for _ in range(80):
        floor = float(rng.choice([0.0, rng.uniform(0.005, 0.1)]))
        curve = power(floor, scale := rng.uniform(0.15, 0.6), exponent := rng.uniform(0.25, 1.2))
        luck, n = rng.uniform(0.02, 0.12), int(rng.choice([100, 200, 400]))
        answers = np.unique(np.geomspace(20, rng.integers(120, 800), rng.integers(5, 15)).astype(int)).tolist()
        found = forecast(answers, *rounds_of(curve, answers, n, rng, luck))
        assert found is not None
        now = answers[-1]
        target = 1 - (floor + (curve(now) - floor) * rng.uniform(0.3, 0.8))
        needed = 30 * (scale / (1 - target - floor)) ** (1 / exponent)
        span, error = found.answers_to(target), found.error_at(2 * now)
        held["answers"].append(span.low <= needed <= span.high)
        held["error"].append(error.low <= curve(2 * now) <= error.high)
        gain = found.gain(100)
        luckily = [curve(at) * (1 + luck * rng.standard_normal()) for at in (now, now + 100)]
        held["gain"].append(gain.low <= luckily[0] - luckily[1] <= gain.high)
        worth = found.worth(100)
        held["worth"].append(worth.low <= curve(now) - curve(now + 100) <= worth.high)
    rates = {name: np.mean(values) for name, values in held.items()}
    assert all(rate >= 0.88 for rate in rates.values()), rates


@pytest.mark.parametrize("seed", range(3))
def test_where_the_error_fell_at_once_the_newest_rounds_say_where_it_stands(seed) -> None:
    """As when a network takes over: five rounds of one curve, then two at a fifth of its error."""
    rng = np.random.default_rng(seed)
    answers = [50, 75, 110, 160, 240, 250, 300]
    truth = 0.9 * (np.array(answers) / 10) ** -0.5 * np.array([1, 1, 1, 1, 1, 0.2, 0.2])
    wrong = rng.binomial(2000, truth).tolist()
    sees = ["a"] * 5 + ["b"] * 2
    found = forecast(answers, wrong, [2000] * 7, sees)
    assert found is not None
    span = found.error_at(300)
    assert span.low < truth[-1] < span.high < 2 * truth[-1]
    blind = forecast(answers, wrong, [2000] * 7)
    assert blind is not None and blind.error_at(300).value > 1.3 * truth[-1]
    one = forecast(answers, wrong, [2000] * 7, ["c"] * 7)
    assert one is not None and one.error_at(300) == blind.error_at(300)


def test_what_is_missing_is_counted() -> None:
    assert lacking([], []) == Lacking(30, 4, 0)
    assert lacking([10, 20], [12, 20]) == Lacking(10, 4, 0)
    assert lacking([10, 20, 25], [12, 30, 31]) == Lacking(0, 2, 15)
    assert not lacking([20, 25, 30, 40], [30] * 4).any
