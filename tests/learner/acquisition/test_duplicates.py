import numpy as np

from learner.acquisition import duplicates, spread


def walk(points, count, least, order=None):
    vectors = np.asarray(points, np.float32).reshape(len(points), -1)
    order = np.arange(len(points)) if order is None else np.asarray(order)
    return spread(order, count, lambda indices: vectors[indices], least).tolist()


def test_neighbours_are_put_off_and_fill_up():
    points = [10, 11, 12, 30, 31]
    assert walk(points, 3, 2.0) == [0, 2, 3]
    assert walk(points, 5, 2.0) == [0, 2, 3, 1, 4]
    assert walk(points, 2, 1e6) == [0, 1]
    assert walk(points, 3, 2.0, order=[4, 3, 1, 0, 2]) == [4, 1, 3]


def test_without_enough_that_are_apart_it_fills_up_no_more_than_is_asked():
    points = [10, 11, 12, 30, 31]
    vectors = np.asarray(points, np.float32)[:, None]
    found = [spread(np.arange(5), 5, lambda at: vectors[at], 2.0, fill=fill).tolist() for fill in (1, 4, 5)]
    assert found == [[0, 2, 3], [0, 2, 3, 1], [0, 2, 3, 1, 4]]


def test_nothing_is_put_off_where_all_are_apart():
    assert walk([1, 5, 9], 2, 4.0) == [0, 1]
    assert walk([3, 3, 3], 2, 0.0) == [0, 1]


def test_it_equals_a_plain_walk_across_blocks(monkeypatch):
    monkeypatch.setattr(duplicates, "BLOCK", 7)
    points = np.random.default_rng(0).normal(size=(200, 2))
    taken = []
    for i in range(200):
        if len(taken) < 25 and all(np.square(points[i] - points[j]).sum() >= 0.1 for j in taken):
            taken.append(i)
    assert walk(points, 25, 0.1) == taken


def test_it_looks_no_further_than_its_reach(monkeypatch):
    monkeypatch.setattr(duplicates, "BLOCK", 4)
    monkeypatch.setattr(duplicates, "MOST_AT_LEAST", 0)
    looked = []

    def vectors_of(indices):
        looked.extend(indices.tolist())
        return np.zeros((len(indices), 1), np.float32)

    assert spread(np.arange(1000), 3, vectors_of, 1.0).tolist() == [0, 1, 2]
    assert looked == list(range(60))
