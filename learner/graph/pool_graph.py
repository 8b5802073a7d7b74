"""The graph of a pool as one file: made once, before the first answer, and read by every round."""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from learner.config import Report, ignore
from learner.errors import ArtifactError, LearnerError
from learner.graph.communities import Tree, assortativity, leiden
from learner.graph.covering import cover
from learner.graph.diffusion import diffusion_map
from learner.graph.hypotheses import Answers
from learner.graph.model import Graph, build, is_bearable, predict
from learner.graph.neighbours import NEIGHBOURS, Floats, Neighbours, Searcher, closeness, of_length_1
from learner.graph.representation import Representation, represent, rotation
from learner.graph.second_opinion import Opinion, ask_what_is_doubted, share_of_doubts
from learner.graph.strategy import Question, ask
from learner.pool import Chunk, Inputs
from learner.seeds import derive

Integers = npt.NDArray[np.int64]
Halves = npt.NDArray[np.float16]

VERSION = 3
DAMAGED = (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile)
"""What numpy raises of a file that is no such archive, and what comes of one that lacks a part."""

GROUPS_AT = 0.5
"""The resolution at which groups are counted for people: MNIST has 11 or 12."""

COHESION_AT = 1.0
"""The resolution at which it is seen how well groups hang together: what is found there hardly differs by the seed."""

COHESIVE, LESS, WHOLE = 0.87, 0.035, 1000
"""The assortativity of groups from which on they are asked about one by one; `LESS` with each halving of a pool below
`WHOLE` images, whose neighbours are farther. Of digits it is .96, of MNIST .91, and one answer a group tells nearly
everything. Of photographs by a backbone it is .83: groups mix what shares a light or a person, and images that cover
the pool teach more (docs/log.md)."""

WORTH = 0.01
"""A part of the pool is asked about before what the model doubts or is least sure of, while its answer is expected to
put at least this share of all images right."""

MOST_BESIDE = 500_000
"""Of more images ties of one kind are all that there is memory for: a million fill 4 GiB."""

FIRST = 200
"""Questions that are chosen before there is an answer: more than a first queue, as a rule."""


@dataclass(frozen=True)
class PoolGraph:
    """All that is known of a pool before the first answer.

    Args:
        graph: Of all images, N.
        first: What to ask before anything is known, in order.
        n_groups: Communities at the resolution `GROUPS_AT`.
        reason: By what images were compared and why, in words for people.
        n_coordinates: How many numbers of each vector say where an image stands in the graph; see `MadeGraph`.
        cohesion: How well groups hang together, at most 1; see `assortativity`.
    """

    graph: Graph
    first: tuple[Question, ...]
    n_groups: int
    reason: str
    n_coordinates: int = 0
    cohesion: float = 1.0

    @property
    def is_cohesive(self) -> bool:
        """Whether groups are asked about one by one; if not, images that cover the pool are."""
        return is_cohesive(self.cohesion, len(self.graph))

    def save(self, file: BinaryIO) -> None:
        """Write it as `.npz`, without pickle: about 130 bytes an image."""
        affinity, tree = self.graph.affinity, self.graph.tree
        np.savez(
            file,
            allow_pickle=False,
            version=np.array(VERSION),
            indptr=affinity.indptr.astype(np.int64),
            indices=affinity.indices.astype(np.int32),
            weights=affinity.data.astype(np.float32),
            leaf_N=tree.leaf_N,
            parent_V=tree.parent_V,
            tie_V=tree.tie_V,
            size_V=tree.size_V,
            first_positions=np.array([each.position for each in self.first], np.int64),
            first_gains=np.array([each.gain for each in self.first]),
            first_sizes=np.array([each.size for each in self.first], np.int64),
            first_probabilities=np.array([each.probability for each in self.first]),
            n_groups=np.array(self.n_groups),
            reason=np.array(self.reason),
            n_coordinates=np.array(self.n_coordinates),
            cohesion=np.array(self.cohesion),
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ArtifactError: If the file is missing, damaged, or of another version of the product.
        """
        with _readable(path), np.load(path, allow_pickle=False) as file:
            arrays: dict[str, Any] = dict(file)
        if int(arrays.get("version", 0)) != VERSION:
            raise ArtifactError(f"the graph {path} was made by another version; have it made again")
        with _readable(path):
            return cls._of(arrays)

    @classmethod
    def _of(cls, arrays: dict[str, Any]) -> Self:
        from scipy.sparse import csr_matrix

        n = len(arrays["leaf_N"])
        weights = csr_matrix((arrays["weights"].astype(np.float64), arrays["indices"], arrays["indptr"]), shape=(n, n))
        tree = Tree(arrays["leaf_N"], arrays["parent_V"], arrays["tie_V"], arrays["size_V"])
        columns = (arrays[f"first_{name}"].tolist() for name in ("positions", "gains", "sizes", "probabilities"))
        first = tuple(
            Question(position, gain, "unnamed", size, probability)
            for position, gain, size, probability in zip(*columns, strict=True)
        )
        return cls(
            Graph(weights, tree), first, int(arrays["n_groups"]), str(arrays["reason"]), int(arrays["n_coordinates"]),
            float(arrays["cohesion"]),
        )  # fmt: skip


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGED as error:
        raise ArtifactError(f"the graph {path} cannot be read ({error}); have it made again") from error


@dataclass(frozen=True)
class MadeGraph:
    """A graph, and what a head learns from where it learns from likeness.

    Args:
        pool_graph: Of all images, N.
        vectors_N_D: float16, where each image stands in the graph (`learner.graph.diffusion`), then what it was
            compared by, each at length 1, or 0 where there is nothing to tell.
        representation: By what images were compared.
        searcher: Finds images of the pool.
    """

    pool_graph: PoolGraph
    vectors_N_D: Halves
    representation: Representation
    searcher: Searcher

    def save_vectors(self, file: BinaryIO) -> None:
        """Write them as `.npy`: about 230 bytes an image that is compared by its pixels."""
        np.save(file, self.vectors_N_D, allow_pickle=False)

    def vectors_of(self, inputs_M_X: Inputs) -> Halves:
        """Vectors of images outside the pool: they stand where their neighbours do, the nearer the more.

        Args:
            inputs_M_X: Pixels or features of the kind that the graph was made of.

        Returns:
            float16 `[M, D]`.

        Raises:
            LearnerError: If they are of another shape, or NaN or infinite.

        Reference:
            Bengio et al., 2003, Out-of-sample extensions, section 2, with the graph's own weights.
        """
        vectors_M_d = self.representation.vectors(inputs_M_X)
        n, m = len(self.vectors_N_D), self.vectors_N_D.shape[1] - vectors_M_d.shape[1]
        index_M_k, squares_M_k = self.searcher.search(vectors_M_d, min(NEIGHBOURS, n))
        weights_M_k = closeness(squares_M_k)[:, :, None]
        coordinates_M_m = (weights_M_k * self.vectors_N_D[index_M_k, :m].astype(np.float32)).sum(1)
        return side_by_side(coordinates_M_m, vectors_M_d)


def is_readable(path: Path) -> bool:
    """Whether a file is a graph of this version, as far as can be told without reading it whole."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return int(file["version"]) == VERSION
    except DAMAGED:
        return False


def make_pool_graph(
    chunks: Sequence[Chunk],
    eligible_positions: npt.ArrayLike,
    *,
    answered: npt.ArrayLike = (),
    seed: int,
    first: int = FIRST,
    beside: Sequence[Chunk] = (),
    report: Report = ignore,
) -> MadeGraph:
    """Look at all images, and choose what to ask first.

    A network that was taught a wrong class of images that look alike sees them in the middle of that class, and its
    features do not tell. Ties by pixels beside those by features leave such images between two classes, where they
    teach nothing and are asked about (docs/log.md).

    Args:
        chunks: The pool's files, chunk 0, 1, 2 and so on.
        eligible_positions: int64, which images may be asked about.
        answered: int64, images whose class is known already: questions that cover the pool keep away from them.
        seed: Of all chance.
        first: How many questions; fewer where fewer are eligible.
        beside: The same images seen in another way, as many in each file: the ties of both count alike. Vectors and
            questions that cover the pool are of `chunks` alone. Left out past `MOST_BESIDE` images.
        report: Called with the phase `"graph"`, in images and some more.

    Returns:
        The same pool and seed give the same graph, on one kind of machine.

    Raises:
        ChunkError: If images are missing, damaged or of different shapes.
        LearnerError: If there are fewer than 2 images, or not as many beside.

    Reference:
        Zhou, Burges, 2007, Spectral clustering and transductive learning with multiple views, section 2: a random walk
        that goes by either.
    """
    n = sum(chunk.count for chunk in chunks)
    beside = beside if n <= MOST_BESIDE else ()
    total = (seen := (2 + 2 * bool(beside)) * n) + first

    def tell(done: int) -> None:
        report("graph", done, total)

    representation, searcher, graph, reason = _link(chunks, beside, n, seed, tell)
    tell(seen)
    groups_N = leiden(graph.affinity, GROUPS_AT, derive(seed, "groups"))
    cohesion = assortativity(graph.affinity, leiden(graph.affinity, COHESION_AT, derive(seed, "cohesion")))
    vectors_N_D = searcher.vectors_N_D

    def asking(_phase: str, done: int, _n: int) -> None:
        tell(min(seen + done, total - 1))

    eligible, known = (np.unique(np.asarray(some, np.int64)) for some in (eligible_positions, answered))
    if is_cohesive(cohesion, n):
        questions = _about_groups(graph, eligible, first, seed, asking)
    else:
        questions = cover(lambda some: vectors_N_D[some], n, eligible, known, first, seed=seed, report=asking)
    coordinates_N_m = diffusion_map(graph, report=lambda _phase, _done, _n: tell(total - 1))
    tell(total)
    m = coordinates_N_m.shape[1]
    pool_graph = PoolGraph(graph, tuple(questions), int(groups_N.max()) + 1, reason, m, cohesion)
    both_N_D = side_by_side(np.asarray(coordinates_N_m @ rotation(m), np.float32), vectors_N_D)
    return MadeGraph(pool_graph, both_N_D, representation, searcher)


class _Linked(NamedTuple):
    representation: Representation
    searcher: Searcher
    graph: Graph
    reason: str


def _link(
    chunks: Sequence[Chunk], beside: Sequence[Chunk], n: int, seed: int, report: Callable[[int], None]
) -> _Linked:
    """The graph of n images, by what it was made, and by what they were compared in words. Reported in images, each of
    them twice, or four times where there are others beside."""
    others, words = None, ""
    if beside:
        also, others = _look(beside, n, seed, report)[::2]
        words = f", beside {also.reason}"
    before = 2 * n * bool(beside)
    representation, searcher, neighbours = _look(chunks, n, seed, lambda done: report(before + done))
    graph = build(neighbours, seed=seed, beside=others)
    return _Linked(representation, searcher, graph, f"{representation.reason}{words}")


def _look(
    chunks: Sequence[Chunk], n: int, seed: int, report: Callable[[int], None]
) -> tuple[Representation, Searcher, Neighbours]:
    """What n images are compared by, and the neighbours of each."""
    if (there := sum(chunk.count for chunk in chunks)) != n:
        raise LearnerError(f"{n:,} images, and {there:,} beside: both have to be the same")
    representation, vectors_N_D = represent(chunks, seed=seed, report=lambda _phase, done, _n: report(done))
    searcher = Searcher(vectors_N_D, seed=derive(seed, "cells"))
    return representation, searcher, searcher.neighbours(report=lambda _phase, done, _n: report(n + done))


def is_cohesive(cohesion: float, n: int) -> bool:
    """Whether groups of a pool of n images hang together, by their assortativity; see `COHESIVE`."""
    return cohesion >= COHESIVE - LESS * max(0.0, math.log2(WHOLE / n))


def _about_groups(graph: Graph, eligible: Integers, count: int, seed: int, report: Report) -> list[Question]:
    if not len(eligible):
        return []
    is_eligible_N = np.zeros(len(graph), np.bool_)
    is_eligible_N[eligible] = True
    nothing = np.empty(0, np.int64)
    return ask(predict(graph, Answers(nothing, nothing, 0)), is_eligible_N, count, seed=seed, report=report)


def side_by_side(coordinates_n_m: Floats, vectors_n_d: Floats) -> Halves:
    """What a round by likeness learns from: both at length 1, or 0 where there is nothing to tell."""
    both = [of_length_1(coordinates_n_m), of_length_1(vectors_n_d)]
    return np.hstack(both).astype(np.float16)


@dataclass(frozen=True)
class Advice:
    """What the graph says of whom to ask about.

    Args:
        questions: Images that stand for a part, the largest gain first; then those about doubted parts, likewise.
        rejected: int64, images that look like those that people rejected: worth a question when nothing else is left.
    """

    questions: tuple[Question, ...] = ()
    rejected: Integers = field(default_factory=lambda: np.empty(0, np.int64))


def questions_about_parts(
    path: Path,
    answers: Answers,
    eligible_positions: npt.ArrayLike,
    count: int,
    *,
    pending: npt.ArrayLike = (),
    opinion: Opinion | None = None,
    unseen: npt.ArrayLike = (),
    seed: int,
    report: Report = ignore,
) -> Advice:
    """What to ask about parts that have no name yet, or may be of two classes; none once that is known well enough.

    Args:
        path: Of the graph.
        answers: All that count. Those about images that came after the graph are left out.
        eligible_positions: int64, which images may be asked about.
        count: How many at most.
        pending: int64, images whose answers are on their way. Those that came after the graph are left out.
        opinion: Of a model that sees more than the graph does: once no other question is worth it, half of those that
            are left, by chance one more or less, are about parts that it doubts.
        unseen: int64, images whose answers it has not learned from.
        seed: Of the draws.
        report: Called with the phases `"spread"` and `"acquire"`.

    Returns:
        Questions that are each expected to put `WORTH` of all images right, then those about doubted parts, and which
        of the eligible images look like rejected ones. Nothing where there are too many classes to say
        (`learner.graph.model.MOST_BELIEFS`).

    Raises:
        ArtifactError: If the graph cannot be read.
    """
    pool_graph = PoolGraph.load(path)
    graph = pool_graph.graph
    is_eligible_N = np.zeros(len(graph), np.bool_)
    eligible = np.asarray(eligible_positions, np.int64)
    is_eligible_N[eligible[eligible < len(graph)]] = True
    known = answers.within(len(graph))
    if not is_eligible_N.any() or not is_bearable(graph, known):
        return Advice()
    prediction = predict(graph, known, report=report)
    inside = np.flatnonzero(is_eligible_N)
    rejected = inside[prediction.looks_rejected(inside)]
    if not pool_graph.is_cohesive:
        return Advice((), rejected)
    coming = np.asarray(pending, np.int64)
    coming = coming[coming < len(graph)]
    questions = ask(
        prediction, is_eligible_N, count, pending=coming, least_gain=WORTH * len(graph), seed=derive(seed, "parts"),
        report=report,
    )  # fmt: skip
    if opinion is not None and len(questions) < count:
        asked, since = (np.array(some, np.int64) for some in ([each.position for each in questions], unseen))
        since, is_eligible_N[asked] = since[since < len(graph)], False
        seen = predict(graph, known.without(since), report=report) if len(since) else prediction
        coming, share = np.concatenate([coming, asked, since]), share_of_doubts(count - len(questions), seed)
        questions += ask_what_is_doubted(seen, opinion, is_eligible_N, share, pending=coming, seed=seed)
    return Advice(tuple(questions), rejected)
