"""The ONNX file says of an image what the round's own scoring says: every posterior, every kind of input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file

from learner import exported
from learner.config import ESTIMATORS, OWN_MEASURES, Recipe, RoundConfig, RoundRequest, ignore
from learner.errors import LearnerError
from learner.exported import Export, Look
from learner.folder import write_chunks
from learner.graph.newcomers import inputs_of, newcomers
from learner.graph.pool_graph import make_pool_graph
from learner.model import load_model
from learner.pool import open_chunk, write_array
from learner.round import fit
from learner.scoring import score_inputs

N = 120


def said_by(path: Path, pixels: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    assert names == ["mean", "std", *OWN_MEASURES]
    return dict(zip(names, session.run(None, {"pixels": pixels}), strict=True))


def own(directory: Path, inputs: np.ndarray) -> dict[str, np.ndarray]:
    estimator, model = load_model(directory)
    columns = score_inputs(estimator, inputs, model.config.n_classes, ignore)
    return {"mean": columns.pop("mean_probs_N_C"), "std": columns.pop("std_probs_N_C"), **columns}


def assert_same(said: dict[str, np.ndarray], expected: dict[str, np.ndarray], tolerance: float = 1e-3) -> None:
    for name, values in expected.items():
        assert said[name].shape == values.shape
        if name == "variation_ratio":  # a count of votes: a tie goes either way
            assert (np.abs(said[name] - values) > tolerance).mean() < 0.05
        else:
            assert np.abs(said[name].astype(np.float64) - values).max() < tolerance, name


def fitted(chunks, labels, config: RoundConfig, directory: Path) -> Path:
    fit(RoundRequest(chunks, np.arange(len(labels)), labels, config, directory), ignore)
    return directory


# Every posterior on one network, and each kind of posterior (masks, deviations, members, features) on the others.
@pytest.mark.parametrize(
    ("estimator", "architecture"),
    [
        *((estimator, "mlp") for estimator in ESTIMATORS),
        ("mc_dropout", "gal_cnn"), ("ensemble", "gal_cnn"), ("gaussian_process", "gal_cnn"),
        ("mc_dropout", "cnn"), ("laplace", "cnn"), ("swag", "cnn"),
    ],
)  # fmt: skip
def test_from_pixels(digits, make_chunks, quick, tmp_path, estimator, architecture):
    pixels, labels = digits
    config = replace(quick, estimator=estimator, architecture=architecture, members=3, temperature_scaling=True)
    directory = fitted(make_chunks(pixels[:N]), labels[:N], config, tmp_path / "round")
    Export(directory, (1, 8, 8)).write(tmp_path / "model.onnx", {"classes": ["a"]})
    for some in (pixels[N : N + 1], pixels[N : N + 50]):  # any number at once
        assert_same(said_by(tmp_path / "model.onnx", some), own(directory, some))


@pytest.mark.parametrize(("architecture", "side"), [("gal_cnn", 33), ("cnn", 45), ("cnn", 64), ("mlp", 48)])
def test_of_larger_images_in_colour(make_chunks, quick, tmp_path, architecture, side):
    """Where the network averages them down to a size that is no divisor, or pools beyond an edge."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 3, side, side), dtype=np.uint8)
    config = replace(quick, architecture=architecture, n_classes=2, posterior_samples=3)
    directory = fitted(make_chunks(pixels), np.arange(24) % 2, config, tmp_path / "round")
    Export(directory, (3, side, side)).write(tmp_path / "model.onnx", {})
    assert_same(said_by(tmp_path / "model.onnx", pixels), own(directory, pixels))


@pytest.fixture(scope="module")
def graphed(digits, tmp_path_factory):
    """A pool of digits, and its graph."""
    chunks = write_chunks(digits[0][:500], tmp_path_factory.mktemp("graphed"))
    return chunks, make_pool_graph(chunks, (), seed=3)


def as_chunks(chunks, vectors: np.ndarray, tmp_path: Path):
    return tuple(replace(each, path=write_array(tmp_path / f"{each.number}.npy", vectors)) for each in chunks)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_from_likeness_of_pixels(digits, graphed, quick, tmp_path, estimator):
    chunks, made = graphed
    config = replace(quick, architecture="head", estimator=estimator, recipe=Recipe(steps=200), members=3)
    directory = fitted(as_chunks(chunks, made.vectors_N_D, tmp_path), digits[1][:N], config, tmp_path / "round")
    found = newcomers(chunks, made.vectors_N_D, seed=3)
    Export(directory, (1, 8, 8), newcomers=found).write(tmp_path / "model.onnx", {})
    outside = digits[0][500:700]
    said = said_by(tmp_path / "model.onnx", outside)
    assert_same(said, own(directory, inputs_of(found, outside)), 5e-3)
    assert np.allclose(inputs_of(found, outside), made.vectors_of(outside).astype(np.float32), atol=4e-3)


def test_what_the_graph_was_made_by_is_found_again_or_refused(digits, graphed, make_chunks, tmp_path):
    chunks, made = graphed
    found = newcomers(chunks, made.vectors_N_D, seed=3)
    assert np.array_equal(found.vectors_N_D, made.searcher.vectors_N_D)
    with pytest.raises(LearnerError, match="of 500 images, of which 400 are there"):
        newcomers(make_chunks(digits[0][:400]), made.vectors_N_D, seed=3)
    others = write_array(tmp_path / "others.npy", digits[0][600:1100])
    with pytest.raises(LearnerError, match="cannot be found again"):
        newcomers((replace(chunks[0], path=others),), made.vectors_N_D, seed=3)


def test_of_a_large_pool_some_images_stand_for_all(digits, graphed, quick, tmp_path):
    chunks, made = graphed
    config = replace(quick, architecture="head", recipe=Recipe(steps=200))
    directory = fitted(as_chunks(chunks, made.vectors_N_D, tmp_path), digits[1][:N], config, tmp_path / "round")
    found = newcomers(chunks, made.vectors_N_D, seed=3, most=250)
    assert (found.n_pool, found.vectors_N_D.shape[0], found.coordinates_N_m.shape[0]) == (500, 250, 250)
    Export(directory, (1, 8, 8), newcomers=found).write(tmp_path / "model.onnx", {})
    said = said_by(tmp_path / "model.onnx", digits[0][500:900])
    within = own(directory, made.vectors_of(digits[0][500:900]).astype(np.float32))
    assert (said["mean"].argmax(1) == within["mean"].argmax(1)).mean() > 0.9


@pytest.mark.parametrize("architecture", ["cnn", "deep_cnn"])
def test_through_a_network_of_the_pools_own(architecture, digits, graphed, quick, tmp_path):
    from learner.distillation import distil, student_config
    from learner.graph.hypotheses import Answers
    from learner.lessons import lesson_of_answers

    chunks, _ = graphed
    lesson = lesson_of_answers(Answers(np.arange(N), digits[1][:N], 10), np.arange(N))
    config = student_config(10, (1, 8, 8), seed=0, steps=30, device="cpu")
    student = distil(chunks, lesson, replace(config, architecture=architecture))
    features = student.look_at(chunks[0])[0]
    seen = as_chunks(chunks, features, tmp_path)
    made = make_pool_graph(seen, (), seed=3)
    (tmp_path / "likeness").mkdir()
    likeness = as_chunks(chunks, made.vectors_N_D, tmp_path / "likeness")
    config = replace(quick, architecture="head", recipe=Recipe(steps=200))
    look = Look.of_network(student.network)
    outside = digits[0][500:600]
    write_array(tmp_path / "outside.npy", outside)
    looked = student.look_at(replace(chunks[0], path=tmp_path / "outside.npy", count=100))[0]
    found = newcomers(seen, made.vectors_N_D, seed=3)
    for name, of, inputs in (("plain", None, looked), ("likeness", found, inputs_of(found, looked))):
        directory = fitted(likeness if of else seen, digits[1][:N], config, tmp_path / name / "round")
        Export(directory, (1, 8, 8), look, of).write(tmp_path / "model.onnx", {})
        assert_same(said_by(tmp_path / "model.onnx", outside), own(directory, inputs.astype(np.float32)), 1e-2)


def test_through_a_backbone(quick, tmp_path, make_chunks):
    """Its features of pictures of its own side, averaged in quarters that overlap."""
    from learner.backbones import DEFAULT, load_backbone
    from learner.features import compute_features

    backbone = load_backbone(DEFAULT)
    pictures = np.random.default_rng(0).integers(0, 256, (12, 3, backbone.side, backbone.side), dtype=np.uint8)
    features = compute_features(backbone, lambda a, b: pictures[a:b], 12, device="cpu", report=ignore)
    chunks = make_chunks(pictures[:, :, :8, :8])
    config = replace(quick, architecture="head", n_classes=2)
    seen = as_chunks(chunks, features, tmp_path)
    directory = fitted(seen, np.arange(12) % 2, config, tmp_path / "round")
    shape = (3, backbone.side, backbone.side)
    Export(directory, shape, Look.of_backbone(backbone)).write(tmp_path / "model.onnx", {})
    assert_same(said_by(tmp_path / "model.onnx", pictures), own(directory, open_chunk(seen[0])), 5e-3)


def test_what_does_not_fit_together_is_refused(digits, make_chunks, quick, tmp_path):
    directory = fitted(make_chunks(digits[0][:N]), digits[1][:N], quick, tmp_path / "round")
    with pytest.raises(LearnerError, match="new images give"):
        Export(directory, (3, 8, 8)).write(tmp_path / "model.onnx", {})
    assert not (tmp_path / "model.onnx").exists()


def test_a_file_that_would_be_too_large_is_refused(digits, make_chunks, quick, tmp_path, monkeypatch):
    directory = fitted(make_chunks(digits[0][:N]), digits[1][:N], quick, tmp_path / "round")
    monkeypatch.setattr(exported, "MOST_BYTES", 1000)
    with pytest.raises(LearnerError, match="fewer posterior samples"):
        Export(directory, (1, 8, 8)).write(tmp_path / "model.onnx", {})


def test_the_file_is_whole_and_says_what_it_is(digits, make_chunks, quick, tmp_path):
    directory = fitted(make_chunks(digits[0][:N]), digits[1][:N], quick, tmp_path / "round")
    size = Export(directory, (1, 8, 8)).write(tmp_path / "model.onnx", {"classes": ["Öl", "<b>"]})
    assert size == (tmp_path / "model.onnx").stat().st_size
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model)
    assert {each.key: each.value for each in model.metadata_props}["plusminus"] == '{"classes": ["Öl", "<b>"]}'
    assert str(tmp_path) not in model.SerializeToString().decode("latin-1")


def test_parts_that_are_named_as_the_outputs_are(digits, make_chunks, quick, tmp_path):
    """The exporter names what is inside by what it does, and backbones take means."""

    class Means(torch.nn.Module):
        def forward(self, images_M_C_H_W):
            means = images_M_C_H_W.mean(3)
            return torch.cat([means.mean(1), means.std(2)], 1)

    look = Look(Means(), torch.tensor([100.0]), torch.tensor([50.0]))
    features = look(torch.from_numpy(digits[0][:N]).float()).numpy()
    config = replace(quick, architecture="head")
    seen = as_chunks(make_chunks(digits[0][:N]), features, tmp_path)
    directory = fitted(seen, digits[1][:N], config, tmp_path / "round")
    Export(directory, (1, 8, 8), look).write(tmp_path / "model.onnx", {})
    assert_same(said_by(tmp_path / "model.onnx", digits[0][:N]), own(directory, features))


def test_the_arrays_are_those_of_the_file(digits, graphed, quick, tmp_path):
    chunks, made = graphed
    config = replace(quick, architecture="head", estimator="laplace")
    directory = fitted(as_chunks(chunks, made.vectors_N_D, tmp_path), digits[1][:N], config, tmp_path / "round")
    found = newcomers(chunks, made.vectors_N_D, seed=3)
    Export(directory, (1, 8, 8), newcomers=found).write_arrays(tmp_path / "arrays.safetensors")
    arrays = load_file(tmp_path / "arrays.safetensors")
    assert arrays["standing.places_D_N"].shape == (found.basis.shape[1], 500)
    deviations = load_model(directory)[0].sampled.deviations
    assert torch.equal(arrays["samples.0.weights"], deviations[0][0])
