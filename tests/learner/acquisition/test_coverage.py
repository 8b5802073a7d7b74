import threading
from itertools import combinations

import numpy as np
import pytest

from learner.acquisition import coverage, k_centre, typicality
from learner.errors import LearnerError

NOTHING = np.empty((0, 0))


def radius(features, centres):
    return np.linalg.norm(features[:, None] - centres[None], axis=2).min(1).max()


def blobs(sizes, d=2, seed=0):
    """Clusters far apart, one after the other."""
    rng = np.random.default_rng(seed)
    return np.concatenate([10 * np.eye(len(sizes), d)[i] + rng.normal(size=(n, d)) for i, n in enumerate(sizes)])


@pytest.mark.parametrize("seed", range(5))
def test_k_centre_takes_the_farthest_each_time_and_is_within_twice_the_best(seed):
    rng = np.random.default_rng(seed)
    features, labelled = rng.normal(size=(12, 2)), rng.normal(size=(2, 2))
    taken = k_centre(features, labelled, 3, seed=0)
    centres = labelled
    for index in taken:
        distances = np.linalg.norm(features[:, None] - centres[None], axis=2).min(1)
        assert distances[index] == pytest.approx(distances.max())
        centres = np.concatenate([centres, features[[index]]])
    best = min(radius(features, np.concatenate([labelled, features[list(c)]])) for c in combinations(range(12), 3))
    assert radius(features, centres) <= 2 * best


def test_k_centre_without_labels_begins_anywhere():
    features = np.random.default_rng(0).normal(size=(10, 3))
    assert len({k_centre(features, NOTHING, 1, seed=seed)[0] for seed in range(40)}) > 5
    taken = k_centre(features, NOTHING, 99, seed=1)
    assert sorted(taken) == list(range(10))
    assert taken.tolist() == k_centre(features, NOTHING, 99, seed=1).tolist()


def test_k_centre_leaves_duplicates_for_last():
    features = np.tile(np.random.default_rng(0).normal(size=(5, 3)), (4, 1))
    assert len(set(k_centre(features, NOTHING, 5, seed=0) % 5)) == 5
    assert sorted(k_centre(features, NOTHING, 20, seed=0)) == list(range(20))


def test_k_centre_equals_the_published_implementation():
    from skactiveml.pool import _core_set as core_set

    x = np.random.default_rng(0).normal(size=(300, 5))
    y = np.where(np.arange(300) < 7, 0.0, np.nan)
    theirs, _ = core_set.k_greedy_center(x, y, batch_size=15, random_state=0)
    assert (k_centre(x[7:], x[:7], 15, seed=0) + 7).tolist() == theirs.tolist()


def test_typicality_asks_about_the_middle_of_each_cluster_largest_first():
    features = blobs([50, 80, 60], d=3)
    taken = typicality(features, NOTHING, 3, seed=0)
    assert [np.searchsorted([50, 130], index, side="right") for index in taken] == [1, 2, 0]
    for index, (low, high) in zip(taken, [(50, 130), (130, 190), (0, 50)], strict=True):
        members = features[low:high]
        distances = np.sort(np.linalg.norm(members[:, None] - members[None], axis=2), axis=1)
        k = min(20, len(members) // 2)
        assert index - low == distances[:, 1 : k + 1].mean(1).argmin()


def test_typicality_passes_over_clusters_with_labels_and_outliers():
    features = np.concatenate([blobs([50, 80, 60], d=3), [[100.0, 100, 100]]])
    labelled = features[[55]]
    taken = typicality(features, labelled, 3, seed=0)  # four clusters, one of them a single image far away
    assert [np.searchsorted([50, 130, 190], index, side="right") for index in taken[:2]] == [2, 0]
    assert taken[2] != 190
    assert sorted(typicality(features[:30], NOTHING, 99, seed=0)) == list(range(30))


def test_typicality_of_images_that_are_all_alike():
    assert sorted(typicality(np.ones((8, 2)), NOTHING, 5, seed=0)) == [0, 1, 2, 3, 4]
    assert typicality(np.ones((8, 2)), NOTHING, 0, seed=0).tolist() == []


def test_the_same_seed_gives_the_same_typical_images():
    features = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
    one, two = (typicality(features, features[:5], 25, seed=7) for _ in range(2))
    assert one.tolist() == two.tolist()
    assert len(set(one)) == 25


def test_typicality_equals_the_published_implementation():
    from skactiveml.pool import TypiClust

    features = blobs([50, 90, 70, 60], d=4)
    y = np.full(len(features), np.nan)
    y[[0, 1]] = 0  # in the first cluster
    labelled = features[[0]]  # one label here: as many clusters as there will be labels
    y[1] = np.nan
    theirs = TypiClust(random_state=0, k=20).query(features, y, batch_size=3)
    assert (typicality(features[1:], labelled, 3, seed=0) + 1).tolist() == theirs.tolist()


def test_typicality_can_be_cancelled_while_clusters_are_made(monkeypatch):
    """k-means of a large pool takes many seconds and says nothing."""
    started, end = threading.Event(), threading.Event()
    monkeypatch.setattr(coverage, "_clusters", lambda *_: started.set() or end.wait(60))

    def report(phase, done, total):
        if started.is_set():
            raise KeyError(f"{phase} {done} of {total}")

    try:
        with pytest.raises(KeyError, match="acquire 0 of 3"):
            typicality(np.ones((8, 2)), NOTHING, 3, seed=0, report=report)
    finally:
        end.set()


@pytest.mark.parametrize("choose", [k_centre, typicality])
def test_features_that_are_not_finite_are_refused(choose):
    features = np.ones((9, 2))
    features[4, 1] = np.nan
    with pytest.raises(LearnerError, match="1 of 9 images have NaN or infinite features, the first is number 4"):
        choose(features, np.empty((0, 2)), 3, seed=0)
