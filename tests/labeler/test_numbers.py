from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from labeler.templatetags.numbers import interval, when


@pytest.mark.parametrize(
    ("value", "low", "high", "unit", "words"),
    [
        (0.9, 0.85, 0.95, "%", "90.0 % ± 5.0"),
        (0.9, 0.8, 0.96, "%", "90.0 % (80.0 to 96.0)"),
        (0.214, 0.19, 0.238, "s", "0.21 s ± 0.02"),  # not ± 0.0
        (0.2, 0.1999, 0.2001, "s", "0.200 s ± under 0.001"),
        (1.0, 1.0, 1.0, "s", "1.0 s ± 0.0"),
        (1.0, 0.99, 1.0, "%", "100.0 % (99.0 to 100.0)"),
        (-0.1, -0.15, -0.05, "points", "−10.0 points ± 5.0"),  # a difference of two shares is no share
    ],
)
def test_an_interval_never_looks_like_none(value, low, high, unit, words) -> None:
    assert re.sub("<[^>]*>", "", interval(value, low, high, unit=unit)) == words


def test_a_moment_is_told_from_now_and_exactly(settings) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    assert ">just now</time>" in when(timezone.now())
    assert ">2 minutes ago</time>" in when(timezone.now() - timedelta(minutes=2)).replace("\xa0", " ")
    text = when(datetime(2026, 7, 1, 10, 30, 5, tzinfo=UTC))
    assert '<time datetime="2026-07-01T12:30:05+02:00" title="2026-07-01 12:30:05 CEST">' in text


def test_a_probability_is_never_rounded_to_certainty() -> None:
    from labeler.templatetags.numbers import probability

    assert probability(0.931) == "right with probability 0.93"
    assert probability(0.9996) == "right with probability over 0.99"
    assert probability(1.0) == "a manager has decided"


def test_a_minus_is_none_of_a_word() -> None:
    from labeler.numerals import numeral

    assert (numeral(-1.5, 1), numeral(-1234), numeral(1.5, 1)) == ("−1.5", "−1,234", "1.5")
