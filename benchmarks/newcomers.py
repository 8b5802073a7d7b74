"""What an exported model says of images that are not in its pool, and of its pool's own as if they were new.

    python -m benchmarks.newcomers digits --answers 50
    python -m benchmarks.newcomers ../shared/data/mnist.npz --images 10000 --answers 100

A quarter of the images is kept apart; the pool is the rest, or `--images` of it. A round learns from likeness after so
many random answers. Then the ONNX file is asked about 2,000 images of the pool as if they were new, and about those
kept apart. `--most` lets so many images stand for the pool.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.servers import machine_line
from learner.config import RoundConfig, RoundRequest, ignore
from learner.exported import Export
from learner.files import write_array
from learner.folder import read_collection, write_chunks
from learner.graph.newcomers import newcomers
from learner.graph.pool_graph import make_pool_graph
from learner.metrics import metrics
from learner.pool import CHUNK_SIZE, open_chunk
from learner.round import fit
from learner.scores import scores_at
from learner.scoring import Scorer
from learner.served import open_bytes

ASKED = 2000


def images_of(source: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels `[N, C, H, W]` and labels."""
    collection = read_collection(Path(source), folder / "read", ignore)
    return np.concatenate([open_chunk(each) for each in collection.chunks]), collection.labels


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--answers", type=int, default=100)
    parser.add_argument("--images", type=int)
    parser.add_argument("--most", type=int, default=100_000)
    parser.add_argument("--estimator", default="mc_dropout")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print(machine_line())
    with tempfile.TemporaryDirectory() as name:
        pixels, labels = images_of(chosen.data, Path(name))
        order = np.random.default_rng(chosen.seed).permutation(len(labels))
        apart, pool = order[: len(order) // 4], order[len(order) // 4 :][: chosen.images]
        measure(Path(name), pixels, labels, pool, apart[: 2 * ASKED], chosen)


def measure(
    folder: Path,
    pixels: np.ndarray,
    labels: np.ndarray,
    pool: np.ndarray,
    apart: np.ndarray,
    chosen: argparse.Namespace,
) -> None:
    """One round, one export, both kinds of images."""
    chunks = write_chunks(pixels[pool], folder / "pool")
    made = make_pool_graph(chunks, (), seed=chosen.seed)
    seen = tuple(
        replace(each, path=write_array(folder / f"{each.number}.npy", made.vectors_N_D[each.start :][:CHUNK_SIZE]))
        for each in chunks
    )
    answered = np.sort(np.random.default_rng(chosen.seed).permutation(len(pool))[: chosen.answers])
    config = RoundConfig(
        n_classes=int(labels.max()) + 1, architecture="head", estimator=chosen.estimator, seed=chosen.seed, device="cpu"
    )
    fit(RoundRequest(seen, answered, labels[pool][answered], config, folder / "round"), ignore)
    scorer = Scorer(folder / "round")
    for each in seen:
        scorer.score(each, ignore)
    started = time.perf_counter()
    found = newcomers(chunks, made.vectors_N_D, seed=chosen.seed, most=chosen.most)
    size = Export(folder / "round", pixels.shape[1:], newcomers=found).write(folder / "model.onnx", {})
    taken = time.perf_counter() - started
    content = (folder / "model.onnx").read_bytes()
    served = open_bytes(content, {"format": 1, "classes": []}, hashlib.sha256(content).hexdigest())
    print(
        f"{len(pool):,} images, {chosen.answers} answers, {chosen.estimator}: {size / 2**20:.1f} MiB in {taken:.1f} s"
    )
    some = np.sort(np.random.default_rng(1).permutation(len(pool))[:ASKED])
    inside = served.predict(list(pixels[pool[some]]))
    mean = scores_at(folder / "round", some, "mean_probs_N_C").astype(np.float64)
    std = scores_at(folder / "round", some, "std_probs_N_C").astype(np.float64)
    off = np.abs(inside.mean - mean).max(1)
    same = (inside.mean.argmax(1) == mean.argmax(1)).mean()
    print(f"pool images as if new: same class {same:.4f}; largest difference of a mean: median {np.median(off):.4f}, "
          f"nine in ten {np.quantile(off, 0.9):.4f}, worst {off.max():.4f}; of a deviation: nine in ten "
          f"{np.quantile(np.abs(inside.std - std).max(1), 0.9):.4f}")  # fmt: skip
    at_round = metrics(mean, labels[pool[some]])
    as_new = metrics(inside.mean.astype(np.float64), labels[pool[some]])
    outside = metrics(served.predict(list(pixels[apart])).mean.astype(np.float64), labels[apart])
    for words, each in (
        ("the round, of its pool", at_round),
        ("the file, of the same", as_new),
        ("the file, of images kept apart", outside),
    ):
        a, nll, ece = each.accuracy, each.nll, each.ece
        print(f"{words}: right {a.value:.4f} [{a.low:.4f}, {a.high:.4f}], nll {nll.value:.3f} [{nll.low:.3f}, "
              f"{nll.high:.3f}], ece {ece.value:.3f}")  # fmt: skip
    for count in (1, 32):
        batch = list(pixels[apart[:count]])
        served.predict(batch)
        times = []
        for _ in range(20):
            began = time.perf_counter()
            served.predict(batch)
            times.append(time.perf_counter() - began)
        print(f"{count} at once: {1000 * np.median(times):.1f} ms")


if __name__ == "__main__":
    main()
