"""The learning curve: accuracy against answers, asked in the model's order and at random; drawn for the README.

    python -m benchmarks.curve digits --seeds 5 --svg docs/images/curve.svg
    python -m benchmarks.curve ../shared/data/mnist.npz --pool 10000 --holdout 2000 --until 100 --seeds 3

The product's learner with its defaults, answers from the known labels, each round from scratch. Both ways start from
the same images, and are measured on the same holdout, which is drawn anew with each seed and never learned from.
Lines are medians over the seeds, bands go from the worst seed to the best.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.servers import machine_line
from learner.config import RoundConfig
from learner.folder import write_chunks
from learner.pool import Chunk
from learner.simulate import simulate

Integers = npt.NDArray[np.int64]
MODEL, RANDOM = RoundConfig(n_classes=2).acquisition, "random"
WORDS = {MODEL: "asked in the model's order", RANDOM: "asked at random"}


@dataclass(frozen=True)
class Data:
    name: str
    chunks: tuple[Chunk, ...]
    labels: Integers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="digits, or a path to mnist.npz")
    parser.add_argument("--pool", type=int, default=10_000, help="images at most, the first of the training part")
    parser.add_argument("--holdout", type=int, default=500)
    parser.add_argument("--start", type=int, default=10)
    parser.add_argument("--until", type=int, default=150)
    parser.add_argument("--budget", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0, 1, ...")
    parser.add_argument("--target", type=float, nargs="+", default=[0.9, 0.95])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--svg", type=Path, help="draw it here")
    options = parser.parse_args()
    print(f"$ python -m benchmarks.curve {' '.join(sys.argv[1:])}\n{machine_line()}, {options.threads} thread(s)")
    with tempfile.TemporaryDirectory() as folder:
        data = read(options.data, Path(folder), options.pool)
        begin = time.monotonic()
        curves = {way: [run(data, way, seed, options) for seed in range(options.seeds)] for way in (MODEL, RANDOM)}
    print(f"{time.monotonic() - begin:.0f} s; {options.holdout} images held out, seeds 0 to {options.seeds - 1}")
    report(curves, options)
    if options.svg:
        options.svg.write_text(drawing(data, curves, options))


def read(source: str, folder: Path, pool: int) -> Data:
    if source == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        pixels = np.clip(digits.images * 16, 0, 255).astype(np.uint8)
        name, labels = "scikit-learn's 1,797 digits", digits.target
    else:
        with np.load(source, allow_pickle=False) as file:
            pixels, labels = file["x_train"], file["y_train"]
        name = f"{min(pool, len(labels)):,} images of MNIST"
    pixels, labels = pixels[:pool], labels[:pool].astype(np.int64)
    return Data(name, write_chunks(pixels[:, None], folder), labels)


def run(data: Data, way: str, seed: int, options: argparse.Namespace) -> dict[int, float]:
    """Accuracy on the holdout by number of answers."""
    order = np.random.default_rng(seed).permutation(len(data.labels))
    config = RoundConfig(
        n_classes=int(data.labels.max()) + 1, acquisition=way, budget=options.budget, seed=seed, threads=options.threads
    )
    points = simulate(
        data.chunks,
        data.labels,
        config=config,
        pool_positions=order[options.holdout :],
        holdout_positions=np.sort(order[: options.holdout]),
        start=options.start,
        until=options.until,
    )
    print(f"  {way}, seed {seed}: {points[-1].accuracy} after {points[-1].labels}", file=sys.stderr, flush=True)
    return {point.labels: point.accuracy.value for point in points}


def report(curves: dict[str, list[dict[int, float]]], options: argparse.Namespace) -> None:
    answers = sorted(set.intersection(*(set(curve) for each in curves.values() for curve in each)))
    print("answers  " + "  ".join(f"{WORDS[way]:>34}" for way in curves))
    for count in answers:
        cells = []
        for each in curves.values():
            values = [curve[count] for curve in each]
            cells.append(f"{median(values):.3f} ({min(values):.3f} to {max(values):.3f})")
        print(f"{count:>7}  " + "  ".join(f"{cell:>34}" for cell in cells))
    for target in options.target:
        for way, each in curves.items():
            print(f"{target:.0%} {WORDS[way]}: {answers_to(each, target, options.until)}")


def answers_to(curves: list[dict[int, float]], target: float, until: int) -> str:
    """The first number of answers from which on a curve is at the target; a seed that never is counts as more."""
    reached = [next((n for n in sorted(curve) if curve[n] >= target), until + 1) for curve in curves]
    shown = [f"{count:.0f}" if count <= until else f"more than {until}" for count in (median(reached), *reached)]
    return f"{shown[0]} answers (median; by seed {', '.join(shown[1:])})"


# --- The picture ----------------------------------------------------------------------------------------------------

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 380, 56, 744, 40, 336
COLOURS = {MODEL: "#0072b2", RANDOM: "#8a8a8a"}


def drawing(data: Data, curves: dict[str, list[dict[int, float]]], options: argparse.Namespace) -> str:
    lowest = min(value for each in curves.values() for curve in each for value in curve.values())
    floor = int(lowest * 10) / 10

    def at(count: float, value: float) -> str:
        x = LEFT + (RIGHT - LEFT) * (count - options.start) / (options.until - options.start)
        return f"{x:.1f},{BOTTOM - (BOTTOM - TOP) * (value - floor) / (1 - floor):.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-size="13" '
        'font-family="system-ui, sans-serif">',
        f"<title>Accuracy against answers on {data.name}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="22" fill="#333333">Right on {options.holdout:,} images held out, {data.name}: '
        f"median and range of {options.seeds} seeds</text>",
    ]
    parts += _axes(floor, at, options)
    for way in (RANDOM, MODEL):
        counts = sorted(set.intersection(*(set(curve) for curve in curves[way])))
        values = {count: [curve[count] for curve in curves[way]] for count in counts}
        band = [at(n, max(values[n])) for n in counts] + [at(n, min(values[n])) for n in reversed(counts)]
        line = " ".join(at(n, median(values[n])) for n in counts)
        parts.append(f'<polygon points="{" ".join(band)}" fill="{COLOURS[way]}" opacity="0.15"/>')
        parts.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS[way]}" stroke-width="2.5"/>')
    for row, way in enumerate((MODEL, RANDOM)):
        y = BOTTOM - 40 + 20 * row
        parts.append(f'<line x1="{RIGHT - 214}" x2="{RIGHT - 190}" y1="{y}" y2="{y}" stroke="{COLOURS[way]}" '
                     'stroke-width="2.5"/>')  # fmt: skip
        parts.append(f'<text x="{RIGHT - 182}" y="{y + 4}" fill="#333333">{WORDS[way]}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _axes(floor: float, at: Any, options: argparse.Namespace) -> list[str]:
    parts = []
    for tenth in range(round(floor * 10), 11):
        y = at(options.start, tenth / 10).split(",")[1]
        parts.append(f'<line x1="{LEFT}" x2="{RIGHT}" y1="{y}" y2="{y}" stroke="#e3e3e3"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{float(y) + 4:.1f}" fill="#666666" text-anchor="end">{tenth}0 %</text>')
    for count in range(options.start, options.until + 1, 20):
        x = at(count, floor).split(",")[0]
        parts.append(f'<text x="{x}" y="{BOTTOM + 20}" fill="#666666" text-anchor="middle">{count}</text>')
    middle = (LEFT + RIGHT) // 2
    parts.append(f'<text x="{middle}" y="{BOTTOM + 38}" fill="#666666" text-anchor="middle">answers</text>')
    return parts


if __name__ == "__main__":
    main()
