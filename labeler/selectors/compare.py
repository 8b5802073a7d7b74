"""Two rounds of a project side by side: where they disagree, what they cost, how well their probabilities hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from labeler import choices
from labeler.models import LabelClass, Project, Round
from labeler.selectors.explore import PAGE, Tile, tiles_of
from labeler.selectors.features import architecture_of, seen_by, seer_words
from labeler.selectors.graphs import current_graph
from labeler.selectors.pool import LEAST_HOLDOUT, labelled_images, says_something
from labeler.selectors.rounds import posterior_samples
from labeler.selectors.scores import meanings_of, metrics_on, predicted_classes, probability, summary_of
from labeler.told import Told, said, together, told, told_word

MOST_PAIRS = 12
METRICS = (
    ("accuracy", _("Right"), "%", 1, _("Share of holdout images that it gets right, Wilson 95 %% interval")),
    ("nll", _("Negative log-likelihood"), "nats", 3,
     _("Mean over the holdout, normal 95 %% interval. Lower is better")),
    ("brier", _("Brier score"), "", 3, _("Squared distance from the label, normal 95 %% interval. Lower is better")),
    ("ece", _("Calibration error"), "%", 1,
     _("Gap of confidence and accuracy, bootstrap 95 %% interval. Lower is better")),
)  # fmt: skip
OPTIONS = (
    (("bootstrap", "ensemble"), "member_dropout", True, _("dropout inside")),
    (("bootstrap", "ensemble"), "temperature_scaling", True, _("scaled temperature")),
    (("laplace",), "laplace_prior", "marginal_likelihood", _("prior by marginal likelihood")),
)
"""Of which estimators, and the setting whose value is told apart from the usual one."""


@dataclass(frozen=True)
class Side:
    round: Round
    name: str  # estimator and network, in words
    fit_seconds: float | None
    score_seconds: float | None
    metrics: dict[str, Any]


@dataclass(frozen=True)
class MetricRow:
    words: str
    unit: str
    digits: int
    title: str
    values: list[dict[str, Any] | None]


@dataclass(frozen=True)
class PairCount:
    one: str
    other: str
    count: int


@dataclass(frozen=True)
class TilePair:
    one: Tile
    other: Tile


@dataclass(frozen=True)
class Comparison:
    sides: list[Side]
    images: int
    differing: int
    pairs: Sequence[PairCount]
    rows: list[MetricRow]
    tiles: Sequence[TilePair]
    pages: int
    holdout: int
    least_holdout: int = LEAST_HOLDOUT

    @property
    def share(self) -> float:
        return self.differing / self.images if self.images else 0.0


def compare(project: Project, one: Round, other: Round, page: int) -> Comparison:
    """On the images that both have scored, and the holdout as it is labelled now. Raises NoScores.

    The gallery shows first where both give high probabilities and say different things.
    """
    summaries = [summary_of(one), summary_of(other)]
    n = min(map(len, summaries))
    classes = [predicted_classes(round_, scores)[:n] for round_, scores in zip((one, other), summaries, strict=True)]
    differing = np.flatnonzero(classes[0] != classes[1])
    least = np.minimum(*(probability(scores, differing) for scores in summaries))
    order = differing[np.argsort(-least, kind="stable")]
    shown = order[(page - 1) * PAGE : page * PAGE].tolist()
    tiles = [{tile.image.pk: tile for tile in tiles_of(round_, scores, shown)}
             for round_, scores in zip((one, other), summaries, strict=True)]  # fmt: skip
    labels = dict(labelled_images(project, is_holdout=True).values_list("position", "label_id"))
    same = {
        position: pk
        for position, pk in labels.items()
        if position < n and pk in {*meanings_of(one)} & {*meanings_of(other)}
    }
    sides = [_side(round_, metrics_on(round_, same)) for round_ in (one, other)]
    return Comparison(
        sides=sides,
        images=n,
        differing=len(differing),
        pairs=_pairs(classes[0][differing], classes[1][differing]),
        rows=[
            MetricRow(str(words), unit, digits, str(title) % {}, [_shown(side.metrics, name) for side in sides])
            for name, words, unit, digits, title in METRICS
        ],
        tiles=[TilePair(tile, tiles[1][pk]) for pk, tile in tiles[0].items() if pk in tiles[1]],
        pages=-(-len(differing) // PAGE),
        holdout=sides[0].metrics.get("n", 0),
    )


def _shown(metrics: dict[str, Any], name: str) -> dict[str, Any] | None:
    return metrics[name] if says_something(metrics) else None


def _side(round_: Round, metrics: dict[str, Any]) -> Side:
    seconds = round_.phase_seconds
    return Side(round_, estimator_words(round_.config), seconds.get("fit"), seconds.get("score"), metrics)


def estimator_words(config: dict[str, Any]) -> str:
    """`Deep ensemble on mlp, K = 5, scaled temperature`: all that may tell two rounds apart."""
    return said(_estimator(config))


def _estimator(config: dict[str, Any]) -> Told:
    estimator = config.get("estimator", "")
    words = told_word(dict(choices.ESTIMATORS).get(estimator, estimator))
    extras = [told_word(text) for names, key, value, text in OPTIONS if estimator in names and config.get(key) == value]
    name = told("%(estimator)s on %(network)s", estimator=words, network=_network(config))
    return together(name, f"K = {posterior_samples(config) or '?'}", *extras, between=", ")


def planned_words(project: Project, config: dict[str, Any]) -> Told:
    """The same of a round that is still to be made: what it would learn from now. To be kept."""
    sees = seen_by(project, config, current_graph(project))
    features = sees.features.key if sees.features is not None else None
    return _estimator({**config, "features": features, "has_likeness": sees.has_likeness})


def _network(config: dict[str, Any]) -> str:
    network = architecture_of(config) if "architecture" in config else ""
    network = told("one hidden layer") if network == "head" else network  # the others have names of their own
    seen = seer_words(config.get("features") or "") or told("pixels")
    if config.get("has_likeness"):
        return told("%(network)s of likeness by %(seen)s", network=network, seen=seen)
    return told("%(network)s of %(seen)s", network=network, seen=seen) if config.get("features") else network


def _pairs(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> list[PairCount]:
    counts = Counter(zip(one.tolist(), other.tolist(), strict=True)).most_common(MOST_PAIRS)
    names = dict(LabelClass.objects.filter(pk__in={pk for pair, _ in counts for pk in pair}).values_list("pk", "name"))
    gone = gettext("a deleted class")
    return [PairCount(names.get(a, gone), names.get(b, gone), n) for (a, b), n in counts]
