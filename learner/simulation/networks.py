"""The network of the pool's own, in a simulated run: when one is trained, whether the gate lets it in, and by what the
loop goes from then on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from learner.config import Report, RoundConfig, RoundRequest
from learner.files import write_array, write_atomically
from learner.pool import Chunk, Pool, open_chunk
from learner.seeds import derive

if TYPE_CHECKING:
    from learner.distillation import Student
    from learner.gate import Verdict
    from learner.graph.hypotheses import Answers
    from learner.graph.pool_graph import MadeGraph
    from learner.lessons import Lesson, Opinion

Integers = npt.NDArray[np.int64]

FIRST_ANSWERS, FIRST_BY_ITSELF, GROWTH = 10, 30, 1.5
"""Answers before the first network, where the graph teaches it (or as many as there are groups) and where it teaches
itself; from one network to the next they grow by half."""

SAMPLE = 4000
"""Images by which it is seen how large the classes are."""


@dataclass(frozen=True)
class Sight:
    """What the loop goes by.

    Args:
        chunks: Vectors of the pool's images.
        apart: Of measured images that are not in the pool.
        graph: Of the pool, a file that `learner.graph.pool_graph` wrote.
    """

    chunks: tuple[Chunk, ...]
    apart: tuple[Chunk, ...]
    graph: Path


@dataclass(frozen=True)
class Images:
    """What networks see.

    Args:
        chunks: Pixels of the pool.
        apart: Of measured images that are not in the pool.
        teaches_itself: Whether they are photographs, as `learner.distillation` has it.
        may_learn: int64, images that may be learned from without an answer; none that is measured.
    """

    chunks: tuple[Chunk, ...]
    apart: tuple[Chunk, ...]
    teaches_itself: bool
    may_learn: Integers


class Networks:
    """Trains them when they are due.

    In the product a network takes minutes, while people go on answering; here it is there at once. The gate is shown no
    holdout: where the graph teaches it has what it can tell without labels, else a fifth of the answers.

    Args:
        images: Of the pool.
        scratch: A folder for features, graphs and models.
        steps: Of each training; None: as in the product.
    """

    def __init__(self, images: Images, scratch: Path, *, steps: int | None = None) -> None:
        self.images, self.scratch, self.steps = images, scratch, steps
        self.last, self.known = 0, np.empty(0, np.int64)
        self.made: list[tuple[int, Verdict]] = []
        self.opinion: Opinion | None = None
        self.contested = np.empty(0, np.int64)

    def is_due(self, sight: Sight, answers: Answers) -> bool:
        """Whether one is trained now: once there are enough answers, or one of a class that the last does not know."""
        from learner.graph.pool_graph import PoolGraph

        n_answers = len(answers.positions_A)
        if self.last:
            is_newer = bool(np.setdiff1d(answers.classes_K, self.known).size)
            return n_answers >= (self.last + 1 if is_newer else max(self.last + 1, round(GROWTH * self.last)))
        if self.images.teaches_itself:
            return n_answers >= FIRST_BY_ITSELF
        return n_answers >= max(FIRST_ANSWERS, PoolGraph.load(sight.graph).n_groups)

    def train(self, sight: Sight, answers: Answers, config: RoundConfig, report: Report) -> Sight:
        """Train one and let it take over, if the gate does.

        Args:
            sight: What the loop goes by now.
            answers: All, each image once.
            config: Of the rounds' models.
            report: Called through all of it; what it raises ends it.

        Returns:
            What the loop goes by from now on: of the new network, or as before.
        """
        from learner.distillation import classes_by, distil
        from learner.graph.pool_graph import PoolGraph, make_pool_graph
        from learner.lessons import Opinion, keep_back, lesson_of, lesson_of_answers

        self.last, self.known = len(answers.positions_A), answers.classes_K
        seed, may_learn, kept = derive(config.seed, "network"), self.images.may_learn, answers.within(0)
        if self.images.teaches_itself:
            answers, kept = keep_back(answers, seed=seed, first=self.contested)
            lesson = lesson_of_answers(answers, np.setdiff1d(may_learn, kept.positions_A))
        else:
            graph = PoolGraph.load(sight.graph).graph
            lesson = lesson_of(graph, answers, may_learn, opinion=self.opinion, seed=seed)
        student = distil(self.images.chunks, lesson, self._config(answers, lesson, seed, config), report=report)
        folder = self.scratch / f"network {self.last}"
        features = self._looked_at(student, self.images.chunks, folder)
        beside = () if self.images.teaches_itself else self.images.chunks
        made = make_pool_graph(features, (), seed=derive(seed, "graph"), beside=beside)
        new = self._sight(made, features, self._looked_at(student, self.images.apart, folder), folder)
        old = self._model(sight, answers, kept, config, folder / "old")
        new_model = self._model(new, answers, kept, config, folder / "new")
        verdict = self._judged(old, new_model, lesson, kept, seed)
        self.made.append((self.last, verdict))
        if not verdict.is_accepted:
            return sight
        self.opinion = Opinion(partial(classes_by, student, self.images.chunks), answers.classes_K)
        return new

    def _config(self, answers: Answers, lesson: Lesson, seed: int, config: RoundConfig) -> RoundConfig:
        from learner.distillation import recipe_for, student_config

        teaches_itself = self.images.teaches_itself
        recipe = recipe_for(len(answers.positions_A), len(lesson.positions), teaches_itself=teaches_itself)
        shape, device = Pool(self.images.chunks).shape, config.device
        return student_config(answers.n_classes, shape, seed=seed, recipe=recipe, steps=self.steps, device=device)

    def _looked_at(self, student: Student, chunks: Sequence[Chunk], folder: Path) -> tuple[Chunk, ...]:
        return tuple(
            replace(each, path=write_array(folder / f"features-{each.number}.npy", student.look_at(each)[0]), row=None)
            for each in chunks
        )

    def _sight(self, made: MadeGraph, features: Sequence[Chunk], apart: Sequence[Chunk], folder: Path) -> Sight:
        vectors = write_atomically(folder / "vectors.npy", made.save_vectors)
        rows = np.cumsum([0, *(chunk.count for chunk in features)]).tolist()
        chunks = tuple(replace(chunk, path=vectors, row=row) for chunk, row in zip(features, rows, strict=False))
        others = tuple(
            replace(each, path=write_array(folder / f"{each.number}.npy", made.vectors_of(open_chunk(each))))
            for each in apart
        )
        return Sight(chunks, others, write_atomically(folder / "graph.npz", made.pool_graph.save))

    def _model(self, sight: Sight, answers: Answers, kept: Answers, config: RoundConfig, folder: Path) -> RoundRequest:
        others = np.concatenate([answers.positions_A, kept.positions_A])
        return RoundRequest(
            sight.chunks, answers.positions_A, answers.labels_A, config, folder, graph=sight.graph,
            propagate_to=np.setdiff1d(self.images.may_learn, others),
        )  # fmt: skip

    def _judged(self, old: RoundRequest, new: RoundRequest, lesson: Lesson, kept: Answers, seed: int) -> Verdict:
        from learner.gate import UNPROVEN, contested, judge
        from learner.trial import predict_classes

        n = sum(chunk.count for chunk in self.images.chunks)
        sample = np.sort(np.random.default_rng(seed).permutation(n)[:SAMPLE])
        order = np.argsort(kept.positions_A)
        measured, labels = kept.positions_A[order], kept.labels_A[order]
        open_ = np.setdiff1d(np.intersect1d(sample, self.images.may_learn), np.union1d(old.train_positions, measured))
        if not self.images.teaches_itself:
            open_ = open_[:0]  # no proof is wanted of it
        asked = np.union1d(np.union1d(measured, sample), lesson.held_positions)
        asked_before = np.union1d(measured, open_)
        of_new, of_old = predict_classes(new, asked), predict_classes(old, asked_before)

        def said(positions: Integers) -> Integers:
            return np.asarray(of_new[np.searchsorted(asked, positions)])

        def said_before(positions: Integers) -> Integers:
            return np.asarray(of_old[np.searchsorted(asked_before, positions)])

        verdict = judge(
            old_n=said_before(measured),
            new_n=said(measured),
            labels_n=labels,
            is_random_n=np.zeros(len(measured), np.bool_),
            is_kept_n=np.ones(len(measured), np.bool_),
            held_m=said(lesson.held_positions),
            held_labels_m=lesson.held_labels,
            sample_S=said(sample),
            shares_C=lesson.shares_C,
            named=lesson.named,
            needs_proof=self.images.teaches_itself,
        )
        is_asked = verdict.objections == (UNPROVEN,)
        self.contested = contested(open_, said_before(open_), said(open_), seed=seed) if is_asked else open_[:0]
        return verdict
