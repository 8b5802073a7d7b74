"""Published curves on MNIST again, by our measures and acquisition functions: are they inside the published spread?

    python -m benchmarks.reproduction ../shared/data/mnist.npz gal --seeds 2 --until 150
    python -m benchmarks.reproduction ../shared/data/mnist.npz batchbald --ways bald_10 --seeds 1 --until 100
    python -m benchmarks.reproduction ../shared/data/mnist.npz batchbald --device cuda --scored 60000 --samples 100 \\
        --ways random bald_10 batchbald_10 --seeds 6 --until 300

gal: Gal, Islam, Ghahramani, 2017, section 5, and the authors' own code: convolutions of 4 x 4, 20 balanced initial
labels, 10 a round, dropout at test, a fresh network every round, L2 of 3.5 / N on the dense layers, 2,000 random
images scored a round. How long they trained is not in the paper; here it is `--epochs`.
batchbald: Kirsch, van Amersfoort, Gal, 2019, section 4.1, and their code: convolutions of 5 x 5 with dropout of whole
maps, two initial labels a class, Adam at 1e-3 in batches of 64, 5,056 draws an epoch, stopped early on 1,024 labelled
validation images (which they do not count, and neither does this), no augmentation.

What is smaller than published is in the options: how many images are scored a round (published: all), how many test
images are measured (10,000), how many posterior samples there are (100). Fewer scored images make a batch more diverse.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.servers import machine_line
from learner.acquisition import batchbald, rank
from learner.seeds import derive
from learner.simulation.summary import Curve, table, write_csv
from learner.uncertainty import measure, summarise

WAYS = ("random", "bald_10", "entropy_10", "variation_ratio_10", "batchbald_5", "batchbald_10", "bald_1")
MEASURES = {"bald": "mutual_information", "entropy": "predictive_entropy", "variation": "variation_ratio"}
PUBLISHED = {
    "gal": "published (table 1): 90 % after random 255, entropy 165, BALD 145, variation ratios 120; 95 % after 835, "
    "355, 335, 295. A rerun by others: random 250/517, BALD 150/296, variation ratios 143/283, entropy 163/310",
    "batchbald": "published runs (6 seeds each, all images scored, K = 100): 90 % after BatchBALD-5 75 to 105, "
    "BatchBALD-10 80 to 120, BALD-1 78 to 105, BALD-10 130 to 200; median accuracy after 100/200: BatchBALD-5 "
    ".901/.949, BatchBALD-10 .896/.947, BALD-1 .891/.938, BALD-10 .861/.920",
}  # fmt: skip


@dataclass(frozen=True)
class Images:
    pool: Tensor
    pool_labels: Tensor
    test: Tensor
    test_labels: Tensor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("npz", type=Path, help="mnist.npz")
    parser.add_argument("protocol", choices=PUBLISHED)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["random", "bald_10"])
    parser.add_argument("--seeds", type=int, default=2, help="seeds 0, 1, ...")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--until", type=int, default=150)
    parser.add_argument("--scored", type=int, default=2_000, help="pool images scored a round, drawn at random")
    parser.add_argument("--measured", type=int, default=10_000, help="test images, drawn at random")
    parser.add_argument("--samples", type=int, default=50, help="K for scoring")
    parser.add_argument("--test-samples", type=int, default=20, help="K for measuring")
    parser.add_argument("--epochs", type=int, default=50, help="of gal")
    parser.add_argument("--minutes", type=float, help="begin no further run after so long")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        f"$ python -m benchmarks.reproduction {' '.join(sys.argv[1:])}\n{machine_line()}, {options.threads} thread(s)"
    )
    images, began = read(options.npz, options.device), time.monotonic()
    curves: dict[str, dict[int, Curve]] = {}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for way in options.ways:
            if options.minutes and time.monotonic() - began > 60 * options.minutes:
                continue
            curves.setdefault(way, {})[seed] = run(images, way, seed, options)
            if options.csv:
                keep(options.csv, curves)
    print(f"{time.monotonic() - began:.0f} s")
    print("\n".join(table(curves, [0.8, 0.9, 0.95])))
    print(PUBLISHED[options.protocol])


def keep(path: Path, curves: dict[str, dict[int, Curve]]) -> None:
    rows = (
        (way, seed, answers, round(value, 5), "", "")
        for way, of_seed in curves.items()
        for seed, curve in of_seed.items()
        for answers, value in curve.items()
    )
    write_csv(path, rows)


def read(path: Path, device: str) -> Images:
    with np.load(path, allow_pickle=False) as file:
        arrays = [torch.from_numpy(file[name]).to(device) for name in ("x_train", "y_train", "x_test", "y_test")]
    pixels = [(each[:, None].float() / 255 - 0.1307) / 0.3081 for each in arrays[::2]]
    return Images(pixels[0], arrays[1].long(), pixels[1], arrays[3].long())


def run(images: Images, way: str, seed: int, options: argparse.Namespace) -> dict[int, float]:
    """Accuracy on test images by the number of labels, initial ones included."""
    rng = np.random.default_rng(derive(seed, "reproduction"))
    torch.manual_seed(derive(seed, way))
    order = rng.permutation(len(images.pool_labels))
    classes = images.pool_labels.cpu().numpy()
    asked = np.concatenate([order[classes[order] == c][:2] for c in range(10)])
    validation = np.setdiff1d(order, asked, assume_unique=True)[:1024]
    left = np.setdiff1d(order, np.concatenate([asked, validation]))
    test = torch.from_numpy(rng.permutation(len(images.test_labels))[: options.measured]).to(images.test.device)
    curve: dict[int, float] = {}
    while True:
        if options.protocol == "gal":
            network = train_gal(images, asked, options.epochs)
        else:
            network = train_batchbald(images, asked, validation)
        probs = log_probs(network, images.test[test], options.test_samples).exp().mean(1)
        curve[len(asked)] = float((probs.argmax(1) == images.test_labels[test]).float().mean())
        print(f"  {way}, seed {seed}, {len(asked)} labels: {curve[len(asked)]:.4f}", file=sys.stderr, flush=True)
        if len(asked) >= options.until:
            return curve
        some = rng.choice(left, min(options.scored, len(left)), replace=False)
        chosen = some[choose(network, images.pool[torch.from_numpy(some).to(images.pool.device)], way, seed, options)]
        asked, left = np.concatenate([asked, chosen]), np.setdiff1d(left, chosen)


def choose(network: nn.Module, pixels: Tensor, way: str, seed: int, options: argparse.Namespace) -> np.ndarray:
    """Indices of a batch among the scored images, by the product's own functions."""
    if way == "random":
        return np.arange(10)  # the scored ones come in random order
    how, size = way.rsplit("_", 1)
    samples = log_probs(network, pixels, options.samples)
    if how == "batchbald":
        return batchbald(samples.cpu().numpy(), int(size), seed=seed)[0]
    scores = measure(summarise(samples))[MEASURES[how.split("_")[0]]].cpu().numpy()
    return rank("top", scores, coldness=1.0, seed=seed)[: int(size)]


@torch.inference_mode()
def log_probs(network: nn.Module, pixels: Tensor, n_samples: int) -> Tensor:
    """Under dropout, `[N, K, C]`. What stands before the first dropout runs once an image."""
    batch = 2_500 if pixels.is_cuda else 250  # a graphics card takes as long for a small one
    network.train()  # dropout stays on: there is nothing else in these networks that training changes
    trunk, head = network[0], network[1]
    parts = []
    for start in range(0, len(pixels), batch):
        features = trunk(pixels[start : start + batch])
        parts.append(torch.stack([functional.log_softmax(head(features), 1) for _ in range(n_samples)], 1))
    return torch.cat(parts)


# --- The networks as published, and how they were trained ------------------------------------------------------------


def gal_network() -> nn.Sequential:
    trunk = nn.Sequential(
        nn.Conv2d(1, 32, 4), nn.ReLU(), nn.Conv2d(32, 32, 4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
    )
    return nn.Sequential(
        trunk,
        nn.Sequential(nn.Dropout(0.25), nn.Linear(32 * 11 * 11, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10)),
    )


def train_gal(images: Images, asked: np.ndarray, epochs: int) -> nn.Sequential:
    network = gal_network().to(images.pool.device, memory_format=torch.channels_last)
    decay = 3.5 / len(asked)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    where = torch.from_numpy(asked).to(images.pool.device)
    network.train()
    for _ in range(epochs):
        for part in where[torch.randperm(len(where), device=where.device)].split(128):
            loss = functional.cross_entropy(network(images.pool[part]), images.pool_labels[part])
            penalty = sum(layer.weight.square().sum() for layer in network[1] if isinstance(layer, nn.Linear))
            step(optimiser, loss + decay * penalty)
    return network


def batchbald_network() -> nn.Sequential:
    trunk = nn.Conv2d(1, 32, 5)
    head = nn.Sequential(
        nn.Dropout2d(0.5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(32, 64, 5), nn.Dropout2d(0.5), nn.MaxPool2d(2),
        nn.ReLU(), nn.Flatten(), nn.Linear(1024, 128), nn.Dropout(0.5), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip
    return nn.Sequential(trunk, head)


def train_batchbald(images: Images, asked: np.ndarray, validation: np.ndarray) -> nn.Sequential:
    network = batchbald_network().to(images.pool.device, memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    where, held = (torch.from_numpy(each).to(images.pool.device) for each in (asked, validation))
    best, best_weights, bad = 0.0, network.state_dict(), 0
    for _ in range(30):
        network.train()
        for part in where[torch.randint(len(where), (5056,), device=where.device)].split(64):
            step(optimiser, functional.cross_entropy(network(images.pool[part]), images.pool_labels[part]))
        network.eval()
        with torch.inference_mode():
            right = float((network(images.pool[held]).argmax(1) == images.pool_labels[held]).float().mean())
        if right > best:
            best, best_weights, bad = right, {name: each.clone() for name, each in network.state_dict().items()}, 0
        elif (bad := bad + 1) >= 3:
            break
    network.load_state_dict(best_weights)
    return network


def step(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


if __name__ == "__main__":
    main()
