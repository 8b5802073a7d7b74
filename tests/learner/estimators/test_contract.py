"""What holds of every estimator, on pixels and on feature vectors."""

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from learner.config import ESTIMATORS, Recipe, RoundConfig, RoundRequest, ignore
from learner.errors import DivergedError
from learner.estimators import estimator_class, swag
from learner.estimators.members import Ensemble
from learner.folder import write_chunks
from learner.model import load_model, save_model
from learner.pool import Pool
from learner.round import fit as fit_round
from learner.uncertainty import measure, summarise

ARCHITECTURES = {"pixels": "mlp", "vectors": "head"}
N_LABELS, STEPS, K = 60, 40, 9


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(swag, "LEAST_STEPS", 40)
    monkeypatch.setattr(swag, "EVERY", 2)


@pytest.fixture(scope="session")
def inputs(digits) -> dict[str, np.ndarray]:
    return {"pixels": digits[0][:300], "vectors": digits[0][:300].reshape(300, 64).astype(np.float16)}


@pytest.fixture(params=[(name, kind) for name in ESTIMATORS for kind in ARCHITECTURES], ids=" of ".join)
def case(request) -> tuple[str, str]:
    return request.param


def make_config(name: str, kind: str, **changes) -> RoundConfig:
    config = RoundConfig(
        n_classes=10, architecture=ARCHITECTURES[kind], estimator=name, posterior_samples=K, members=3,
        device="cpu", recipe=Recipe(steps=STEPS),
    )  # fmt: skip
    return replace(config, **changes)


def fit(folder: Path, inputs: np.ndarray, labels: np.ndarray, config: RoundConfig):
    pool = Pool(write_chunks(inputs, folder))
    labels = np.asarray(labels, dtype=np.int64)
    return estimator_class(config.estimator).fit(pool, np.arange(len(labels)), labels, config, ignore)


@pytest.fixture(scope="module")
def fitted(inputs, digits, tmp_path_factory):
    """One estimator of each kind, fitted once for the tests that only read it."""
    made = {}

    def get(name: str, kind: str):
        if (name, kind) not in made:
            config = make_config(name, kind)
            folder = tmp_path_factory.mktemp("pool")
            made[name, kind] = fit(folder, inputs[kind], digits[1][:N_LABELS], config)
        return made[name, kind]

    return get


def test_the_samples_are_distributions_and_the_measures_within_their_bounds(fitted, inputs, case):
    log_probs = fitted(*case).sample_log_probs(inputs[case[1]][100:180])
    assert log_probs.shape == (80, 3 if case[0] in ("bootstrap", "ensemble") else K, 10)
    assert torch.allclose(log_probs.exp().sum(2), torch.ones(80, log_probs.shape[1]), atol=1e-5)
    values = measure(summarise(log_probs))
    assert bool((values["mutual_information"] >= 0).all())
    assert bool((values["mutual_information"] <= values["predictive_entropy"] + 1e-5).all())
    assert bool((values["predictive_entropy"] <= math.log(10) + 1e-5).all())
    assert values["mutual_information"].max() > 1e-4


def test_it_has_learned(fitted, inputs, digits, case):
    probs = fitted(*case).sample_log_probs(inputs[case[1]][N_LABELS:]).exp().mean(1)
    assert (probs.argmax(1).numpy() == digits[1][N_LABELS:300]).mean() > 0.5


def test_sample_k_is_one_function_whatever_stands_beside_an_image(fitted, inputs, case):
    estimator, images = fitted(*case), inputs[case[1]][100:130]
    whole, order = estimator.sample_log_probs(images), np.random.default_rng(0).permutation(30)
    assert torch.allclose(whole[torch.from_numpy(order)], estimator.sample_log_probs(images[order]), atol=1e-4)
    alone = torch.cat([estimator.sample_log_probs(images[i : i + 1]) for i in range(30)])
    assert torch.allclose(whole, alone, atol=1e-4)


def test_the_same_seed_gives_the_same_and_another_one_another(inputs, digits, tmp_path, case):
    first, second, other = (
        fit(tmp_path, inputs[case[1]][:80], digits[1][:30], make_config(*case, seed=seed))
        .sample_log_probs(inputs[case[1]][200:210])
        for seed in (3, 3, 4)
    )  # fmt: skip
    assert torch.equal(first, second)
    assert not torch.allclose(first, other, atol=1e-3)


def test_another_process_reads_the_same_bits(fitted, inputs, tmp_path):
    """Of all estimators at once: to start a process takes longer than the rest."""
    program = (
        "import sys, pathlib, numpy as np, torch\n"
        "from learner.model import load_model\n"
        "torch.set_num_threads(1)\n"
        "images = np.load(sys.argv[1])\n"
        "for folder in sys.argv[2:]:\n"
        "    estimator, _ = load_model(pathlib.Path(folder))\n"
        "    np.save(pathlib.Path(folder) / 'samples.npy', estimator.sample_log_probs(images).numpy())\n"
    )
    np.save(tmp_path / "images.npy", inputs["vectors"][100:150])
    folders = [tmp_path / name for name in ESTIMATORS]
    for folder in folders:
        estimator = fitted(folder.name, "vectors")
        save_model(folder, estimator, make_config(folder.name, "vectors"), "")
        assert all(path.suffix in (".json", ".safetensors") for path in folder.iterdir())
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "images.npy"), *map(str, folders)], check=True)
    for folder in folders:
        here = fitted(folder.name, "vectors").sample_log_probs(inputs["vectors"][100:150])
        assert np.array_equal(np.load(folder / "samples.npy"), here.numpy()), folder.name
        assert load_model(folder)[1].saved["shape"] == [64]


@pytest.mark.parametrize(
    ("labels", "changes"),
    [
        ([0, 1], {"n_classes": 2, "posterior_samples": 1}),
        ([0, 1, 0], {"n_classes": 1000, "posterior_samples": 2}),
        ([9, 0, 3], {}),
    ],
    ids=["two classes and one sample", "a thousand classes", "fewer answers than classes"],
)
def test_the_least_and_the_most_that_there_can_be(inputs, tmp_path, case, labels, changes):
    config = make_config(*case, **changes)
    estimator = fit(tmp_path, inputs[case[1]][:10], labels, config)
    log_probs = estimator.sample_log_probs(inputs[case[1]][:1])
    assert log_probs.shape[::2] == (1, config.n_classes)
    assert not bool(log_probs.isnan().any())
    summarise(log_probs)


def test_images_that_are_all_alike(inputs, tmp_path, case):
    same = np.repeat(inputs[case[1]][:1], 8, axis=0)
    estimator = fit(tmp_path, same, [0, 1] * 4, make_config(*case, n_classes=2))
    probs = estimator.sample_log_probs(same[:3]).exp().mean(1)
    assert torch.allclose(probs, torch.full((3, 2), 0.5), atol=0.35)


def test_a_fit_that_diverges_names_the_estimator_and_the_way_out(inputs, digits, tmp_path, case):
    config = make_config(*case, recipe=Recipe(steps=STEPS, learning_rate=1e30))
    request = RoundRequest(write_chunks(inputs[case[1]], tmp_path), np.arange(30), digits[1][:30], config, tmp_path)
    with pytest.raises(DivergedError, match=rf"another network .*\({case[0]} of {ARCHITECTURES[case[1]]}\)$"):
        fit_round(request, ignore)
    assert not (tmp_path / "model.json").exists()


def test_members_that_are_all_the_same_know_nothing_of_doubt(fitted, inputs):
    one = fitted("ensemble", "vectors")
    same = Ensemble([one.networks[0]] * 3, [[]] * 3, 1.0, one.saved)
    values = measure(summarise(same.sample_log_probs(inputs["vectors"][:50])))
    assert values["mutual_information"].max() < 1e-5
