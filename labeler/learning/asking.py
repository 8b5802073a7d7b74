"""Which images a model asks about: its own round's, or that of an older round that is in charge."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from labeler.learning.files import Beat, CannotLearn, Integers, folder_of, limit_threads
from labeler.learning.kept import bare_chunks, chunks_as_they_were
from labeler.learning.requests import graph_of, learner_config, read_training_set, round_chunks, scored
from labeler.models import PoolGraph, Reason, Round
from labeler.models.jobs import is_network_key
from labeler.selectors.alike import group_details
from labeler.selectors.networks import contested_now, teaches_itself
from labeler.selectors.pool import pending_positions, positions_since, waiting_positions
from labeler.services.draw import Draw, Place

if TYPE_CHECKING:
    from labeler.learning.requests import TrainingSet
    from learner.candidates import Acquired
    from learner.config import RoundConfig
    from learner.graph.hypotheses import Answers
    from learner.graph.second_opinion import Opinion
    from learner.graph.strategy import Question
    from learner.pool import Chunk as PixelChunk

UNSEEN_SEED, DOUBTED_SEED = 30, 31  # beside those of services/draw.py
HOW = ("acquisition", "coldness", "budget")


@dataclass(frozen=True)
class _Asker:
    """A model and the round whose queue it makes; mostly they are of the same round.

    What an older model asks about is among the images that it has scored. Those that came since have their share of
    its places, drawn at random.
    """

    round: Round
    model: Round
    beat: Beat
    stack: ExitStack

    @property
    def is_older(self) -> bool:
        return self.model.pk != self.round.pk

    @cached_property
    def is_loose(self) -> bool:
        """Whether groups of the model's graph hang together loosely."""
        graph = self.model.config.get("graph")
        return PoolGraph.objects.filter(pk=graph, is_cohesive=False).exists()

    @property
    def folder(self) -> Path:
        return folder_of(self.model)

    def config(self) -> RoundConfig:
        """The model's network with the questions of now. Where it was scored without their measure, with its own."""
        from learner.config import split_acquisition
        from learner.summary import measures_in

        config = {**self.model.config, **{name: self.round.config[name] for name in HOW}}
        config["n_classes"] = len(self.model.classes)
        config["ignored"] = self.model.metrics.get("fit", {}).get("ignored", 0)
        if self.is_older and split_acquisition(config["acquisition"])[1] not in measures_in(self.folder):
            config["acquisition"] = self.model.config["acquisition"]
        return learner_config(config, seed=self.round.seed)

    def images(self, config: RoundConfig) -> tuple[tuple[PixelChunk, ...], RoundConfig]:
        """The chunks as the model read them, and the questions that can be asked of them.

        Where the images of an older model are gone, an order by scores does without looking for near-duplicates. Such
        an order takes the place of herding where images or model are gone. Raises CannotLearn where another way needs
        the images.
        """
        from learner.config import BATCH_ACQUISITIONS, HERDING, split_acquisition
        from learner.model import MODEL_FILE

        how, measure = split_acquisition(config.acquisition)
        by_scores = replace(config, acquisition=f"power_{measure}") if how == HERDING else config
        if not (self.folder / MODEL_FILE).is_file():
            config = by_scores
        if not self.is_older:
            return round_chunks(self.round, self.stack), config
        scratch = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        try:
            return chunks_as_they_were(self.model, scratch, self.stack), config
        except CannotLearn:
            if config.acquisition in BATCH_ACQUISITIONS:
                raise
            return bare_chunks(self.model), replace(by_scores, apart=0.0)

    def graph(self) -> Path | None:
        """None: the graph is not asked, as it is not wanted, misleads, or is being made again. Where groups are loose
        it says only what looks like bad images."""
        if self.round.config["acquisition"] == "random":
            return None
        if self.model.metrics.get("fit", {}).get("doubts_graph") and not self.is_loose:
            return None
        try:
            return graph_of(self.model, self.stack)
        except CannotLearn:
            if self.is_older:
                return None
            raise

    def opinion(self) -> Opinion | None:
        """Of a model that goes by a network which the graph has taught: it sees more than the graph."""
        from learner.scores import opinion_of

        is_taught = is_network_key(self.model.config.get("features")) and not teaches_itself(self.model.project)
        return partial(opinion_of, self.folder) if is_taught else None

    def details(self, measure: str) -> dict[str, object]:
        """What a place says of whose model it was, where that is not the round's own."""
        return {"model": self.model.number, "measure": measure} if self.is_older else {}


def acquire(round_: Round, model: Round, draw: Draw, held: set[int], beat: Beat) -> list[Place]:
    """The places that the model chooses, best first, among what the draw has not taken."""
    from learner.config import is_of_a_whole, split_acquisition
    from learner.round import acquire as acquire_images

    taken = {*held, *(place.position for place in draw.random)}
    waiting = waiting_positions(round_.project, is_holdout=False, without=taken)
    eligible = scored(model, waiting)
    count, unseen = draw.to_acquire, _unseen(round_, model, waiting, eligible, draw.to_acquire)
    if not count or not len(eligible):
        return unseen
    answered, pending = read_training_set(round_.project), pending_positions(round_.project, held)
    with ExitStack() as stack:
        asker = _Asker(round_, model, beat, stack)
        chunks, config = asker.images(asker.config())
        if is_of_a_whole(config.acquisition):  # these run the model once more
            limit_threads()
        details = asker.details(split_acquisition(config.acquisition)[1])
        contested = _contested(asker, eligible, count - len(unseen), details)
        eligible = np.setdiff1d(eligible, [place.position for place in contested])
        parts, rejected = _parts(asker, answered, pending, eligible, count - len(unseen) - len(contested), details)
        parts = contested + parts
        others = np.setdiff1d(eligible, [place.position for place in parts])
        acquired = acquire_images(
            folder_of(model),
            chunks=chunks,
            eligible_positions=_promising(others, rejected, count - len(unseen) - len(parts)),
            labelled_positions=scored(model, np.union1d(answered.positions, pending)),
            count=count - len(unseen) - len(parts),
            config=config,
            report=beat,
        )
    known = [place for place in parts if not place.details.get("doubted")]
    doubted = parts[len(known) :]
    return _strewn(
        known + _in_turns(doubted, _acquired_places(model, acquired, details), round_.seed), unseen, round_.seed
    )


def _acquired_places(model: Round, acquired: Acquired, details: dict[str, object]) -> list[Place]:
    columns = (acquired.positions, acquired.selection_probabilities, acquired.scores, acquired.percentiles)
    return [
        Place(
            position=int(position),
            reason=Reason.ACQUIRED,
            selection_probability=None if math.isnan(probability) else float(probability),
            score=float(value),
            percentile=float(percentile),
            details={**thought, **details},
        )
        for position, probability, value, percentile, thought in zip(
            *columns, _thoughts(model, acquired.positions), strict=True
        )
    ]


def _contested(asker: _Asker, eligible: Integers, count: int, details: dict[str, object]) -> list[Place]:
    """Places for images that a network and the present model disagree about, first of all: what people say of them
    tells the next network from the model."""
    wanted = contested_now(asker.round.project)
    if asker.round.config["acquisition"] == "random" or not wanted:
        return []
    positions = np.array(wanted, np.int64)[np.isin(wanted, eligible)][: max(0, count)]
    of_model = {name: value for name, value in details.items() if name == "model"}
    return [
        Place(position, Reason.CONTESTED, details={**thought, **of_model})
        for position, thought in zip(positions.tolist(), _thoughts(asker.model, positions), strict=True)
    ]


def _unseen(round_: Round, model: Round, waiting: Integers, eligible: Integers, count: int) -> list[Place]:
    """Of the images that came after an older model, its share of the places, at random. A round's own model leaves
    them to the next round."""
    if model.pk == round_.pk or len(waiting) == len(eligible):
        return []
    unseen = np.setdiff1d(waiting, eligible)
    wanted = min(len(unseen), max(count - len(eligible), round(count * len(unseen) / len(waiting))))
    drawn = np.random.default_rng([round_.seed, UNSEEN_SEED]).permutation(unseen)[:wanted].tolist()
    details: dict[str, object] = {"unseen": True}
    return [Place(position, Reason.RANDOM, wanted / len(unseen), details=details) for position in drawn]


def _in_turns(doubted: list[Place], acquired: list[Place], seed: int) -> list[Place]:
    """What is in doubt and what the model chooses, one after the other; a coin says which is first.

    The next round takes the place of a queue long before it is through: what comes last is never asked about.
    """
    pairs = list(zip_longest(doubted, acquired))
    if np.random.default_rng([seed, DOUBTED_SEED]).integers(2):
        pairs = [(second, first) for first, second in pairs]
    return [place for pair in pairs for place in pair if place is not None]


def _strewn(chosen: list[Place], unseen: list[Place], seed: int) -> list[Place]:
    """One list: the ranks of the unseen are drawn among all, so that whatever part of a queue is answered has some."""
    total = len(chosen) + len(unseen)
    ranks = set(np.random.default_rng([seed, UNSEEN_SEED, 1]).permutation(total)[: len(unseen)].tolist())
    others, strewn = iter(chosen), iter(unseen)
    return [next(strewn) if rank in ranks else next(others) for rank in range(total)]


def _promising(positions: Integers, rejected: Integers, count: int) -> Integers:
    """Without images that look like bad ones, as long as there are enough others."""
    others = np.setdiff1d(positions, rejected)
    return others if len(others) >= count else positions


def _parts(
    asker: _Asker, answered: TrainingSet, pending: Integers, eligible: Integers, count: int, details: dict[str, object]
) -> tuple[list[Place], Integers]:
    """Places for images that stand for a part of the pool whose class is not known well enough, and the positions of
    what looks like bad images; nothing where that is not wanted, or answers speak against the graph. A part that
    somebody is being asked about already has no second place."""
    path, model = asker.graph(), asker.model
    if path is None or count <= 0 or (asker.is_loose and not len(answered.rejected)):
        return [], np.empty(0, np.int64)
    from learner.graph.pool_graph import questions_about_parts

    opinion = asker.opinion()
    advice = questions_about_parts(
        path,
        _answers(answered, model),
        eligible,
        count,
        pending=pending,
        opinion=opinion,
        unseen=() if opinion is None else positions_since(model.project, model.last_annotation_id),
        seed=asker.round.seed,
        report=asker.beat,
    )
    return _group_places(model, path, advice.questions, details), advice.rejected


def _answers(answered: TrainingSet, model: Round) -> Answers:
    """Those of classes that the model knows, by its numbers."""
    from learner.graph.hypotheses import Answers

    is_known = np.isin([answered.classes[label] for label in answered.labels], model.classes)
    number = {pk: index for index, pk in enumerate(model.classes)}
    labels = [number[answered.classes[label]] for label in answered.labels[is_known].tolist()]
    return Answers(answered.positions[is_known], np.array(labels, np.int64), len(model.classes), answered.rejected)


def _group_places(model: Round, path: Path, questions: Sequence[Question], details: dict[str, object]) -> list[Place]:
    from learner.graph.second_opinion import DOUBTED

    thoughts = _thoughts(model, np.array([each.position for each in questions], np.int64))
    of_model = {name: value for name, value in details.items() if name == "model"}
    groups = group_details(model.project, path, [(each.position, each.size) for each in questions])
    doubts = [{"doubted": True} if each.reason == DOUBTED else {} for each in questions]
    return [
        Place(
            each.position,
            Reason.GROUP,
            each.probability,
            score=each.gain,
            details={**group, **doubt, **thought, **of_model},
        )
        for each, group, doubt, thought in zip(questions, groups, doubts, thoughts, strict=True)
    ]


def _thoughts(model: Round, positions: Integers) -> list[dict[str, object]]:
    """What the model thinks of each: its three likeliest classes, mean and standard deviation over the samples."""
    from learner.scores import scores_at

    mean_b_C = scores_at(folder_of(model), positions, "mean_probs_N_C").astype(float)
    std_b_C = scores_at(folder_of(model), positions, "std_probs_N_C").astype(float)
    return [
        {
            "likely": [
                {"class": model.classes[c], "mean": round(float(mean[c]), 4), "std": round(float(std[c]), 4)}
                for c in np.argsort(-mean, kind="stable")[:3].tolist()
            ]
        }
        for mean, std in zip(mean_b_C, std_b_C, strict=True)
    ]
