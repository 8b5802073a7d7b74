"""Backbones by name and by file, and what is said of those that cannot be had."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from learner import backbones
from learner.backbones import Untrained, load_backbone, read_weights
from learner.config import ignore
from learner.errors import BackboneError
from learner.features import compute_features


def untrained(fetch=None, classes: int = 5) -> Untrained:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, classes)
    )
    return Untrained(module, 8, (10.0, 20.0, 30.0), (50.0, 60.0, 70.0), fetch or module.state_dict)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(backbones.BUILDERS, "small", untrained)
    return load_backbone("small")


def features(backbone, pixels):
    return compute_features(backbone, lambda start, stop: pixels[start:stop], len(pixels), device="cpu", report=ignore)


def test_the_default_comes_with_its_weights_and_tells_images_apart() -> None:
    rng = np.random.default_rng(0)
    pixels = np.repeat(rng.integers(0, 256, (4, 3, 16, 16), dtype=np.uint8), 2, axis=0)
    made = features(load_backbone(backbones.DEFAULT), pixels)
    assert made.shape == (8, 4 * (192 + 320)) and made.dtype == np.float16
    assert np.abs(made[0::2] - made[1::2]).max() < 0.001  # equal images
    assert np.linalg.norm(made[0].astype(np.float32) - made[2]) > 0.1


def test_the_default_tells_where_in_an_image_something_is() -> None:
    image = np.full((3, 64, 64), 120, np.uint8)
    image[:, 4:28, 4:28] = 250
    made = features(load_backbone(backbones.DEFAULT), np.stack([image, image[:, ::-1, ::-1]])).astype(np.float32)
    assert np.linalg.norm(made, axis=1) == pytest.approx(2**0.5, abs=0.01)
    first, turned = made[:, : 4 * 192].reshape(2, 192, 4)
    assert np.linalg.norm(first - turned) > 2 * np.linalg.norm(first - turned[:, ::-1])


def test_features_are_what_goes_into_the_last_layer(small) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8), dtype=np.uint8)  # more than a batch
    images = torch.from_numpy(pixels).float()
    normalised = (images - torch.tensor(small.mean).view(3, 1, 1)) / torch.tensor(small.std).view(3, 1, 1)
    with torch.inference_mode():
        expected = small.module.module[:-1](normalised).numpy()
    np.testing.assert_allclose(features(small, pixels), expected, atol=2e-3)
    assert features(small, pixels).tobytes() == features(small, pixels).tobytes()


def test_grey_images_of_any_size_become_colour_of_the_right_size(small) -> None:
    grey = np.full((2, 1, 30, 20), 100, np.uint8)
    colour = np.full((2, 3, 8, 8), 100, np.uint8)
    np.testing.assert_allclose(features(small, grey), features(small, colour), atol=2e-3)


def test_the_work_is_reported_and_can_be_given_up(small) -> None:
    class Cancelled(Exception):
        pass

    seen = []

    def report(phase: str, done: int, total: int) -> None:
        seen.append((phase, done, total))
        if done == 32:
            raise Cancelled

    pixels = np.zeros((70, 3, 8, 8), np.uint8)
    with pytest.raises(Cancelled):
        compute_features(small, lambda start, stop: pixels[start:stop], 70, device="cpu", report=report)
    assert seen == [("features", 0, 70), ("features", 32, 70)]


def test_features_that_are_not_finite_are_refused(small) -> None:
    small.module.module[0].bias.data[0] = float("inf")
    with pytest.raises(BackboneError, match="NaN or infinite features of 3 of 3"):
        features(small, np.zeros((3, 3, 8, 8), np.uint8))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing_like_it", "no backbone 'nothing_like_it'.*resnet50.*timm/"),
        ("../small", "no name of a backbone"),
        ("timm/resnet18", "timm.*not installed|knows no model|could not be downloaded"),
        ("squeezenet1_0", "no linear last layer"),
    ],
)
def test_a_name_that_cannot_be_taken(name, words) -> None:
    with pytest.raises(BackboneError, match=words):
        load_backbone(name)


def test_weights_that_cannot_be_downloaded(monkeypatch) -> None:
    def away():
        raise OSError("Name or service not known\nand more")

    monkeypatch.setitem(backbones.BUILDERS, "small", lambda: untrained(away))
    with pytest.raises(BackboneError, match=r"could not be downloaded \(Name or service not known\)"):
        load_backbone("small")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("classes", [5, 7, None])
def test_weights_of_a_file_whatever_its_last_layer(small, tmp_path, suffix, classes) -> None:
    weights = {**untrained(classes=classes or 5).module.state_dict()}
    weights["0.bias"] = weights["0.bias"] + 1
    if classes is None:
        weights = {key: value for key, value in weights.items() if not key.startswith("4.")}
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": {f"module.{key}": value for key, value in weights.items()}}, path)
    else:
        save_file(weights, path)
    pixels = np.zeros((1, 3, 8, 8), np.uint8)
    assert np.abs(features(load_backbone("small", path), pixels) - features(small, pixels)).max() > 0.5


class Runs:
    """What a hostile file does when it is unpickled."""

    def __reduce__(self):
        return (print, ("it ran",))


@pytest.mark.parametrize("content", ["missing", "text", "pickle", "list", "other", "nan", "suffix"])
def test_a_file_that_is_none(small, tmp_path, content, capsys) -> None:
    path = tmp_path / ("weights.txt" if content == "suffix" else "weights.pth")
    right = untrained().module.state_dict()
    if content == "text":
        path.write_text("no weights")
    elif content == "pickle":
        torch.save({"state_dict": Runs()}, path)
    elif content == "list":
        torch.save([1, 2], path)
    elif content == "other":
        torch.save({**right, "0.bias": torch.zeros(9)}, path)
    elif content == "nan":
        torch.save({**right, "0.bias": torch.full((4,), float("nan"))}, path)
    words = {
        "missing": "there is no file",
        "text": "damaged, or holds something beside weights",
        "pickle": "damaged, or holds something beside weights",
        "list": "holds no weights",
        "other": "the file weights.pth does not fit.*0.bias",
        "nan": "NaN or infinite numbers",
        "suffix": "its name must end with",
    }
    with pytest.raises(BackboneError, match=words[content]):
        load_backbone("small", path)
    assert "it ran" not in capsys.readouterr().out


def test_a_truncated_safetensors_file(tmp_path) -> None:
    save_file(untrained().module.state_dict(), tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:-9])
    with pytest.raises(BackboneError, match="damaged"):
        read_weights(tmp_path / "b.safetensors")
