"""A gate that lets through what is at least as good, and says why it does not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner import gate
from learner.errors import LabelError
from learner.gate import CONTESTED, contested, holm, judge, judge_round, paired_accuracy

CLASSES = np.arange(1000) % 4
NONE = np.empty(0, np.int64)


def wrong_from(start: int, labels: np.ndarray = CLASSES) -> np.ndarray:
    """Right up to an image, then the next class."""
    return np.where(np.arange(len(labels)) < start, labels, (labels + 1) % 4)


def verdict(**changes):
    values = {
        "old_n": wrong_from(90, CLASSES[:100]), "new_n": wrong_from(96, CLASSES[:100]), "labels_n": CLASSES[:100],
        "is_random_n": np.ones(100, np.bool_),
        "held_m": CLASSES, "held_labels_m": CLASSES, "sample_S": CLASSES, "shares_C": np.full(4, 0.25),
        "named": np.arange(4),
    }  # fmt: skip
    return judge(**values | changes)


def test_one_that_is_right_about_more_is_accepted_with_its_interval():
    found = verdict()
    assert found.is_accepted
    assert (found.n, found.old_right, found.new_right) == (100, 90, 96)
    assert found.difference.value == pytest.approx(0.06) and found.difference.low > 0
    assert found.agreement.value == 1 and found.shift == 0


def test_one_that_is_right_about_fewer_is_refused():
    assert verdict(new_n=wrong_from(89, CLASSES[:100])).objections == (gate.FEWER_RIGHT,)


def test_people_are_asked_where_the_two_disagree_drawn_so_that_neither_is_favoured():
    positions, old = np.arange(1000, 2000), CLASSES
    new = np.where(np.arange(1000) % 10 == 0, CLASSES + 1, CLASSES)
    asked = [contested(positions, old, new, seed=seed) for seed in range(40)]
    assert {len(set(each.tolist())) for each in asked} == {CONTESTED}
    assert not (np.concatenate(asked) % 10).any() and len(set(np.concatenate(asked).tolist())) > 60
    assert contested(positions, old, new, seed=3).tolist() == asked[3].tolist()
    assert sorted(contested(positions[:25], old[:25], new[:25], seed=0).tolist()) == [1000, 1010, 1020]
    assert not len(contested(positions, old, old, seed=0)) and not len(contested(NONE, NONE, NONE, seed=0))


NOTHING = {"old_n": NONE, "new_n": NONE, "labels_n": NONE, "is_random_n": np.empty(0, np.bool_)}


def test_a_proof_on_images_drawn_at_random_outweighs_a_graph_that_knows_little():
    """As of photographs compared by their pixels: it is sure of too few images to say anything of a network."""
    little = {"held_m": CLASSES[:9], "held_labels_m": CLASSES[:9], "sample_S": CLASSES[CLASSES > 0]}
    better = {"old_n": wrong_from(60, CLASSES[:100]), "named": np.arange(1, 4)}
    assert verdict(**little, **better).is_proven and verdict(**little, **better).is_accepted
    assert not verdict(**little, **better, is_random_n=np.arange(100) < 4).is_accepted  # the rest was chosen
    assert verdict(**little, **better | {"named": np.arange(4)}).objections == (gate.FORGETS,)


def test_without_answers_to_measure_by_what_needs_none_decides():
    found = verdict(**NOTHING)
    assert found.is_accepted and found.difference is None and not found.is_proven
    assert verdict(**NOTHING, held_m=wrong_from(960)).objections == (gate.DISAGREES,)


def test_a_lost_class_is_refused_even_if_nobody_has_measured_it():
    """As one of three prototypes did: a class of whose images one badly chosen one had been asked about."""
    found = verdict(**NOTHING, sample_S=np.where(CLASSES == 3, 0, CLASSES))
    assert found.objections == (gate.FORGETS, gate.SHIFTED) and not found.is_proven
    assert found.forgotten == (3,) and found.shift == pytest.approx(0.25)


def test_a_class_that_nobody_has_named_may_be_missing():
    shares = np.array([0.33, 0.33, 0.33, 0.01])
    assert verdict(sample_S=CLASSES[CLASSES < 3], shares_C=shares, named=np.arange(3)).is_accepted


def test_a_graph_that_is_sure_of_hardly_anything_can_tell_nothing():
    found = verdict(**NOTHING, held_m=CLASSES[:49], held_labels_m=CLASSES[:49])
    assert found.objections == (gate.UNTAUGHT,)
    assert verdict(held_m=NONE, held_labels_m=NONE).agreement is None


def test_what_does_not_fit_together_is_an_error():
    with pytest.raises(LabelError):
        verdict(old_n=NONE)
    with pytest.raises(LabelError):
        verdict(sample_S=NONE)


def test_the_interval_is_of_pairs_and_covers_what_it_should():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        gained, lost, _ = rng.multinomial(60, [0.12, 0.05, 0.83])
        interval = paired_accuracy(int(gained), int(lost), 60)
        covered += interval.low <= 0.07 <= interval.high
    assert covered / 400 > 0.92
    assert paired_accuracy(0, 0, 3).low < -0.3  # three images say next to nothing


ITSELF = {"held_m": NONE, "held_labels_m": NONE, "needs_proof": True}


def kept(random: int, of: int = 20) -> dict:
    is_random = np.arange(of) < random
    return {"labels_n": CLASSES[:of], "is_random_n": is_random, "is_kept_n": ~is_random}


def test_one_that_taught_itself_needs_a_proof():
    five = {"old_n": wrong_from(10, CLASSES[:20]), "new_n": wrong_from(15, CLASSES[:20])}
    assert verdict(**ITSELF, **kept(0), **five).is_proven and verdict(**ITSELF, **kept(0), **five).is_accepted
    three = five | {"new_n": wrong_from(13, CLASSES[:20])}  # one in eight by chance
    assert verdict(**ITSELF, **kept(0), **three).is_accepted
    two = five | {"new_n": wrong_from(12, CLASSES[:20])}
    assert verdict(**ITSELF, **kept(0), **two).objections == (gate.UNPROVEN,)
    assert verdict(**NOTHING, **ITSELF).objections == (gate.UNPROVEN,)


def test_answers_that_earlier_models_chose_prove_nothing_against_images_drawn_at_random():
    right = np.arange(20) >= 2
    new = np.where(right, CLASSES[:20], (CLASSES[:20] + 1) % 4)  # wrong about the first two, which are random
    old = np.where(np.arange(20) < 9, CLASSES[:20], (CLASSES[:20] + 1) % 4)
    assert verdict(**ITSELF, **kept(0), old_n=old, new_n=new).is_proven
    assert verdict(**ITSELF, **kept(2), old_n=old, new_n=new).objections == (gate.UNPROVEN,)


def test_answers_given_since_prove_nothing():
    since = kept(0) | {"is_kept_n": np.zeros(20, np.bool_)}
    assert not verdict(**ITSELF, **since, old_n=wrong_from(2, CLASSES[:20]), new_n=CLASSES[:20]).is_proven


class TestRounds:
    """The model of a round against the one in charge, on the same images."""

    @given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=200))
    def test_models_that_say_the_same_are_never_refused(self, pairs):
        labels, said = (np.array([pair[at] for pair in pairs], np.int64) for at in (0, 1))
        found = judge_round(old_n=said, new_n=said, labels_n=labels)
        assert found.is_accepted and found.p == 1
        assert found.new_right == found.old_right == int((said == labels).sum())
        assert [each.number for each in found.classes] == sorted(set(labels.tolist()))
        assert all(each.p == 1 and each.difference.value == 0 for each in found.classes)

    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), max_size=120))
    def test_one_that_is_right_wherever_the_other_is_is_never_refused(self, rows):
        labels, old, other = (np.array([row[at] for row in rows], np.int64) for at in (0, 1, 2))
        new = np.where(old == labels, labels, other)
        assert judge_round(old_n=old, new_n=new, labels_n=labels).is_accepted

    @pytest.mark.parametrize(
        ("n", "n_classes", "accuracy", "apart"),
        [(5, 2, 0.6, 0.5), (12, 3, 0.5, 0.5), (40, 2, 0.8, 0.3), (60, 10, 0.7, 0.3), (200, 10, 0.9, 0.1),
         (200, 40, 0.7, 0.4), (1000, 5, 0.95, 0.05)],
    )  # fmt: skip
    def test_models_that_are_as_good_are_refused_at_most_once_in_twenty(self, n, n_classes, accuracy, apart):
        """Each is right alike often about every class; they differ about a share of the images."""
        rng = np.random.default_rng(n * n_classes)
        refused, trials = 0, 1500
        for _ in range(trials):
            labels = rng.integers(0, n_classes, n)
            wrong = (labels + 1) % n_classes
            shared, differs = rng.random(n) < accuracy, rng.random(n) < apart
            old = np.where(np.where(differs, rng.random(n) < accuracy, shared), labels, wrong)
            new = np.where(np.where(differs, rng.random(n) < accuracy, shared), labels, wrong)
            refused += not judge_round(old_n=old, new_n=new, labels_n=labels).is_accepted
        assert refused / trials <= 0.05 + 2 * (0.05 * 0.95 / trials) ** 0.5

    def test_a_lost_class_is_found_though_the_sum_is_as_good(self):
        """30 images of each of ten classes; the new model has learned other classes better, and lost half of one."""
        labels = np.repeat(np.arange(10), 30)
        old, new = labels.copy(), labels.copy()
        old[np.arange(300) % 30 < 3] = 10  # the old one misses three of each
        new[labels == 7] = np.where(np.arange(30) < 18, 1, 7)
        found = judge_round(old_n=old, new_n=new, labels_n=labels)
        assert found.objections == (gate.LOST_CLASS,)
        lost = [each for each in found.classes if each.is_lost]
        assert [(each.number, each.n, each.old_right, each.new_right) for each in lost] == [(7, 30, 27, 12)]
        assert lost[0].difference.value == pytest.approx(-0.5) and lost[0].difference.high < 0
        assert found.new_right > found.old_right

    def test_one_that_is_worse_everywhere_is_refused_overall(self):
        labels = np.arange(400) % 20
        old, new = labels.copy(), labels.copy()
        new[np.random.default_rng(0).permutation(400)[:40]] = 20  # two of each class: too few to say of any
        found = judge_round(old_n=old, new_n=new, labels_n=labels)
        assert found.objections == (gate.FEWER_RIGHT,)
        assert found.difference.value == pytest.approx(-0.1) and found.difference.high < 0

    def test_a_handful_of_images_proves_nothing(self):
        """Four losses of four: the interval is below 0, and by a coin's toss that is one in sixteen."""
        labels = np.zeros(4, np.int64)
        found = judge_round(old_n=labels, new_n=labels + 1, labels_n=labels)
        assert found.difference.high < 0 and found.p == pytest.approx(1 / 16)
        assert found.is_accepted
        nothing = judge_round(old_n=NONE, new_n=NONE, labels_n=NONE)
        assert nothing.is_accepted and nothing.difference is None and nothing.classes == ()

    def test_holms_correction_is_that_of_the_paper(self):
        """By hand: 4 x 0.005, 3 x 0.01, then what is no less than the one before; what cannot be tested counts not."""
        assert holm([0.04, 0.005, None, 0.03, 0.01]) == pytest.approx([0.06, 0.02, 1.0, 0.06, 0.03])
        assert holm([]) == [] and holm([0.9, 0.8]) == [1.0, 1.0]

    def test_what_does_not_fit_together_is_an_error(self):
        with pytest.raises(LabelError):
            judge_round(old_n=NONE, new_n=CLASSES, labels_n=CLASSES)
