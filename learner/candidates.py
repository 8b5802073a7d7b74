"""The candidates of a round: what an acquisition function needs is brought here, and what it chose is taken away.

From the score files alone, where it goes by one score an image; functions that choose a batch as a whole get joint
posterior samples or features of some thousand preselected images, for which the round's model is loaded (and torch).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from learner.acquisition import badge, batchbald, herding, k_centre, percentiles, rank, selection_probabilities, spread
from learner.acquisition import typicality as typical
from learner.config import HERDING, Report, RoundConfig, ignore, is_of_a_whole, split_acquisition
from learner.embedding import shrink
from learner.errors import ArtifactError, ConfigError, naming
from learner.pool import Chunk, Pool
from learner.scores import read_scores, scores_at
from learner.seeds import derive

Integers = npt.NDArray[np.int64]

PRESELECTED = {"batchbald": 2_000, "badge": 20_000, "k_centre": 20_000, "typicality": 10_000, HERDING: 4_000}
"""Images that a batch is chosen among, and at least as many as the batch has: for BatchBALD those with the highest
mutual information, for the others a random sample, which leaves the shape of the pool as it is."""

JOINT_FLOATS = 64 * 2**20
"""Posterior samples that are held at once: 256 MiB. Fewer images are preselected where K times C is large."""

LABELLED = 5_000
"""Labelled images that k-centre, typicality and herding keep away from; of more, a random sample."""

SMALL_PIXELS = 256
"""Images are compared as averages of about so many blocks: noise goes, what is seen stays."""

SAMPLE = 1_000
"""Images that say how far apart random ones are."""


@dataclass(frozen=True)
class Acquired:
    """The candidates of a round, best first.

    Args:
        positions: int64 `[b]`.
        scores: float32 `[b]`, of the measure that the acquisition function goes by or is shown with; see
            `learner.config.split_acquisition`.
        selection_probabilities: float64 `[b]`, of each to be among the b; see `learner.acquisition.ranking`. Of those
            that would be without looking for near-duplicates. NaN where a batch is chosen as a whole: not known.
        percentiles: float64 `[b]`, percent of the eligible images whose score is lower.
    """

    positions: Integers
    scores: npt.NDArray[np.float32]
    selection_probabilities: npt.NDArray[np.float64]
    percentiles: npt.NDArray[np.float64]


def acquire(
    directory: Path,
    *,
    chunks: Sequence[Chunk],
    eligible_positions: npt.ArrayLike,
    labelled_positions: npt.ArrayLike = (),
    count: int,
    config: RoundConfig,
    report: Report,
) -> Acquired:
    """Choose the images to ask about next.

    Memory is a few numbers for each eligible image, whatever the number of classes and samples, and for functions that
    choose a batch as a whole what `PRESELECTED` images need. An order by scores passes over what looks like something
    already taken (`RoundConfig.apart`), and BatchBALD chooses among images that are apart: past some thirty it goes by
    an order, too. The others keep images apart by themselves.

    Args:
        directory: The round's.
        chunks: The pool's chunks; all that hold eligible images must have been scored.
        eligible_positions: int64 `[n]`, the images that may be chosen, each once.
        labelled_positions: int64, images that have a label; k-centre and typicality keep away from them.
        count: b; all eligible images, ranked, if it is more than their number.
        config: Acquisition function, coldness, seed.
        report: Called with the phase `"acquire"`.

    Returns:
        The candidates; the order is their rank.

    Raises:
        ArtifactError: If an eligible image has not been scored, a score is not finite, or the round's model is missing.
        ConfigError: If BatchBALD cannot hold the samples of a batch.
    """
    how, measure = split_acquisition(config.acquisition)
    eligible = np.sort(np.asarray(eligible_positions, dtype=np.int64))
    scores = eligible_scores(directory, chunks, eligible, measure, report)
    count, seed = min(count, len(eligible)), derive(config.seed, "acquisition")
    if not count:
        chosen, probabilities = np.empty(0, np.int64), np.empty(0)
    elif is_of_a_whole(config.acquisition):
        labelled = np.asarray(labelled_positions, dtype=np.int64)
        among = preselect(how, scores, count, config, seed, Pool(chunks), eligible, report)
        chosen = _as_a_whole(directory, Pool(chunks), eligible, scores, labelled, among, count, config, seed, report)
        if len(chosen) < count:  # BatchBALD, and all others look like one of these
            order = rank("top", scores, coldness=config.coldness, seed=seed)
            chosen = np.concatenate([chosen, order[~np.isin(order, chosen)][: count - len(chosen)]])
        probabilities = np.full(count, np.nan)
    else:
        order = rank(how, scores, coldness=config.coldness, seed=seed)
        chosen = order[:count]
        if config.apart and count > 1 and how != "random":  # random stays uniform: others are compared with it
            vectors_of, least = _looks(Pool(chunks), eligible, config)
            chosen = spread(order, count, vectors_of, least, report=report)
        probabilities = selection_probabilities(how, scores, count, coldness=config.coldness)[chosen]
    return Acquired(eligible[chosen], scores[chosen], probabilities, percentiles(scores, scores[chosen]))


def eligible_scores(
    directory: Path, chunks: Sequence[Chunk], eligible: Integers, measure: str, report: Report
) -> npt.NDArray[np.float32]:
    """A measure of the eligible images, in their order, which must be rising; one chunk's file is open at a time.

    Raises:
        ArtifactError: If a position is in no chunk, its chunk has not been scored, or not with this measure.
    """
    scores = np.full(len(eligible), np.nan, dtype=np.float32)
    has_scores = np.zeros(len(eligible), dtype=np.bool_)
    report("acquire", 0, len(chunks))
    for done, chunk in enumerate(chunks, start=1):
        low, high = np.searchsorted(eligible, [chunk.start, chunk.start + chunk.count])
        if high > low:
            column = read_scores(directory, [chunk.number], measure)
            if len(column) != chunk.count:
                raise ArtifactError(f"chunk {chunk.number} has {len(column)} scores for {chunk.count} images")
            scores[low:high] = column[eligible[low:high] - chunk.start]
            has_scores[low:high] = True
        report("acquire", done, len(chunks))
    if not has_scores.all():
        raise ArtifactError(f"{int((~has_scores).sum())} eligible positions are in none of the {len(chunks)} chunks")
    return scores


def preselect(
    how: str,
    scores_n: npt.NDArray[np.float32],
    count: int,
    config: RoundConfig,
    seed: int,
    pool: Pool,
    eligible: Integers,
    report: Report = ignore,
) -> Integers:
    """Indices of the images that a batch is chosen among, rising; see `PRESELECTED`.

    Of near-duplicates BatchBALD gets one.

    Raises:
        ConfigError: If the samples of a batch for BatchBALD are more than `JOINT_FLOATS`.
    """
    if how != "batchbald":
        order = rank("random", scores_n, coldness=0.0, seed=seed)
        return np.sort(order[: max(PRESELECTED[how], count)])
    a_sample = config.posterior_samples * config.n_classes
    most = JOINT_FLOATS // a_sample
    if most < count:
        raise ConfigError(
            f"batchbald cannot hold {config.posterior_samples} posterior samples of {config.n_classes} classes of a "
            f"batch of {count}: take fewer samples, or at most {most} candidates"
        )
    order = rank("top", scores_n, coldness=0.0, seed=seed)
    size = min(max(PRESELECTED[how], count), most, len(order))
    if not config.apart or count < 2:
        return np.sort(order[:size])
    return np.sort(spread(order, size, *_looks(pool, eligible, config), fill=1, report=report))


def _as_a_whole(
    directory: Path,
    pool: Pool,
    eligible: Integers,
    scores: npt.NDArray[np.float32],
    labelled: Integers,
    among: Integers,
    count: int,
    config: RoundConfig,
    seed: int,
    report: Report,
) -> Integers:
    """Indices into the eligible images of a batch, in the order taken; it is chosen among some."""
    from learner.posterior import Posterior

    how, _ = split_acquisition(config.acquisition)
    positions = eligible[among]
    if how == "batchbald":
        with naming(config.model):
            log_probs = Posterior(directory, pool, report).log_probs(positions)
            return among[batchbald(log_probs, count, seed=seed, report=report)[0]]
    if how == "badge":
        mean_probs = scores_at(directory, positions, "mean_probs_N_C").astype(np.float32)
        hidden = Posterior(directory, pool, report).features(positions)
        return among[badge(mean_probs, hidden, count, seed=seed, report=report)]
    if len(pool.shape) == 1:  # a pool of features has them already

        def features(positions_n: Integers) -> npt.NDArray[Any]:
            return pool.inputs(positions_n)[:, config.ignored :]
    else:
        features = Posterior(directory, pool, report).features
    some = np.random.default_rng(seed).permutation(labelled)[:LABELLED]
    covered = features(some) if len(some) else np.empty((0, 0), np.float32)
    if how == HERDING:
        vectors = features(positions)
        targets = np.sort(np.random.default_rng(seed).permutation(len(among))[: PRESELECTED[HERDING]])
        herded = herding(vectors, vectors[targets], scores[among[targets]], covered, count, report=report)
        return among[herded.indices]
    choose = k_centre if how == "k_centre" else typical
    return among[choose(features(positions), covered, count, seed=seed, report=report)]


def _looks(
    pool: Pool, eligible: Integers, config: RoundConfig
) -> tuple[Callable[[Integers], npt.NDArray[np.float32]], float]:
    """What images look like, by index into the eligible ones, and the squared distance from which on they are apart."""
    rng = np.random.default_rng(derive(config.seed, "looks"))
    some = rng.choice(eligible, min(SAMPLE, len(eligible)), replace=False)
    sample = shrink(pool.inputs(some), SMALL_PIXELS)
    mean, random_pair = sample.mean(0), 2 * float(sample.var(0, dtype=np.float64).sum())
    return lambda indices: shrink(pool.inputs(eligible[indices]), SMALL_PIXELS) - mean, config.apart * random_pair
