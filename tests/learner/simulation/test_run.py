"""One run: who is asked about, who never is, what a point says."""

from dataclasses import replace

import numpy as np
import pytest

from learner.errors import LabelError, UnknownNameError
from learner.graph import pool_graph
from learner.graph.pool_graph import make_pool_graph
from learner.pool import Chunk
from learner.simulation.run import Material, Strategy, growing, simulate


@pytest.fixture
def material(make_chunks, digits) -> Material:
    """500 digits, of which the last 100 are measured."""
    chunks = make_chunks(digits[0][:500])
    return Material(chunks, digits[1][:500], np.arange(400), np.arange(400, 500), propagate_to=np.arange(400))


@pytest.fixture
def with_graph(material, tmp_path) -> Material:
    path = tmp_path / "graph.npz"
    with path.open("wb") as file:
        make_pool_graph(material.chunks, (), seed=0).pool_graph.save(file)
    return replace(material, graph=path)


def strategy(name: str, random_share: float = 0.0) -> Strategy:
    return Strategy.named(name, acquisition="top_margin", random_share=random_share)


def test_it_measures_at_every_budget(material, quick):
    kept = []
    points = simulate(material, strategy=strategy("top_margin"), config=quick, budgets=(10, 30, 45), keep=kept.append)
    assert [point.answers for point in points] == [10, 30, 45]
    assert all(point.is_right_M.shape == (100,) and 0 <= point.class_accuracy <= 1 for point in points)
    assert kept == points


def test_the_same_seed_gives_the_same_curve_and_strategies_of_a_seed_begin_alike(material, quick):
    curves = [
        [point.accuracy for point in simulate(material, strategy=strategy(name), config=quick, budgets=(12, 24))]
        for name in ("top_margin", "top_margin", "random")
    ]
    assert curves[0] == curves[1]
    assert curves[0][0] == curves[2][0]


def test_groups_first_find_all_classes_where_random_questions_do_not(with_graph, digits, quick):
    configs = [replace(quick, seed=seed, recipe=replace(quick.recipe, steps=60)) for seed in range(3)]
    found = {
        name: np.mean(
            [simulate(with_graph, strategy=strategy(name), config=c, budgets=(12,))[-1].accuracy for c in configs]
        )
        for name in ("groups", "propagated_random", "random")
    }
    assert found["groups"] > found["propagated_random"] + 0.1
    assert found["groups"] > found["random"] + 0.1


@pytest.mark.parametrize("learns_from", ["pixels", "likeness"])
def test_a_pool_without_groups_is_covered_first(make_chunks, digits, quick, tmp_path, monkeypatch, learns_from):
    """Whether the model sees pixels, or where images stand in a graph that is not believed."""
    monkeypatch.setattr(pool_graph, "COHESIVE", 2.0)
    chunks = make_chunks(digits[0][:300])
    made = make_pool_graph(chunks, (), seed=0)
    paths = tmp_path / "graph.npz", tmp_path / "vectors.npy"
    for path, save in zip(paths, (made.pool_graph.save, made.save_vectors), strict=True):
        with path.open("wb") as file:
            save(file)
    if learns_from == "likeness":
        chunks, quick = (Chunk(0, paths[1], 300, row=0),), replace(quick, architecture="head")
    material = Material(chunks, digits[1][:300], np.arange(200), np.arange(200, 300), graph=paths[0],
                        propagate_to=np.arange(200))  # fmt: skip
    plan = Strategy.named("groups", acquisition="herding_margin", random_share=0.0)
    points = simulate(material, strategy=plan, config=quick, budgets=(12, 35, 40))
    at_random = [
        simulate(material, strategy=strategy("random"), config=replace(quick, seed=seed), budgets=(12,))[0].accuracy
        for seed in range(5)
    ]
    assert points[0].accuracy > np.mean(at_random)


def test_before_two_classes_are_known_the_only_one_is_the_guess(material, quick):
    labels_N = np.where(np.arange(500) % 50 == 1, 1, 0)
    points = simulate(replace(material, labels_N=labels_N), strategy=strategy("random"), config=quick, budgets=(1, 2))
    assert points[0].accuracy == 0.98 and points[0].class_accuracy == 0.5


def test_what_is_measured_is_never_asked_about(material, quick):
    with pytest.raises(LabelError, match="overlap"):
        replace(material, askable=np.arange(401))
    with pytest.raises(LabelError, match="overlap"):
        replace(material, propagate_to=np.arange(401))
    with pytest.raises(LabelError, match="401 answers of 400 images"):
        simulate(material, strategy=strategy("random"), config=quick, budgets=(401,))


def test_one_class_is_refused(material):
    with pytest.raises(LabelError, match="of one class"):
        replace(material, labels_N=np.zeros(500, np.int64))


def test_an_unknown_strategy_is_told_with_those_that_there_are():
    with pytest.raises(UnknownNameError, match=r"known: groups, networks, random, .*batchbald"):
        strategy("best")


def test_a_run_can_be_cancelled_in_a_round(material, quick):
    class StopError(Exception):
        pass

    def report(_phase: str, done: int, total: int) -> None:
        if done >= 10:
            raise StopError(f"{done} of {total}")

    with pytest.raises(StopError, match="10 of 30"):
        simulate(material, strategy=strategy("random"), config=quick, budgets=(10, 30), report=report)


def test_budgets_grow():
    steps = np.diff(growing(500))
    assert growing(500)[0] == 5 and growing(500)[-1] == 500
    assert (np.diff(steps[:-1]) >= 0).all() and steps.max() > 50
