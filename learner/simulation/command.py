"""The command `simulate`: its options, and what it prints and writes."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from learner.config import FEATURE_ARCHITECTURES, Report, RoundConfig
from learner.errors import ConfigError
from learner.files import write_bytes
from learner.folder import Collection
from learner.pool import Pool
from learner.simulation.drawing import Points, drawing, read_points
from learner.simulation.run import GROUPS, NETWORKS, STRATEGIES, Strategy, growing
from learner.simulation.source import Source
from learner.simulation.study import LEARNS_FROM, Cell, Study, run_study
from learner.simulation.summary import COLUMNS, Curves, table, write_csv

WORDS = {
    GROUPS: "groups first",
    NETWORKS: "groups first, and networks",
    "random": "at random",
    "propagated_random": "at random, labels passed on",
}


def add_simulate(command: argparse.ArgumentParser) -> None:
    """Add the command's own options."""
    command.add_argument("--strategies", nargs="+", default=[GROUPS, "random"], metavar="NAME",
                         help="groups (the product's own path), networks (the same, with full networks that take over, "
                         "which takes minutes a run), any acquisition function, which learns from answers "
                         "alone, or one after propagated_, which learns from labels passed on, too (default groups "
                         "random)")  # fmt: skip
    command.add_argument("--seeds", type=int, default=1, help="seeds --seed, --seed + 1, ... (default 1)")
    command.add_argument("--until", type=int, default=100, help="answers at the end (default 100)")
    command.add_argument("--budgets", type=int, nargs="+", metavar="N",
                         help="fit and measure after so many answers (default 5 10 15 20 25 31 ...)")  # fmt: skip
    command.add_argument("--learns-from", choices=LEARNS_FROM, default=LEARNS_FROM[0],
                         help="where images stand among those that look alike, as in the product, or each image alone "
                         f"(default {LEARNS_FROM[0]})")  # fmt: skip
    command.add_argument("--backbone", default="", metavar="NAME",
                         help="compare images, and learn from them, by a pretrained network's features, as the product "
                         "does with photographs, for example efficientnet_lite0")  # fmt: skip
    command.add_argument("--random-share", type=float, default=0.1,
                         help="of the questions of groups, as in the product (default 0.1)")  # fmt: skip
    command.add_argument("--target", type=float, nargs="+", default=[0.9, 0.95, 0.99])
    command.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    command.add_argument("--beside", type=Path, metavar="CSV",
                         help="figures of others to draw beside: name, answers, accuracy (with --out)")  # fmt: skip
    command.add_argument("--out", type=Path, help="keep runs, curves.csv, curve.svg and table.txt in this folder")


def run_simulate(
    options: argparse.Namespace, collection: Collection, config: RoundConfig, scratch: Path, report: Report
) -> None:
    """Make what is missing, then write and print what all runs say. What an interruption left is written, too.

    Raises:
        LearnerError: If an option or the source does not fit; the message says which and how.
    """
    beside = read_points(options.beside) if options.beside else None
    study, cells = _study(options, Source.of(collection, scratch), config, scratch)
    study.open(report)
    try:
        run_study(study, cells, jobs=options.jobs, report=lambda done, total: report("answers", done, total))
    finally:
        _write(options, study, [cell for cell in cells if cell not in study.missing(cells)], beside)


def _study(options: argparse.Namespace, source: Source, config: RoundConfig, scratch: Path) -> tuple[Study, list[Cell]]:
    budgets = tuple(sorted(set(options.budgets))) if options.budgets else growing(max(1, options.until))
    for name in options.strategies:
        Strategy.named(name, acquisition=config.acquisition, random_share=options.random_share)
    for name, least in (("seeds", 1), ("jobs", 1), ("until", 1), ("holdout", 0)):
        if getattr(options, name) < least:
            raise ConfigError(f"--{name} is {getattr(options, name)}, expected {least} or more")
    if not 0 <= options.random_share < 1:
        raise ConfigError(f"--random-share is {options.random_share}, expected from 0 to below 1")
    askable = len(source.material(holdout=options.holdout, seed=options.seed).askable)
    if not 1 <= budgets[0] <= budgets[-1] <= askable:
        raise ConfigError(f"{budgets[0]} to {budgets[-1]} answers of {askable:,} images that may be asked about")
    if options.learns_from == "likeness" and config.architecture not in FEATURE_ARCHITECTURES:
        if options.architecture:
            raise ConfigError(
                f"the network {config.architecture} takes images, not likeness: {', '.join(FEATURE_ARCHITECTURES)} do, "
                "or add --learns-from images"
            )
        config = replace(config, architecture=FEATURE_ARCHITECTURES[0])
    if NETWORKS in options.strategies and options.learns_from != "likeness":
        raise ConfigError(f"the strategy {NETWORKS} goes by likeness: leave out --learns-from {options.learns_from}")
    is_pixels = len(Pool(source.chunks).shape) > 1
    for name, is_wanted in (
        (f"the strategy {NETWORKS}", NETWORKS in options.strategies),
        ("--backbone", options.backbone),
    ):
        if is_wanted and not is_pixels:
            raise ConfigError(f"{name} needs images; {options.source} holds feature vectors")
    folder = options.out or scratch / "study"
    study = Study(
        source, config, budgets, options.holdout, options.random_share, options.learns_from, folder, options.backbone
    )
    seeds = range(options.seed, options.seed + options.seeds)
    return study, [Cell(name, seed) for seed in seeds for name in dict.fromkeys(options.strategies)]


def _write(options: argparse.Namespace, study: Study, cells: list[Cell], beside: Points | None) -> None:
    if not cells:
        return
    curves: dict[str, dict[int, dict[int, float]]] = {}
    rows = []
    for cell in cells:
        points = study.rows(cell) or []
        curves.setdefault(cell.strategy, {})[cell.seed] = {int(row["answers"]): row["accuracy"] for row in points}
        rows += [(cell.strategy, cell.seed, *(row[name] for name in COLUMNS[2:])) for row in points]
    text = "\n".join([*_heading(study, curves), *table(curves, options.target)]) + "\n"
    print(f"\n{text}", end="", flush=True)  # noqa: T201
    if options.out:
        write_csv(study.folder / "curves.csv", rows)
        write_bytes(study.folder / "table.txt", text.encode())
        picture = drawing(curves, title=_title(options, study, curves), words=WORDS, beside=beside)
        write_bytes(study.folder / "curve.svg", picture.encode())


def _heading(study: Study, curves: Curves) -> list[str]:
    seeds = "; ".join(f"{name}: {len(of_seed)} seed{'s' * (len(of_seed) != 1)}" for name, of_seed in curves.items())
    n = len(study.source.material(holdout=study.holdout, seed=0).measured)
    return [f"{seeds}; measured on {n:,} held-out images, whose labels are not counted", ""]


def _title(options: argparse.Namespace, study: Study, curves: Curves) -> str:
    n = len(study.source.material(holdout=study.holdout, seed=0).measured)
    seeds = max(len(of_seed) for of_seed in curves.values())
    spread = f"median and quartiles of {seeds} seeds" if seeds > 1 else "one seed"
    return f"Right on {n:,} held-out images of {Path(options.source).name}: {spread}"


assert set(WORDS) <= set(STRATEGIES)
