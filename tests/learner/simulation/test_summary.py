"""Tables of curves: lasting targets, seeds that never get there, pairs."""

import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from scipy import stats

from learner.errors import ConfigError
from learner.simulation.drawing import drawing, read_points
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


def test_figures_of_others_are_dots_beside_with_a_name_and_a_shape(tmp_path):
    path = tmp_path / "published.csv"
    path.write_text("name,answers,accuracy\nBALD,20,.8\nBALD,10,.7\nlater,30,.9\n<other>,5,.6\n")
    root = ElementTree.fromstring(drawing({"groups": FAST}, title="digits", beside=read_points(path)))
    words = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "BALD" in words and "<other>" in words
    assert "later" not in words  # past the last answers that are drawn
    dots = [each.tag.split("}")[1] for each in root.iter() if "dot" in each.get("class", "")]
    assert dots == ["rect", "rect", "polygon", "rect", "polygon"]  # two, one, and both in the legend


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,answers\nBALD,5\n", "line 2: expected the columns name, answers and accuracy"),
        ("name,answers,accuracy\nBALD,5,.5\nBALD,many,.5\n", "line 3: expected the columns"),
        ("name,answers,accuracy\nBALD,5,95\n", "line 2: expected a name, answers from 0, accuracy from 0 to 1"),
    ],
)
def test_figures_that_are_none_are_refused_by_their_line(tmp_path, text, words):
    path = tmp_path / "published.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_points(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_points(tmp_path / "none.csv")


def test_csv(tmp_path):
    path = write_csv(tmp_path / "curves.csv", [("groups", 0, 5, 0.5, 0.4, 1.25)])
    assert path.read_text() == "strategy,seed,answers,accuracy,class_accuracy,seconds\ngroups,0,5,0.5,0.4,1.25\n"
