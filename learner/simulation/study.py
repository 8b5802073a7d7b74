"""Strategies times seeds, in several processes; every run that ends is kept in a folder, and is not made again."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

from learner.config import Report, RoundConfig, ignore
from learner.errors import ConfigError, LearnerError
from learner.files import write_array, write_atomically, write_json
from learner.pool import Chunk, Pool, open_chunk
from learner.seeds import derive
from learner.simulation.networks import Images
from learner.simulation.run import Material, Strategy, simulate
from learner.simulation.source import Source

POLL_SECONDS = 0.5
SETTINGS, RUNS, GRAPHS, FEATURES = "settings.json", "runs", "graphs", "features"
LEARNS_FROM = ("likeness", "images")


@dataclass(frozen=True)
class Cell:
    """One run: a strategy and a seed."""

    strategy: str
    seed: int


@dataclass(frozen=True)
class Study:
    """What all runs have in common.

    Args:
        source: Images and labels.
        config: Of every round; the seed is the cell's.
        budgets: Numbers of answers to measure after.
        holdout: Images to measure.
        random_share: Of the questions of `groups` and `networks`.
        learns_from: `"likeness"`, where images stand in the graph, or `"images"`; see `LEARNS_FROM`.
        folder: Where runs are kept.
        backbone: By whose features images are compared and learned from; empty: by their pixels.
    """

    source: Source
    config: RoundConfig
    budgets: tuple[int, ...]
    holdout: int
    random_share: float
    learns_from: str
    folder: Path
    backbone: str = ""

    def open(self, report: Report = ignore) -> None:
        """Write the settings beside the runs, or see that they are those of the runs that are there; then look at the
        images, if that is for a backbone to do and has not been done.

        Args:
            report: Called with the phase `"features"`, in images.

        Raises:
            BackboneError: If the backbone cannot be had.
            ConfigError: If runs of other settings are kept in the folder; the message says what differs.
        """
        self._agree()
        chunks = [*self.source.chunks, *self.source.apart] if self.backbone else []
        total = sum(chunk.count for chunk in chunks)
        if any(not self._features(chunk).path.exists() for chunk in chunks):
            _look(self.backbone, chunks, [self._features(chunk).path for chunk in chunks], total, report)

    def _agree(self) -> None:
        path, ours = self.folder / SETTINGS, self._settings()
        try:
            theirs = json.loads(path.read_text())
        except FileNotFoundError:
            write_json(path, ours)
            return
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read ({error}); choose another folder") from error
        differing = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
        if differing:
            raise ConfigError(
                f"{self.folder} keeps runs of other settings (different: {', '.join(differing)}); choose another "
                "folder, or the same settings to go on"
            )

    def _settings(self) -> dict[str, Any]:
        config = json.loads(replace(self.config, seed=0, budget=1, threads=None).to_json())
        return {
            **config, "content": self.source.content, "budgets": list(self.budgets), "holdout": self.holdout,
            "random_share": self.random_share, "learns_from": self.learns_from, "backbone": self.backbone,
        }  # fmt: skip

    def path(self, cell: Cell) -> Path:
        """The file of a run."""
        return self.folder / RUNS / f"{cell.strategy}-{cell.seed}.json"

    def rows(self, cell: Cell) -> list[dict[str, float]] | None:
        """Points of a run that is kept, with the names of `learner.simulation.summary.COLUMNS`; None: there is none."""
        try:
            content = json.loads(self.path(cell).read_text())
        except (OSError, ValueError):
            return None
        rows: list[dict[str, float]] = content["points"]
        return rows

    def missing(self, cells: Sequence[Cell]) -> list[Cell]:
        """Those that are not kept yet."""
        return [cell for cell in cells if self.rows(cell) is None]

    def run(self, cell: Cell, report: Callable[[int], None]) -> None:
        """Make a run and keep it.

        Args:
            cell: Which.
            report: Called with the number of answers so far.
        """
        strategy = Strategy.named(cell.strategy, acquisition=self.config.acquisition, random_share=self.random_share)
        material = self._material(cell.seed)
        if strategy.needs_graph or self.learns_from == "likeness":
            material = replace(material, graph=self._graph(cell.seed))
        if self.learns_from == "likeness":
            chunks, apart = (
                tuple(replace(chunk, path=self._vectors(cell.seed, name), row=row) for chunk, row in _rows(chunks))
                for name, chunks in (("pool", material.chunks), ("apart", material.apart))
            )
            material = replace(material, chunks=chunks, apart=apart)
        points = simulate(
            material,
            strategy=strategy,
            config=replace(self.config, seed=derive(cell.seed, "run")),
            budgets=self.budgets,
            report=lambda _phase, done, _total: report(done),
        )
        rows = [
            {
                "answers": point.answers,
                "accuracy": round(point.accuracy, 6),
                "class_accuracy": round(point.class_accuracy, 6),
                "seconds": round(point.seconds, 3),
            }
            for point in points
        ]
        write_json(self.path(cell), {"points": rows})

    def _material(self, seed: int) -> Material:
        """Of a seed, without a graph, as the backbone sees it."""
        of_pixels = self.source.material(holdout=self.holdout, seed=seed)
        chunks, apart = self._seen(of_pixels.chunks), self._seen(of_pixels.apart)
        images = None
        if len(Pool(of_pixels.chunks).shape) > 1:
            images = Images(of_pixels.chunks, of_pixels.apart, bool(self.backbone), of_pixels.propagate_to)
        return replace(of_pixels, chunks=chunks, apart=apart, images=images)

    def _seen(self, chunks: Sequence[Chunk]) -> tuple[Chunk, ...]:
        return tuple(self._features(chunk) if self.backbone else chunk for chunk in chunks)

    def _features(self, chunk: Chunk) -> Chunk:
        name = self.backbone.replace("/", "-")
        return Chunk(chunk.number, self.folder / FEATURES / f"{name}-{chunk.number:06d}.npy", chunk.count)

    def _graph(self, seed: int) -> Path:
        """The graph of a seed, kept for other strategies: communities are found by chance. With it the vectors of all
        images; those of a test part come from its neighbours in the pool."""
        from learner.graph.pool_graph import is_readable, make_pool_graph

        path = self.folder / GRAPHS / f"{seed}.npz"
        if not is_readable(path):
            made = make_pool_graph(self._seen(self.source.chunks), (), seed=derive(seed, "graph"))
            write_atomically(self._vectors(seed, "pool"), made.save_vectors)
            if self.source.apart:
                apart = np.concatenate([made.vectors_of(open_chunk(chunk)) for chunk in self._seen(self.source.apart)])
                write_array(self._vectors(seed, "apart"), apart)
            write_atomically(path, made.pool_graph.save)
        return path

    def _vectors(self, seed: int, name: str) -> Path:
        return self.folder / GRAPHS / f"{seed}-{name}.npy"


def _look(name: str, chunks: Sequence[Chunk], paths: Sequence[Path], total: int, report: Report) -> None:
    """Write what a backbone makes of each chunk, if it is not there."""
    from learner.backbones import load_backbone
    from learner.features import compute_features

    backbone, before = load_backbone(name), 0
    for chunk, path in zip(chunks, paths, strict=True):
        if not path.exists():
            pixels = open_chunk(chunk)
            features = compute_features(
                backbone,
                lambda start, stop, pixels=pixels: pixels[start:stop],  # type: ignore[misc]
                chunk.count,
                report=lambda phase, done, _n, before=before: report(phase, before + done, total),  # type: ignore[misc]
            )
            write_array(path, features)
        before += chunk.count


def _rows(chunks: Sequence[Chunk]) -> Iterator[tuple[Chunk, int]]:
    """Chunks, and where each begins in a file of all of them."""
    row = 0
    for chunk in chunks:
        yield chunk, row
        row += chunk.count


def run_study(study: Study, cells: Sequence[Cell], *, jobs: int, report: Callable[[int, int], None]) -> None:
    """Make the runs that are missing.

    Args:
        study: What they have in common; `open` it first.
        cells: All that are wanted.
        jobs: Processes at a time; with 1 it all happens in this one.
        report: Called with the answers so far and in all, over all cells.

    Raises:
        LearnerError: If a run cannot be made, or its process ends without a word; runs that are done are kept.
    """
    missing, last = study.missing(cells), study.budgets[-1]
    answers = {cell: last for cell in cells if cell not in missing}

    def tell(cell: Cell, done: int) -> None:
        answers[cell] = done
        report(sum(answers.values()), last * len(cells))

    report(sum(answers.values()), last * len(cells))
    if jobs > 1:
        _in_processes(study, missing, jobs, tell)
        return
    for cell in missing:
        study.run(cell, lambda done, cell=cell: tell(cell, done))  # type: ignore[misc]
        tell(cell, last)


def _in_processes(study: Study, cells: list[Cell], jobs: int, tell: Callable[[Cell, int], None]) -> None:
    waiting = list(reversed(cells))
    with _processes() as running:
        while waiting or running:
            while waiting and len(running) < jobs:
                cell = waiting.pop()
                ours, process = _start(study, cell, jobs)
                running[ours] = (cell, process)
            for connection in wait(list(running), POLL_SECONDS):
                assert isinstance(connection, Connection)
                cell, process = running[connection]
                try:
                    done, trouble = connection.recv()
                except EOFError:
                    _end(study, cell, process)
                    del running[connection]
                    tell(cell, study.budgets[-1])
                    continue
                if trouble:
                    raise LearnerError(f"{cell.strategy}, seed {cell.seed}: {trouble}")
                tell(cell, done)


@contextmanager
def _processes() -> Iterator[dict[Connection, tuple[Cell, BaseProcess]]]:
    """Whatever happens, none is left running."""
    running: dict[Connection, tuple[Cell, BaseProcess]] = {}
    try:
        yield running
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join()


def _start(study: Study, cell: Cell, jobs: int) -> tuple[Connection, BaseProcess]:
    """A fresh process, so that torch's threads and memory are its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(study, cell, jobs, theirs), daemon=True)
    answer = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: Ctrl+C is the parent's to answer
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, answer)
    theirs.close()  # so that the pipe ends when the process does
    return ours, process


def _end(study: Study, cell: Cell, process: BaseProcess) -> None:
    process.join()
    if study.rows(cell) is None:
        raise LearnerError(
            f"{cell.strategy}, seed {cell.seed}: its process ended with code {process.exitcode} before it was done, "
            "perhaps for want of memory; runs that are done are kept, and the same command goes on"
        )


def _work(study: Study, cell: Cell, jobs: int, tell: Connection) -> None:
    """In a process of its own."""
    try:
        import torch

        torch.set_num_threads(study.config.threads or max(1, (os.cpu_count() or 1) // jobs))
        last = -1

        def report(done: int) -> None:
            nonlocal last
            if done != last:
                last = done
                tell.send((done, ""))

        study.run(cell, report)
    except LearnerError as error:
        tell.send((0, str(error)))
    except Exception as error:  # noqa: BLE001  (said by the parent, which ends the others)
        tell.send((0, f"{type(error).__name__}: {error}\n{traceback.format_exc()}"))
