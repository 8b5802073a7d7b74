"""What it costs to ask K posterior samples about a pool, against one deterministic pass and the plain loop.

    python -m benchmarks.scoring ../shared/data/mnist.npz --repeat 3 --threads 1

The plain loop is one whole pass of the network for each sample, as the essay has it; it is timed on a few images and
extrapolated. So is BaaL's MC dropout of the same network, where `import baal` works: no requirements file has it, for
it asks for jupyter and an older structlog. In a folder of its own it does without most of that:

    python -m pip install --no-deps --target baal 'baal==2.1.*' 'structlog==22.*'
    PYTHONPATH=baal python -m benchmarks.scoring ../shared/data/mnist.npz --estimators mc_dropout

All kinds run in turn, so that a machine that slows down slows all of them. Then the cost of MC dropout against the
number of images, samples and classes.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import logging
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from benchmarks.round import cpu_name, peak_mebibytes, reset_peak, warm_up
from learner.config import ARCHITECTURES, ESTIMATORS, Recipe, RoundConfig, ignore
from learner.estimators import Estimator, estimator_class
from learner.folder import write_chunks
from learner.network import Network
from learner.pool import Pool
from learner.scoring import score_inputs
from learner.vision import torchvision

LABELS = 100
STEPS = 100  # of the fit: what is fitted does not matter to the time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("npz", type=Path, help="mnist.npz")
    parser.add_argument("--estimators", nargs="+", choices=ESTIMATORS, default=list(ESTIMATORS))
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="gal_cnn")
    parser.add_argument("--posterior-samples", type=int, default=100)
    parser.add_argument("--pool", type=int, default=60_000)
    parser.add_argument("--plain", type=int, default=128, help="images for the plain loop")
    parser.add_argument("--baal", type=int, default=512, help="images for BaaL, where it is installed")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"$ python -m benchmarks.scoring {' '.join(sys.argv[1:])}")
    print(f"{cpu_name()}, {options.threads} thread(s), {options.device}; Python {platform.python_version()}, "
          f"torch {torch.__version__}; K = {options.posterior_samples}, {options.architecture}, seed 0")  # fmt: skip
    with np.load(options.npz, allow_pickle=False) as file:
        pixels, labels = file["x_train"][: options.pool, None], file["y_train"][: options.pool].astype(np.int64)
    with tempfile.TemporaryDirectory() as folder:
        pool = Pool(write_chunks(pixels[:LABELS], Path(folder)))
        config = RoundConfig(
            n_classes=10,
            architecture=options.architecture,
            posterior_samples=options.posterior_samples,
            device=options.device,
            recipe=Recipe(steps=STEPS),
        )
        warm_up()
        for name in options.estimators:
            named = replace(config, estimator=name, member_dropout=name in ("bootstrap", "ensemble"))
            estimator = estimator_class(name).fit(pool, np.arange(LABELS), labels[:LABELS], named, ignore)
            compare(name, estimator, pixels, options)
        growth(pool, pixels, labels, config)


def compare(name: str, estimator: Estimator, pixels: np.ndarray, options: argparse.Namespace) -> None:
    """Print seconds over the whole pool, and ratios within each turn: median (least to most)."""
    ours, passes, plain, theirs, peaks = [], [], [], [], []
    baal = baal_of(estimator, options.posterior_samples) if name == "mc_dropout" else None
    for _ in range(options.repeat):
        passes.append(timed(lambda: deterministic_pass(estimator, pixels)))
        plain.append(extrapolated(lambda few: plain_loop(estimator, few), pixels, options.plain))
        if baal:
            theirs.append(extrapolated(baal, pixels, options.baal))
        before = reset_peak()
        ours.append(timed(lambda: score_inputs(estimator, pixels, 10, ignore)))
        peaks.append(peak_mebibytes() - before)
    print(f"\n{name}, {len(pixels):,} images")
    lines: dict[str, list[float]] = {
        "one deterministic pass (s)": passes,
        "the plain loop, extrapolated (s)": plain,
        "BaaL, extrapolated (s)": theirs,
        "ours, with all measures (s)": ours,
        "ours / deterministic pass": [a / b for a, b in zip(ours, passes, strict=True)],
        "the plain loop / ours": [a / b for a, b in zip(plain, ours, strict=True)],
        "BaaL / ours": [a / b for a, b in zip(theirs, ours, strict=False)],
        "one pass (images a second)": [len(pixels) / seconds for seconds in passes],
        "the plain loop (images a second)": [len(pixels) / seconds for seconds in plain],
        "BaaL (images a second)": [len(pixels) / seconds for seconds in theirs],
        "ours (images a second)": [len(pixels) / seconds for seconds in ours],
        "extra memory of ours (MiB)": peaks,
    }
    for words, values in lines.items():
        if not values:
            continue
        print(f"  {words:36s} {statistics.median(values):10.4g}  ({min(values):.4g} to {max(values):.4g})", flush=True)


def growth(pool: Pool, pixels: np.ndarray, labels: np.ndarray, config: RoundConfig) -> None:
    """Print the seconds of MC dropout against N, K and C, the others held."""

    def seconds(n: int, **changes: Any) -> float:
        changed = replace(config, estimator="mc_dropout", **changes)
        estimator = estimator_class("mc_dropout").fit(pool, np.arange(LABELS), labels[:LABELS], changed, ignore)
        return timed(lambda: score_inputs(estimator, pixels[:n], changed.n_classes, ignore))

    print("\nMC dropout, seconds as it grows")
    n = min(10_000, len(pixels))
    print("  images  ", {f"{part:,}": round(seconds(part), 2) for part in (n // 4, n // 2, n)})
    print("  samples ", {k: round(seconds(n, posterior_samples=k), 2) for k in (25, 50, 100, 200)})
    print("  classes ", {c: round(seconds(n // 4, n_classes=c), 2) for c in (10, 100, 1000)})


def deterministic_pass(estimator: Any, pixels: np.ndarray) -> None:
    """One network, once over all images, in the same minibatches."""
    network = networks_of(estimator)[0]
    device = next(network.parameters()).device
    with torch.inference_mode():
        for start in range(0, len(pixels), estimator.minibatch):
            part = torch.from_numpy(np.array(pixels[start : start + estimator.minibatch])).to(device)
            network(part).softmax(-1).amax(-1).cpu().numpy()


def plain_loop(estimator: Any, pixels: np.ndarray) -> None:
    """A whole pass for each posterior sample."""
    with torch.inference_mode():
        n_samples = estimator.sample_log_probs(pixels[:1]).shape[1]
        networks = networks_of(estimator)
        batch = torch.from_numpy(np.array(pixels)).to(next(networks[0].parameters()).device)
        generator = torch.Generator().manual_seed(0)
        for k in range(n_samples):
            network = networks[k % len(networks)]
            masks = [mask.to(batch.device) for mask in network.head.draw_masks(1, generator)]
            network(batch, masks).softmax(-1).cpu()


def baal_of(estimator: Any, n_samples: int) -> Callable[[np.ndarray], object] | None:
    """MC dropout of the same network by BaaL with its defaults, but that no processes load images, which are in memory.

    Returns:
        What predicts images `[n, channels, height, width]`; None, and a line that says so, where BaaL is not installed.
    """
    if importlib.util.find_spec("baal") is None:
        print("\nBaaL is not installed and left out: see the top of benchmarks/scoring.py")
        return None
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    torchvision()  # it imports it by itself, which fails beside a CPU-only torch
    from baal.bayesian.dropout import patch_module
    from baal.modelwrapper import ModelWrapper, TrainingArgs

    device = next(estimator.network.parameters()).device
    arguments = TrainingArgs(workers=0, use_cuda=device.type == "cuda")
    model = ModelWrapper(patch_module(WithDropout(estimator.network)).to(device), arguments)
    version, batch = importlib.metadata.version("baal"), arguments.batch_size
    print(f"\nBaaL {version}: {batch} images at a time, {n_samples} copies of each")
    return lambda pixels: model.predict_on_dataset(
        TensorDataset(torch.from_numpy(np.array(pixels))), iterations=n_samples, verbose=False
    )


class WithDropout(nn.Module):
    """A network with its dropout as layers of torch, which BaaL looks for; the weights are the network's own."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network, layers = network, list[nn.Module]()
        for i, (linear, rate) in enumerate(zip(network.head.linears, network.head.rates, strict=True)):
            layers += [nn.ReLU()] if i else []
            maps = linear.in_features // network.head.group
            if i or maps == linear.in_features:
                layers += [nn.Dropout(rate), linear]
            else:  # whole feature maps
                layers += [nn.Unflatten(1, (maps, network.head.group, 1)), nn.Dropout2d(rate), nn.Flatten(), linear]
        self.head = nn.Sequential(*layers)

    def forward(self, inputs_M_X: Tensor) -> Tensor:
        """`logits_M_C`."""
        logits_M_C: Tensor = self.head(self.network.features(inputs_M_X))
        return logits_M_C


def networks_of(estimator: Any) -> list[Any]:
    """The members, or the one network."""
    return list(getattr(estimator, "networks", None) or [estimator.network])


def extrapolated(work: Callable[[np.ndarray], object], pixels: np.ndarray, n: int) -> float:
    """Seconds that all images would take, by the first n."""
    few = pixels[:n]
    return timed(lambda: work(few)) * len(pixels) / len(few)


def timed(work: Callable[[], object]) -> float:
    """Seconds of wall time."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
