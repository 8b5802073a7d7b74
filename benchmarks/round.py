"""One round on MNIST: seconds a phase, images a second, memory, and accuracy on images held out of the training part.

    python -m benchmarks.round ../shared/data/mnist.npz --repeat 3 --threads 1

Scoring is compared with one deterministic pass over the same images, and with the plain loop of K whole passes on a
few of them. Every repeat has its own seed for everything: which labels, the fit, the masks, the acquisition.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from learner.config import ACQUISITIONS, ARCHITECTURES, RoundConfig, RoundRequest, ignore
from learner.estimators.mc_dropout import MCDropout
from learner.folder import write_chunks
from learner.pool import Chunk, open_chunk
from learner.round import run_round
from learner.scoring import Scorer

HOLDOUT = 5000  # images of the training part that are never trained on


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("npz", type=Path, help="mnist.npz")
    parser.add_argument("--labels", type=int, nargs="+", default=[50, 100])
    parser.add_argument("--repeat", type=int, default=3, help="seeds 0, 1, ...")
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="cnn")
    parser.add_argument("--acquisition", choices=ACQUISITIONS, default="power_predictive_entropy")
    parser.add_argument("--posterior-samples", type=int, default=100)
    parser.add_argument("--pool", type=int, default=60_000, help="images of the training part")
    parser.add_argument("--steps", type=int, help="optimiser steps (default: by the number of labels)")
    parser.add_argument(
        "--plain", type=int, default=128, help="images for the plain loop of whole passes; 0 leaves it out"
    )
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"$ python -m benchmarks.round {' '.join(sys.argv[1:])}")
    print(f"{cpu_name()}, {options.threads} thread(s); Python {platform.python_version()}, torch {torch.__version__}, "
          f"numpy {np.__version__}, {torch.backends.cpu.get_cpu_capability()}")  # fmt: skip
    with np.load(options.npz, allow_pickle=False) as file:
        pixels, labels = file["x_train"][: options.pool, None], file["y_train"][: options.pool].astype(np.int64)
    with tempfile.TemporaryDirectory() as folder:
        chunks = write_chunks(pixels, Path(folder) / "pool")
        del pixels
        warm_up()
        for n_labels in options.labels:
            results = [one(options, chunks, labels, n_labels, seed, Path(folder)) for seed in range(options.repeat)]
            print(f"\n{options.architecture}, {n_labels} labels, K = {options.posterior_samples}, pool {len(labels)}, "
                  f"seeds 0 to {options.repeat - 1}: median (least to most)")  # fmt: skip
            for name in results[0]:
                values = [result[name] for result in results]
                print(f"  {name:42s} {statistics.median(values):10.4g}  ({min(values):.4g} to {max(values):.4g})")


def one(
    options: argparse.Namespace, chunks: tuple[Chunk, ...], labels: np.ndarray, n_labels: int, seed: int, folder: Path
) -> dict[str, float]:
    """A round with one seed, and the comparisons."""
    order = np.random.default_rng(seed).permutation(len(labels))
    holdout, train = order[:HOLDOUT], order[HOLDOUT : HOLDOUT + n_labels]
    config = RoundConfig(
        n_classes=10,
        architecture=options.architecture,
        acquisition=options.acquisition,
        posterior_samples=options.posterior_samples,
        seed=seed,
        device="cpu",
    )
    config = replace(config, recipe=replace(config.recipe, steps=options.steps))
    request = RoundRequest(chunks, train, labels[train], config, folder / f"{n_labels}-{seed}")
    before = reset_peak()
    result = run_round(
        request,
        eligible_positions=np.setdiff1d(order, np.concatenate([train, holdout])),
        holdout_positions=holdout,
        holdout_labels=labels[holdout],
        report=ignore,
    )
    peak = peak_mebibytes() - before
    assert result.metrics is not None
    estimator = Scorer(request.directory).estimator
    assert isinstance(estimator, MCDropout)
    deterministic = deterministic_seconds(estimator, chunks)
    out = {f"{phase} (s)": seconds for phase, seconds in result.seconds.items()}
    out |= {
        "scored (images/s)": len(labels) / result.seconds["score"],
        "one deterministic pass (s)": deterministic,
        "scoring / deterministic pass": result.seconds["score"] / deterministic,
        "peak memory above libraries (MiB)": peak,
        "accuracy": result.metrics.accuracy.value,
        "  95 % interval, half width": result.metrics.accuracy.half_width,
        "negative log-likelihood (nats)": result.metrics.nll.value,
        "calibration error": result.metrics.ece.value,
    }
    if options.plain:
        plain = plain_seconds(estimator, open_chunk(chunks[0])[: options.plain]) * len(labels) / options.plain
        out["plain loop, extrapolated (s)"] = plain
        out["plain loop / scoring"] = plain / result.seconds["score"]
    return out


def deterministic_seconds(estimator: MCDropout, chunks: tuple[Chunk, ...]) -> float:
    """One pass without dropout over all images, in the same minibatches."""
    started = time.perf_counter()
    with torch.inference_mode():
        for chunk in chunks:
            pixels = open_chunk(chunk)
            for start in range(0, len(pixels), estimator.minibatch):
                part = torch.from_numpy(np.array(pixels[start : start + estimator.minibatch]))
                estimator.network(part).softmax(-1).amax(-1).numpy()
    return time.perf_counter() - started


def plain_seconds(estimator: MCDropout, pixels: np.ndarray) -> float:
    """K whole passes, each with its mask: what others do."""
    batch, started = torch.from_numpy(np.array(pixels)), time.perf_counter()
    with torch.inference_mode():
        for k in range(len(estimator.masks[0])):
            estimator.network(batch, [mask[k : k + 1] for mask in estimator.masks]).softmax(-1)
    return time.perf_counter() - started


def warm_up() -> None:
    """Load what torch loads on first use, so that it counts as a library."""
    convolution = torch.nn.Conv2d(1, 8, 3)
    optimizer = torch.optim.AdamW(convolution.parameters())
    convolution(torch.zeros(8, 1, 8, 8)).sum().backward()
    optimizer.step()


def reset_peak() -> float:
    """Start a new measurement of the peak; returns the memory in use now, in MiB."""
    status = Path("/proc/self/clear_refs")
    if status.exists():
        status.write_text("5")
    return peak_mebibytes()


def peak_mebibytes() -> float:
    """The most memory that this process has had resident, memory maps included, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def cpu_name() -> str:
    """The processor, as Linux names it."""
    path = Path("/proc/cpuinfo")
    names = [line for line in path.read_text().splitlines() if line.startswith("model name")] if path.exists() else []
    return names[0].split(":", 1)[1].strip() + f" x {len(names)}" if names else platform.processor()


if __name__ == "__main__":
    main()
