"""A network of the pool's own: what it is taught, what it makes of the pool, and what the gate is shown."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from django.conf import settings

from labeler import storage
from labeler.learning.files import CannotLearn, in_chunks, limit_threads, mending, opened
from labeler.learning.pool import cannot_derive
from labeler.learning.replays import model_config
from labeler.learning.spoken import compared_by
from labeler.learning.students import opinion_of
from labeler.models import Chunk, PoolNetwork
from labeler.selectors.features import Seen, chunk_inputs, seen_by, seer_words
from labeler.selectors.graphs import current_graph
from labeler.selectors.grid import training_images
from labeler.selectors.networks import contested_so_far, newer_classes, teaches_itself
from labeler.selectors.pool import (
    Positions,
    aside_positions,
    labelled_images,
    open_to_learning,
    waiting_positions,
)
from labeler.services.derived import Derived
from labeler.services.networks import Judged, Report
from labeler.services.rounds import config_of
from labeler.storage import local_path
from labeler.told import told

if TYPE_CHECKING:
    from learner.config import RoundRequest
    from learner.distillation import Student
    from learner.gate import Verdict
    from learner.graph.hypotheses import Answers
    from learner.graph.pool_graph import MadeGraph
    from learner.lessons import Lesson
    from learner.pool import Chunk as PixelChunk

SAMPLE = 4000  # images by which it is seen how large the classes are
TRAINING, LOOKING, LINKING, TRYING = (0, 600), (600, 700), (700, 900), (900, 1000)
"""Of a thousand: how the progress is divided. All that counts of it is that the bar moves evenly, more or less."""


def train_network(job: PoolNetwork, report: Report) -> Judged:
    """Train, look at the pool, find again which images look alike, and judge. Raises CannotDerive."""
    stored: list[str] = []
    try:
        with cannot_derive(), mending(job.project), ExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            return _Trial.of(job, report, scratch, stack, stored).judged()
    except BaseException:
        for name in stored:
            storage.delete(name)
        raise


@dataclass(frozen=True)
class _Trial:
    """What a training and its judgement have in common.

    `stored` collects names of files in the storage, for whoever has to delete them; `rows` are the chunks by number, as
    they were when it began: what has grown since is looked at later. `answers` are learned from, by both models;
    `kept` are those of the job that are not: they measure a network that teaches itself.
    """

    job: PoolNetwork
    report: Report
    scratch: Path
    stack: ExitStack
    stored: list[str]
    rows: dict[int, Chunk]
    pixels: tuple[PixelChunk, ...]
    graph: Path
    sees: Seen
    config: dict[str, Any]
    answers: Answers
    kept: Answers
    teaches_itself: bool

    @classmethod
    def of(cls, job: PoolNetwork, report: Report, scratch: Path, stack: ExitStack, stored: list[str]) -> _Trial:
        from learner.graph.hypotheses import Answers
        from learner.lessons import keep_back

        limit_threads()
        graph = current_graph(job.project)
        if graph is None:
            raise CannotLearn(told("Which images look alike is not known any more. Try again in a few minutes."))
        inputs = chunk_inputs(job.project, None)
        rows = {each.chunk.number: each.chunk for each in inputs}
        pixels = tuple(opened(each, stack) for each in inputs)
        config = config_of(job.project.learning)
        positions, labels, rejected = (
            np.array(job.labels.get(name, []), np.int64) for name in ("positions", "labels", "rejected")
        )
        answers = Answers(positions, labels, len(job.labels["classes"]), rejected)
        by_itself, kept = teaches_itself(job.project), answers.within(0)
        if by_itself:
            answers, kept = keep_back(answers, seed=job.seed, first=job.labels.get("contested", []))
        path = stack.enter_context(local_path(graph.file))
        sees = seen_by(job.project, config, graph)
        return cls(job, report, scratch, stack, stored, rows, pixels, path, sees, config, answers, kept, by_itself)

    def judged(self) -> Judged:
        """All of it."""
        lesson, student = self._train()
        features, chunks = self._look(student)
        made = self._link(chunks)
        verdict, counts, contested = self._judge(lesson, made, chunks)
        newer = newer_classes(self.job)
        pool_graph = made.pool_graph
        fields = {
            "groups": pool_graph.n_groups,
            "is_cohesive": pool_graph.is_cohesive,
            "reason": compared_by(pool_graph.reason, seer_words(self.job.key)),
        }
        graph = Derived(pool_graph.save, len(pool_graph.graph), fields, {"vectors": ("npy", made.save_vectors)})
        evidence = {**self._as_json(verdict, lesson, counts), **contested}
        if newer:
            evidence |= {"newer": newer, "objections": [*evidence["objections"], "outdated"]}
        return Judged(verdict.is_accepted and not newer, evidence, student.save, features, graph)

    def _train(self) -> tuple[Lesson, Student]:
        from learner.distillation import EVERY, distil, recipe_for, student_config
        from learner.pool import Pool

        lesson = self._lesson()
        config = student_config(
            self.answers.n_classes,
            Pool(self.pixels).shape,
            seed=self.job.seed,
            recipe=recipe_for(len(self.answers.positions_A), len(lesson.positions), teaches_itself=self.teaches_itself),
            device=settings.LEARNER_DEVICE,
        )
        tell = self._part(TRAINING)
        student = distil(
            self.pixels,
            lesson,
            config,
            checkpoint=storage.rewritten(self.job.checkpoint),
            report=lambda _phase, done, total: self._tell(tell, done, total, 0 < done < total and done % EVERY == 0),
        )
        return lesson, student

    def _tell(self, tell: Callable[..., None], done: int, total: int, is_kept: bool) -> None:
        """The turn may end where a checkpoint was written: whoever goes on may be on another machine."""
        if is_kept:
            storage.keep(self.job.checkpoint)
        tell(done, total, is_kept)

    def _lesson(self) -> Lesson:
        from learner.graph.pool_graph import PoolGraph
        from learner.lessons import lesson_of, lesson_of_answers

        may_learn = self._may_learn()
        if self.teaches_itself:
            unmeasured = np.setdiff1d(in_chunks(may_learn, self._counts()), self.kept.positions_A)
            return lesson_of_answers(self.answers, unmeasured)
        tell = self._part(TRAINING)
        used = PoolNetwork.objects.filter(pk=self.job.labels.get("network")).first()
        opinion = opinion_of(used, self.job.labels["classes"], self.pixels, lambda *_: tell(0, 1)) if used else None
        graph = PoolGraph.load(self.graph).graph
        return lesson_of(graph, self.answers, may_learn, opinion=opinion, seed=self.job.seed)

    def _look(self, student: Student) -> tuple[list[tuple[Chunk, int, str]], list[PixelChunk]]:
        """Files of features in the storage, and the same as chunks."""
        from learner.pool import Chunk as PixelChunk

        rows, total, before, tell = self.rows, sum(self._counts().values()), 0, self._part(LOOKING)
        features: list[tuple[Chunk, int, str]] = []
        chunks: list[PixelChunk] = []
        for chunk in self.pixels:
            made, _ = student.look_at(chunk, report=lambda _phase, done, _n, b=before: tell(b + done, total))  # type: ignore[misc]
            stem = rows[chunk.number].pixels.rpartition("/")[2].removesuffix(".npy")
            name = storage.new_name(self.job.project, "features", "npy", prefix=f"{stem}-")
            self.stored.append(name)
            storage.write_once(name, lambda file, made=made: np.save(file, made, allow_pickle=False))  # type: ignore[misc]
            features.append((rows[chunk.number], chunk.count, name))
            chunks.append(PixelChunk(chunk.number, self.stack.enter_context(local_path(name)), chunk.count))
            before += chunk.count
        return features, chunks

    def _link(self, chunks: list[PixelChunk]) -> MadeGraph:
        from learner.graph.pool_graph import make_pool_graph

        tell = self._part(LINKING)
        eligible = in_chunks(waiting_positions(self.job.project, is_holdout=False), self._counts())
        return make_pool_graph(
            chunks,
            eligible,
            seed=self.job.project_id,
            beside=() if self.teaches_itself else self.pixels,
            report=lambda _phase, done, total: tell(done, total),
        )

    def _judge(
        self, lesson: Lesson, made: MadeGraph, chunks: list[PixelChunk]
    ) -> tuple[Verdict, tuple[int, int, int], dict[str, Any]]:
        """The gate's verdict, how many answers it rests on (of the holdout, kept back, and from since then), about how
        many of them models had disagreed, and what people are to be asked for the next one."""
        from learner.gate import UNPROVEN, contested, judge

        old, new = self._present(), self._new(made, chunks)
        counts = {chunk.number: chunk.count for chunk in old.chunks}
        before = contested_so_far(self.job.project)
        groups = [_within(some, counts) for some in self._measured(before)]
        measured, sizes = {**groups[0], **groups[1], **groups[2]}, [len(each) for each in groups]
        of_group = np.repeat(np.arange(len(groups)), sizes)
        sample = np.sort(np.random.default_rng(self.job.seed).permutation(len(made.pool_graph.graph))[:SAMPLE])
        open_ = self._open(in_chunks(sample, counts))
        tell = self._part(TRYING)
        tell(0, 4)
        of_old = _predictor(old, [*measured, *open_], lambda *_: tell(1, 4))
        of_new = _predictor(new, [*measured, *sample, *lesson.held_positions], lambda *_: tell(3, 4))
        verdict = judge(
            old_n=of_old(measured),
            new_n=of_new(measured),
            labels_n=np.array(list(measured.values()), np.int64),
            is_random_n=of_group == 0,
            is_kept_n=of_group == 1,
            held_m=of_new(lesson.held_positions),
            held_labels_m=lesson.held_labels,
            sample_S=of_new(sample),
            shares_C=lesson.shares_C,
            named=lesson.named,
            needs_proof=self.teaches_itself,
        )
        tell(4, 4)
        is_asked = verdict.objections == (UNPROVEN,)
        others = contested(open_, of_old(open_), of_new(open_), seed=self.job.seed).tolist() if is_asked else []
        found = {"contested": others, "disagreed": len({*before} & {*measured})}
        return verdict, (sizes[0], sizes[1], sizes[2]), found

    def _open(self, sample: Positions) -> Positions:
        """Of these, what people can be asked about; none where no proof is wanted."""
        waiting = waiting_positions(self.job.project, is_holdout=False)
        return np.intersect1d(sample, waiting) if self.teaches_itself else waiting[:0]

    def _measured(self, contested: Collection[int]) -> tuple[dict[int, int], dict[int, int], dict[int, int]]:
        """Class numbers by position that nobody has learned from: of the holdout, those kept back, and answers from
        since then. Of these, contested images count as kept back: neither model was favoured when they were drawn."""
        number = {pk: index for index, pk in enumerate(self.job.labels["classes"])}
        known = set(self.job.labels["positions"])
        both = []
        for is_holdout in (True, False):
            project = self.job.project
            rows = labelled_images(project, is_holdout=True) if is_holdout else training_images(project)
            pairs = sorted(rows.filter(label__in=number).values_list("position", "label_id"))
            both.append({position: number[label] for position, label in pairs if position not in known})
        kept = dict(zip(self.kept.positions_A.tolist(), self.kept.labels_A.tolist(), strict=True))
        kept |= {position: label for position, label in both[1].items() if position in contested}
        return both[0], kept, {position: label for position, label in both[1].items() if position not in kept}

    def _present(self) -> RoundRequest:
        """The present model with the answers of then."""
        chunks = tuple(opened(each, self.stack) for each in self.sees.inputs)
        return self._request(chunks, self.sees, self.graph, "present")

    def _new(self, made: MadeGraph, chunks: list[PixelChunk]) -> RoundRequest:
        """The same settings on what the network makes of the images."""
        from learner.files import write_atomically
        from learner.pool import Chunk as PixelChunk

        graph = write_atomically(self.scratch / "graph.npz", made.pool_graph.save)
        if self.sees.has_likeness:
            vectors = write_atomically(self.scratch / "vectors.npy", made.save_vectors)
            chunks = [PixelChunk(chunk.number, vectors, chunk.count, chunk.start) for chunk in chunks]
        return self._request(tuple(chunks), Seen([], None, True), graph, "new")

    def _request(self, chunks: tuple[PixelChunk, ...], sees: Seen, graph: Path, name: str) -> RoundRequest:
        from learner.config import RoundRequest

        counts = {chunk.number: chunk.count for chunk in chunks}
        is_inside = np.isin(self.answers.positions_A, in_chunks(self.answers.positions_A, counts))
        return RoundRequest(
            chunks=chunks,
            train_positions=self.answers.positions_A[is_inside],
            train_labels=self.answers.labels_A[is_inside],
            config=model_config(self.config, sees, n_classes=self.answers.n_classes, seed=self.job.seed),
            directory=self.scratch / name,
            graph=graph if self.config["propagation"] else None,
            propagate_to=np.setdiff1d(in_chunks(self._may_learn(), counts), self.kept.positions_A),
            rejected=in_chunks(self.answers.rejected_R, counts),
        )

    def _may_learn(self) -> Positions:
        """As of when it was asked for: what people dispute or put aside meanwhile makes no other training of it, which
        would begin anew at each turn. Jobs of before know only what is so now."""
        aside = self.job.labels.get("aside")
        return open_to_learning(self.job.project, aside=aside_positions(self.job.project) if aside is None else aside)

    def _counts(self) -> dict[int, int]:
        return {chunk.number: chunk.count for chunk in self.pixels}

    def _part(self, part: tuple[int, int]) -> Callable[..., None]:
        """A report of some part of the work."""
        begin, end = part

        def tell(done: int, total: int, is_kept: bool = False) -> None:
            self.report(begin + round((end - begin) * done / max(1, total)), TRYING[1], is_kept)

        return tell

    def _as_json(self, verdict: Verdict, lesson: Lesson, counts: tuple[int, int, int]) -> dict[str, Any]:
        return {
            "n": verdict.n,
            "holdout": counts[0],
            "kept": counts[1],
            "since": counts[2],
            "teaches_itself": self.teaches_itself,
            "old_right": verdict.old_right,
            "new_right": verdict.new_right,
            "difference": _interval(verdict.difference),
            "is_proven": verdict.is_proven,
            "agreement": _interval(verdict.agreement),
            "taught": len(np.unique(lesson.positions)),
            "forgotten": [self.job.labels["classes"][c] for c in verdict.forgotten],
            "shift": round(verdict.shift, 4),
            "objections": list(verdict.objections),
        }


def _predictor(
    request: RoundRequest, positions: Iterable[int], report: Callable[..., None]
) -> Callable[[Iterable[int]], Positions]:
    """What a model says of some images, each of them once; afterwards looked up by position."""
    from learner.trial import predict_classes

    asked = np.unique(np.array([int(each) for each in positions], np.int64))
    at = dict(zip(asked.tolist(), predict_classes(request, asked, report=report).tolist(), strict=True))
    return lambda some: np.array([at[int(each)] for each in some], np.int64)


def _within(labels: dict[int, int], counts: dict[int, int]) -> dict[int, int]:
    inside = set(in_chunks(np.array(sorted(labels), np.int64), counts).tolist())
    return {position: label for position, label in labels.items() if position in inside}


def _interval(interval: Any) -> dict[str, float | int] | None:
    if interval is None:
        return None
    values = {name: round(getattr(interval, name), 5) for name in ("value", "low", "high")}
    return {**values, "n": interval.n}
