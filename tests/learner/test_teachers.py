"""Who passes answers on where groups mean little: all images of the pool move the prototypes of classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from learner import teachers
from learner.config import RoundConfig, RoundRequest, ignore
from learner.folder import write_chunks
from learner.graph.hypotheses import Answers
from learner.graph.pool_graph import make_pool_graph
from learner.pool import Pool
from learner.round import fit
from learner.scores import scores_at
from learner.scoring import Scorer
from learner.teachers import ByPool

N, CLASSES, D = 900, 4, 24


@pytest.fixture
def blurred(tmp_path):
    """Vectors of four classes that run into each other, behind a number that says nothing, and their labels."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, N)
    vectors = np.eye(D)[labels] + rng.normal(0, 0.24, (N, D))
    vectors = np.hstack([rng.normal(0, 9, (N, 1)), vectors]).astype(np.float32)
    return Pool(write_chunks(vectors, tmp_path / "blurred")), labels


@pytest.fixture
def chosen(blurred) -> np.ndarray:
    """Three images of each class."""
    _, labels = blurred
    rng = np.random.default_rng(1)
    return np.concatenate([rng.permutation(np.flatnonzero(labels == label))[:3] for label in range(CLASSES)])


def by_pool(blurred, chosen, *rejected, may_learn=None) -> ByPool:
    pool, labels = blurred
    answers = Answers(chosen, labels[chosen], CLASSES, *rejected)
    return ByPool(pool, 1, answers, np.arange(N) if may_learn is None else may_learn, 0)


def test_it_passes_on_what_it_is_sure_of_to_images_that_may_learn(blurred, chosen) -> None:
    _, labels = blurred
    found = by_pool(blurred, chosen, may_learn=np.arange(0, N, 2)).pass_on()
    assert len(found.positions) == found.n_sure > 200 and (np.diff(found.positions) > 0).all()
    assert not (found.positions % 2).any() and not np.isin(found.positions, chosen).any()
    assert (found.labels == labels[found.positions]).mean() > 0.9


def test_of_many_images_a_sample_has_a_part_in_it(blurred, chosen, monkeypatch) -> None:
    monkeypatch.setattr(teachers, "SEEN", 300)
    monkeypatch.setattr(teachers, "MOST", 40)
    found = by_pool(blurred, chosen).pass_on()
    assert len(found.positions) == 40 < found.n_sure <= 300
    assert found.positions.tolist() == by_pool(blurred, chosen).pass_on().positions.tolist()
    assert found.positions.tolist() != replace(by_pool(blurred, chosen), seed=1).pass_on().positions.tolist()


def test_what_looks_like_rejected_images_gets_no_label(blurred) -> None:
    """One class of four is rejected: nothing of it may go to the others."""
    _, labels = blurred
    rng = np.random.default_rng(2)
    of = {label: rng.permutation(np.flatnonzero(labels == label))[:5] for label in range(CLASSES)}
    good = np.concatenate([of[0], of[1], of[2]])
    found = by_pool(blurred, good, np.sort(of[3])).pass_on()
    assert set(found.labels.tolist()) == {0, 1, 2}
    assert (labels[found.positions] == 3).mean() < 0.05
    assert (labels[by_pool(blurred, good).pass_on().positions] == 3).mean() > 0.1


def test_it_says_what_it_would_have_said_with_fewer_answers(blurred, chosen) -> None:
    _, labels = blurred
    known, asked = np.arange(0, 12, 3), np.array([1, 2, 4, 5, 7, 8, 10, 11])
    teacher = by_pool(blurred, chosen)
    told = teacher.tell(known, asked)
    assert (told == labels[chosen[asked]]).mean() > 0.7
    wrong = replace(teacher.answers, labels_A=np.where(np.isin(np.arange(12), asked), 0, labels[chosen]))
    assert replace(teacher, answers=wrong).tell(known, asked).tolist() == told.tolist()  # it does not look them up


def test_what_is_rejected_stays_known_while_answers_are_kept_back(blurred) -> None:
    """Without, it would say a class of what looks like the rejected images."""
    _, labels = blurred
    rng = np.random.default_rng(2)
    of = {label: rng.permutation(np.flatnonzero(labels == label))[:12] for label in range(CLASSES)}
    good = np.concatenate([of[0], of[1], of[2], of[3][:4]])  # somebody gave four of them a class all the same
    teacher = by_pool(blurred, good, np.sort(of[3][4:]))
    told = teacher.tell(np.arange(36), np.arange(36, 40))
    assert (told == CLASSES).sum() >= 3


def test_too_many_classes_and_no_images(blurred, chosen, monkeypatch) -> None:
    assert not len(by_pool(blurred, chosen, may_learn=chosen).pass_on().positions)
    for room, is_bearable in ((600, True), (499, False)):
        monkeypatch.setattr("learner.transduction.MOST_PRODUCTS", (room + 12) * CLASSES * D)
        teacher = by_pool(blurred, chosen)
        assert teacher.is_bearable is is_bearable and len(teacher.others) == room
        assert bool(len(teacher.pass_on().positions)) is is_bearable


def test_more_answers_than_it_learns_from(blurred, monkeypatch) -> None:
    monkeypatch.setattr(teachers, "MOST_LEARNED", 50)
    pool, labels = blurred
    many = np.random.default_rng(3).permutation(N)[:400]
    found = by_pool(blurred, many).pass_on()
    assert not np.isin(found.positions, many).any() and (found.labels == labels[found.positions]).mean() > 0.9
    assert len(pool) == N


def test_a_round_where_groups_mean_little_learns_from_it(tmp_path) -> None:
    """It is right about more than one of answers alone, with the same answers."""
    rng = np.random.default_rng(0)
    halves = rng.integers(0, 2, (N, 2))
    labels = halves @ [1, 2]
    vectors = rng.normal(0, 1, (N, 16)).astype(np.float32)
    vectors[:, :2] += 1.6 * (2 * halves - 1)
    made = make_pool_graph(write_chunks(vectors, tmp_path / "pool"), np.arange(N), seed=0)
    assert not made.pool_graph.is_cohesive
    for name, save in (("graph.npz", made.pool_graph.save), ("vectors.npy", made.save_vectors)):
        with (tmp_path / name).open("wb") as file:
            save(file)
    chunks = tuple(
        replace(chunk, path=tmp_path / "vectors.npy", row=chunk.start)
        for chunk in write_chunks(vectors, tmp_path / "again")
    )
    config = RoundConfig(n_classes=CLASSES, architecture="head", posterior_samples=8, seed=1)
    chosen = np.concatenate([rng.permutation(np.flatnonzero(labels == label))[:3] for label in range(CLASSES)])
    others, right = np.setdiff1d(np.arange(N), chosen), {}
    for name, may_learn in (("pool", others[::2]), ("answers", others[:0])):
        directory = tmp_path / name
        request = RoundRequest(
            chunks, chosen, labels[chosen], config, directory, graph=tmp_path / "graph.npz", propagate_to=may_learn
        )
        result = fit(request, ignore)
        assert result.doubts_graph and result.ignored == made.pool_graph.n_coordinates
        assert any("answers and pool together make clear" in note for note in result.notes) is (name == "pool")
        for chunk in chunks:
            Scorer(directory).score(chunk, ignore)
        predicted = scores_at(directory, others[1::2], "mean_probs_N_C").argmax(1)
        right[name] = (predicted == labels[others[1::2]]).mean()
    assert right["pool"] > right["answers"] + 0.03
