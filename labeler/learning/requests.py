"""What the learner is given of a round, fresh or old: its labels, its chunks, its graph and its configuration."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labeler.learning.files import CannotLearn, Integers, in_chunks, opened
from labeler.models import JobState, LabelClass, PoolGraph, Project, Round, RoundChunk
from labeler.selectors.features import architecture_of
from labeler.selectors.graphs import current_graph
from labeler.selectors.grid import training_images
from labeler.selectors.pool import rejected_positions
from labeler.storage import local_path
from labeler.told import told

if TYPE_CHECKING:
    from learner.config import RoundConfig
    from learner.pool import Chunk as PixelChunk


@dataclass(frozen=True)
class TrainingSet:
    """What a round learns from: positions and class numbers, the label class of each number, and the positions of what
    people found to be bad images."""

    positions: Integers
    labels: Integers
    classes: list[int]
    rejected: Integers

    def within(self, counts: dict[int, int]) -> TrainingSet:
        """Without images that are not in those chunks: they came later than the vectors that a round learns from."""
        is_inside = np.isin(self.positions, in_chunks(self.positions, counts))
        rejected = in_chunks(self.rejected, counts)
        return TrainingSet(self.positions[is_inside], self.labels[is_inside], self.classes, rejected)


def read_training_set(project: Project) -> TrainingSet:
    """All labels that may be learned from. Classes: those in use and those that people can choose, in order."""
    pairs = sorted(training_images(project).values_list("position", "label_id"))
    used = {label for _, label in pairs}
    known = LabelClass.objects.filter(project=project).order_by("order", "id").values_list("id", "is_archived")
    classes = [pk for pk, is_archived in known if pk in used or not is_archived]
    number = {pk: index for index, pk in enumerate(classes)}
    positions = np.array([position for position, _ in pairs], dtype=np.int64)
    labels = np.array([number[label] for _, label in pairs], dtype=np.int64)
    return TrainingSet(positions, labels, classes, rejected_positions(project, without=positions))


def training_digest(training: TrainingSet, open_to: Integers, config: dict[str, Any], seed: int) -> str:
    """SHA-256 over the sorted (position, label class) pairs, the sorted positions that a label may be passed on to and
    those of bad images, config and seed: the same digest, the same model."""
    labels = [training.classes[label] for label in training.labels]
    pairs = sorted(zip(training.positions.tolist(), labels, strict=True))
    sha = hashlib.sha256(json.dumps([pairs, config, seed], sort_keys=True).encode())
    sha.update(open_to.astype("<i8").tobytes())
    sha.update(np.sort(training.rejected).astype("<i8").tobytes())
    return sha.hexdigest()


def learner_config(config: Mapping[str, Any], *, seed: int) -> RoundConfig:
    from learner.config import RoundConfig

    names = (
        "n_classes", "estimator", "acquisition", "coldness", "posterior_samples", "budget", "device",
        "members", "member_dropout", "temperature_scaling", "laplace_prior", "ignored",
    )  # fmt: skip
    settings_ = {name: config[name] for name in names if name in config}
    return RoundConfig(**settings_ | {"architecture": architecture_of(config)}, seed=seed)


def round_chunks(round_: Round, stack: ExitStack) -> tuple[PixelChunk, ...]:
    """The pool's chunks as they were when the round began."""
    rows = RoundChunk.objects.filter(round=round_).select_related("chunk").order_by("chunk__number")
    return tuple(opened(row, stack) for row in rows)


def graph_of(round_: Round, stack: ExitStack) -> Path | None:
    """The file of the round's graph, or of the one that has come after it. None: it is not wanted, or was not there."""
    if not round_.config.get("propagation") or round_.config.get("graph") is None:
        return None
    own = PoolGraph.objects.filter(pk=round_.config["graph"], state=JobState.DONE).first()
    if (graph := own or current_graph(round_.project)) is not None:
        from learner.graph.pool_graph import is_readable

        with suppress(FileNotFoundError):
            path = stack.enter_context(local_path(graph.file))
            if is_readable(path):
                return path
        graph.delete()  # the sweep has another one made
    raise CannotLearn(told("Which images look alike was lost, and is being found again. Try again in a few minutes."))


def scored(round_: Round, positions: Integers) -> Integers:
    """Without images that were imported after the round began."""
    return in_chunks(positions, dict(RoundChunk.objects.filter(round=round_).values_list("chunk__number", "count")))
