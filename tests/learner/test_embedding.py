"""The map of the pool: what looks alike lies together, duplicates are found, the same seed draws the same map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from learner import embedding
from learner.config import ignore
from learner.embedding import RECORD, embed, shrink
from learner.errors import LearnerError
from learner.folder import write_chunks
from learner.pool import Chunk, write_array

KINDS = 3


@pytest.fixture
def few_landmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "LANDMARKS", 60)


def chunk_of(folder: Path, pixels: np.ndarray) -> Chunk:
    return Chunk(0, write_array(folder / "0.npy", pixels), len(pixels))


@pytest.fixture
def bands(tmp_path: Path) -> Chunk:
    """Images of three kinds; image 7 comes again as image 150, all but a pixel."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 60, (200, 1, 12, 12), dtype=np.uint8)
    for at in range(200):
        pixels[at, :, 4 * (at % KINDS) : 4 * (at % KINDS) + 4] += 150
    pixels[150] = pixels[7]
    pixels[150, 0, 0, 0] += 1
    return chunk_of(tmp_path, pixels)


def test_what_looks_alike_lies_together(bands: Chunk, few_landmarks) -> None:
    records = embed([bands], seed=0, report=ignore)
    assert records.dtype == RECORD and len(records) == 200
    xy = np.stack([records["x"], records["y"]], 1).astype(float)
    kinds = np.arange(200) % KINDS
    kinds[150] = kinds[7]
    far = np.linalg.norm(xy[:, None] - xy, axis=2)
    np.fill_diagonal(far, np.inf)
    assert (kinds[far.argmin(1)] == kinds).mean() > 0.97
    assert (xy.min(0) == 0).all() and (xy.max(0) == 65_535).all()


def test_near_duplicates_find_each_other(bands: Chunk, few_landmarks) -> None:
    records = embed([bands], seed=0, report=ignore)
    assert (records["nearest"][7], records["nearest"][150]) == (150, 7)
    assert set(np.argsort(records["distance"])[:2].tolist()) == {7, 150}
    found = records["nearest"]
    features = records["features"].astype(float)
    there = found >= 0
    assert there.mean() > 0.95
    far = np.linalg.norm(features[there] - features[found[there]], axis=1)
    assert np.allclose(far, records["distance"][there], atol=2e-2)


def test_the_same_seed_draws_the_same_map(bands: Chunk, few_landmarks) -> None:
    first, again, other = (embed([bands], seed=seed, report=ignore) for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes() != other.tobytes()


def test_whatever_the_report_raises_ends_it(bands: Chunk, few_landmarks) -> None:
    class Stop(Exception):
        pass

    seen = []

    def report(phase: str, done: int, total: int) -> None:
        seen.append((phase, done, total))
        if done:
            raise Stop

    with pytest.raises(Stop):
        embed([bands], seed=0, report=report)
    assert seen[0] == ("embed", 0, 200)


def test_progress_rises_to_the_end(bands: Chunk, few_landmarks) -> None:
    seen: list[int] = []
    embed([bands], seed=0, report=lambda _phase, done, _total: seen.append(done))
    assert seen == sorted(seen) and seen[-1] == 200


def test_few_and_equal_images_have_a_map_too(tmp_path: Path) -> None:
    with pytest.raises(LearnerError, match="at least 3 images"):
        embed([chunk_of(tmp_path, np.zeros((2, 1, 8, 8), np.uint8))], seed=0, report=ignore)
    alike = embed([chunk_of(tmp_path, np.full((5, 3, 8, 8), 9, np.uint8))], seed=0, report=ignore)
    assert (alike["distance"] < 1e-3).all()
    rng = np.random.default_rng(0)
    three = embed([chunk_of(tmp_path, rng.integers(0, 255, (3, 1, 8, 8), dtype=np.uint8))], seed=0, report=ignore)
    assert np.isfinite(three["features"].astype(float)).all()


def test_large_images_are_averaged_down() -> None:
    pixels = np.zeros((2, 3, 100, 90), np.uint8)
    pixels[1] = 255
    small = shrink(pixels)
    assert small.shape == (2, 3 * 16 * 16)
    assert (small[0] == 0).all() and np.allclose(small[1], 1)
    assert shrink(np.zeros((1, 1, 28, 28), np.uint8)).shape == (1, 784)


def test_feature_vectors_are_mapped_as_they_are(digits, tmp_path):
    """Of pixels that are not shrunk and the same numbers as vectors the maps are equal."""
    pixels = digits[0][:60]
    drawn, again = (
        embed(write_chunks(inputs, tmp_path / name), seed=0, report=ignore)
        for name, inputs in (("pixels", pixels), ("vectors", pixels.reshape(60, 64).astype(np.float32) / 255))
    )
    assert np.array_equal(drawn["nearest"], again["nearest"])
