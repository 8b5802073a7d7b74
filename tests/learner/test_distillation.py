"""A network that the graph teaches: what it is taught, that it is the same every time, that it can be interrupted."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch

from learner import distillation
from learner.distillation import BY_ITSELF, Student, classes_by, distil, student_config
from learner.errors import ArtifactError, ChunkError, ConfigError, LabelError, LearnerError
from learner.graph.hypotheses import Answers
from learner.graph.model import predict
from learner.graph.pool_graph import make_pool_graph
from learner.graph.propagation import SURE
from learner.lessons import ANSWERS_COUNT, Lesson, Opinion, keep_back, lesson_of, lesson_of_answers

QUICK = student_config(10, (1, 8, 8), seed=3, steps=30, device="cpu")
ITSELF = student_config(
    10,
    (1, 8, 8),
    seed=3,
    recipe=replace(BY_ITSELF, batch=16, unlabelled=32, learning_rate=None),
    steps=30,
    device="cpu",
)


@pytest.fixture(scope="session")
def digits_graph(digits, tmp_path_factory):
    from learner.folder import write_chunks

    chunks = write_chunks(digits[0], tmp_path_factory.mktemp("pool"))
    return chunks, make_pool_graph(chunks, (), seed=0).pool_graph.graph


@pytest.fixture(scope="session")
def answers(digits) -> Answers:
    positions = np.concatenate([np.flatnonzero(digits[1] == label)[:3] for label in range(10)])
    return Answers(positions, digits[1][positions], 10)


@pytest.fixture(scope="session")
def lesson(digits_graph, answers) -> Lesson:
    return lesson_of(digits_graph[1], answers, np.arange(0, 1797, 2), seed=0)


@pytest.fixture(scope="session")
def own_lesson(answers) -> Lesson:
    return lesson_of_answers(answers, np.arange(0, 1797, 2))


def weights_of(student: Student) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in student.network.state_dict().values()])


def test_the_graph_teaches_what_it_is_sure_of(lesson, answers, digits):
    taught = np.setdiff1d(lesson.positions, answers.positions_A)
    assert set(taught.tolist()) <= set(range(0, 1797, 2))  # only images that may be learned from
    assert not set(lesson.held_positions.tolist()) & set(lesson.positions.tolist())
    assert (digits[1][lesson.positions] == lesson.labels).mean() > 0.95
    assert (digits[1][lesson.held_positions] == lesson.held_labels).mean() > 0.9
    assert 0.05 < len(lesson.held_positions) / len(taught) < 0.15
    for position in answers.positions_A:
        assert (lesson.positions == position).sum() == ANSWERS_COUNT
    assert lesson.shares_C.sum() == pytest.approx(1) and lesson.named.tolist() == list(range(10))


def test_of_classes_with_few_answers_what_is_clear_is_taught_too(digits_graph, digits):
    """After one answer a class the graph is sure of little; taught that alone, a network misses most shapes."""
    positions = np.array([np.flatnonzero(digits[1] == label)[0] for label in range(10)])
    few = Answers(positions, digits[1][positions], 10)
    sure = (predict(digits_graph[1], few).probs_N_K1[:, :-1].max(1) >= SURE).sum()
    found = lesson_of(digits_graph[1], few, np.arange(1797), seed=0)
    taught = len(np.setdiff1d(found.positions, positions)) + len(found.held_positions)
    assert taught > 2 * sure and taught > 900
    assert (digits[1][found.positions] == found.labels).mean() > 0.95


def test_where_a_network_in_use_says_the_same_that_is_taught_however_sure_the_graph_is(digits_graph, digits):
    """A part that the graph is not sure of is not left out: nobody would know its shape. Where the two contradict each
    other nothing is taught, however clear it is to the graph."""
    positions = np.array([np.flatnonzero(digits[1] == label)[0] for label in range(10)])
    few, others = Answers(positions, digits[1][positions], 10), np.setdiff1d(np.arange(1797), positions)
    prediction = predict(digits_graph[1], few)
    is_sure = prediction.probs_N_K1[others, :-1].max(1) >= SURE
    asked = []

    def opinion(some):
        asked.append(some)
        return np.where(some % 2, prediction.best()[some], (prediction.best()[some] + 1) % 10)

    everything = Opinion(opinion, np.arange(10))
    found = lesson_of(digits_graph[1], few, np.arange(1797), opinion=everything, seed=0)
    taught = np.setdiff1d(np.union1d(found.positions, found.held_positions), positions)
    np.testing.assert_array_equal(taught, others[is_sure | (others % 2 == 1)])
    np.testing.assert_array_equal(np.concatenate(asked), others[~is_sure])  # only what it takes
    gone = Opinion(lambda some: np.full(len(some), -1), np.arange(10))
    nothing_more = lesson_of(digits_graph[1], few, np.arange(1797), opinion=gone, seed=0)
    assert len(np.setdiff1d(nothing_more.positions, positions)) + len(nothing_more.held_positions) == is_sure.sum()


def test_of_a_class_that_the_network_in_use_does_not_know_what_is_clear_is_taught(digits_graph, digits):
    positions = np.array([np.flatnonzero(digits[1] == label)[0] for label in range(10)])
    few = Answers(positions, digits[1][positions], 10)

    def taught(knows) -> np.ndarray:
        opinion = Opinion(lambda some: np.full(len(some), -1), np.asarray(knows))
        found = lesson_of(digits_graph[1], few, np.arange(1797), opinion=opinion, seed=0)
        return np.bincount(np.concatenate([found.labels, found.held_labels]), minlength=10) - ANSWERS_COUNT

    all_known, without_6 = taught(range(10)), taught([0, 1, 2, 3, 4, 5, 7, 8, 9])
    assert without_6[6] > all_known[6] + 50
    np.testing.assert_array_equal(np.delete(without_6, 6), np.delete(all_known, 6))


def test_a_network_says_of_some_images_what_it_says_of_all(digits_graph, lesson):
    student, told = distil(digits_graph[0], lesson, QUICK), []
    of_all = np.concatenate([student.look_at(chunk)[1] for chunk in digits_graph[0]]).argmax(1)
    some = np.arange(3, 1797, 5)
    found = classes_by(student, digits_graph[0], some, report=lambda _phase, done, total: told.append((done, total)))
    np.testing.assert_array_equal(found, of_all[some])
    assert told[-1] == (len(some), len(some))
    assert len(classes_by(student, digits_graph[0], some[:0])) == 0


def test_answers_about_images_that_came_after_the_graph_are_taught_too(digits_graph):
    answers = Answers(np.array([5, 1797]), np.array([0, 1]), 2)
    found = lesson_of(digits_graph[1], answers, np.arange(3000), seed=0)
    assert (found.positions == 1797).sum() == ANSWERS_COUNT and found.positions.max() == 1797


def test_one_class_is_no_lesson(digits_graph):
    with pytest.raises(LabelError, match="answers of two classes at least, there are those of 1"):
        lesson_of(digits_graph[1], Answers(np.array([1, 2]), np.array([4, 4]), 10), np.arange(9), seed=0)


def test_the_student_sees_what_it_was_not_taught(digits_graph, lesson, digits):
    student = distil(digits_graph[0], lesson, replace(QUICK, recipe=replace(QUICK.recipe, steps=250)))
    features, probs = student.look_at(digits_graph[0][0])
    others = np.setdiff1d(np.arange(1797), lesson.positions)
    assert (probs.argmax(1) == digits[1])[others].mean() > 0.9
    assert features.shape == (1797, 128) and features.dtype == np.float16
    np.testing.assert_allclose(probs.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("architecture", ["cnn", "deep_cnn"])
def test_the_same_seed_gives_the_same_network_and_a_file_gives_it_back(architecture, digits_graph, lesson, tmp_path):
    config = replace(QUICK, architecture=architecture)
    one, again = (distil(digits_graph[0], lesson, config) for _ in range(2))
    assert torch.equal(weights_of(one), weights_of(again))
    assert not torch.equal(weights_of(one), weights_of(distil(digits_graph[0], lesson, replace(config, seed=4))))
    file = io.BytesIO()
    one.save(file)
    (tmp_path / "student").write_bytes(file.getvalue())
    read = Student.load(tmp_path / "student")
    assert (read.config, read.facts) == (one.config, one.facts)
    for mine, its in zip(one.look_at(digits_graph[0][0]), read.look_at(digits_graph[0][0]), strict=True):
        np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize("architecture", ["cnn", "deep_cnn"])
@pytest.mark.parametrize("way", ["by the graph", "by itself"])
def test_it_goes_on_where_it_was_killed_and_ends_as_if_it_had_not_been(
    way, architecture, digits_graph, lesson, own_lesson, tmp_path, monkeypatch, abort_at
):
    config = replace(QUICK if way == "by the graph" else ITSELF, architecture=architecture)
    lesson = lesson if way == "by the graph" else own_lesson
    monkeypatch.setattr(distillation, "EVERY", 10)
    path, stop = tmp_path / "checkpoint", abort_at("distil", 25)
    with pytest.raises(stop.error):
        distil(digits_graph[0], lesson, config, checkpoint=path, report=stop)
    steps: list[int] = []
    resumed = distil(
        digits_graph[0], lesson, config, checkpoint=path, report=lambda _phase, done, _total: steps.append(done)
    )
    assert [step for step in steps if step] == list(range(21, 31))
    assert torch.equal(weights_of(resumed), weights_of(distil(digits_graph[0], lesson, config)))


@pytest.mark.parametrize("content", [b"", b"half a file", None])
def test_a_checkpoint_that_is_damaged_or_of_another_training_costs_a_new_start(
    digits_graph, lesson, tmp_path, monkeypatch, content
):
    monkeypatch.setattr(distillation, "EVERY", 10)
    path, steps = tmp_path / "checkpoint", []
    if content is None:
        distil(digits_graph[0], lesson, replace(QUICK, seed=9), checkpoint=path)
    else:
        path.write_bytes(content)
    distil(digits_graph[0], lesson, QUICK, checkpoint=path, report=lambda _phase, done, _total: steps.append(done))
    assert steps.count(1) == 1


@pytest.mark.parametrize("way", ["by the graph", "by itself"])
def test_the_deep_network_says_the_same_of_an_image_whatever_is_beside_it(way, digits_graph, lesson, own_lesson):
    config = replace(QUICK if way == "by the graph" else ITSELF, architecture="deep_cnn")
    student = distil(digits_graph[0], lesson if way == "by the graph" else own_lesson, config)
    before = weights_of(student)
    alone = student.look_at(digits_graph[0][0], start=7, stop=8)
    for mine, its in zip(alone, student.look_at(digits_graph[0][0], start=0, stop=300), strict=True):
        np.testing.assert_allclose(mine[0].astype(float), its[7].astype(float), rtol=1e-2, atol=1e-3)
    assert torch.equal(before, weights_of(student))  # and looking at images teaches it nothing
    variances = student.network.state_dict()["trunk.1.running_var"]
    assert not torch.equal(variances, torch.ones_like(variances))


@pytest.mark.parametrize(("shape", "features"), [((1, 5, 5), 128), ((1, 28, 28), 64), ((3, 40, 24), 64)])
def test_any_size_grey_or_in_colour(make_chunks, shape, features):
    pixels = np.random.default_rng(0).integers(0, 256, (300, *shape), dtype=np.uint8)
    chunks, nothing = make_chunks(pixels), np.empty(0, np.int64)
    lesson = Lesson(np.arange(300), np.arange(300) % 3, nothing, nothing, np.ones(3) / 3, np.arange(3))
    student = distil(chunks, lesson, replace(student_config(3, shape, seed=0, steps=3, device="cpu")))
    seen, probs = student.look_at(chunks[0])
    assert seen.shape == (300, features) and probs.shape == (300, 3)


def test_what_cannot_be_is_said_in_words(digits_graph, lesson, make_chunks, tmp_path):
    vectors = make_chunks(np.zeros((1797, 7), np.float32))
    with pytest.raises(ConfigError, match="does not take vectors of 7 features"):
        distil(vectors, lesson, QUICK)
    student = distil(digits_graph[0], lesson, replace(QUICK, recipe=replace(QUICK.recipe, steps=1)))
    with pytest.raises(LearnerError, match=r"shape \[3, 4, 4\], the network knows \[1, 8, 8\]"):
        student.look_at(make_chunks(np.zeros((5, 3, 4, 4), np.uint8))[0])
    with pytest.raises(ChunkError, match="missing"):
        student.look_at(replace(digits_graph[0][0], path=tmp_path / "gone.npy"))
    with torch.no_grad():
        student.network.trunk[-2].bias[0] = torch.nan
    with pytest.raises(LearnerError, match=r"NaN or infinite features of 1797 of 1797 images; have it trained again"):
        student.look_at(digits_graph[0][0])
    (tmp_path / "none").write_bytes(b"no network")
    for name in ("none", "missing"):
        with pytest.raises(ArtifactError, match="have it trained again"):
            Student.load(tmp_path / name)


def test_it_can_be_cancelled_at_every_step(digits_graph, lesson, abort_at):
    stop = abort_at("distil", 2)
    with pytest.raises(stop.error, match="distil 2"):
        distil(digits_graph[0], lesson, QUICK, report=stop)


def test_of_few_answers_images_without_one_teach_it_much(digits_graph, digits):
    """One answer a class; of digits of 8 x 8 pixels little is left that could be covered."""
    positions = np.array([np.flatnonzero(digits[1] == label)[0] for label in range(10)])
    lesson = lesson_of_answers(Answers(positions, digits[1][positions], 10), np.arange(0, 1797, 2))
    recipe = replace(ITSELF.recipe, steps=400, learning_rate=4e-3, cutout=0.0, light=0.0)
    others = np.setdiff1d(np.arange(1797), lesson.unlabelled)
    right = {}
    for name, some in (("both", lesson), ("answers", replace(lesson, unlabelled=np.empty(0, np.int64)))):
        probs = distil(digits_graph[0], some, replace(ITSELF, recipe=recipe)).look_at(digits_graph[0][0])[1]
        right[name] = (probs.argmax(1) == digits[1])[others].mean()
    assert right["both"] > right["answers"] + 0.03


def test_a_fifth_of_the_answers_is_kept_back_and_no_class_loses_its_last(answers):
    few = Answers(np.append(answers.positions_A, 1796), np.append(answers.labels_A, 10), 11)
    learned, kept = keep_back(few, seed=1)
    assert len(kept.positions_A) == 6 and len(learned.positions_A) == 25
    both = {*zip(learned.positions_A.tolist(), learned.labels_A.tolist(), strict=True)} | {
        *zip(kept.positions_A.tolist(), kept.labels_A.tolist(), strict=True)
    }
    assert both == {*zip(few.positions_A.tolist(), few.labels_A.tolist(), strict=True)}
    assert np.bincount(learned.labels_A).min() >= 1 and np.bincount(learned.labels_A)[:10].min() >= 2
    again = keep_back(few, seed=1)[1]
    assert again.positions_A.tolist() == kept.positions_A.tolist()
    assert keep_back(few, seed=2)[1].positions_A.tolist() != kept.positions_A.tolist()


def test_what_models_disagreed_about_is_kept_back_first_but_for_the_last_of_a_class(answers):
    positions, labels = answers.positions_A, answers.labels_A
    few = Answers(np.append(positions, [1795, 1796]), np.append(labels, [10, 10]), 11)
    first = [int(positions[labels == label][0]) for label in (1, 2, 3, 4)]
    kept = {*keep_back(few, seed=1, first=[*first, 1795, 5000])[1].positions_A.tolist()}
    assert len(kept) == 6 and set(first) <= kept and 1795 not in kept


def test_answers_alone_are_a_lesson_without_a_teacher(own_lesson, answers):
    assert own_lesson.positions.tolist() == answers.positions_A.tolist() and not len(own_lesson.held_positions)
    assert set(answers.positions_A.tolist()) <= set(own_lesson.unlabelled.tolist())
    assert own_lesson.shares_C.tolist() == [0.1] * 10
    with pytest.raises(LabelError, match="answers of two classes at least"):
        lesson_of_answers(Answers(np.array([1, 2]), np.array([4, 4]), 10), np.arange(9))
