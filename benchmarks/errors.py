r"""What is still wrong after so many answers, and of what kind.

    python -m benchmarks.errors ../shared/data/mnist.npz --answers 10 15 --seeds 10 --sheet errors.png
    python -m benchmarks.errors ../shared/data/sign-digits.zip --side 64 --features efficientnet_lite0 \
        --answers 12 20 50

The graph alone, asked by gain, from nothing. An image of the pool that it gets wrong is of one of three kinds:

  no answer yet   nobody has answered its class: what is missing is a discovery;
  whole part      half of its ten neighbours or more are wrong in the same way: a part of the pool goes by a wrong name;
  boundary        any other: it lies among images of the class that it is taken for, or between the two.

Shares are of the images of the pool without an answer, means over the seeds. The sheet shows wrong images of the last
seed at the last number of answers, a row a kind, drawn at random.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.labels import features_of
from benchmarks.servers import machine_line
from learner.config import ignore
from learner.folder import UNKNOWN, read_collection
from learner.graph.hypotheses import Answers
from learner.graph.model import Graph, build, predict
from learner.graph.neighbours import Searcher
from learner.graph.representation import represent
from learner.graph.strategy import ask
from learner.pool import Pool
from learner.seeds import derive

KINDS = ("no answer yet", "whole part", "boundary")
ALIKE = 5  # of ten neighbours
PAIRS = 6
COLUMNS, CELL = 12, 56


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="mnist.npz, class folders, or digits")
    parser.add_argument("--answers", type=int, nargs="+", default=[10, 15])
    parser.add_argument("--seeds", type=int, default=10, help="seeds 0, 1, ...")
    parser.add_argument("--side", type=int)
    parser.add_argument("--features", help="name of a backbone")
    parser.add_argument("--cache", type=Path, default=Path("data/benchmarks"), help="folder where features are kept")
    parser.add_argument("--sheet", type=Path, help="write pictures of wrong images here")
    options = parser.parse_args()
    print(f"$ python -m benchmarks.errors {' '.join(sys.argv[1:])}\n{machine_line()}, 1 thread")
    with tempfile.TemporaryDirectory() as folder:
        collection = read_collection(Path(options.source), Path(folder), ignore, side=options.side)
        of_pool = np.flatnonzero((collection.labels != UNKNOWN) & ~collection.is_test)
        seen = collection.chunks
        if options.features:
            seen = tuple(features_of(chunk, options.features, options.cache) for chunk in seen)
        labels, names = collection.labels[of_pool], collection.class_names
        neighbours = Searcher(represent(seen)[1][of_pool]).neighbours()
        shares: dict[int, list[dict[str, float]]] = {count: [] for count in options.answers}
        pairs: dict[int, Counter[tuple[int, int]]] = {count: Counter() for count in options.answers}
        for seed in range(options.seeds):
            asked = np.empty(0, np.int64)
            graph = build(neighbours, seed=seed)
            for count in sorted(options.answers):
                asked = asked_until(graph, labels, len(names), asked, count, seed)
                said = predict(graph, Answers(asked, labels[asked], len(names))).best()
                kinds = kinds_of(said, labels, asked, neighbours.index_N_k[:, :10])
                rest = len(labels) - len(asked)
                shares[count].append({kind: len(positions) / rest for kind, positions in kinds.items()})
                wrong = np.concatenate(list(kinds.values()))
                pairs[count].update(zip(labels[wrong].tolist(), said[wrong].tolist(), strict=True))
        if options.sheet:
            pixels = Pool(collection.chunks)
            sheet(kinds, labels, said, names, lambda positions: pixels.inputs(of_pool[positions])).save(options.sheet)
    for count in sorted(options.answers):
        parts = [f"{kind} {np.mean([each[kind] for each in shares[count]]):.4f}" for kind in KINDS]
        right = 1 - np.array([sum(each.values()) for each in shares[count]])
        print(f"\n{count} answers: {np.mean(right):.4f} right (worst {right.min():.4f}); wrong: {', '.join(parts)}")
        total = pairs[count].total()
        for (truth, taken), number in pairs[count].most_common(PAIRS):
            print(f"    {names[truth]} taken for {names[taken]}: {number / total:.0%} of what is wrong")


def asked_until(
    graph: Graph, labels: np.ndarray, n_classes: int, asked: np.ndarray, count: int, seed: int
) -> np.ndarray:
    """One question at a time, by gain."""
    while len(asked) < count:
        is_open = np.ones(len(labels), np.bool_)
        is_open[asked] = False
        prediction = predict(graph, Answers(asked, labels[asked], n_classes))
        (question,) = ask(prediction, is_open, 1, seed=derive(seed, f"questions {len(asked)}"))
        asked = np.append(asked, question.position)
    return asked


def kinds_of(
    said_N: np.ndarray, labels_N: np.ndarray, asked: np.ndarray, index_N_10: np.ndarray
) -> dict[str, np.ndarray]:
    """Positions of wrong images by kind."""
    is_wrong = said_N != labels_N
    is_wrong[asked] = False
    is_named = np.isin(labels_N, labels_N[asked])
    is_same = (said_N[index_N_10] == said_N[:, None]) & (labels_N[index_N_10] == labels_N[:, None]) & (index_N_10 >= 0)
    is_part = is_same.sum(1) >= ALIKE
    return {
        "no answer yet": np.flatnonzero(is_wrong & ~is_named),
        "whole part": np.flatnonzero(is_wrong & is_named & is_part),
        "boundary": np.flatnonzero(is_wrong & is_named & ~is_part),
    }


def sheet(
    kinds: dict[str, np.ndarray],
    labels: np.ndarray,
    said: np.ndarray,
    names: Sequence[str],
    pixels_of: Callable[[np.ndarray], np.ndarray],
) -> Image.Image:
    """A row of wrong images a kind, each above what it is and what it was taken for."""
    rows = [kind for kind in KINDS if len(kinds[kind])]
    canvas = Image.new("RGB", (COLUMNS * CELL, len(rows) * (CELL + 34)), "white")
    draw = ImageDraw.Draw(canvas)
    for row, kind in enumerate(rows):
        top = row * (CELL + 34)
        draw.text((2, top), kind, fill="black")
        shown = np.random.default_rng(0).permutation(kinds[kind])[:COLUMNS]
        for column, (position, image) in enumerate(zip(shown, pixels_of(shown), strict=True)):
            channels_last = np.moveaxis(np.asarray(image, np.uint8), 0, -1)
            picture = Image.fromarray(channels_last.squeeze(-1) if channels_last.shape[-1] == 1 else channels_last)
            canvas.paste(picture.convert("RGB").resize((CELL - 4, CELL - 4)), (column * CELL + 2, top + 14))
            words = f"{names[labels[position]]} as {names[said[position]]}"
            draw.text((column * CELL + 2, top + CELL + 14), words, fill="black")
    return canvas


if __name__ == "__main__":
    main()
