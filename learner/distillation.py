"""A full network on pixels, taught by the graph or by itself; what it makes of images can stand for them.

Of small grey images the graph is the teacher: it has few answers and labels nearly everything. The network sees each
image shifted, turned, scaled and sheared (never flipped), which the graph cannot know, and ends up right about more
than its teacher. Of photographs, whose neighbours may share a light or a person and not a class, the network learns
from answers, and from what it is sure of itself (`learner.consistency`). Whether it is worth anything is
`learner.gate`'s to say.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from learner.config import Recipe, Report, RoundConfig, ignore
from learner.consistency import Consistency
from learner.errors import ArtifactError, DivergedError, LearnerError
from learner.estimators.weights import facts_of, with_weights
from learner.files import digest, write_bytes
from learner.fit import Minibatches, diverged, fitted_from, optimisation, prepare
from learner.lessons import Lesson
from learner.network import Network
from learner.pool import Chunk, Pool, Shape, open_chunk
from learner.seeds import derive

Integers = npt.NDArray[np.int64]
Halves = npt.NDArray[np.float16]

STEPS = 1200
BY_GRAPH = Recipe(steps=STEPS, batch=128)
BY_ITSELF = Recipe(
    steps=STEPS, batch=32, unlabelled=96, learning_rate=4e-3, label_smoothing=0.0, light=0.4, cutout=1 / 3
)
"""How a network learns from the graph, and without it."""

PURE, LONGEST, PASSES = 20, 3.0, 12
"""An early teacher's mistakes are learned by heart in longer training; after so many answers few are left, and steps
grow with the answers from there on, up to three times those of before (docs/log.md); but nothing is gone through more
than so many times for that, so that a small pool does not keep a worker busy."""

EVERY = 100
"""Steps between two checkpoints."""

IMAGES_AT_ONCE = 256

SMALL = 16
"""Up to so many pixels a side the place of a stroke says more than that it is there."""


def student_config(
    n_classes: int,
    shape: Shape,
    *,
    seed: int,
    recipe: Recipe = BY_GRAPH,
    steps: int | None = None,
    device: str = "auto",
) -> RoundConfig:
    """How a student of images of some shape is trained, by `BY_GRAPH` or `BY_ITSELF`.

    It is the deep convolutional network, or, up to `SMALL` pixels a side, which leave little to average, the small one.
    """
    architecture = "deep_cnn" if max(shape[1:], default=0) > SMALL else "cnn"
    recipe = replace(recipe, steps=recipe.steps if steps is None else steps)
    return RoundConfig(n_classes=n_classes, architecture=architecture, seed=seed, device=device, recipe=recipe)


def recipe_for(n_answers: int, n_taught: int, *, teaches_itself: bool) -> Recipe:
    """How a network is taught.

    Args:
        n_answers: Those that its teacher goes by.
        n_taught: Labels to learn from.
        teaches_itself: Whether the teacher is the network, not the graph.

    >>> [recipe_for(n, 50_000, teaches_itself=False).steps for n in (10, 30, 60, 1000)]
    [1200, 1800, 3600, 3600]
    >>> recipe_for(60, 2_000, teaches_itself=False).steps, recipe_for(60, 60, teaches_itself=True).steps
    (1200, 1200)
    """
    if teaches_itself:
        return BY_ITSELF
    steps = BY_GRAPH.steps or STEPS
    most = max(steps, PASSES * n_taught // BY_GRAPH.batch)
    return replace(BY_GRAPH, steps=min(most, round(steps * min(LONGEST, max(1.0, n_answers / PURE)))))


@dataclass(frozen=True)
class Student:
    """A trained network.

    Args:
        network: On the device that it was trained or loaded for.
        config: What it was trained with.
        facts: What it takes to build it again, and how the training went; see `learner.estimators.weights.facts_of`.
    """

    network: Network
    config: RoundConfig
    facts: dict[str, Any]

    def save(self, file: BinaryIO) -> None:
        """Write it as safetensors that say themselves what they are of."""
        about = json.dumps({"config": json.loads(self.config.to_json()), "facts": self.facts})
        tensors = {name: tensor.contiguous().cpu() for name, tensor in self.network.state_dict().items()}
        file.write(save(tensors, {"student": about}))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ArtifactError: If the file is missing, damaged, or no student's.
        """
        try:
            tensors, about = _read(path)
            content = json.loads(about["student"])
            config, facts = RoundConfig.from_dict(content["config"]), content["facts"]
            network = with_weights(tensors, facts["input_mean"], facts["input_std"], tuple(facts["shape"]), config)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ArtifactError(f"the network {path} cannot be read ({error}); have it trained again") from error
        return cls(network, config, facts)

    def look_at(
        self, chunk: Chunk, *, start: int = 0, stop: int | None = None, report: Report = ignore
    ) -> tuple[Halves, npt.NDArray[np.float32]]:
        """What it makes of the images of a chunk, or of n of them.

        Args:
            chunk: Pixels of the shape that it was trained on.
            start: The first image, counted in the chunk.
            stop: One past the last; None: to its end.
            report: Called every `IMAGES_AT_ONCE` images with the phase `"features"`, in images from `start`.

        Returns:
            Features, float16 `[n, D]`, all finite, and class probabilities, float32 `[n, C]`. Memory grows with the
            result only.

        Raises:
            ChunkError: If images are missing, damaged or of another shape.
            LearnerError: If a feature is NaN, or larger than float16 holds.
        """
        inputs = open_chunk(chunk)[start:stop]
        n = len(inputs)
        parts: list[tuple[Halves, npt.NDArray[np.float32]]] = []
        if list(inputs.shape[1:]) != list(self.facts["shape"]):
            raise LearnerError(
                f"chunk {chunk.number}: images of shape {list(inputs.shape[1:])}, the network knows "
                f"{list(self.facts['shape'])}"
            )
        for at in range(0, n, IMAGES_AT_ONCE):
            with torch.inference_mode():
                features_M_D = self.network.features(self.network.tensor_of(inputs[at : at + IMAGES_AT_ONCE]))
                probs_M_C = self.network.head(features_M_D).softmax(1)
            parts.append((features_M_D.half().cpu().numpy(), probs_M_C.float().cpu().numpy()))
            report("features", min(at + IMAGES_AT_ONCE, n), n)
        features_n_D, probs_n_C = (np.concatenate(each) for each in zip(*parts, strict=True))
        if not (is_finite := np.isfinite(features_n_D).all(1)).all():
            raise LearnerError(
                f"chunk {chunk.number}: the network makes NaN or infinite features of {int((~is_finite).sum())} of "
                f"{n} images; have it trained again"
            )
        return features_n_D, probs_n_C


def classes_by(
    student: Student, chunks: tuple[Chunk, ...], positions: Integers, *, report: Report = ignore
) -> Integers:
    """The classes that a network finds likeliest of some images.

    Args:
        student: The network.
        chunks: The pool's pixels, of the shape that it was trained on.
        positions: int64 `[n]`, in ascending order.
        report: Called every `IMAGES_AT_ONCE` images with the phase `"features"`.

    Returns:
        int64 `[n]`.

    Raises:
        ChunkError: If images cannot be read.
    """
    pool, best = Pool(chunks), np.empty(len(positions), np.int64)
    for at in range(0, len(positions), IMAGES_AT_ONCE):
        some = slice(at, at + IMAGES_AT_ONCE)
        with torch.inference_mode():
            inputs = student.network.tensor_of(pool.inputs(positions[some]))
            best[some] = student.network.head(student.network.features(inputs)).argmax(1).cpu().numpy()
        report("features", min(at + IMAGES_AT_ONCE, len(positions)), len(positions))
    return best


def distil(
    chunks: tuple[Chunk, ...],
    lesson: Lesson,
    config: RoundConfig,
    *,
    checkpoint: Path | None = None,
    report: Report = ignore,
) -> Student:
    """Train a network from scratch on a lesson, with AdamW on a one-cycle schedule.

    One that teaches itself is the average over its last steps in the end.

    Every step draws from a stream of its own, so that a training which goes on from a checkpoint ends with the same
    weights as one that was never interrupted (on a CPU, with the same number of threads).

    Args:
        chunks: The pool's pixels, grey or in colour, of any size. Memory is that of a minibatch, not of the pool.
        lesson: What to learn.
        config: See `student_config`.
        checkpoint: A file that is written every `EVERY` steps and gone on from, if it is of the very same training; the
            caller deletes it. None: an interruption costs all.
        report: Called every step with the phase `"distil"`; what it raises ends the training.

    Raises:
        ConfigError: If the network does not take what is in the chunks: feature vectors have no pixels.
        ChunkError: If images cannot be read.
        DivergedError: If loss or weights stop being finite.

    Reference:
        Hinton, Vinyals, Dean, 2015; Lee, 2013, Pseudo-label; Smith, 2018, Super-convergence.
    """
    started, steps = time.perf_counter(), config.recipe.steps_for(len(lesson.labels))
    report("distil", 0, steps)
    pool = Pool(chunks)
    minibatches = prepare(pool, lesson.positions, lesson.labels, config, "distil")
    consistency = None
    if config.recipe.unlabelled and len(lesson.unlabelled):
        parts = (minibatches.network, pool, lesson.unlabelled, config.recipe, minibatches.generator)
        consistency = Consistency(*parts)
    training = _Training(minibatches, consistency, config, steps, _task(pool, lesson, config), report)
    if checkpoint is not None:
        training.resume(checkpoint)
    minibatches.network.train()
    for step in range(len(training.losses), steps):
        training.step(step)
        if checkpoint is not None and (step + 1) % EVERY == 0 and step + 1 < steps:
            training.keep(checkpoint)
        report("distil", step + 1, steps)
    network = training.result.eval()
    if not all(bool(weights.isfinite().all()) for weights in network.parameters()):
        raise DivergedError(diverged(steps, "the weights are"))
    fitted = fitted_from(network, training.losses, time.perf_counter() - started)
    return Student(network, config, facts_of(fitted, pool.shape))


class _Training:
    """The state of a training: weights, the optimiser's moments, the losses so far."""

    MOMENTS = ("exp_avg", "exp_avg_sq")
    TEACHER = "of the teacher"

    def __init__(
        self, minibatches: Minibatches, consistency: Consistency | None, config: RoundConfig, steps: int, task: str,
        report: Report,
    ) -> None:  # fmt: skip
        self.minibatches, self.consistency, self.config, self.task = minibatches, consistency, config, task
        self.losses: list[float] = []
        rate = config.recipe.rate_for(minibatches.pool.shape, config.architecture)
        self.optimizer, self.schedule = optimisation(
            minibatches.network.parameters(), rate, config.recipe.weight_decay, steps,
            lambda: report("distil", 0, steps),
        )  # fmt: skip

    @property
    def result(self) -> Network:
        """The network, or its average where there is one."""
        return self.minibatches.network if self.consistency is None else self.consistency.teacher

    def step(self, step: int) -> None:
        self.minibatches.generator.manual_seed(derive(self.config.seed, f"distil {step}"))
        loss = self.minibatches.loss(step)
        self.losses.append(float(loss.detach()))
        if self.consistency is not None:
            loss = loss + self.consistency.loss(step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.schedule.step()
        if self.consistency is not None:
            self.consistency.follow(step)

    def keep(self, path: Path) -> None:
        tensors = {"losses": torch.tensor(self.losses, dtype=torch.float64)}
        if self.consistency is not None:
            tensors |= {f"{name} {self.TEACHER}": each for name, each in self.consistency.teacher.state_dict().items()}
        tensors |= self.minibatches.network.state_dict()
        for name, weights in self.minibatches.network.named_parameters():
            tensors |= {f"{name} {moment}": self.optimizer.state[weights][moment] for moment in self.MOMENTS}
        whole = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
        write_bytes(path, save(whole, {"task": self.task}))

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint, if there is one, and it is of this training."""
        try:
            tensors, about = _read(path)
        except (OSError, SafetensorError):
            return
        if about.get("task") != self.task:
            return
        self.losses = tensors["losses"].tolist()
        done, state = len(self.losses), {}
        for name, mine in self.minibatches.network.state_dict().items():
            mine.copy_(tensors[name])
        for i, (name, weights) in enumerate(self.minibatches.network.named_parameters()):
            # As the weights lie in memory: the fused optimiser goes through both in that order.
            moments = {m: torch.empty_like(weights.data).copy_(tensors[f"{name} {m}"]) for m in self.MOMENTS}
            state[i] = {"step": torch.tensor(float(done)), **moments}
        if self.consistency is not None:
            for name, its in self.consistency.teacher.state_dict().items():
                its.copy_(tensors[f"{name} {self.TEACHER}"])
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})
        self.schedule.load_state_dict({"last_epoch": done - 1, "_step_count": done})
        self.schedule.step()


def _task(pool: Pool, lesson: Lesson, config: RoundConfig) -> str:
    """What a checkpoint is of. Pixels are taken for the same where files have the same names: files never change."""
    names: Iterator[bytes] = (chunk.path.name.encode() for chunk in pool.chunks)
    return digest(config.to_json().encode(), lesson.positions, lesson.labels, lesson.unlabelled, *names)


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
