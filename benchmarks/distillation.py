r"""What a network of the pool's own is worth after so many answers, and whether the gate knows.

    python -m benchmarks.distillation ../shared/data/mnist.npz --answers 15 25 100 --seeds 3
    python -m benchmarks.distillation digits --answers 15 --seeds 10
    python -m benchmarks.distillation ../shared/data/sign-digits.zip --side 64 --features efficientnet_lite0 \
        --answers 40 60 100 --seeds 3

Answers are asked for by the graph's gain, from nothing. With `--features`, for photographs, images are compared by what
a backbone makes of them, the network teaches itself, and the answers are about random images. Of an .npz with a test
part the pool is the training part and accuracy is that of the test part; of others a quarter is kept apart, drawn by
the seed. `--fold` keeps a sixth of the training part instead and never reads the test part: for tuning. A seed is a
graph, questions and a network of its own.

Three models of the same answers: the present one (a head on likeness, as rounds fit it), the network itself, and the
head on likeness found anew by the network's features, which is what the product takes over. The gate is shown no label
that was not learned from: the hardest case, and the usual one after 15 answers.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.labels import features_of
from benchmarks.servers import machine_line
from learner.config import RoundConfig, RoundRequest, ignore
from learner.distillation import Student, distil, recipe_for, student_config
from learner.files import write_array, write_atomically
from learner.folder import UNKNOWN, Collection, read_collection, write_chunks
from learner.gate import Verdict, judge
from learner.graph.hypotheses import Answers
from learner.graph.model import Graph, predict
from learner.graph.pool_graph import MadeGraph, make_pool_graph
from learner.graph.strategy import ask
from learner.lessons import Lesson, keep_back, lesson_of, lesson_of_answers
from learner.metrics import normal_mean
from learner.pool import CHUNK_SIZE, Chunk, Pool, open_chunk
from learner.seeds import derive
from learner.trial import predict_classes

FOLDS = 6
EARLY = 25  # up to so many answers one is asked for at a time, then five
MODELS = ("present", "network", "taken over")

Integers = np.ndarray


@dataclass(frozen=True)
class Data:
    """A pool, and images apart from it in chunks that are numbered after the pool's."""

    chunks: tuple[Chunk, ...]
    labels: Integers
    apart: tuple[Chunk, ...]
    truth: Integers
    n_classes: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="mnist.npz, class folders, or digits")
    parser.add_argument("--answers", type=int, nargs="+", default=[15, 25, 100])
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ...")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="as in the product by default")
    parser.add_argument("--side", type=int)
    parser.add_argument("--features", help="name of a backbone: photographs")
    parser.add_argument("--cache", type=Path, default=Path("data/benchmarks"), help="folder where features are kept")
    parser.add_argument("--fold", type=int, choices=range(FOLDS))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        f"$ python -m benchmarks.distillation {' '.join(sys.argv[1:])}\n{machine_line()}, {options.threads} thread(s)"
    )
    found: dict[tuple[int, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        collection = read_collection(Path(options.source), folder / "read", ignore, side=options.side)
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            data = divided(collection, options.fold, seed, folder / f"seed {seed}")
            for answers, accuracies in run(data, options, seed, folder / f"seed {seed}"):
                for model, accuracy in zip(MODELS, accuracies, strict=True):
                    found.setdefault((answers, model), []).append(accuracy)
    print()
    for answers in options.answers:
        for model in MODELS:
            values = np.array(found[answers, model])
            mean = normal_mean(values) if len(values) > 1 else None
            words = f"median {np.median(values):.4f}, worst {values.min():.4f}"
            print(f"{answers:4d} answers  {model:10s}  {words}" + (f", mean {mean.value:.4f}" if mean else ""))


def divided(collection: Collection, fold: int | None, seed: int, folder: Path) -> Data:
    """The pool and what is kept apart, as files."""
    known = np.flatnonzero(collection.labels != UNKNOWN)
    is_test = collection.is_test[known]
    if fold is not None:
        known = known[~is_test]
        is_test = np.random.default_rng(0).permutation(len(known)) % FOLDS == fold
    elif not is_test.any():
        is_test = np.random.default_rng(seed).permutation(len(known)) % 4 == 0
    pool = Pool(collection.chunks)
    chunks, apart = (
        write_chunks((pool.inputs([position])[0] for position in known[part]), folder / name)
        for name, part in (("pool", ~is_test), ("apart", is_test))
    )
    numbered = tuple(replace(chunk, number=len(chunks) + chunk.number) for chunk in apart)
    labels = collection.labels[known]
    return Data(chunks, labels[~is_test], numbered, labels[is_test], len(collection.class_names))


def run(data: Data, options: argparse.Namespace, seed: int, folder: Path) -> list[tuple[int, Sequence[float]]]:
    """Accuracies of `MODELS` at each number of answers."""
    seen, seen_apart = (seen_by_backbone(chunks, options) for chunks in (data.chunks, data.apart))
    made = make_pool_graph(seen, (), seed=derive(seed, "graph"))
    graph, asked, out, pool = made.pool_graph.graph, np.empty(0, np.int64), [], np.arange(len(data.labels))
    for count in sorted(options.answers):
        asked = until(graph, data, asked, count, seed, at_random=bool(options.features))
        answers, began = Answers(asked, data.labels[asked], data.n_classes), time.perf_counter()
        learned, kept = keep_back(answers, seed=seed) if options.features else (answers, answers.within(0))
        lesson = (
            lesson_of_answers(learned, np.setdiff1d(pool, kept.positions_A))
            if options.features
            else lesson_of(graph, answers, pool, seed=seed)
        )
        recipe = recipe_for(len(learned.positions_A), len(lesson.positions), teaches_itself=bool(options.features))
        config = student_config(
            data.n_classes,
            Pool(data.chunks).shape,
            seed=derive(seed, f"{count} answers"),
            recipe=recipe,
            steps=options.steps,
        )
        student, seconds = distil(data.chunks, lesson, config), time.perf_counter() - began
        features, apart = (looked_at(student, chunks, folder) for chunks in (data.chunks, data.apart))
        beside = () if options.features else data.chunks
        again = make_pool_graph(features, (), seed=derive(seed, "graph"), beside=beside)
        old = model_of(data, made, seen_apart, learned, kept, folder / f"old {count}", seed)
        new = model_of(data, again, apart, learned, kept, folder / f"new {count}", seed)
        where = np.concatenate([chunk.positions for chunk in data.apart])
        network = np.concatenate([student.look_at(chunk)[1].argmax(1) for chunk in data.apart])
        of_old = predict_classes(old, np.concatenate([np.sort(kept.positions_A), where]))
        of_new = predict_classes(new, np.concatenate([pool, where]))
        in_pool, outside = of_new[: len(pool)], of_new[len(pool) :]
        n_kept = len(kept.positions_A)
        accuracies = [float((each == data.truth).mean()) for each in (of_old[n_kept:], network, outside)]
        verdict = verdict_of(lesson, in_pool, np.sort(kept.positions_A), of_old[:n_kept], data.labels)
        out.append((count, accuracies))
        told = lesson.positions
        print(f"seed {seed}, {count} answers: taught {len(np.unique(told)) / len(data.labels):.2f} of the pool, "
              f"{(lesson.labels == data.labels[told]).mean():.4f} of it right; "
              + ", ".join(f"{model} {value:.4f}" for model, value in zip(MODELS, accuracies, strict=True))
              + f"; {words_of(verdict)}; {seconds:.0f} s of training", flush=True)  # fmt: skip
    return out


def seen_by_backbone(chunks: Sequence[Chunk], options: argparse.Namespace) -> tuple[Chunk, ...]:
    """The same images as a backbone sees them, if there is one."""
    if not options.features:
        return tuple(chunks)
    return tuple(features_of(chunk, options.features, options.cache) for chunk in chunks)


def until(graph: Graph, data: Data, asked: Integers, count: int, seed: int, *, at_random: bool) -> Integers:
    """Ask by gain, or at random, until there are so many answers."""
    if at_random:
        return np.random.default_rng(derive(seed, "random answers")).permutation(len(data.labels))[:count]
    while len(asked) < count:
        prediction = predict(graph, Answers(asked, data.labels[asked], data.n_classes))
        is_open = np.ones(len(data.labels), np.bool_)
        is_open[asked] = False
        batch = 1 if len(asked) < EARLY else min(5, count - len(asked))
        questions = ask(prediction, is_open, batch, seed=derive(seed, f"questions {len(asked)}"))
        asked = np.append(asked, [each.position for each in questions])
    return asked


def looked_at(student: Student, chunks: Sequence[Chunk], folder: Path) -> tuple[Chunk, ...]:
    """The same images as the network sees them."""
    return tuple(
        replace(chunk, path=write_array(folder / f"features-{chunk.number}.npy", student.look_at(chunk)[0]))
        for chunk in chunks
    )


def model_of(
    data: Data, made: MadeGraph, apart: Sequence[Chunk], answers: Answers, kept: Answers, folder: Path, seed: int
) -> RoundRequest:
    """The head that a round would fit on likeness, with the images apart beside the pool; none of `kept` is learned."""
    vectors = write_atomically(folder / "vectors.npy", made.save_vectors)
    others = [replace(each, path=write_array(folder / f"{each.number}.npy", made.vectors_of(open_chunk(each))))
              for each in apart]  # fmt: skip
    pool = [Chunk(each.number, vectors, each.count, each.number * CHUNK_SIZE) for each in data.chunks]
    return RoundRequest(
        chunks=(*pool, *others),
        train_positions=answers.positions_A,
        train_labels=answers.labels_A,
        config=RoundConfig(n_classes=data.n_classes, architecture="head", seed=derive(seed, "head")),
        directory=folder,
        graph=write_atomically(folder / "graph.npz", made.pool_graph.save),
        propagate_to=np.setdiff1d(np.arange(len(data.labels)), [*answers.positions_A, *kept.positions_A]),
    )


def verdict_of(lesson: Lesson, predicted: Integers, kept: Integers, old: Integers, labels: Integers) -> Verdict:
    """Kept-back answers alone are shown to the gate, and what the graph is sure of."""
    return judge(
        old_n=old,
        new_n=predicted[kept],
        labels_n=labels[kept],
        is_random_n=np.zeros(len(kept), np.bool_),
        is_kept_n=np.ones(len(kept), np.bool_),
        held_m=predicted[lesson.held_positions],
        held_labels_m=lesson.held_labels,
        sample_S=predicted,
        shares_C=lesson.shares_C,
        named=lesson.named,
        needs_proof=bool(len(lesson.unlabelled)),
    )


def words_of(verdict: Verdict) -> str:
    agreement = f"{verdict.agreement.value:.4f}" if verdict.agreement else "unknown"
    judged = "accepted" if verdict.is_accepted else f"refused ({', '.join(verdict.objections)})"
    return f"{judged}: agreement {agreement}, shift {verdict.shift:.3f}"


if __name__ == "__main__":
    main()
