"""What people meet most of the learner's sentences is known in German; the patterns are held to its own words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from django.utils.translation import override

from labeler.learning.spoken import compared_by, sentence
from labeler.told import Told, said
from learner.backbones import read_weights
from learner.errors import BackboneError
from learner.fit import diverged
from learner.graph.representation import represent
from learner.pool import Chunk


def german(words: str) -> str:
    with override("de"):
        return said(words)


@pytest.mark.parametrize(
    ("what", "expected"), [("loss is", "Der Verlust ist"), ("the weights are", "Die Gewichte sind")]
)
def test_a_fit_that_diverged(what: str, expected: str) -> None:
    words = sentence(f"{diverged(12, what)} (laplace of mlp)")
    assert words.startswith("The fit diverged at step 12: ") and words.endswith("in the settings (laplace of mlp).")
    assert expected in german(words) and german(words).endswith("ein anderes Netz (laplace of mlp).")


def test_files_of_weights(tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(b"nothing")
    for name, expected in (("none.pt", "Es gibt keine Datei none.pt."), ("bad.pt", "bad.pt ist beschädigt")):
        with pytest.raises(BackboneError) as refused:
            read_weights(tmp_path / name)
        assert expected in german(sentence(str(refused.value)))


def test_what_is_not_known_stays_as_it_is() -> None:
    assert sentence("all of one class") == "All of one class." == german(sentence("all of one class"))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8)])
def test_by_what_images_are_compared(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / "chunk.npy"
    np.save(path, np.random.default_rng(0).integers(0, 255, (30, *shape), np.uint8))
    found, _ = represent((Chunk(0, path, 30),))
    words = compared_by(found.reason, "")
    assert isinstance(words, Told) and words == found.reason
    assert "verglichen nach ihren" in german(words)


def test_by_whose_features_they_are_compared(tmp_path: Path) -> None:
    path = tmp_path / "chunk.npy"
    np.save(path, np.random.default_rng(0).normal(size=(30, 16)).astype(np.float16))
    words = compared_by(represent((Chunk(0, path, 30),))[0].reason, "efficientnet_lite0")
    assert words == "features of efficientnet_lite0, vectors of 16 features, compared by direction"
    assert german(words) == "Merkmale von efficientnet_lite0, Vektoren aus 16 Merkmalen, verglichen nach der Richtung"
