"""`python -m labeler.client import|oracle|watch|export|predict`: what programs do most, with progress bars."""

from __future__ import annotations

import argparse
import csv
import random
import re
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from tqdm import tqdm

from .connection import CannotReach, Refused
from .site import PlusMinus, Project, Round, Told

# Where a text, or a piece of it that a spreadsheet may take for a cell of its own, would begin a formula.
FORMULA = re.compile(r"(^ *(?='*[=+\-@＝＋－＠\t\r\n])|(?<=[;\t\r\n])[\" ]*(?='*[=+\-@＝＋－＠]))")

MOST_WAITS = 30


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    try:
        with PlusMinus(options.url, options.token, patience=options.patience) as site:
            work: Callable[[Project, argparse.Namespace], int] = options.work
            return work(site.project(options.project), options)
    except (Refused, CannotReach, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _options(arguments: list[str] | None) -> argparse.Namespace:
    """Files may stand on both sides of options: argparse alone takes the first lot, be it empty, for all of them."""
    parser = _parser()
    options, left = parser.parse_known_args(arguments)
    if left and (not hasattr(options, "files") or any(each.startswith("-") for each in left)):
        parser.error(f"unrecognized arguments: {' '.join(left)}")
    if left:
        options.files = [*options.files, *left]
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m labeler.client", description=__doc__)
    parser.add_argument("--url", default="", help="default: PLUSMINUS_URL, or http://127.0.0.1:8000")
    parser.add_argument("--token", default="", help="default: PLUSMINUS_TOKEN, which other people cannot see")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds for which a server may be away")
    commands = parser.add_subparsers(required=True)

    def add(name: str, work: Callable[[Project, argparse.Namespace], int], words: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=words)
        command.add_argument("project", help="its slug, as addresses have it")
        command.set_defaults(work=work)
        return command

    command = add("import", _import, "upload images")
    command.add_argument("files", nargs="+")
    command.add_argument("--classes", action="store_true", help="make the labels that come along classes")
    command.add_argument("--answers", action="store_true", help="take the labels that come along as your answers")
    command = add("oracle", _oracle, "answer from the labels that came with the images (as a manager)")
    command.add_argument("--answers", type=int, default=100, help="how many to give")
    command.add_argument("--error", type=float, default=0.0, help="share of wrong ones, 0 to 1")
    command.add_argument("--seed", type=int, default=0)
    command = add("watch", _watch, "watch a round until it is over")
    command.add_argument("--round", type=int, default=0, help="default: the newest")
    command.add_argument("--start", action="store_true", help="start one first")
    command = add("export", _export, "keep all labels in a file")
    command.add_argument("file")
    command.add_argument("--format", default="csv")
    command.add_argument("--unlabelled", action="store_true", help="images without a label, too")
    command = add("predict", _predict, "what the model says of new images, or of those of the project")
    command.add_argument("files", nargs="*", help="new images; without any: all images of the project, into --out")
    command.add_argument("--archive", default="", help="a zip or tar of new images: a table, into --out")
    command.add_argument("--out", default="", help="the table; csv, or jsonl of an archive, by its ending")
    command.add_argument("--prepare", action="store_true", help="first have the model made ready for new images")
    command.add_argument("--round", type=int, default=0, help="default: the model in charge")
    command.add_argument("--top", type=int, default=5, help="classes of each image")
    return parser


def _import(project: Project, options: argparse.Namespace) -> int:
    for file in options.files:
        with tqdm(unit="", unit_scale=True, desc=file, disable=None) as bar:
            found = project.import_file(file, told=_moves(bar))
        print(f"{file}: {found['added']:,} added, {found['duplicates']:,} known, {found['refused']:,} refused")
        for row in project.refusals(found["id"]) if found["refused"] else ():
            print(f"  {row['file']}: {row['reason']}")
        if found["has_offered_labels"]:
            project.take_labels(found["id"], as_classes=options.classes, as_answers=options.answers)
    return 0


def _oracle(project: Project, options: argparse.Namespace) -> int:
    classes, chance, waits, given = project.classes(), random.Random(options.seed), 0, 0  # noqa: S311
    names = {name.casefold(): name for name in classes}
    with tqdm(total=options.answers, desc="Answering", disable=None) as bar:
        while given < options.answers and waits < MOST_WAITS:
            question = next(iter(project.questions()), None)
            if question is None:
                waits += 1
                time.sleep(1)
                continue
            waits = 0
            truth = names.get((project.offered(question.image) or "").casefold())
            if truth is None:
                project.answer(question, outcome="unsure")
            else:
                others = [name for name in classes if name != truth]
                is_wrong = bool(others) and chance.random() < options.error
                project.answer(question, label=chance.choice(others) if is_wrong else truth)
            given += 1
            bar.update()
    print(f"{given:,} answers")
    return 0 if given else 1


def _watch(project: Project, options: argparse.Namespace) -> int:
    newest = project.newest_round()
    if newest is None and not options.start:
        print("There is no round yet.", file=sys.stderr)
        return 1
    with tqdm(disable=None) as bar:

        def told(found: Round) -> None:
            bar.set_description(f"round {found.number} {found.state}", refresh=False)
            bar.total, bar.n = found.total or None, found.done
            bar.refresh()

        number = options.round or (newest.number if newest else 0)
        found = project.learn(told) if options.start else project.watch(number, told)
    accuracy = f", accuracy {found.accuracy}" if found.accuracy else ""
    print(f"round {found.number}: {found.state}{accuracy}{': ' + found.error if found.error else ''}")
    return 0 if found.state == "done" else 1


def _export(project: Project, options: argparse.Namespace) -> int:
    with tqdm(desc="Exporting", unit=" images", disable=None) as bar:
        path = project.export(options.file, format=options.format, unlabelled=options.unlabelled, told=_moves(bar))
    print(path)
    return 0


def _predict(project: Project, options: argparse.Namespace) -> int:
    if not options.out and (options.archive or not options.files):
        print("Say where the table goes: --out FILE.", file=sys.stderr)
        return 2
    if options.prepare:
        project.prepare(options.round)
    if options.archive:
        with tqdm(desc="Images", disable=None) as bar:
            ending = "jsonl" if options.out.endswith(".jsonl") else "csv"
            job = project.predict_archive(options.archive, options.out, format=ending, told=_moves(bar))
        print(f"{options.out}: {job['done'] - job['refused']:,} images, {job['refused']:,} refused")
        _say_who_answers(job["round"], job["in_charge"])
        return 0
    return _predict_files(project, options) if options.files else _predict_pool(project, options)


def _say_who_answers(number: int, is_in_charge: bool) -> None:
    """Apart from the table."""
    words = "" if is_in_charge else ", which is not in charge: that one is not prepared (--prepare)"
    print(f"By the model of round {number}{words}.", file=sys.stderr)


def _predict_files(project: Project, options: argparse.Namespace) -> int:
    """A line each, `name: class: mean ± std, …`; with --out a table, too."""
    rows: list[list[str]] = []
    refused, by = 0, 0
    for name in options.files:
        try:
            found = project.predict(name)
        except Refused as error:
            if error.status not in (413, 422):  # of this image alone
                raise
            refused += 1
            print(f"{name}: {error}", file=sys.stderr)
            continue
        if found.round != by:
            by = found.round
            _say_who_answers(by, found.in_charge)
        classes = found.classes[: options.top]
        print(f"{name}: {', '.join(f'{each}: {mean:.2f} ± {std:.2f}' for each, mean, std in classes)}")
        rows += _lines(name, classes)
    if options.out:
        with open(options.out, "w", newline="", encoding="utf-8") as file:  # noqa: PTH123
            csv.writer(file).writerows([("image", "class", "mean", "std"), *rows])
    return 1 if refused else 0


def _predict_pool(project: Project, options: argparse.Namespace) -> int:
    rows = 0
    with open(options.out, "w", newline="", encoding="utf-8") as file, tqdm(desc="Images", disable=None) as bar:  # noqa: PTH123
        writer = csv.writer(file)
        writer.writerow(["image", "class", "mean", "std"])
        for found in project.predictions(options.round, options.top):
            writer.writerows(_lines(found.image, found.classes))
            rows += 1
            bar.update()
    print(f"{options.out}: {rows:,} images")
    return 0


def _lines(image: str | int, classes: Iterable[tuple[str, float, float]]) -> list[list[str]]:
    """A line a class, without formulas."""
    return [[_no_formula(str(image)), _no_formula(name), f"{mean:.4f}", f"{std:.4f}"] for name, mean, std in classes]


def _no_formula(text: str) -> str:
    """With a quote before what a spreadsheet would take for a formula, as the server's own tables have it."""
    return FORMULA.sub(r"\1'", text)


def _moves(bar: tqdm) -> Told:
    def told(done: int, total: int) -> None:
        with suppress(ValueError):  # a bar that was closed
            bar.total, bar.n = total, done
            bar.refresh()

    return told


if __name__ == "__main__":
    sys.exit(main())
