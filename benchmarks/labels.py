"""How many answers it takes: the graph's strategy and random questions, from nothing, the same model for both.

    python -m benchmarks.labels ../shared/data/mnist.npz --seeds 50
    python -m benchmarks.labels digits --seeds 50
    python -m benchmarks.labels ../shared/data/mnist.npz --seeds 50 --error 0.2
    python -m benchmarks.labels ../shared/data/mnist.npz --images 12000 --junk 0.3 --batch 5 --until 300
    python -m benchmarks.labels ../shared/data/sign-digits.zip --side 64 --features efficientnet_lite0 --until 300

No answers are spent on validation, and none are given away: it starts from image one. Of an .npz with a test part the
pool is the training part and accuracy is that of the test part; of others a quarter is kept apart, drawn by the seed.
`--fold 0` keeps a sixth of the training part for measuring instead, and never reads the test part: for tuning.
`--features` compares images by what a backbone makes of them, not by their pixels; they are computed once and kept.
`--images`, `--imbalance`, `--copies`, `--junk` change the pool (benchmarks/conditions.py), the test images stay. Where
classes are rare, accuracy is the mean of the classes'. Junk is answered by "bad image", which costs an answer, too.
A seed is a graph of its own (communities are found by chance), questions and errors. Intervals are of the median
(binomial order statistics) and of the paired difference of means (Student).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.conditions import Conditions
from benchmarks.servers import machine_line
from learner.config import ignore
from learner.files import digest
from learner.folder import UNKNOWN, read_collection, write_chunks
from learner.graph.model import build
from learner.graph.neighbours import Neighbours, Searcher
from learner.graph.representation import represent
from learner.graph.simulation import ORDERS, Task, learning_curve
from learner.pool import Chunk, Pool, open_chunk, write_array
from learner.simulation.summary import Curve, reached, table, write_csv

FOLDS = 6
EARLY = 30  # up to so many answers every single one is measured


@dataclass(frozen=True)
class Data:
    """Images as vectors, their classes, and which are kept apart; None: drawn by the seed."""

    vectors: np.ndarray
    labels: np.ndarray
    n_classes: int
    is_test: np.ndarray | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="mnist.npz, an .npz of features, class folders, or digits")
    parser.add_argument("--seeds", type=int, default=50, help="seeds 0, 1, ...")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--until", type=int, default=60, help="answers; `lasting` means up to there")
    parser.add_argument("--batch", type=int, default=1, help="questions between two fits")
    parser.add_argument("--error", type=float, default=0.0, help="share of wrong answers")
    parser.add_argument("--target", type=float, nargs="+", default=[0.95])
    parser.add_argument("--orders", nargs="+", choices=ORDERS, default=list(ORDERS))
    parser.add_argument("--side", type=int)
    parser.add_argument("--features", help="name of a backbone")
    parser.add_argument("--cache", type=Path, default=Path("data/benchmarks"), help="folder where features are kept")
    parser.add_argument("--images", type=int, default=0, help="of the pool, drawn at random; 0: all")
    parser.add_argument("--imbalance", type=float, default=1.0, help="of the most frequent class to the rarest")
    parser.add_argument("--copies", type=int, default=1, help="of each image, with noise")
    parser.add_argument("--junk", type=float, default=0.0, help="share of the pool that is of no class")
    parser.add_argument("--fold", type=int, choices=range(FOLDS))
    parser.add_argument("--csv", type=Path, help="write every point here")
    options = parser.parse_args()
    print(f"$ python -m benchmarks.labels {' '.join(sys.argv[1:])}\n{machine_line()}, 1 thread")
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    budgets = sorted({*range(1, min(EARLY, options.until) + 1), *range(EARLY, options.until + 1, 5), options.until})
    with tempfile.TemporaryDirectory() as folder:
        data = read(options, Path(folder))
    began = time.monotonic()
    curves: dict[str, dict[int, Curve]] = {order: {} for order in options.orders}
    for seed, task in zip(seeds, tasks(data, seeds), strict=True):
        for order in options.orders:
            curves[order][seed] = learning_curve(
                task, budgets, order=order, batch=options.batch, error=options.error,
                by_class=options.imbalance > 1, seed=seed,
            )  # fmt: skip
        counts = {order: reached(of_seed[seed], options.target[0]) for order, of_seed in curves.items()}
        words = (f"{order} first {first:g}, lasting {lasting:g}" for order, (first, lasting) in counts.items())
        print(f"seed {seed}: {', '.join(words)}", flush=True)
    print(f"{time.monotonic() - began:.0f} s, seeds {seeds[0]} to {seeds[-1]}\n")
    print("\n".join(table(curves, options.target)))
    if options.csv:
        write_csv(options.csv, ((order, seed, answers, round(accuracy, 5), "", "") for order, of_seed in curves.items()
                                for seed, curve in of_seed.items() for answers, accuracy in curve.items()))  # fmt: skip


def read(options: argparse.Namespace, folder: Path) -> Data:
    collection = read_collection(Path(options.source), folder, ignore, side=options.side)
    chunks, labels, is_test = collection.chunks, collection.labels, collection.is_test
    is_known, n_classes = labels != UNKNOWN, len(collection.class_names)
    if options.fold is not None:
        is_known &= ~is_test
        is_test = np.zeros(len(labels), np.bool_)
        is_test[is_known] = np.random.default_rng(0).permutation(int(is_known.sum())) % FOLDS == options.fold
    elif not is_test.any():
        is_test = np.zeros(len(labels), np.bool_)
    conditions = Conditions(options.images, options.imbalance, options.copies, options.junk)
    if conditions.are_any:
        if not is_test.any():  # what is measured is not to be changed
            is_test[is_known] = np.random.default_rng(0).permutation(int(is_known.sum())) % 4 == 0
        pool, test = np.flatnonzero(is_known & ~is_test), np.flatnonzero(is_known & is_test)
        every = Pool(chunks)
        pixels, of_pool = conditions.apply(every.inputs(pool), labels[pool], n_classes)
        labels = np.concatenate([of_pool, labels[test]])
        (folder / "pool").mkdir()
        chunks = write_chunks(np.concatenate([pixels, every.inputs(test)]), folder / "pool")
        is_test, is_known = np.arange(len(labels)) >= len(of_pool), np.ones(len(labels), np.bool_)
    if options.features:
        chunks = tuple(features_of(chunk, options.features, options.cache) for chunk in chunks)
    representation, vectors = represent(chunks)
    print(representation.reason)
    return Data(vectors[is_known], labels[is_known], n_classes, is_test[is_known] if is_test.any() else None)


def features_of(chunk: Chunk, name: str, cache: Path) -> Chunk:
    """The chunk as the backbone sees it, from the cache if these very pixels have been there."""
    pixels = open_chunk(chunk)
    path = cache / f"{name.replace('/', '-')}-{digest(pixels)[:16]}.npy"
    if not path.exists():
        import torch

        from learner.backbones import load_backbone
        from learner.features import compute_features

        torch.set_num_threads(1)
        with tqdm(total=chunk.count, unit="image") as bar:
            features = compute_features(
                load_backbone(name),
                lambda start, stop: pixels[start:stop],
                chunk.count,
                report=lambda _phase, done, _total: bar.update(done - bar.n),
            )
        write_array(path, features)
    return Chunk(chunk.number, path, chunk.count)


def tasks(data: Data, seeds: range) -> Iterator[Task]:
    """A task for each seed. Neighbours are the same for all seeds where the pool is."""
    found: tuple[Neighbours, np.ndarray, np.ndarray] | None = None
    for seed in seeds:
        is_test = data.is_test
        if is_test is None:
            is_test = np.random.default_rng(seed).permutation(len(data.labels)) % 4 == 0
        if found is None or data.is_test is None:
            searcher = Searcher(data.vectors[~is_test])
            found = (searcher.neighbours(), *searcher.search(data.vectors[is_test], 10))
        graph = build(found[0], seed=seed)
        yield Task(graph, data.labels[~is_test], data.n_classes, found[1], found[2], data.labels[is_test])


if __name__ == "__main__":
    main()
