"""What choosing a batch costs: seconds and memory of each acquisition function on synthetic pools of two sizes.

    python -m benchmarks.acquisition --images 100000 1000000

A pool of feature vectors in clusters, a head fitted on some of them, and score files with made-up measures (their
values do not change the cost). Each function runs in a process of its own, through `learner.round.acquire`: files read,
model loaded, near-duplicates passed over. The memory is the peak of that process above what its imports take, the pages
of the pool's files that it has mapped included.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.round import peak_mebibytes, reset_peak
from learner.config import BATCH_ACQUISITIONS, MEASURES, Recipe, RoundConfig, RoundRequest, ignore
from learner.files import write_array
from learner.pool import CHUNK_SIZE, Chunk
from learner.round import acquire, fit
from learner.scores import write_scores

FEATURES, CLASSES, LABELS = 128, 10, 200
NAMES = (
    "random", "top_margin", "power_margin", "softmax_margin", "soft_rank_margin", "power_epig", *BATCH_ACQUISITIONS
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[100_000, 1_000_000], help="N, one or more")
    parser.add_argument("--budget", type=int, default=100, help="b (default 100)")
    parser.add_argument("--samples", type=int, default=100, help="K (default 100)")
    parser.add_argument("--functions", nargs="+", default=list(NAMES), help="acquisition functions")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, folder = options.one
        run(name, Path(folder), options.images[0], options.budget, options.samples)
        return
    print(f"b = {options.budget}, K = {options.samples}, C = {CLASSES}, {FEATURES} features")
    for n in options.images:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), n, options.budget, options.samples)
            for name in options.functions:
                command = [sys.executable, "-m", "benchmarks.acquisition", "--one", name, folder, "--images", str(n)]
                command += ["--budget", str(options.budget), "--samples", str(options.samples)]
                print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="", flush=True)


def config_of(budget: int, samples: int, name: str = "random") -> RoundConfig:
    return RoundConfig(CLASSES, architecture="head", acquisition=name, posterior_samples=samples, budget=budget,
                       device="cpu", recipe=Recipe(steps=100))  # fmt: skip


def chunks_in(folder: Path, n: int) -> tuple[Chunk, ...]:
    starts = range(0, n, CHUNK_SIZE)
    return tuple(Chunk(i, folder / f"{i}.npy", min(CHUNK_SIZE, n - at)) for i, at in enumerate(starts))


def make(folder: Path, n: int, budget: int, samples: int) -> None:
    """The pool, its score files, and a model."""
    rng = np.random.default_rng(0)
    centres, chunks = rng.normal(size=(CLASSES, FEATURES)), chunks_in(folder, n)
    for chunk in chunks:
        classes = np.arange(chunk.count) % CLASSES
        vectors = centres[classes] + rng.normal(size=(chunk.count, FEATURES))
        write_array(chunk.path, vectors.astype(np.float16))
        probs = rng.dirichlet(np.full(CLASSES, 0.1), size=chunk.count).astype(np.float16)
        measures = {name: rng.gamma(0.3, 0.3, size=chunk.count).astype(np.float32) for name in MEASURES}
        write_scores(folder, chunk.number, "made up", {"mean_probs_N_C": probs, "std_probs_N_C": probs / 3, **measures})
    labelled = np.arange(LABELS)
    fit(RoundRequest(chunks, labelled, labelled % CLASSES, config_of(budget, samples), folder), ignore)


def run(name: str, folder: Path, n: int, budget: int, samples: int) -> None:
    """One function; prints its line."""
    if name in BATCH_ACQUISITIONS:
        import sklearn.cluster  # noqa: F401 (imported now, so that only the work is measured)

        import learner.posterior  # noqa: F401
    before, started = reset_peak(), time.perf_counter()
    config = replace(config_of(budget, samples), acquisition=name)
    got = acquire(
        folder,
        chunks=chunks_in(folder, n),
        eligible_positions=np.arange(LABELS, n),
        labelled_positions=np.arange(LABELS),
        count=budget,
        config=config,
        report=ignore,
    )
    assert len(set(got.positions.tolist())) == budget
    print(f"{n:>9,}  {name:18s} {time.perf_counter() - started:7.2f} s  {peak_mebibytes() - before:6.0f} MiB")


if __name__ == "__main__":
    main()
