from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from learner.config import Recipe, RoundConfig
from learner.folder import write_chunks
from learner.pool import Chunk

MakeChunks = Callable[[np.ndarray], tuple[Chunk, ...]]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_chunks(tmp_path: Path) -> MakeChunks:
    """Images [N, C, H, W] as chunk files."""
    return lambda pixels: write_chunks(pixels, tmp_path / "pool")


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's 1,797 digits in random order: uint8 [N, 1, 8, 8] of 0 to 255, and int64 [N]."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    pixels = (data.images[order] * (255 / 16)).astype(np.uint8)[:, None]
    return pixels, data.target[order].astype(np.int64)


@pytest.fixture
def quick() -> RoundConfig:
    """A config whose fit takes a fraction of a second."""
    return RoundConfig(n_classes=10, posterior_samples=7, device="cpu", recipe=Recipe(steps=20))


class AbortedError(Exception):
    pass


@pytest.fixture
def abort_at() -> Callable[[str, int], Callable[[str, int, int], None]]:
    """A report that raises in a phase once some amount is done."""

    def make(phase: str, least: int):
        def report(now: str, done: int, _total: int) -> None:
            if now == phase and done >= least:
                raise AbortedError(f"{now} {done}")

        report.error = AbortedError
        return report

    return make
