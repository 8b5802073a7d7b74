import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from learner.config import OWN_MEASURES, Recipe, RoundConfig, RoundRequest, ignore
from learner.errors import ArtifactError, ChunkError, ConfigError, LabelError, LearnerError
from learner.pool import CHUNK_SIZE, Chunk, write_array
from learner.round import Scorer, acquire, evaluate, fit, read_scores, run_round, score_chunk
from learner.scores import columns_of, score_path


def make_two(folder, pixels):
    """Two chunks, so that positions are not indices: 1,000 images, then 797 from position 4,096 on."""
    return (
        Chunk(0, write_array(folder / "pool" / "0.npy", pixels[:1000]), 1000),
        Chunk(1, write_array(folder / "pool" / "1.npy", pixels[1000:]), 797),
    )


@pytest.fixture
def chunks(tmp_path, digits):
    return make_two(tmp_path, digits[0])


@pytest.fixture
def holdout(digits):
    return CHUNK_SIZE + np.arange(797), digits[1][1000:]


@pytest.fixture
def request_(tmp_path, digits, chunks, quick):
    return RoundRequest(chunks, np.arange(100), digits[1][:100], quick, tmp_path / "round")


def test_a_round_learns_digits_from_a_hundred_labels(request_, holdout):
    request = replace(request_, config=replace(request_.config, recipe=Recipe(steps=150)))
    result = run_round(
        request, eligible_positions=np.arange(100, 1000), holdout_positions=holdout[0], holdout_labels=holdout[1]
    )
    assert result.metrics.accuracy.value > 0.8
    assert result.metrics.accuracy.low <= result.metrics.accuracy.value <= result.metrics.accuracy.high
    assert len(result.acquired.positions) == request.config.budget
    assert set(result.seconds) == {"fit", "score", "acquire", "evaluate"}
    assert sorted(path.relative_to(request.directory).as_posix() for path in request.directory.rglob("*.*")) == [
        "masks.safetensors",
        "model.json",
        "model.safetensors",
        "scores/000000.npz",
        "scores/000001.npz",
    ]


def test_a_full_network_is_no_rounds(request_):
    with pytest.raises(ConfigError, match="deep_cnn takes minutes: no round trains it, but cnn, gal_cnn, head, mlp"):
        replace(request_, config=replace(request_.config, architecture="deep_cnn"))


def test_the_same_request_gives_the_same_round(request_, tmp_path):
    one = run_round(request_, eligible_positions=np.arange(100, 1000))
    two = run_round(replace(request_, directory=tmp_path / "again"), eligible_positions=np.arange(100, 1000))
    assert one.fit.model_digest == two.fit.model_digest
    assert one.fit.training_digest == two.fit.training_digest
    assert np.array_equal(one.acquired.positions, two.acquired.positions)
    assert np.array_equal(
        read_scores(request_.directory, [0, 1], "mutual_information"),
        read_scores(tmp_path / "again", [0, 1], "mutual_information"),
    )
    assert one.metrics is None


def test_scores_are_written_for_every_image_and_column(request_, chunks):
    fit(request_, ignore)
    path = score_chunk(request_.directory, chunks[1], ignore)
    with np.load(path, allow_pickle=False) as file:
        assert set(file.files) == {*columns_of(OWN_MEASURES), "model"}
        assert file["mean_probs_N_C"].shape == (797, 10)
        assert file["mean_probs_N_C"].dtype == np.float16
        assert file["margin"].dtype == np.float32
        assert np.allclose(file["mean_probs_N_C"].sum(1), 1, atol=5e-3)


def test_scores_of_this_model_are_kept_and_of_another_replaced(request_, chunks):
    fit(request_, ignore)
    scorer = Scorer(request_.directory)
    before = scorer.score(chunks[0], ignore).stat()
    calls = []
    assert scorer.score(chunks[0], lambda *call: calls.append(call)).stat().st_ino == before.st_ino
    assert calls == [("score", 0, 1000), ("score", 1000, 1000)]
    path = score_path(request_.directory, 0)
    path.write_bytes(path.read_bytes()[:500])
    scorer.score(chunks[0], ignore)
    first = read_scores(request_.directory, [0], "margin")
    fit(replace(request_, config=replace(request_.config, seed=5)), ignore)
    score_chunk(request_.directory, chunks[0], ignore)
    assert not np.array_equal(first, read_scores(request_.directory, [0], "margin"))


def test_some_images_of_a_chunk_are_scored_as_all_are_and_no_other_can_be_chosen(request_, chunks):
    fit(request_, ignore)
    scorer, positions = Scorer(request_.directory), np.array([CHUNK_SIZE + 3, CHUNK_SIZE + 500])
    scorer.score_some(chunks[1], positions, ignore)
    some = read_scores(request_.directory, [1], "mean_probs_N_C")
    score_path(request_.directory, 1).unlink()
    scorer.score(chunks[1], ignore)
    whole = read_scores(request_.directory, [1], "mean_probs_N_C")
    assert np.abs(some[[3, 500]].astype(float) - whole[[3, 500]]).max() < 2e-3  # float16
    assert np.isnan(some).all(1).sum() == len(whole) - 2
    scorer.score_some(chunks[1], positions, ignore)
    options = {"chunks": chunks, "count": 1, "config": request_.config, "report": ignore}
    assert set(acquire(request_.directory, eligible_positions=positions, **options).positions) <= set(positions)
    with pytest.raises(ArtifactError, match="finite"):
        acquire(request_.directory, eligible_positions=[CHUNK_SIZE + 4], **options)


def test_a_report_that_raises_in_the_middle_of_scoring_leaves_no_file(request_, chunks, abort_at):
    fit(request_, ignore)
    report = abort_at("score", 200)
    with pytest.raises(report.error):
        score_chunk(request_.directory, chunks[0], report)
    assert not score_path(request_.directory, 0).exists()


def test_a_report_that_raises_in_the_middle_of_a_fit_leaves_no_model(request_, abort_at):
    report = abort_at("fit", 5)
    with pytest.raises(report.error):
        fit(request_, report)
    with pytest.raises(ArtifactError, match="no fitted model"):
        Scorer(request_.directory)


def test_a_process_killed_while_it_saves_leaves_no_model(request_, tmp_path):
    program = (
        "import os, pathlib, signal, sys\n"
        "import learner.model\n"
        "from learner.estimators.mc_dropout import MCDropout\n"
        "from learner.round import RoundConfig, RoundRequest, fit, ignore\n"
        "from learner.config import Recipe\n"
        "from learner.pool import Chunk\n"
        "learner.model.write_json = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "config = RoundConfig(n_classes=2, posterior_samples=2, recipe=Recipe(steps=1))\n"
        "chunk = Chunk(0, pathlib.Path(sys.argv[1]), 1000)\n"
        "fit(RoundRequest((chunk,), [0, 1], [0, 1], config, pathlib.Path(sys.argv[2])), ignore)\n"
    )
    arguments = [sys.executable, "-c", program, str(request_.chunks[0].path), str(tmp_path / "killed")]
    assert subprocess.run(arguments, check=False).returncode == -9
    assert (tmp_path / "killed" / "model.safetensors").exists()
    with pytest.raises(ArtifactError, match="no fitted model"):
        Scorer(tmp_path / "killed")


def test_weights_that_are_not_those_of_the_model_are_refused(request_):
    fit(request_, ignore)
    weights = request_.directory / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ArtifactError, match="not those"):
        Scorer(request_.directory)


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"format": 99}'])
def test_a_damaged_model_file(request_, text):
    fit(request_, ignore)
    (request_.directory / "model.json").write_text(text)
    with pytest.raises(ArtifactError):
        Scorer(request_.directory)


def test_the_model_file_says_what_made_it(request_):
    result = fit(request_, ignore)
    content = json.loads((request_.directory / "model.json").read_text())
    assert content["config"] == json.loads(request_.config.to_json())
    assert content["training_digest"] == result.training_digest
    assert content["saved"]["shape"] == [1, 8, 8]


def test_images_of_another_shape_are_refused(request_, tmp_path):
    fit(request_, ignore)
    other = Chunk(2, write_array(tmp_path / "2.npy", np.zeros((3, 3, 8, 8), np.uint8)), 3)
    with pytest.raises(ChunkError, match=r"the model knows images of shape \[1, 8, 8\]"):
        score_chunk(request_.directory, other, ignore)


def test_a_chunk_of_one_image(request_, tmp_path, digits):
    fit(request_, ignore)
    one = Chunk(9, write_array(tmp_path / "9.npy", digits[0][:1]), 1)
    score_chunk(request_.directory, one, ignore)
    assert read_scores(request_.directory, [9], "margin").shape == (1,)


def test_one_sample_two_classes_and_a_thousand(request_, chunks, tmp_path):
    for n_classes, n_samples in ((2, 1), (1000, 20)):
        config = replace(request_.config, n_classes=n_classes, posterior_samples=n_samples, recipe=Recipe(steps=2))
        directory = tmp_path / f"{n_classes}"
        fit(RoundRequest(chunks, np.arange(4), np.array([0, 1, 0, 1]), config, directory), ignore)
        score_chunk(directory, chunks[1], ignore)
        assert read_scores(directory, [1], "mean_probs_N_C").shape == (797, n_classes)
        assert np.isfinite(read_scores(directory, [1], "predictive_entropy")).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"estimator": "ensemble", "temperature_scaling": True}, r"no class has two answers.*\(ensemble of cnn\)$"),
        ({"estimator": "bootstrap", "temperature_scaling": True}, r"take more answers.*\(bootstrap of cnn\)$"),
        (
            {"estimator": "gaussian_process", "n_classes": 1000, "posterior_samples": 1000},
            r"take \d+ or fewer.*\(gaussian_process of cnn\)$",
        ),
    ],
)
def test_what_an_estimator_refuses_names_it_and_the_way_out(request_, changes, message):
    config = replace(request_.config, members=2, recipe=Recipe(steps=2), **changes)
    request = replace(request_, train_positions=np.arange(2), train_labels=np.array([0, 1]), config=config)
    with pytest.raises(LearnerError, match=message):
        fit(request, ignore)


def test_samples_that_are_not_finite_name_the_estimator_and_the_chunk(request_, chunks, monkeypatch):
    fit(request_, ignore)
    scorer = Scorer(request_.directory)
    monkeypatch.setattr(
        type(scorer.estimator), "sample_log_probs", lambda _self, inputs: torch.full((len(inputs), 2, 10), float("nan"))
    )
    named = r"fit it again \(mc_dropout of cnn, chunk 0\)$"
    with pytest.raises(LearnerError, match=named):
        scorer.score(chunks[0], ignore)
    with pytest.raises(LearnerError, match=named):
        scorer.score_some(chunks[0], np.arange(3), ignore)


def test_notes_say_which_classes_lack_labels(request_):
    request = replace(request_, train_positions=np.arange(3), train_labels=np.array([0, 1, 1]))
    notes = fit(request, ignore).notes
    assert notes[0].startswith("8 of 10 classes have no label yet")
    assert notes[1].startswith("1 of 10 classes has a single label")


@pytest.mark.parametrize(
    ("estimator", "limit", "words"),
    [
        (
            "laplace",
            "laplace.MOST_PARAMETERS",
            "^only the last layer .* 7 samples of all 33,738 weights are too many$",
        ),
        (
            "laplace",
            "laplace.MOST_SAMPLED_FLOATS",
            "^only the last layer .* 7 samples of all 33,738 weights are too many$",
        ),
        ("gaussian_process", "gaussian_process.EXACT_LABELS", "^approximate: 100 labels act through 50 of them$"),
    ],
)
def test_notes_say_what_an_estimator_leaves_out(request_, monkeypatch, estimator, limit, words):
    config = replace(request_.config, architecture="mlp", estimator=estimator)
    assert not fit(replace(request_, config=config), ignore).notes
    monkeypatch.setattr(f"learner.estimators.{limit}", 50)
    (note,) = fit(replace(request_, config=config), ignore).notes
    assert re.search(words, note)


@pytest.fixture(scope="module")
def scored(tmp_path_factory, digits):
    """A round that has been fitted and scored once for all tests below, which only read it."""
    folder = tmp_path_factory.mktemp("scored")
    config = RoundConfig(n_classes=10, posterior_samples=7, device="cpu", recipe=Recipe(steps=20))
    request = RoundRequest(make_two(folder, digits[0]), np.arange(100), digits[1][:100], config, folder / "round")
    fit(request, ignore)
    scorer = Scorer(request.directory)
    for chunk in request.chunks:
        scorer.score(chunk, ignore)
    return request


def ask(scored, positions, count=5, **changes):
    config = replace(scored.config, **changes)
    return acquire(
        scored.directory,
        chunks=scored.chunks,
        eligible_positions=positions,
        count=count,
        config=config,
        report=ignore,
    )


def test_top_asks_about_the_highest_scores_of_the_eligible(scored):
    eligible = np.concatenate([np.arange(CHUNK_SIZE + 700, CHUNK_SIZE + 797), np.arange(100, 400)])
    got = ask(scored, eligible, acquisition="top_mutual_information", apart=0.0)
    everyone = np.concatenate([np.arange(1000), CHUNK_SIZE + np.arange(797)])
    scores = dict(zip(everyone, read_scores(scored.directory, [0, 1], "mutual_information"), strict=True))
    best = sorted(eligible, key=lambda position: -scores[position])[:5]
    assert got.positions.tolist() == best
    assert got.scores.tolist() == [scores[position] for position in best]
    assert got.selection_probabilities.tolist() == [1] * 5
    assert got.percentiles[0] == pytest.approx(100 * 396 / 397)


@pytest.mark.parametrize("acquisition", ["power_predictive_entropy", "random", "top_margin"])
def test_candidates_are_eligible_once_each_and_all_if_there_are_fewer(scored, acquisition):
    eligible = np.arange(200, 220)
    got = ask(scored, eligible, count=7, acquisition=acquisition)
    assert len(set(got.positions.tolist()) & set(eligible.tolist())) == 7
    assert ((got.selection_probabilities > 0) & (got.selection_probabilities <= 1)).all()
    assert sorted(ask(scored, eligible, count=50, acquisition=acquisition).positions) == eligible.tolist()
    assert ask(scored, [], acquisition=acquisition).positions.tolist() == []


def test_power_favours_the_unsure_and_varies_with_the_seed(scored):
    eligible = np.arange(100, 1000)
    got = ask(scored, eligible, count=50, acquisition="power_predictive_entropy", coldness=100.0)
    assert got.percentiles.mean() > 60
    assert got.positions.tolist() != ask(scored, eligible, count=50, seed=1).positions.tolist()


def test_an_eligible_image_without_a_score_is_an_error(scored, tmp_path):
    with pytest.raises(ArtifactError, match="1 eligible positions are in none"):
        ask(scored, [1500])
    scores = shutil.copytree(scored.directory / "scores", tmp_path / "copy" / "scores")
    (scores / "000001.npz").unlink()
    with pytest.raises(ArtifactError, match="chunk 1 has not been scored"):
        ask(replace(scored, directory=scores.parent), [CHUNK_SIZE])


def test_evaluate_counts_by_position(scored, holdout):
    whole = evaluate(scored.directory, *holdout, n_classes=10)
    order = np.random.default_rng(0).permutation(797)
    shuffled = evaluate(scored.directory, holdout[0][order], holdout[1][order], n_classes=10)
    assert whole.accuracy == shuffled.accuracy
    probs = read_scores(scored.directory, [1], "mean_probs_N_C")
    assert whole.accuracy.value == pytest.approx((probs.argmax(1) == holdout[1]).mean())


def test_evaluate_without_labels_or_with_other_classes(scored, holdout):
    with pytest.raises(LabelError, match="no holdout labels"):
        evaluate(scored.directory, [], [], n_classes=10)
    with pytest.raises(ArtifactError, match="scores are of 10 classes, expected 11"):
        evaluate(scored.directory, *holdout, n_classes=11)
