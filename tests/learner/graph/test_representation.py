"""The vectors that images are compared by."""

from __future__ import annotations

import numpy as np
import pytest

from learner.errors import LearnerError
from learner.folder import write_chunks
from learner.graph.representation import represent, rotation


def test_pixels_keep_their_distances_in_the_first_components(digits, make_chunks):
    pixels = digits[0][:300]
    representation, vectors = represent(make_chunks(pixels))
    flat = pixels.reshape(300, -1) / 255
    true = np.square(flat[:, None] - flat[None]).sum(2)
    found = np.square(vectors[:, None] - vectors[None]).sum(2)
    assert vectors.shape == (300, 50)
    assert np.corrcoef(true.ravel(), found.ravel())[0, 1] > 0.999
    assert "grey images brought to 8 × 8 pixels" in representation.reason


def test_features_are_compared_by_direction(tmp_path):
    rng = np.random.default_rng(0)
    direction_N_D = rng.normal(0, 1, (200, 16)).astype(np.float32)
    one, _ = represent(write_chunks(direction_N_D, tmp_path / "a")), None
    other = represent(write_chunks(direction_N_D * rng.uniform(0.1, 9, (200, 1)).astype(np.float32), tmp_path / "b"))
    np.testing.assert_allclose(one[1], other[1], atol=1e-4)
    assert one[0].name == "features"


def test_other_images_are_mapped_alike(digits, make_chunks):
    representation, vectors = represent(make_chunks(digits[0][:200]))
    np.testing.assert_allclose(representation.vectors(digits[0][50:60]), vectors[50:60], atol=1e-5)


@pytest.mark.parametrize(("shape", "words"), [((3, 1, 9, 9), "81 numbers an image, the graph was built on 64")])
def test_images_of_another_size_are_refused(digits, make_chunks, shape, words):
    representation, _ = represent(make_chunks(digits[0][:50]))
    with pytest.raises(LearnerError, match=words):
        representation.vectors(np.zeros(shape, np.uint8))


def test_images_that_are_all_equal_are_all_at_one_place(make_chunks):
    _, vectors = represent(make_chunks(np.full((5, 3, 4, 4), 200, np.uint8)))
    np.testing.assert_allclose(vectors, vectors[:1].repeat(5, 0))


def test_the_same_seed_makes_the_same(digits, make_chunks):
    chunks = make_chunks(digits[0][:100])
    np.testing.assert_array_equal(represent(chunks, seed=2)[1], represent(chunks, seed=2)[1])


@pytest.mark.parametrize("n", [1, 2, 50])
def test_a_rotation_keeps_distances_and_spreads_variance(n):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2000, n)) * np.logspace(0, -2, n)  # as principal components come
    turned = vectors @ rotation(n)
    np.testing.assert_allclose(np.linalg.norm(turned, axis=1), np.linalg.norm(vectors, axis=1), rtol=1e-4)
    np.testing.assert_array_equal(rotation(n), rotation(n))
    if n == 50:
        assert vectors.std(0).max() / vectors.std(0).min() > 50
        assert turned.std(0).max() / turned.std(0).min() < 6
