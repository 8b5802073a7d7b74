"""One run: ask, answer from the known labels, learn, measure, until so many answers are given."""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from learner.config import ACQUISITIONS, Report, RoundConfig, RoundRequest, ignore, split_acquisition
from learner.embedding import shrink
from learner.errors import LabelError, UnknownNameError
from learner.pool import Chunk, Pool
from learner.round import acquire, fit
from learner.scores import opinion_of, scores_at
from learner.seeds import derive
from learner.simulation.networks import Images, Networks, Sight

if TYPE_CHECKING:
    from learner.graph.hypotheses import Answers
    from learner.graph.strategy import Question

Integers = npt.NDArray[np.int64]

GROUPS, NETWORKS, PROPAGATED = "groups", "networks", "propagated_"
STRATEGIES = (GROUPS, NETWORKS, *(f"{PROPAGATED}{name}" for name in ACQUISITIONS), *ACQUISITIONS)
"""`groups`: the product's own path until a network takes over; `networks`: with those. An acquisition function alone:
the model learns from answers only. With `propagated_`: it learns from what the graph passes on, too, as the product's
does, but the graph asks nothing; so `propagated_random` differs from `groups` in the order alone."""


@dataclass(frozen=True)
class Strategy:
    """How images are asked about and learned from.

    Args:
        name: One of `STRATEGIES`.
        acquisition: What chooses once the graph has no question worth asking; see `learner.config.ACQUISITIONS`.
        asks_groups: Whether parts of the pool without a certain class are asked about first.
        propagates: Whether the network learns from what the graph passes on.
        random_share: The chance of a question to be a random image, as in the product's queue.
        trains_networks: Whether full networks are trained and take over.
    """

    name: str
    acquisition: str
    asks_groups: bool = False
    propagates: bool = False
    random_share: float = 0.0
    trains_networks: bool = False

    @classmethod
    def named(cls, name: str, *, acquisition: str, random_share: float) -> Strategy:
        """The strategy of a name.

        Args:
            name: One of `STRATEGIES`.
            acquisition: Of the later rounds of `groups` and `networks`.
            random_share: Of those two.

        Raises:
            UnknownNameError: If there is none of that name; the message says which there are.
        """
        if name in (GROUPS, NETWORKS):
            return cls(name, acquisition, True, True, random_share, trains_networks=name == NETWORKS)
        if name not in STRATEGIES:
            raise UnknownNameError(
                f"unknown strategy {name!r}; known: {GROUPS}, {NETWORKS}, {', '.join(ACQUISITIONS)}, and each of these "
                f"after {PROPAGATED!r}"
            )
        return cls(name, name.removeprefix(PROPAGATED), propagates=name.startswith(PROPAGATED))

    @property
    def needs_graph(self) -> bool:
        """Whether a run needs `Material.graph`."""
        return self.asks_groups or self.propagates


@dataclass(frozen=True)
class Material:
    """What a run asks about and is measured on.

    Args:
        chunks: The pool's.
        labels_N: int64, the true class by position, up to the last position of all chunks; any number where none is
            known and none will be needed.
        askable: int64, positions in the pool that may be asked about.
        measured: int64, positions that accuracy is measured on, a random sample; never asked about or learned from.
        apart: Chunks of measured images that are not part of the pool, numbered after it.
        graph: The pool's, a file that `learner.graph.pool_graph` wrote.
        propagate_to: int64, images that may get a label by it; none that is measured.
        images: Their pixels, for a strategy with networks.

    Raises:
        LabelError: If what is measured may be asked about or learned from, or nothing is measured.
    """

    chunks: tuple[Chunk, ...]
    labels_N: Integers
    askable: Integers
    measured: Integers
    apart: tuple[Chunk, ...] = ()
    graph: Path | None = None
    propagate_to: Integers = field(default_factory=lambda: np.empty(0, np.int64))
    images: Images | None = None

    def __post_init__(self) -> None:
        if not len(self.measured):
            raise LabelError("a simulation needs known labels for a holdout")
        if np.intersect1d(np.union1d(self.askable, self.propagate_to), self.measured).size:
            raise LabelError("pool and holdout overlap: accuracy would be measured on training images")
        if len(np.unique(self.labels_N[self.askable])) < 2:
            raise LabelError("all images that may be asked about are of one class: a model needs at least two")


@dataclass(frozen=True)
class Point:
    """One point of a learning curve.

    Args:
        answers: That were learned from; the holdout's are not counted.
        is_right_M: bool, of each measured image, in the order of `Material.measured`.
        class_accuracy: Mean over the holdout's classes of the share that is right, 0 to 1.
        seconds: Of asking, learning and scoring for this point.
    """

    answers: int
    is_right_M: npt.NDArray[np.bool_]
    class_accuracy: float
    seconds: float

    @property
    def accuracy(self) -> float:
        """The share of measured images that is right."""
        return float(self.is_right_M.mean())


def growing(until: int, *, first: int = 5, share: float = 0.25) -> tuple[int, ...]:
    """Numbers of answers after which a model is fitted: few between the first, more later.

    >>> growing(60), growing(3)
    ((5, 10, 15, 20, 25, 31, 38, 47, 58, 60), (3,))
    """
    budgets = [min(first, until)]
    while budgets[-1] < until:
        budgets.append(min(until, budgets[-1] + max(first, int(share * budgets[-1]))))
    return tuple(budgets)


def simulate(
    material: Material,
    *,
    strategy: Strategy,
    config: RoundConfig,
    budgets: Sequence[int],
    report: Report = ignore,
    keep: Callable[[Point], None] = lambda _point: None,
) -> list[Point]:
    """Run rounds with an oracle until it has given some number of answers.

    Nothing is known at the start, and nothing is given away. Before a model can be fitted (until two classes are seen)
    the first images of the graph's groups are asked about, or random ones; those are the same for all strategies of a
    seed. Each round trains from scratch with a seed of its own, and learns from all answers.

    Args:
        material: Images and labels.
        strategy: How to ask.
        config: Of every round; its acquisition function and budget are those of the strategy and the budgets.
        budgets: Numbers of answers to fit and measure after, ascending, the first at least 1.
        report: Called through all rounds with the phase `"simulate"`, in answers; what it raises ends the run.
        keep: Called with each point as soon as there is one.

    Returns:
        A point for each budget.

    Raises:
        LabelError: If there are fewer images than answers, or budgets do not ascend.
        UnknownNameError: If a name is not known.
    """
    if not budgets or budgets[0] < 1 or any(a >= b for a, b in pairwise(budgets)):
        raise LabelError(f"numbers of answers have to ascend from at least 1, got {', '.join(map(str, budgets))}")
    if budgets[-1] > len(material.askable):
        raise LabelError(f"{budgets[-1]:,} answers of {len(material.askable):,} images that may be asked about")
    points: list[Point] = []
    with tempfile.TemporaryDirectory() as scratch:
        run = _Run(
            material, strategy, config, Path(scratch), lambda *_: report("simulate", len(run.asked), budgets[-1])
        )
        for budget in budgets:
            started = time.perf_counter()
            run.ask(budget - len(run.asked))
            run.train()
            run.learn()
            run.score(is_last=budget == budgets[-1])
            points.append(run.measured(time.perf_counter() - started))
            keep(points[-1])
        run.report("", 0, 0)
    return points


class _Run:
    """The state of a run: what has been asked, and the last model, if there is one."""

    def __init__(
        self, material: Material, strategy: Strategy, config: RoundConfig, scratch: Path, report: Report
    ) -> None:
        if strategy.needs_graph and material.graph is None:
            raise LabelError(f"the strategy {strategy.name} needs the graph of the pool")
        self.material, self.strategy, self.scratch, self.report = material, strategy, scratch, report
        self.config = replace(config, acquisition=strategy.acquisition)
        self.order = np.random.default_rng(derive(config.seed, "start")).permutation(material.askable)
        self.coins = np.random.default_rng(derive(config.seed, "random share"))
        self.asked = np.empty(0, np.int64)
        self.directory: Path | None = None
        self.doubts_graph = False
        self.chunks, self.apart, self.graph = material.chunks, material.apart, material.graph
        self.networks = _networks_of(material, scratch) if strategy.trains_networks else None

    def ask(self, count: int) -> None:
        """Answers to so many more images."""
        until = len(self.asked) + count
        if self.networks is not None:
            self._take(np.setdiff1d(self.networks.contested, self.asked)[:count])
            count = until - len(self.asked)
        self._take(self._at_random(int((self.coins.random(count) < self.strategy.random_share).sum())))
        if self.strategy.asks_groups and not self.doubts_graph:
            self._take(self._about_parts(until - len(self.asked)))
        self._take(self._by_model(until - len(self.asked)))

    def _take(self, positions: Integers) -> None:
        self.asked = np.concatenate([self.asked, positions])

    def _eligible(self) -> Integers:
        return np.setdiff1d(self.material.askable, self.asked)

    def _at_random(self, count: int) -> Integers:
        return self.order[~np.isin(self.order, self.asked)][:count]

    def _about_parts(self, count: int) -> Integers:
        """Images that stand for a part of the pool: with a model, as long as that is worth it."""
        from learner.graph.pool_graph import questions_about_parts

        graph, eligible, answers = self.graph, self._eligible(), self._answers()
        assert graph is not None
        if not count:
            return np.empty(0, np.int64)
        if self.directory is None:
            questions = _first_questions(graph, Pool(self.chunks), answers, eligible, count, self.config.seed)
        else:
            seed = self.round_config.seed
            opinion = partial(opinion_of, self.directory) if self._sees_more() else None
            advice = questions_about_parts(
                graph, answers, eligible, count, opinion=opinion, seed=seed, report=self.report
            )
            questions = list(advice.questions)
        return np.array([each.position for each in questions], np.int64)

    def _sees_more(self) -> bool:
        """Whether the model goes by a network that the graph has taught."""
        images = self.material.images
        return self.graph != self.material.graph and images is not None and not images.teaches_itself

    def _by_model(self, count: int) -> Integers:
        if self.directory is None or self.strategy.acquisition == "random":
            return self._at_random(count)
        return acquire(
            self.directory,
            chunks=self.chunks,
            eligible_positions=self._eligible(),
            labelled_positions=self.asked,
            count=count,
            config=self.round_config,
            report=self.report,
        ).positions

    def train(self) -> None:
        """A network, if it is time for one."""
        answers = self._answers()
        if self.networks is None or self.graph is None or len(answers.classes_K) < 2:
            return
        sight = Sight(self.chunks, self.apart, self.graph)
        if not self.networks.is_due(sight, answers):
            return
        config = replace(self.config, seed=derive(self.config.seed, f"network of {len(self.asked)} answers"))
        sight = self.networks.train(sight, answers, config, self.report)
        self.chunks, self.apart, self.graph = sight.chunks, sight.apart, sight.graph

    def _answers(self) -> Answers:
        from learner.graph.hypotheses import Answers

        return Answers(self.asked, self.material.labels_N[self.asked], self.config.n_classes)

    def learn(self) -> None:
        """Fit a model, if two classes are known."""
        self.round_config = replace(self.config, seed=derive(self.config.seed, f"{len(self.asked)} answers"))
        labels = self.material.labels_N[self.asked]
        if len(np.unique(labels)) < 2:
            return
        self.directory = self.scratch / str(len(self.asked))
        request = RoundRequest(
            self.chunks, self.asked, labels, self.round_config, self.directory,
            graph=self.graph if self.strategy.propagates else None,
            propagate_to=np.setdiff1d(self.material.propagate_to, self.asked),
        )  # fmt: skip
        fitted = fit(request, self.report)
        self.doubts_graph = fitted.doubts_graph
        self.round_config = replace(self.round_config, ignored=fitted.ignored)

    def score(self, *, is_last: bool) -> None:
        """Score what is measured, and what may be asked about next if that goes by scores."""
        if self.directory is None:
            return
        from learner.scoring import Scorer

        looks_at_scores = not is_last and split_acquisition(self.strategy.acquisition)[0] != "random"
        wanted = np.union1d(self.material.measured, self._eligible()) if looks_at_scores else self.material.measured
        wanted, scorer = np.sort(wanted), Scorer(self.directory)
        for chunk in (*self.chunks, *self.apart):
            low, high = np.searchsorted(wanted, [chunk.start, chunk.start + chunk.count])
            if high > low:
                scorer.score_some(chunk, wanted[low:high], self.report)

    def measured(self, seconds: float) -> Point:
        """How right the last model is. Until there is one, the only class that is known is the guess."""
        truth = self.material.labels_N[self.material.measured]
        if self.directory is None:
            is_right = truth == self.material.labels_N[self.asked[0]]
        else:
            is_right = scores_at(self.directory, self.material.measured, "mean_probs_N_C").argmax(1) == truth
        of_class = np.bincount(truth)
        shares = np.bincount(truth, weights=is_right)[of_class > 0] / of_class[of_class > 0]
        return Point(len(self.asked), is_right, float(shares.mean()), seconds)


def _networks_of(material: Material, scratch: Path) -> Networks:
    if material.images is None:
        raise LabelError(f"the strategy {NETWORKS} needs the images' pixels, which feature vectors do not have")
    return Networks(material.images, scratch)


def _first_questions(
    path: Path, pool: Pool, answers: Answers, eligible: Integers, count: int, seed: int
) -> list[Question]:
    """As for a first queue: nothing is too small to be asked about."""
    from learner.graph.covering import cover
    from learner.graph.model import predict
    from learner.graph.pool_graph import PoolGraph
    from learner.graph.strategy import ask

    pool_graph = PoolGraph.load(path)
    graph = pool_graph.graph
    if not pool_graph.is_cohesive:
        m = pool_graph.n_coordinates if pool.chunks[0].row is not None else 0

        def vectors_of(some: Integers) -> npt.NDArray[np.float32]:
            return shrink(pool.inputs(some))[:, m:]

        return cover(vectors_of, len(graph), eligible, answers.positions_A, count, seed=seed)
    is_eligible_N = np.zeros(len(graph), np.bool_)
    is_eligible_N[eligible[eligible < len(graph)]] = True
    if not is_eligible_N.any():
        return []
    return ask(predict(graph, answers.within(len(graph))), is_eligible_N, count, seed=derive(seed, "first questions"))
