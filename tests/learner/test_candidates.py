"""What each acquisition function chooses in a round with real digits, and how it gets what it needs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from learner import candidates
from learner.acquisition import badge, batchbald, herding, k_centre, typicality
from learner.candidates import acquire, preselect
from learner.config import (
    ACQUISITIONS,
    BATCH_ACQUISITIONS,
    Recipe,
    RoundConfig,
    RoundRequest,
    ignore,
    is_of_a_whole,
)
from learner.errors import ArtifactError, ConfigError
from learner.estimators.mc_dropout import MCDropout
from learner.folder import write_chunks
from learner.pool import CHUNK_SIZE, Chunk, Pool, write_array
from learner.posterior import Posterior, penultimate
from learner.round import fit
from learner.scores import read_scores, scores_at, write_scores
from learner.scoring import Scorer
from learner.seeds import derive
from learner.targets import draw_targets, read_targets
from learner.uncertainty import Targets, epig

LABELLED = np.arange(60)


def scored_round(folder, chunks, labels, **changes):
    """A round that has been fitted and scored."""
    config = replace(RoundConfig(n_classes=10, posterior_samples=8, device="cpu", recipe=Recipe(steps=40)), **changes)
    request = RoundRequest(chunks, LABELLED, labels, config, folder / "round")
    fit(request, ignore)
    scorer = Scorer(request.directory)
    for chunk in chunks:
        scorer.score(chunk, ignore)
    return request


@pytest.fixture(scope="module")
def request_(tmp_path_factory, digits):
    """Two chunks, so that positions are not indices, with all measures; the tests below only read it."""
    folder = tmp_path_factory.mktemp("candidates")
    parts = {0: digits[0][:600], 1: digits[0][600:900]}
    chunks = tuple(Chunk(i, write_array(folder / f"{i}.npy", part), len(part)) for i, part in parts.items())
    return scored_round(folder, chunks, digits[1][:60], epig=True, epig_targets=30)


ELIGIBLE = np.concatenate([np.arange(60, 600), CHUNK_SIZE + np.arange(300)])


def ask(request, count=6, eligible=ELIGIBLE, labelled=LABELLED, report=ignore, **changes):
    return acquire(
        request.directory,
        chunks=request.chunks,
        eligible_positions=eligible,
        labelled_positions=labelled,
        count=count,
        config=replace(request.config, **changes),
        report=report,
    )


@pytest.mark.parametrize("acquisition", ACQUISITIONS)
def test_each_chooses_eligible_images_once_and_its_seed_gives_them_again(request_, acquisition):
    got = ask(request_, acquisition=acquisition)
    assert len(set(got.positions.tolist()) & set(ELIGIBLE.tolist())) == 6
    assert got.positions.tolist() == ask(request_, acquisition=acquisition).positions.tolist()
    assert np.isfinite(got.scores).all()
    assert ((got.percentiles >= 0) & (got.percentiles < 100)).all()
    if is_of_a_whole(acquisition):
        assert np.isnan(got.selection_probabilities).all()
    else:
        assert ((got.selection_probabilities > 0) & (got.selection_probabilities <= 1)).all()


@pytest.mark.parametrize("acquisition", [*BATCH_ACQUISITIONS, "herding_margin", "power_margin"])
def test_each_takes_all_if_there_are_fewer_and_none_of_none(request_, acquisition):
    few = ELIGIBLE[535:545]  # of both chunks
    assert sorted(ask(request_, 50, few, acquisition=acquisition).positions) == few.tolist()
    assert ask(request_, 5, [], acquisition=acquisition).positions.tolist() == []
    assert len(ask(request_, 1, few[:1], labelled=(), acquisition=acquisition).positions) == 1


def test_those_that_choose_as_a_whole_get_samples_and_features_of_the_right_images(request_, monkeypatch):
    """Against the estimator itself, image by image."""
    monkeypatch.setattr(candidates, "PRESELECTED", dict.fromkeys([*BATCH_ACQUISITIONS, "herding"], 10_000))
    pool, seed = Pool(request_.chunks), derive(request_.config.seed, "acquisition")
    posterior = Posterior(request_.directory, pool, ignore)
    samples, hidden = (
        torch.cat([function(pool.inputs([position])) for position in ELIGIBLE]).numpy()
        for function in (posterior.estimator.sample_log_probs, lambda x: penultimate(posterior.estimator, x))
    )
    assert np.allclose(posterior.log_probs(ELIGIBLE[::-1])[::-1], samples, atol=1e-5)
    assert np.allclose(posterior.features(ELIGIBLE), hidden, atol=1e-5)
    labelled = posterior.features(np.random.default_rng(seed).permutation(LABELLED))
    mean = scores_at(request_.directory, ELIGIBLE, "mean_probs_N_C").astype(np.float32)
    margin = scores_at(request_.directory, ELIGIBLE, "margin")
    expected = {
        "batchbald": batchbald(samples, 4, seed=seed)[0],
        "badge": badge(mean, hidden, 4, seed=seed),
        "k_centre": k_centre(hidden, labelled, 4, seed=seed),
        "typicality": typicality(hidden, labelled, 4, seed=seed),
        "herding_margin": herding(hidden, hidden, margin, labelled, 4).indices,
    }
    for acquisition, indices in expected.items():
        got = ask(request_, 4, acquisition=acquisition).positions
        assert got.tolist() == ELIGIBLE[indices].tolist(), acquisition


def test_features_go_into_the_last_layer(request_):
    estimator = Posterior(request_.directory, Pool(request_.chunks), ignore).estimator
    assert isinstance(estimator, MCDropout)
    pixels = Pool(request_.chunks).inputs(np.arange(5))
    with torch.inference_mode():
        logits = estimator.network.head.linears[-1](penultimate(estimator, pixels))
        assert torch.allclose(logits, estimator.network(torch.from_numpy(pixels)), atol=1e-5)


@pytest.mark.parametrize("estimator", ["ensemble", "laplace", "gaussian_process", "swag"])
def test_other_posteriors_have_features_and_joint_samples_too(tmp_path, digits, estimator):
    chunks = write_chunks(digits[0][:150], tmp_path / "pool")
    request = scored_round(tmp_path, chunks, digits[1][:60], estimator=estimator, members=2, architecture="mlp")
    for acquisition in ("batchbald", "badge"):
        assert len(set(ask(request, 3, np.arange(60, 150), acquisition=acquisition).positions)) == 3


def test_a_pool_of_features_is_covered_by_them(tmp_path, digits):
    vectors = digits[0][:150].reshape(150, -1).astype(np.float32) / 255
    chunks = (Chunk(0, write_array(tmp_path / "0.npy", vectors), 150),)
    request = scored_round(tmp_path, chunks, digits[1][:60], architecture="head")
    seed = derive(request.config.seed, "acquisition")
    expected = k_centre(vectors[60:], vectors[:60], 4, seed=seed) + 60
    assert ask(request, 4, np.arange(60, 150), acquisition="k_centre").positions.tolist() == expected.tolist()
    weights = scores_at(request.directory, np.arange(60, 150), "predictive_entropy")
    by_herding = herding(vectors[60:], vectors[60:], weights, vectors[:60], 4).indices + 60
    got = ask(request, 4, np.arange(60, 150), acquisition="herding_predictive_entropy")
    assert got.positions.tolist() == by_herding.tolist()
    assert len(ask(request, 4, np.arange(60, 150), acquisition="power_margin").positions) == 4


def test_what_is_preselected(request_):
    scores = np.random.default_rng(0).random(50_000).astype(np.float32)
    pool, alike = Pool(request_.chunks), replace(request_.config, apart=0.0)

    def chosen(how: str, count: int, config=alike):
        return preselect(how, scores, count, config, 0, pool, np.arange(50_000))

    assert chosen("batchbald", 10).tolist() == np.sort(np.argsort(-scores)[:2000]).tolist()
    assert len(chosen("batchbald", 3000)) == 3000
    some = chosen("badge", 10)
    assert len(some) == 20_000
    assert scores[some].mean() == pytest.approx(0.5, abs=0.02)
    many_classes = replace(alike, n_classes=1000, posterior_samples=1000, epig=False, acquisition="batchbald")
    assert len(chosen("batchbald", 10, many_classes)) == 67
    with pytest.raises(ConfigError, match="batchbald cannot hold 1000 posterior samples of 1000 classes of a batch of"):
        chosen("batchbald", 100, many_classes)


def test_a_batch_of_a_pool_that_is_repeated_holds_no_image_twice(tmp_path, digits):
    """Past some thirty images none of them adds any information, and what is left goes by its own."""
    chunks = write_chunks(np.tile(digits[0][:150], (4, 1, 1, 1)), tmp_path / "pool")
    request = scored_round(tmp_path, chunks, digits[1][:60], architecture="mlp")
    eligible = np.flatnonzero(np.arange(600) % 150 >= 60)
    for count in (10, 40, 85):
        batch = ask(request, count, eligible, acquisition="batchbald").positions
        assert len(set((batch % 150).tolist())) == count
    batch = ask(request, 100, eligible, acquisition="batchbald").positions
    assert len(set(batch.tolist())) == 100 and len(set((batch[:90] % 150).tolist())) == 90  # copies come last


def test_a_report_that_raises_stops_each(request_):
    for acquisition in ("top_margin", "herding_margin", *BATCH_ACQUISITIONS):
        calls = []

        def report(*call, calls=calls):
            calls.append(call)
            if len(calls) > 2:
                raise InterruptedError

        with pytest.raises(InterruptedError):
            ask(request_, acquisition=acquisition, report=report)
        assert {call[0] for call in calls} == {"acquire"}


def test_without_a_model_the_message_says_so(request_, tmp_path):
    scores = read_scores(request_.directory, [0], "margin")
    columns = {
        "mean_probs_N_C": np.zeros((600, 10)),
        "std_probs_N_C": np.zeros((600, 10)),
        "mutual_information": scores,
    }
    write_scores(tmp_path, 0, "model", columns)
    with pytest.raises(ArtifactError, match="no fitted model"):
        ask(replace(request_, directory=tmp_path), 3, np.arange(60, 600), acquisition="batchbald")


# EPIG


def test_epig_in_the_score_files_is_about_targets_drawn_at_random(request_):
    positions = draw_targets(request_)
    assert len(set(positions.tolist())) == 30
    assert not set(positions.tolist()) & set(LABELLED.tolist())
    assert positions.max() >= CHUNK_SIZE
    assert positions.tolist() == draw_targets(request_).tolist()
    estimator = Posterior(request_.directory, Pool(request_.chunks), ignore).estimator
    pool = Pool(request_.chunks)
    targets = Targets.of(estimator.sample_log_probs(pool.inputs(positions)))
    expected = epig(estimator.sample_log_probs(pool.inputs(np.arange(100))), targets)
    assert np.allclose(read_scores(request_.directory, [0], "epig")[:100], expected, atol=1e-6)


def test_epig_is_computed_only_if_it_is_wanted(tmp_path, digits):
    chunks = write_chunks(digits[0][:100], tmp_path / "pool")
    plain = scored_round(tmp_path / "plain", chunks, digits[1][:60])
    assert not (plain.directory / "targets.npz").exists()
    with pytest.raises(ArtifactError, match="scored without epig"):
        ask(plain, 3, np.arange(60, 100), acquisition="top_epig")
    asked = scored_round(tmp_path / "asked", chunks, digits[1][:60], acquisition="top_epig")
    got = ask(asked, 3, np.arange(60, 100), apart=0.0)
    scores = read_scores(asked.directory, [0], "epig")[60:]
    assert got.positions.tolist() == (60 + np.argsort(-scores)[:3]).tolist()


def test_targets_of_another_fit_are_refused(request_, tmp_path):
    other = replace(request_.config, seed=99)
    with pytest.raises(ArtifactError, match="of another fit"):
        read_targets(request_.directory, other, "digest")
    with pytest.raises(ArtifactError, match="targets of EPIG are missing"):
        read_targets(tmp_path, other, "digest")
    (tmp_path / "targets.npz").write_bytes((request_.directory / "targets.npz").read_bytes()[:200])
    with pytest.raises(ArtifactError, match="damaged"):
        read_targets(tmp_path, other, "digest")


def test_targets_that_do_not_fit_into_memory_are_refused():
    with pytest.raises(ConfigError, match="take fewer samples or targets"):
        RoundConfig(n_classes=10_000, epig=True, epig_targets=1000)
    assert RoundConfig(n_classes=10_000, epig_targets=1000).measures


# Near-duplicates


def four_times(pixels, noise):
    """Each image and three copies, with noise or exact; copy c of image i is at c * n + i."""
    rng = np.random.default_rng(0)
    copies = [np.clip(pixels + rng.normal(size=pixels.shape) * noise, 0, 255).astype(np.uint8) for _ in range(3)]
    return np.concatenate([pixels, *copies])


@pytest.fixture(scope="module")
def plain_and_repeated(tmp_path_factory, digits):
    """Rounds on 300 images and on the same four times over, exactly."""
    folder, pixels = tmp_path_factory.mktemp("repeated"), digits[0][:300]
    pools = {"plain": pixels, "repeated": four_times(pixels, 0)}
    return [
        scored_round(folder / name, write_chunks(pool, folder / name / "pool"), digits[1][:60])
        for name, pool in pools.items()
    ]


@pytest.mark.parametrize("acquisition", ["top_predictive_entropy", "top_mutual_information", "top_margin"])
def test_a_pool_repeated_four_times_is_asked_about_like_the_plain_one(plain_and_repeated, acquisition):
    """The same images, in the same order: the batch is not worse by a single one."""
    plain, repeated = plain_and_repeated
    eligible = np.arange(60, 300)
    copies = np.concatenate([eligible + 300 * copy for copy in range(4)])
    expected = ask(plain, 20, eligible, acquisition=acquisition).positions
    got = ask(repeated, 20, copies, acquisition=acquisition).positions
    assert (got % 300).tolist() == expected.tolist()
    careless = ask(repeated, 20, copies, acquisition=acquisition, apart=0.0).positions
    assert len(set(careless % 300)) < 10


def test_noisy_copies_are_not_asked_about_twice(tmp_path, digits):
    request = scored_round(tmp_path, write_chunks(four_times(digits[0][:300], 12), tmp_path / "pool"), digits[1][:60])
    for acquisition in ("top_predictive_entropy", "power_predictive_entropy", "softmax_margin", "soft_rank_mean_std"):
        got = ask(request, 25, np.arange(60, 1200), acquisition=acquisition).positions
        assert len(set(got % 300)) == 25, acquisition


def test_random_stays_uniform(plain_and_repeated):
    """It is what the others are compared with: nothing is passed over."""
    _, repeated = plain_and_repeated
    copies = [ask(repeated, 100, np.arange(1200), acquisition="random", seed=seed).positions % 300 for seed in range(5)]
    assert all(len(set(batch)) < 95 for batch in copies)
