"""How many answers it takes: the graph's strategy and random questions, from nothing, the same model for both.

    python -m benchmarks.labels ../shared/data/mnist.npz --seeds 50
    python -m benchmarks.labels digits --seeds 50
    python -m benchmarks.labels ../shared/data/mnist.npz --seeds 50 --error 0.2
    python -m benchmarks.labels ../shared/data/sign-digits.zip --side 64 --features efficientnet_lite0 --until 300

No answers are spent on validation, and none are given away: it starts from image one. Of an .npz with a test part the
pool is the training part and accuracy is that of the test part; of others a quarter is kept apart, drawn by the seed.
`--fold 0` keeps a sixth of the training part for measuring instead, and never reads the test part: for tuning.
`--features` compares images by what a backbone makes of them, not by their pixels; they are computed once and kept.
A seed is a graph of its own (communities are found by chance), questions and errors. Intervals are of the median
(binomial order statistics) and of the paired difference of means (Student).
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from tqdm import tqdm

from benchmarks.servers import machine_line
from learner.config import ignore
from learner.files import digest
from learner.folder import UNKNOWN, Collection, read_collection, write_chunks
from learner.graph.model import build
from learner.graph.neighbours import Neighbours, Searcher
from learner.graph.representation import represent
from learner.graph.simulation import ORDERS, Task, learning_curve
from learner.pool import Chunk, open_chunk, write_array

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
    parser.add_argument("--fold", type=int, choices=range(FOLDS))
    parser.add_argument("--csv", type=Path, help="write every point here")
    options = parser.parse_args()
    print(f"$ python -m benchmarks.labels {' '.join(sys.argv[1:])}\n{machine_line()}, 1 thread")
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    budgets = sorted({*range(1, min(EARLY, options.until) + 1), *range(EARLY, options.until + 1, 5), options.until})
    with tempfile.TemporaryDirectory() as folder:
        data = read(options, Path(folder))
    began = time.monotonic()
    curves: dict[str, list[np.ndarray]] = {order: [] for order in options.orders}
    for seed, task in zip(seeds, tasks(data, seeds), strict=True):
        for order in options.orders:
            curve = learning_curve(task, budgets, order=order, batch=options.batch, error=options.error, seed=seed)
            curves[order].append(np.array([curve[budget] for budget in budgets]))
        reached = (f"{order} {named(first_and_lasting(of_order[-1], budgets, options.target[0]))}"
                   for order, of_order in curves.items())  # fmt: skip
        print(f"seed {seed}: {', '.join(reached)}", flush=True)
    print(f"{time.monotonic() - began:.0f} s, seeds {seeds[0]} to {seeds[-1]}")
    report(curves, budgets, options)
    if options.csv:
        write_csv(options.csv, curves, budgets, seeds)


def read(options: Any, folder: Path) -> Data:
    source, fold = options.source, options.fold
    collection = (
        digits(folder) if source == "digits" else read_collection(Path(source), folder, ignore, side=options.side)
    )
    chunks = collection.chunks
    if options.features:
        chunks = tuple(features_of(chunk, options.features, options.cache) for chunk in chunks)
    representation, vectors = represent(chunks)
    print(representation.reason)
    is_known = collection.labels != UNKNOWN
    is_test = collection.is_test if collection.is_test.any() else None
    if fold is not None:
        is_known &= ~collection.is_test
        part = np.random.default_rng(0).permutation(int(is_known.sum())) % FOLDS
        return Data(vectors[is_known], collection.labels[is_known], len(collection.class_names), part == fold)
    return Data(
        vectors[is_known],
        collection.labels[is_known],
        len(collection.class_names),
        None if is_test is None else is_test[is_known],
    )


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


def digits(folder: Path) -> Collection:
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = np.rint(data.images * (255 / 16)).astype(np.uint8)[:, None]
    names = tuple(str(name) for name in data.target_names)
    return Collection(write_chunks(pixels, folder), names, data.target.astype(np.int64), names,
                      np.zeros(len(pixels), np.bool_), ())  # fmt: skip


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


def first_and_lasting(curve: np.ndarray, budgets: list[int], target: float) -> tuple[float, float]:
    """The first budget that reaches the target, and the first from which on all do; infinite: none."""
    is_reached = curve >= target
    if not is_reached.any():
        return np.inf, np.inf
    first, misses = budgets[int(is_reached.argmax())], np.flatnonzero(~is_reached)
    last_miss = int(misses[-1]) if len(misses) else -1
    return first, budgets[last_miss + 1] if last_miss + 1 < len(budgets) else np.inf


def named(pair: tuple[float, float]) -> str:
    return f"first {pair[0]:g}, lasting {pair[1]:g}"


def report(curves: dict[str, list[np.ndarray]], budgets: list[int], options: Any) -> None:
    for target in options.target:
        print(f"\nanswers until {target:.0%}  (median [95 % interval]; quartiles; nine in ten; worst)")
        for order, of_order in curves.items():
            pairs = np.array([first_and_lasting(curve, budgets, target) for curve in of_order])
            for name, counts in zip(("first", "lasting"), pairs.T, strict=True):
                print(f"  {order:7s} {name:8s} {quantiles(np.sort(counts))}")
    print("\naccuracy (median; worst; mean of the paired difference to random with its interval)")
    for at, budget in enumerate(budgets):
        if budget not in (5, 8, 10, 11, 12, 13, 15, 20, 25, 30, 40, 50, 60, 100, 150, 200, 300, options.until):
            continue
        words = [f"{budget:5d}"]
        for order, of_order in curves.items():
            values = np.array([curve[at] for curve in of_order])
            words.append(f"{order} {np.median(values):.3f} worst {values.min():.3f}")
        if len(curves) == len(ORDERS):
            gap = np.array([a[at] - b[at] for a, b in zip(curves["gain"], curves["random"], strict=True)])
            half = stats.t.ppf(0.975, len(gap) - 1) * gap.std(ddof=1) / len(gap) ** 0.5 if len(gap) > 1 else np.nan
            words.append(f"difference {gap.mean():+.3f} ± {half:.3f}")
        print("  ".join(words))


def quantiles(counts: np.ndarray) -> str:
    """Of sorted counts; the interval of the median is that of its order statistics."""
    n = len(counts)
    low = int(stats.binom.ppf(0.025, n, 0.5))
    quart = [counts[min(n - 1, int(np.ceil(share * n)) - 1)] for share in (0.25, 0.75, 0.9)]
    middle = np.median(counts)
    return (f"{middle:g} [{counts[max(0, low - 1)]:g} to {counts[min(n - 1, n - low)]:g}]; "
            f"{quart[0]:g} to {quart[1]:g}; {quart[2]:g}; {counts[-1]:g}")  # fmt: skip


def write_csv(path: Path, curves: dict[str, list[np.ndarray]], budgets: list[int], seeds: range) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["order", "seed", "answers", "accuracy"])
        for order, of_order in curves.items():
            for seed, curve in zip(seeds, of_order, strict=True):
                writer.writerows(
                    [order, seed, budget, round(float(value), 5)] for budget, value in zip(budgets, curve, strict=True)
                )


if __name__ == "__main__":
    main()
