"""Tables of curves: lasting targets, seeds that never get there, pairs."""

import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from scipy import stats

from learner.simulation.drawing import drawing
from learner.simulation.summary import paired_difference, quantiles, reached, saved, table, write_csv

FAST = {seed: {5: 0.5, 10: 0.91 + seed / 100, 20: 0.96} for seed in range(4)}
SLOW = {seed: {5: 0.4, 10: 0.6, 20: 0.92 if seed else 0.7} for seed in range(4)}


def test_a_curve_that_falls_back_has_not_arrived():
    assert reached({5: 0.9, 10: 0.8, 20: 0.95}, 0.9) == (5, 20)
    assert reached({5: 0.9, 10: 0.8}, 0.9) == (5, math.inf)
    assert reached({5: 0.1}, 0.9) == (math.inf, math.inf)


def test_a_paired_difference_is_students():
    one, other = np.array([3.0, 5.0, 8.0, 8.0]), np.array([1.0, 4.0, 7.0, 5.0])
    ours = paired_difference(one, other)
    low, high = stats.ttest_rel(one, other).confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx((low, high))
    assert paired_difference(one[:1], other[:1]) is None


def test_saved_answers_count_a_seed_that_never_arrives_with_the_last_number():
    found = saved(FAST, SLOW, 0.9)
    assert found.value == 10  # all four of ours at 10, theirs at 20, one of them at best
    assert quantiles(reached(curve, 0.9)[1] for curve in SLOW.values()).worst == math.inf


def test_the_table_compares_with_random_and_only_where_something_arrived():
    text = "\n".join(table({"groups": FAST, "random": SLOW}, [0.9, 0.99]))
    assert "fewer than random, counted up to 20: 10.0 ± 0.0" in text
    assert text.count("fewer than") == 1
    assert "    20   groups 0.960; 0.960; +0.095 ± 0.175   random 0.920; 0.700" in text


def test_the_drawing_is_xml_for_light_and_dark_and_tells_lines_apart_without_colour():
    text = drawing({"groups": FAST, "random": SLOW}, title="<digits> & more", words={"random": "at random"})
    root = ElementTree.fromstring(text)
    words = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "<digits> & more" in words and "at random" in words and "groups" in words
    assert "prefers-color-scheme: dark" in text and "stroke-dasharray:7 4" in text
    assert len(list(root.iter("{http://www.w3.org/2000/svg}polygon"))) == 2


def test_csv(tmp_path):
    path = write_csv(tmp_path / "curves.csv", [("groups", 0, 5, 0.5, 0.4, 1.25)])
    assert path.read_text() == "strategy,seed,answers,accuracy,class_accuracy,seconds\ngroups,0,5,0.5,0.4,1.25\n"
