"""How good each estimator's uncertainty is: likelihood, calibration, and whether it knows errors and strangers.

    python -m benchmarks.uncertainty ../shared/data/mnist.npz --labels 100 1000 --seeds 10 --threads 1

Every seed draws its own answers (at random) and fits from scratch; test images are the source's own, or a fifth.
Strangers are unlike what the model has learned from: noise, inverted images, and (with --strangers) those of another
source.
The table has means over the seeds with the 95 % interval of the mean (Student).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image as Picture
from scipy import stats
from sklearn.datasets import load_digits

from benchmarks.round import cpu_name
from learner.config import ARCHITECTURES, ESTIMATORS, RoundConfig, ignore
from learner.estimators import estimator_class
from learner.folder import UNKNOWN, read_collection
from learner.metrics import metrics, separation
from learner.pool import Pool
from learner.scoring import score_inputs

COLUMNS = ("accuracy", "NLL", "Brier", "ECE", "wrong", "wrong (MI)", "noise", "inverted", "others", "fit s", "score s")
STRANGERS = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="mnist.npz, or class folders")
    parser.add_argument("--strangers", help="images of another source; digits: those of scikit-learn, 8 x 8, enlarged")
    parser.add_argument("--estimators", nargs="+", choices=ESTIMATORS, default=list(ESTIMATORS))
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="cnn")
    parser.add_argument("--labels", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--test", type=int, default=5000)
    parser.add_argument("--posterior-samples", type=int, default=100)
    parser.add_argument("--side", type=int)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"$ python -m benchmarks.uncertainty {' '.join(sys.argv[1:])}")
    print(f"{cpu_name()}, {options.threads} thread(s), torch {torch.__version__}, {options.architecture}, "
          f"K = {options.posterior_samples}, seeds 0 to {options.seeds - 1}")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        collection = read_collection(options.source, Path(folder) / "pool", ignore, side=options.side)
        pool, labels = Pool(collection.chunks), collection.labels
        others = strangers_of(options.strangers, pool.shape, Path(folder) / "others") if options.strangers else None
        known = np.flatnonzero(labels != UNKNOWN)
        for n_labels in options.labels:
            print(f"\n{n_labels} answers\n{'':18s}" + "".join(f"{name:>20s}" for name in COLUMNS))
            for name in options.estimators:
                rows = []
                for seed in range(options.seeds):
                    order = np.random.default_rng(seed).permutation(known)
                    is_test = collection.is_test[order]
                    test = (order[is_test] if is_test.any() else order[: len(order) // 5])[: options.test]
                    train = np.setdiff1d(order, test, assume_unique=True)
                    train = train[np.random.default_rng(seed).permutation(len(train))]
                    train = train[~collection.is_test[train]][:n_labels]
                    rows.append(one(name, pool, labels, np.sort(train), test, others, seed, options))
                print(f"{name:18s}" + "".join(f"{cell(column):>20s}" for column in zip(*rows, strict=True)), flush=True)


def strangers_of(source: str, shape: tuple[int, ...], folder: Path) -> np.ndarray:
    """Some images of another source, brought to a shape: uint8 `[N, *shape]`."""
    channels, side, _ = shape
    chosen = np.random.default_rng(0).permutation
    if source == "digits":
        digits = load_digits().images
        pictures = [
            Picture.fromarray((image * (255 / 16)).astype(np.uint8)).resize((side, side), Picture.Resampling.BICUBIC)
            for image in digits[chosen(len(digits))[:STRANGERS]]
        ]
        images = np.stack([np.asarray(picture) for picture in pictures])[:, None]
    else:
        there = read_collection(Path(source), folder, ignore, side=side)
        images = Pool(there.chunks).inputs(chosen(len(there.names))[:STRANGERS])
    if images.shape[1] == 1:
        images = images.repeat(channels, 1)
    if images.shape[1:] != shape:
        sys.exit(f"the strangers are {list(images.shape[1:])}, the images {list(shape)}")
    return images


def one(
    name: str,
    pool: Pool,
    labels: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    others: np.ndarray | None,
    seed: int,
    options: argparse.Namespace,
) -> list[float]:
    """A fit with one seed, and what is measured of it, in the order of `COLUMNS`."""
    config = RoundConfig(n_classes=int(labels.max()) + 1, estimator=name, architecture=options.architecture, seed=seed)
    config = replace(config, posterior_samples=options.posterior_samples, device="cpu")
    started = time.perf_counter()
    estimator = estimator_class(name).fit(pool, train, labels[train], config, ignore)
    fitting, started = time.perf_counter() - started, time.perf_counter()
    pixels = pool.inputs(test)
    seen = score_inputs(estimator, pixels, config.n_classes, ignore)
    scoring = time.perf_counter() - started
    found = metrics(seen["mean_probs_N_C"].astype(np.float32), labels[test])
    is_wrong = seen["mean_probs_N_C"].argmax(1) != labels[test]
    noise = np.random.default_rng(seed).integers(0, 256, (STRANGERS, *pool.shape), dtype=np.uint8)
    strangers = [noise, 255 - pixels[:STRANGERS], others]
    known_from = [
        float("nan") if kind is None else unlike(seen["predictive_entropy"], entropy_of(estimator, kind, config))
        for kind in strangers
    ]
    return [
        found.accuracy.value, found.nll.value, found.brier.value, found.ece.value,
        separation(seen["predictive_entropy"], is_wrong) or float("nan"),
        separation(seen["mutual_information"], is_wrong) or float("nan"),
        *known_from, fitting, scoring,
    ]  # fmt: skip


def entropy_of(estimator: object, pixels: np.ndarray, config: RoundConfig) -> np.ndarray:
    """Predictive entropy of images that belong to no class."""
    return score_inputs(estimator, pixels, config.n_classes, ignore)["predictive_entropy"]  # type: ignore[arg-type]


def unlike(seen: np.ndarray, strange: np.ndarray) -> float:
    """AUROC of telling strangers from test images."""
    is_strange = np.arange(len(seen) + len(strange)) >= len(seen)
    return separation(np.concatenate([seen, strange]), is_strange) or float("nan")


def cell(values: tuple[float, ...]) -> str:
    """`0.941 ± 0.004`: the mean and half of its 95 % interval."""
    if not np.isfinite(values).all():
        return "-"
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.3f}"
    half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)
    return f"{mean:.3f} ± {half:.3f}"


if __name__ == "__main__":
    main()
