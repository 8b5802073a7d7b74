"""Networks in a simulated run: when they are trained, what they never learn from, and that the loop goes by them."""

from dataclasses import replace

import numpy as np
import pytest

from labeler.selectors import networks as product
from learner import distillation, gate, lessons, trial
from learner.errors import LabelError
from learner.graph import pool_graph
from learner.graph.hypotheses import Answers
from learner.graph.pool_graph import PoolGraph, make_pool_graph
from learner.pool import open_chunk
from learner.simulation import networks
from learner.simulation.networks import Images, Networks, Sight
from learner.simulation.run import Material, Strategy, simulate

STEPS = 20
MEASURED = np.arange(400, 500)


@pytest.fixture
def sight(make_chunks, digits, tmp_path) -> Sight:
    chunks = make_chunks(digits[0][:500])
    made = make_pool_graph(chunks, (), seed=0)
    for name, save in (("graph.npz", made.pool_graph.save), ("vectors.npy", made.save_vectors)):
        with (tmp_path / name).open("wb") as file:
            save(file)
    vectors = tuple(replace(chunk, path=tmp_path / "vectors.npy", row=0) for chunk in chunks)
    return Sight(vectors, (), tmp_path / "graph.npz")


@pytest.fixture
def images(make_chunks, digits) -> Images:
    return Images(make_chunks(digits[0][:500]), (), False, np.arange(400))


@pytest.fixture
def head(quick):
    return replace(quick, architecture="head")


def answers_of(digits, count: int) -> Answers:
    return Answers(np.arange(count), digits[1][:count], 10)


def let_in(monkeypatch, *, is_let_in: bool, objection: str = gate.DISAGREES) -> None:
    judge = gate.judge
    objections = () if is_let_in else (objection,)
    monkeypatch.setattr(gate, "judge", lambda **facts: replace(judge(**facts), objections=objections))


def test_they_are_trained_when_the_product_would(sight, images, tmp_path):
    names = ("FIRST_ANSWERS", "FIRST_BY_ITSELF", "GROWTH")
    assert [getattr(networks, name) for name in names] == [getattr(product, name) for name in names]
    by_graph = Networks(images, tmp_path)
    groups = PoolGraph.load(sight.graph).n_groups
    assert groups > networks.FIRST_ANSWERS

    def is_due(of: Networks, count: int) -> bool:
        return of.is_due(sight, Answers(np.arange(count), np.arange(count) % 3, 10))

    assert not is_due(by_graph, groups - 1) and is_due(by_graph, groups)
    by_graph.last, by_graph.known = 20, np.arange(3)
    assert not is_due(by_graph, 29) and is_due(by_graph, 30)
    by_graph.known = np.arange(2)  # there are answers of a class that it has not seen
    assert not is_due(by_graph, 20) and is_due(by_graph, 21)
    by_itself = Networks(replace(images, teaches_itself=True), tmp_path)
    assert not is_due(by_itself, 29) and is_due(by_itself, 30)


def test_one_that_is_let_in_is_what_the_loop_goes_by(sight, images, digits, head, tmp_path, monkeypatch):
    let_in(monkeypatch, is_let_in=True)
    trained = Networks(images, tmp_path / "scratch", steps=STEPS)
    new = trained.train(sight, answers_of(digits, 60), head, lambda *_: None)
    assert new.graph != sight.graph and PoolGraph.load(new.graph).reason != PoolGraph.load(sight.graph).reason
    assert [len(open_chunk(chunk)) for chunk in new.chunks] == [500]
    assert open_chunk(new.chunks[0]).shape[1] != open_chunk(sight.chunks[0]).shape[1]
    assert trained.last == 60 and [count for count, _ in trained.made] == [60]


def test_one_that_is_refused_changes_nothing_but_is_not_tried_again_at_once(
    sight, images, digits, head, tmp_path, monkeypatch
):
    let_in(monkeypatch, is_let_in=False)
    trained = Networks(images, tmp_path / "scratch", steps=STEPS)
    assert trained.train(sight, answers_of(digits, 60), head, lambda *_: None) == sight
    assert not trained.is_due(sight, answers_of(digits, 61))


@pytest.mark.parametrize("is_let_in", [True, False])
def test_the_one_in_use_has_a_say_in_what_the_next_one_is_taught(
    sight, images, digits, head, tmp_path, monkeypatch, is_let_in
):
    let_in(monkeypatch, is_let_in=is_let_in)
    opinions, lesson_of = [], lessons.lesson_of
    monkeypatch.setattr(
        lessons,
        "lesson_of",
        lambda *of, opinion, **rest: opinions.append(opinion) or lesson_of(*of, opinion=opinion, **rest),
    )
    trained = Networks(images, tmp_path / "scratch", steps=STEPS)
    new = trained.train(sight, answers_of(digits, 60), head, lambda *_: None)
    trained.train(new, answers_of(digits, 90), head, lambda *_: None)
    assert [opinion is not None for opinion in opinions] == [False, is_let_in]
    if is_let_in:
        assert opinions[1].knows.tolist() == list(range(10))
        said = opinions[1].of(np.arange(500))
        assert len(set(said.tolist())) > 2 and (said == digits[1][:500]).mean() > 0.3


@pytest.mark.parametrize("teaches_itself", [False, True])
def test_nothing_is_learned_from_what_is_measured_or_kept_back(
    sight, images, digits, head, tmp_path, monkeypatch, teaches_itself
):
    lessons, requests = [], []
    distil, predict = distillation.distil, trial.predict_classes
    monkeypatch.setattr(distillation, "distil", lambda chunks, lesson, config, **rest: (
        lessons.append(lesson), distil(chunks, lesson, config, **rest))[1])  # fmt: skip

    def predict_classes(request, positions):
        requests.append(request)
        return predict(request, positions)

    monkeypatch.setattr(trial, "predict_classes", predict_classes)
    trained = Networks(replace(images, teaches_itself=teaches_itself), tmp_path / "scratch", steps=STEPS)
    trained.train(sight, answers_of(digits, 60), head, lambda *_: None)
    kept = np.setdiff1d(np.arange(60), requests[0].train_positions)
    assert len(kept) == (12 if teaches_itself else 0)
    never = np.concatenate([MEASURED, kept])
    (lesson,) = lessons
    for learned in (lesson.positions, lesson.unlabelled, *(each.train_positions for each in requests),
                    *(each.propagate_to for each in requests)):  # fmt: skip
        assert not np.isin(learned, never).any()


def test_a_run_with_networks_goes_on_after_one_has_taken_over(sight, images, digits, head, monkeypatch):
    let_in(monkeypatch, is_let_in=True)
    monkeypatch.setattr(distillation, "STEPS", STEPS)
    monkeypatch.setattr(distillation, "BY_GRAPH", replace(distillation.BY_GRAPH, steps=STEPS))
    material = Material(
        sight.chunks, digits[1][:500], np.arange(400), MEASURED, graph=sight.graph, propagate_to=np.arange(400),
        images=images,
    )  # fmt: skip
    groups = PoolGraph.load(sight.graph).n_groups
    budgets = (groups - 1, groups, groups + 10)
    config = replace(head, recipe=replace(head.recipe, steps=60))
    curves = {
        name: [
            point.is_right_M.tolist()
            for point in simulate(
                material, strategy=Strategy.named(name, acquisition="power_margin", random_share=0.0), config=config,
                budgets=budgets,
            )
        ]
        for name in ("groups", "networks")
    }  # fmt: skip
    assert curves["groups"][0] == curves["networks"][0]
    assert curves["groups"][1] != curves["networks"][1]
    assert np.mean(curves["networks"][2]) > 0.5


@pytest.mark.parametrize("teaches_itself", [False, True])
def test_what_the_model_doubts_is_asked_once_a_network_that_the_graph_taught_is_in_use(
    sight, images, digits, head, monkeypatch, teaches_itself
):
    let_in(monkeypatch, is_let_in=True)
    for name in ("BY_GRAPH", "BY_ITSELF"):
        monkeypatch.setattr(distillation, name, replace(getattr(distillation, name), steps=STEPS))
    opinions = []
    asked = pool_graph.questions_about_parts

    def questions_about_parts(*given, opinion=None, **rest):
        opinions.append(opinion)
        if opinion is not None:
            best, probs = opinion(np.array([410, 3]), np.array([0, 1]))
            assert set(best.tolist()) <= set(range(10)) and ((probs >= 0) & (probs <= 1)).all()
        return asked(*given, opinion=opinion, **rest)

    monkeypatch.setattr(pool_graph, "questions_about_parts", questions_about_parts)
    material = Material(
        sight.chunks, digits[1][:500], np.arange(400), MEASURED, graph=sight.graph, propagate_to=np.arange(400),
        images=replace(images, teaches_itself=teaches_itself),
    )  # fmt: skip
    groups = max(PoolGraph.load(sight.graph).n_groups, networks.FIRST_BY_ITSELF * teaches_itself)
    strategy = Strategy.named("networks", acquisition="power_margin", random_share=0.0)
    simulate(material, strategy=strategy, config=head, budgets=(groups - 2, groups - 1, groups, groups + 1, groups + 2))
    assert [each is not None for each in opinions] == [False, False, not teaches_itself, not teaches_itself]


def test_feature_vectors_have_no_pixels(sight, digits, head):
    material = Material(sight.chunks, digits[1][:500], np.arange(400), MEASURED, graph=sight.graph)
    strategy = Strategy.named("networks", acquisition="power_margin", random_share=0.0)
    with pytest.raises(LabelError, match="needs the images' pixels"):
        simulate(material, strategy=strategy, config=head, budgets=(10,))


def test_what_the_two_disagree_about_is_asked_next_and_kept_back_from_the_next_network(
    sight, images, digits, head, tmp_path, monkeypatch
):
    """Of photographs: a network that nothing speaks for yet."""
    let_in(monkeypatch, is_let_in=False, objection=gate.UNPROVEN)
    photographs = replace(images, teaches_itself=True)
    trained = Networks(photographs, tmp_path / "scratch", steps=STEPS)
    trained.train(sight, answers_of(digits, 60), head, lambda *_: None)
    asked = trained.contested
    assert len(asked) == gate.CONTESTED and asked.min() >= 60 and not np.isin(asked, MEASURED).any()
    learned: list[np.ndarray] = []
    predict = trial.predict_classes
    monkeypatch.setattr(
        trial, "predict_classes", lambda request, *of: learned.append(request.train_positions) or predict(request, *of)
    )
    positions = np.concatenate([np.arange(60), asked])
    trained.train(sight, Answers(positions, digits[1][positions], 10), head, lambda *_: None)
    assert len(learned) == 2 and all(len(each) == 52 and not np.isin(asked, each).any() for each in learned)


def test_a_run_asks_about_them_before_all_else(images, sight, digits, quick, monkeypatch):
    let_in(monkeypatch, is_let_in=False, objection=gate.UNPROVEN)
    asked: list[tuple[np.ndarray, np.ndarray]] = []
    train = Networks.train

    def watched(self, sight, answers, *others):
        asked.append((self.contested, answers.positions_A))
        return train(self, sight, answers, *others)

    monkeypatch.setattr(Networks, "train", watched)
    monkeypatch.setattr(networks, "FIRST_BY_ITSELF", 30)
    monkeypatch.setattr(distillation, "STEPS", STEPS)
    monkeypatch.setattr(distillation, "BY_ITSELF", replace(distillation.BY_ITSELF, steps=STEPS))
    material = Material(
        sight.chunks, digits[1][:500], np.arange(400), MEASURED, graph=sight.graph, propagate_to=np.arange(400),
        images=replace(images, teaches_itself=True),
    )  # fmt: skip
    strategy = Strategy.named("networks", acquisition="power_predictive_entropy", random_share=0.0)
    simulate(material, strategy=strategy, config=replace(quick, architecture="head"), budgets=(30, 45))
    (_, before), (contested, after) = asked
    assert len(contested) == gate.CONTESTED and not np.isin(contested, before).any()
    assert set(after[30:35].tolist()) == set(contested.tolist())


def test_nobody_is_asked_about_one_that_is_refused_for_more_than_want_of_a_proof(
    sight, images, digits, head, tmp_path, monkeypatch
):
    let_in(monkeypatch, is_let_in=False, objection=gate.FORGETS)
    trained = Networks(replace(images, teaches_itself=True), tmp_path / "scratch", steps=STEPS)
    trained.train(sight, answers_of(digits, 60), head, lambda *_: None)
    assert not len(trained.contested)
