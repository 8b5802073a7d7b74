"""What is believed of the tree's parts, against a sum over every single way to cut it."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from learner.errors import LabelError
from learner.graph import evidence, hypotheses
from learner.graph.communities import Tree
from learner.graph.hypotheses import Answers, believe


def answers(*pairs: tuple[int, int], n_classes: int = 4) -> Answers:
    positions, labels = np.array(pairs, np.int64).reshape(-1, 2).T
    return Answers(positions, labels, n_classes)


@pytest.fixture
def tree() -> Tree:
    """Ten images in the leaves 0, 1, 2; 0 and 1 are node 3, all are node 4."""
    leaf_N = np.array([0, 0, 0, 1, 1, 1, 1, 2, 2, 2])
    return Tree(leaf_N, np.array([3, 3, 4, 4, -1]), np.array([3.0, 2.0, 4.0, 0.5, 0.1]), np.array([3, 4, 3, 7, 10]))


@pytest.fixture
def affinity(tree: Tree) -> csr_matrix:
    """Ties of the ten images at random, those inside a leaf the strongest; image 4 is tied to leaf 2 alone, image 9 to
    none at all."""
    rng = np.random.default_rng(0)
    near = tree.leaf_N[:, None] == tree.leaf_N
    weights = np.triu(rng.random((10, 10)) * np.where(near, 1.0, 0.3), 1)
    weights[[4, 9]] = weights[:, [4, 9]] = 0
    weights[4, 7:9] = 0.5
    return csr_matrix(weights + weights.T)


def exceptional(tree: Tree, affinity: csr_matrix | None, image: int, node: int) -> float:
    """The chance of an image to be of another class than a node, by its ties."""
    ties = np.zeros(10) if affinity is None else affinity.toarray()[image]
    if not ties.any():
        return evidence.EXCEPTIONS
    inside = ties[np.isin(tree.leaf_N, tree.leaves_below(node))].sum() / ties.sum()
    return float(np.clip(1 - inside, evidence.EXCEPTIONS, evidence.MOST_EXCEPTIONS))


def exceptional_leaf(tree: Tree, affinity: csr_matrix | None, leaf: int, node: int) -> float:
    """The same of a leaf, by its ties to other leaves."""
    if leaf == node:
        return 0.0
    is_inside = np.isin(tree.leaf_N, tree.leaves_below(node))
    ties = np.zeros(10) if affinity is None else affinity.toarray()[tree.leaf_N == leaf].sum(0)
    ties[tree.leaf_N == leaf] = 0
    outside = ties[~is_inside].sum() / ties.sum() if ties.any() else 0.0
    return float(np.clip(outside**2, evidence.LEAF_EXCEPTIONS, evidence.MOST_EXCEPTIONS))


def by_hand(tree: Tree, given: Answers, affinity: csr_matrix | None = None) -> tuple[np.ndarray, np.ndarray, float]:
    """The chance of each node to be cut there, of each leaf's images to be apart, and the log evidence.

    Written as a sum over gamma, epsilon and all assignments of `one class` or not to the nodes, with no recursion.
    """
    named = [int(label) for label in given.classes_K]
    unnamed = float(max(1, given.n_classes - len(named)))
    prior, exception = np.array([1.0] * len(named) + [unnamed]), np.array([1.0] * len(named) + [unnamed])
    said = [*zip(given.positions_A.tolist(), given.labels_A.tolist(), strict=True)]
    if len(given.rejected_R):
        said += [(position, -1) for position in given.rejected_R.tolist()]
        prior = np.insert(prior, -1, hypotheses.REJECTED_PARTS)
        exception = np.insert(
            exception / exception.sum() * (1 - hypotheses.REJECTED_IMAGES), -1, hypotheses.REJECTED_IMAGES
        )
        named.append(-1)
    prior, exception, k1 = prior / prior.sum(), exception / exception.sum(), len(prior)
    column = {label: at for at, label in enumerate(named)}
    images = sorted({position for position, _ in said})
    hold_V, apart_L, total = np.zeros(len(tree.parent_V)), np.zeros(tree.n_leaves), 0.0
    gammas = np.array(hypotheses.TIES)
    prior_G = np.exp(-((np.log(gammas / hypotheses.TIE_CENTRE) / hypotheses.TIE_SPREAD) ** 2) / 2)
    for gamma, p_gamma in zip(gammas, prior_G / prior_G.sum(), strict=True):
        chance_V = 1 / (1 + (gamma / tree.tie_V) ** hypotheses.SHARPNESS)
        chance_V = np.clip(chance_V, 1 / (1 + np.exp(12)), 1 / (1 + np.exp(-12)))
        for rate, p_rate in zip(hypotheses.ERROR_RATES, hypotheses.ERROR_PRIOR, strict=True):
            likelihood = {}
            for image in images:
                row = np.ones(k1)
                for position, label in said:
                    if position == image:
                        wrong = np.full(k1, rate / (k1 - 1))
                        wrong[column[label]] = 1 - rate
                        row *= wrong
                likelihood[image] = row

            def one_by_one(node: int, inside: list[int], likelihood=likelihood) -> np.ndarray:
                """The likelihood of answers about some images of a node, by its class."""
                rows = [np.ones(k1)]
                for i in inside:
                    rho = exceptional(tree, affinity, i, node)
                    rows.append((1 - rho) * likelihood[i] + rho * likelihood[i] @ exception)
                return np.prod(rows, axis=0)

            for is_one_V in product([False, True], repeat=len(tree.parent_V)):
                weight = p_gamma * p_rate * np.prod(np.where(is_one_V, chance_V, 1 - chance_V))
                cut_of_leaf = []
                for leaf in range(tree.n_leaves):
                    above = [node for node in tree.path(leaf).tolist() if is_one_V[node]]
                    cut_of_leaf.append(above[-1] if above else None)  # the one nearest to the root
                for node in set(cut_of_leaf) - {None}:
                    inside = [i for i in images if cut_of_leaf[tree.leaf_N[i]] == node]
                    row = np.ones(k1)
                    for leaf in {int(tree.leaf_N[i]) for i in inside}:
                        said_of = [i for i in inside if tree.leaf_N[i] == leaf]
                        whole = one_by_one(leaf, said_of) @ exception
                        rho = exceptional_leaf(tree, affinity, leaf, node)
                        row *= (1 - rho) * one_by_one(node, said_of) + rho * whole
                    weight *= row @ prior
                for image in images:
                    if cut_of_leaf[tree.leaf_N[image]] is None:
                        weight *= likelihood[image] @ prior
                total += weight
                for node in set(cut_of_leaf) - {None}:
                    hold_V[node] += weight
                apart_L += weight * np.array([cut is None for cut in cut_of_leaf])
    return hold_V / total, apart_L / total, float(np.log(total))


@pytest.mark.parametrize(
    "pairs",
    [(), [(0, 1)], [(0, 1), (4, 1)], [(0, 1), (4, 2)], [(0, 1), (0, 2), (1, 1), (8, 3)], [(7, 0), (8, 0), (9, 1)]],
    ids=len,
)
@pytest.mark.parametrize("has_ties", [False, True])
def test_it_is_the_sum_over_all_cuts(tree, affinity, pairs, has_ties):
    given, ties = answers(*pairs), affinity if has_ties else None
    found = believe(tree, given, ties)
    hold_V, apart_L, log_evidence = by_hand(tree, given, ties)
    np.testing.assert_allclose(found.hold_V, hold_V, rtol=1e-6)
    np.testing.assert_allclose(found.apart_L, apart_L, rtol=1e-6)
    assert found.log_evidence == pytest.approx(log_evidence)


@pytest.mark.parametrize(
    ("pairs", "rejected"), [((), [3]), ([(0, 1)], [1]), ([(0, 1), (4, 2)], [5, 7, 8]), ([(0, 1), (0, 2)], [0, 0, 9])]
)
def test_so_it_is_with_rejected_images(tree, affinity, pairs, rejected):
    given = Answers(*np.array(pairs, np.int64).reshape(-1, 2).T, 4, np.array(rejected))
    found = believe(tree, given, affinity)
    hold_V, apart_L, log_evidence = by_hand(tree, given, affinity)
    np.testing.assert_allclose(found.hold_V, hold_V, rtol=1e-6)
    np.testing.assert_allclose(found.apart_L, apart_L, rtol=1e-6)
    assert found.log_evidence == pytest.approx(log_evidence)


def test_two_bad_images_give_up_a_part_and_one_among_labels_does_not(tree):
    """The probability that the largest leaf is of images to reject, by answers about its own images; the other leaves
    have names."""

    def rejection(labelled, rejected):
        labels = np.array([2, 2, 3, 3, *(1 for _ in labelled)])
        found = believe(tree, Answers(np.array([0, 1, 7, 8, *labelled]), labels, 4, np.array(rejected)))
        return tree.sums_above(found.mass_V_K1)[1, -2]

    assert rejection([], [3, 4]) > 0.8
    assert rejection([], [3]) < 0.5
    assert rejection([3, 4], [5]) < 0.05


def test_chances_of_a_leaf_add_up_to_one(tree):
    found = believe(tree, answers((0, 1), (4, 2), (8, 3)))
    np.testing.assert_allclose(tree.sums_above(found.hold_V) + found.apart_L, 1)
    np.testing.assert_allclose(found.mass_V_K1.sum(1), found.hold_V)


def test_agreement_speaks_for_a_part_and_contradiction_against_it(tree):
    before = believe(tree, answers((0, 1))).hold_V[3]
    assert believe(tree, answers((0, 1), (4, 1))).hold_V[3] > before
    assert believe(tree, answers((0, 1), (4, 2))).hold_V[3] < 0.5 * before


def test_people_who_contradict_themselves_are_trusted_less(tree):
    calm = believe(tree, answers((0, 1), (0, 1), (4, 2), (4, 2)))
    erring = believe(tree, answers((0, 1), (0, 2), (4, 2), (4, 3)))
    assert erring.error_rate > 2 * calm.error_rate


def test_a_contradiction_weakens_belief_in_all_ties_of_that_strength():
    """Two pairs of leaves that are tied alike: that one pair is of two classes tells about the other."""
    tree = Tree(np.repeat(np.arange(4), 5), np.array([4, 4, 5, 5, 6, 6, -1]), np.array([9.0] * 4 + [0.4, 0.4, 0.01]),
                np.array([5, 5, 5, 5, 10, 10, 20]))  # fmt: skip
    assert believe(tree, answers((0, 0), (5, 1))).hold_V[5] < believe(tree, answers((0, 0), (5, 0))).hold_V[5] - 0.1


def test_the_order_of_answers_does_not_matter(tree):
    pairs = [(0, 1), (4, 2), (0, 1), (8, 3)]
    one, other = believe(tree, answers(*pairs)), believe(tree, answers(*pairs[::-1]))
    np.testing.assert_allclose(one.mass_V_K1, other.mass_V_K1)


@pytest.mark.parametrize(
    ("pairs", "words"),
    [([(0, 4)], "labels from 4 to 4, of 4 classes"), ([(0, -1)], "labels from -1"), ([(-1, 0)], "position -1 is not")],
)
def test_an_answer_that_cannot_be_is_refused(pairs, words):
    with pytest.raises(LabelError, match=words):
        answers(*pairs)


def test_an_answer_about_an_image_that_is_not_there_is_refused(tree):
    with pytest.raises(LabelError, match="position 10 is not in the pool of 10"):
        believe(tree, answers((10, 0)))


def test_an_image_that_is_tied_elsewhere_says_little_about_its_community(tree, affinity):
    """Models ask about such images: if each contradiction counted whole, all communities would fall apart."""
    contradicting = answers((3, 1), (5, 1), (4, 2))
    plain, by_ties = believe(tree, contradicting), believe(tree, contradicting, affinity)
    held = believe(tree, answers((3, 1), (5, 1)), affinity)
    assert by_ties.hold_V[[1, 3, 4]].sum() > plain.hold_V[[1, 3, 4]].sum() + 0.1
    assert by_ties.error_rate < plain.error_rate
    assert by_ties.error_rate == pytest.approx(held.error_rate, abs=0.02)


def test_two_answers_about_a_clump_do_not_outvote_the_one_about_the_rest(clump):
    """Of parts of digits, three fours among 171 sevens, two of which were asked about: all sevens went by "four"."""
    tree, affinity = clump.tree, clump.affinity
    found = believe(tree, answers((5, 1), (80, 2), (81, 2), (90, 2)), affinity)
    named = found.mass_V_K1 / found.hold_V[:, None]
    assert named[4, 0] > 0.8  # class 1 has the column 0
    around, leaf = tree.sums_above(found.mass_V_K1)[2], tree.sums_above(found.mass_V_K1)[2] + found.moved_M_K1[1]
    assert around[0] > 0.5 > around[1]  # the clump is in a part of class 1 ...
    assert leaf[1] > 0.8 > 0.2 > leaf[0]  # ... but is of class 2 itself
    np.testing.assert_allclose(found.moved_M_K1.sum(1), 0, atol=1e-12)


def test_answers_from_all_over_a_part_do(clump):
    tree, affinity = clump.tree, clump.affinity
    found = believe(tree, answers((5, 1), (41, 2), (80, 2), (20, 2), (90, 2)), affinity)
    assert found.mass_V_K1[4, 1] > found.mass_V_K1[4, 0]


def test_one_odd_answer_is_one_odd_image_and_not_its_leaf(clump):
    tree, affinity = clump.tree, clump.affinity
    found = believe(tree, answers((5, 1), (6, 1), (7, 2), (90, 2)), affinity)
    leaf = tree.sums_above(found.mass_V_K1)[0] + found.moved_M_K1[0]
    assert leaf[0] > 0.7 > 0.25 > leaf[1]
