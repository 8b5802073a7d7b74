"""The learner on the command line: `python -m learner --help`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from learner.config import (
    ACQUISITIONS,
    ARCHITECTURES,
    DEVICES,
    ESTIMATORS,
    LAPLACE_PRIORS,
    RoundConfig,
    RoundRequest,
    split_acquisition,
)
from learner.errors import LearnerError
from learner.folder import UNKNOWN, Collection, read_answers, read_collection
from learner.metrics import Metrics
from learner.pool import Pool
from learner.round import RoundResult, run_round
from learner.scores import scores_at
from learner.simulation.command import add_simulate, run_simulate


class Bars:
    """A progress bar for each phase; call it as a `learner.config.Report`."""

    def __init__(self) -> None:
        self.phase, self.bar = "", tqdm(disable=True)

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Move the bar of a phase; a new phase, or one that starts again, gets a new bar."""
        if phase != self.phase or done < self.bar.n:
            self.bar.close()
            self.phase, self.bar = phase, tqdm(total=total, desc=phase, unit="", leave=True, file=sys.stderr)
        self.bar.update(done - self.bar.n)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: Of the command line; None takes those of the process.

    Returns:
        The exit code: 0, 2 for something that the user can mend, 130 when interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        if options.threads is not None:
            import torch

            torch.set_num_threads(options.threads)
        with tempfile.TemporaryDirectory() as scratch:
            options.run(options, Path(scratch))
    except (LearnerError, OSError) as error:
        print(f"learner: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("learner: interrupted", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m learner", description="Fit a model on few labels and find the images that it should ask about."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    once = commands.add_parser("round", help="fit, score and acquire once", description=_run_round.__doc__)
    once.set_defaults(run=_run_round)
    once.add_argument("--labels", type=int, default=50, help="how many known labels to take as answers (default 50)")
    once.add_argument("--answers", type=Path, help="CSV with the columns name,label: take these as answers instead")
    once.add_argument("--out", type=Path, help="keep the round's files in this folder")
    once.add_argument("--budget", type=int, default=RoundConfig(n_classes=2).budget, help="candidates (default 10)")
    once.add_argument("--show", type=int, default=3, help="images of each kind to print (default 3)")
    loop = commands.add_parser("simulate", help="the whole loop with known labels", description=_run_simulate.__doc__)
    loop.set_defaults(run=_run_simulate)
    add_simulate(loop)
    for command in (once, loop):
        _add_common(command)
    essay = commands.add_parser("essay", help="how sure is a small perceptron?", description=_run_essay.__doc__)
    essay.set_defaults(run=_run_essay)
    _add_source(essay)
    essay.add_argument("--out", type=Path, required=True, help="the folder for the page and its pictures")
    essay.add_argument("--posterior-samples", type=int, default=100, help="K (default 100)")
    essay.add_argument("--seed", type=int, default=0)
    return parser


def _add_source(command: argparse.ArgumentParser) -> None:
    what = "class folders of images, or an npz of images or feature vectors; digits: scikit-learn's 1,797 images"
    command.add_argument("source", type=Path, metavar="FOLDER|ZIP|NPZ|digits", help=what)
    command.add_argument("--side", type=int, help="bring images to this height and width")
    command.add_argument("--threads", type=int, help="torch's threads (default: its own choice)")


def _add_common(command: argparse.ArgumentParser) -> None:
    plain = RoundConfig(n_classes=2)
    _add_source(command)
    command.add_argument("--holdout", type=int, default=1000, help="known labels kept for the accuracy (default 1000)")
    command.add_argument("--architecture", choices=ARCHITECTURES,
                         help="network (default: cnn for images, head for feature vectors)")  # fmt: skip
    for name, choices in (("estimator", ESTIMATORS), ("device", DEVICES)):
        command.add_argument(f"--{name}", choices=choices, default=getattr(plain, name))
    command.add_argument("--members", type=int, default=plain.members, help="of ensemble and bootstrap (default 5)")
    command.add_argument("--member-dropout", action="store_true", help="spread the K samples over the members")
    command.add_argument("--temperature-scaling", action="store_true", help="of the members, on answers left out")
    command.add_argument("--laplace-prior", choices=LAPLACE_PRIORS, default=plain.laplace_prior)
    command.add_argument("--acquisition", choices=ACQUISITIONS, default=plain.acquisition, metavar="NAME",
                         help=f"one of: {', '.join(ACQUISITIONS)} (default {plain.acquisition})")  # fmt: skip
    command.add_argument("--coldness", type=float, default=plain.coldness, help="of power sampling (default 8)")
    command.add_argument("--apart", type=float, default=plain.apart,
                         help="pass over near-duplicates in a batch; 0: do not (default 0.05)")  # fmt: skip
    command.add_argument("--epig", action="store_true", help="score EPIG too, though nothing goes by it")
    command.add_argument("--posterior-samples", type=int, default=plain.posterior_samples, help="K (default 100)")
    command.add_argument("--steps", type=int, help="optimiser steps (default: by the number of labels)")
    command.add_argument("--seed", type=int, default=0)


def _config(options: argparse.Namespace, collection: Collection) -> RoundConfig:
    names = (
        "estimator device members member_dropout temperature_scaling laplace_prior acquisition coldness apart epig "
        "posterior_samples seed threads"
    )
    values: dict[str, Any] = {name: getattr(options, name) for name in names.split()}
    is_features = len(Pool(collection.chunks).shape) == 1
    architecture = options.architecture or ("head" if is_features else "cnn")
    if "budget" in options:
        values["budget"] = options.budget
    config = RoundConfig(n_classes=len(collection.class_names), architecture=architecture, **values)
    return replace(config, recipe=replace(config.recipe, steps=options.steps))


def _split(collection: Collection, holdout: int, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Known positions in random order, holdout first: from the source's own test part, or at most a fifth."""
    rng = np.random.default_rng(seed)
    known = rng.permutation(np.flatnonzero(collection.labels != UNKNOWN))
    test = known[collection.is_test[known]]
    rest = known[~collection.is_test[known]]
    if len(test):
        return test[:holdout], rest
    count = max(0, min(holdout, len(rest) // 5))
    return rest[:count], rest[count:]


def _with_answers(collection: Collection, path: Path) -> Collection:
    answers = read_answers(path, collection.names)
    class_names = tuple(sorted(set(answers.values())))
    labels = np.full(len(collection.names), UNKNOWN, dtype=np.int64)
    for position, label in answers.items():
        labels[position] = class_names.index(label)
    return replace(collection, labels=labels, class_names=class_names)


def _read(options: argparse.Namespace, scratch: Path, report: Bars) -> Collection:
    collection = read_collection(options.source, scratch / "pool", report, side=options.side)
    for name, reason in collection.refused:
        print(f"refused {name}: {reason}", file=sys.stderr)
    if getattr(options, "answers", None) is not None:
        collection = _with_answers(collection, options.answers)
    if len(collection.class_names) < 2:
        raise LearnerError(
            f"{options.source} has images of {len(collection.class_names)} classes, at least two are needed: "
            "put them in one folder a class, or name the answers with --answers CSV"
        )
    return collection


def _run_round(options: argparse.Namespace, scratch: Path) -> None:
    """Take a random set of the known labels as answers, fit, score all images, and print how good the model is (on
    images it has not seen), the surest and the least sure images as `class: mean ± std`, and whom to ask about next."""
    with Bars() as report:
        collection = _read(options, scratch, report)
        holdout, rest = _split(collection, options.holdout, options.seed)
        train = rest if options.answers else rest[: max(options.labels, 0)]
        directory = options.out or scratch / "round"
        config = _config(options, collection)
        request = RoundRequest(collection.chunks, train, collection.labels[train], config, directory)
        everyone = np.arange(len(collection.names))
        result = run_round(
            request,
            eligible_positions=np.setdiff1d(everyone[~collection.is_test], np.concatenate([train, holdout])),
            holdout_positions=holdout,
            holdout_labels=collection.labels[holdout],
            report=report,
        )
    _print_fit(result, config, len(train), len(everyone))
    if result.metrics is not None:
        _print_metrics(result.metrics)
        _print_wrong(directory, collection, holdout, options.show)
    _print_extremes(directory, collection, np.setdiff1d(everyone, train), options.show)
    _print_candidates(result, collection, config)


def _run_simulate(options: argparse.Namespace, scratch: Path) -> None:
    """Run the loop with an oracle that knows all labels, with each strategy and seed, from nothing. Prints how many
    answers each takes, and keeps curves (CSV and SVG) and every finished run in a folder: the same command goes on."""
    with Bars() as report:
        collection = _read(options, scratch, report)
        run_simulate(options, collection, _config(options, collection), scratch, report)


def _run_essay(options: argparse.Namespace, scratch: Path) -> None:
    """Train a small perceptron on all known labels but those of the test part (or a fifth), ask it how sure it is with
    MC dropout and with a Laplace approximation, and write a page of pictures."""
    from learner.essay import run_essay
    from learner.pages import write_page

    with Bars() as report:
        collection = _read(options, scratch, report)
        test, train = _split(collection, 10_000, options.seed)
        if not len(test):
            raise LearnerError("there are too few known labels to keep a fifth of them for the test")
        run = run_essay(
            collection, train, test, posterior_samples=options.posterior_samples, seed=options.seed, report=report
        )
    print(f"\n{run.trained_on:,} images learned from in {run.training_seconds:.1f} s, {len(test):,} asked about")
    for asked in run.asked:
        order = np.argsort(asked.measures["predictive_entropy"], kind="stable")
        print(f"\n{asked.name}: accuracy {asked.metrics.accuracy}, negative log-likelihood {asked.metrics.nll} nats")
        for note in asked.notes:
            print(f"  note: {note}")
        for words, row in (("sure", order[0]), ("unsure", order[-1])):
            means, stds = asked.mean_probs_T_C[row], asked.std_probs_T_C[row]
            print(f"  {words} (it is {run.class_names[run.labels_T[row]]})")
            for name, mean, std in zip(run.class_names, means, stds, strict=True):
                print(f"    {name}: {mean:.2f} ± {std:.2f}")
        for name in ("predictive_entropy", "std_entropy", "logit_std_entropy"):
            found = asked.separations[name]
            words = f"AUROC {found.value:.3f} ({found.low:.3f} to {found.high:.3f})" if found else "none is wrong"
            print(f"  {name} tells wrong from right: {words}")
    print(f"\nThe page: {write_page(run, options.out)[0]}")


def _print_fit(result: RoundResult, config: RoundConfig, n_labels: int, n_images: int) -> None:
    seconds = ", ".join(f"{name} {value:.1f} s" for name, value in result.seconds.items())
    print(f"\n{config.estimator} of {config.architecture}, {n_labels} labels, {n_images} images: {seconds}")
    micro = 1e6 * result.seconds["score"] / n_images
    print(f"cost: {result.fit.steps:,} optimiser steps, {micro:,.0f} µs an image to score")
    if result.fit.temperature is not None:
        print(f"temperature of the members: {result.fit.temperature:.2f}")
    for note in result.fit.notes:
        print(f"note: {note}")


def _print_metrics(metrics: Metrics) -> None:
    print(f"\nOn {metrics.n} images held out (95 % intervals):")
    accuracy = metrics.accuracy
    print(f"  accuracy  {accuracy}  ({accuracy.low:.3f} to {accuracy.high:.3f})")
    print(f"  negative log-likelihood  {metrics.nll} nats\n  Brier score  {metrics.brier}")
    print(f"  calibration error  {metrics.ece.value:.3f} ({metrics.ece.low:.3f} to {metrics.ece.high:.3f})")


def _print_extremes(directory: Path, collection: Collection, positions: npt.NDArray[np.int64], show: int) -> None:
    entropy = scores_at(directory, positions, "predictive_entropy")
    order = positions[np.argsort(entropy, kind="stable")]
    print("\nMost certain, `class: mean ± std` over the posterior samples:")
    _print_images(directory, collection, order[: max(show, 0)])
    print("\nLeast certain:")
    _print_images(directory, collection, order[::-1][: max(show, 0)])


def _print_wrong(directory: Path, collection: Collection, holdout: npt.NDArray[np.int64], show: int) -> None:
    probs = scores_at(directory, holdout, "mean_probs_N_C")
    wrong = np.flatnonzero(probs.argmax(1) != collection.labels[holdout])
    print(f"\nMost certain but wrong ({len(wrong)} of {len(holdout)} are wrong):")
    surest_first = wrong[np.argsort(-probs[wrong].max(1), kind="stable")]
    _print_images(directory, collection, holdout[surest_first[: max(show, 0)]])


def _print_images(directory: Path, collection: Collection, positions: npt.NDArray[np.int64]) -> None:
    means = scores_at(directory, positions, "mean_probs_N_C")
    stds = scores_at(directory, positions, "std_probs_N_C")
    for position, mean, std in zip(positions, means, stds, strict=True):
        best = np.argsort(-mean, kind="stable")[:3]
        values = "   ".join(f"{collection.class_names[c]}: {mean[c]:.2f} ± {std[c]:.2f}" for c in best)
        label = collection.labels[position]
        truth = "" if label == UNKNOWN else f"   (is {collection.class_names[label]})"
        print(f"  {collection.names[position]:24s} {values}{truth}")


def _print_candidates(result: RoundResult, collection: Collection, config: RoundConfig) -> None:
    acquired = result.acquired
    print(f"\nAsk about these next ({config.acquisition}):")
    rows = zip(acquired.positions, acquired.scores, acquired.percentiles, acquired.selection_probabilities, strict=True)
    measure = split_acquisition(config.acquisition)[1]
    unit = " nats" if measure.endswith(("entropy", "information", "epig")) else ""
    for rank, (position, score, percentile, probability) in enumerate(rows, start=1):
        print(
            f"  {rank:3d}. {collection.names[position]:24s} {score:.3f}{unit}, above {percentile:.1f} % of the pool, "
            f"{'chosen with the others' if np.isnan(probability) else f'drawn with probability {probability:.2g}'}"
        )


if __name__ == "__main__":
    sys.exit(main())
