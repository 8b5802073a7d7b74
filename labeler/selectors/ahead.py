"""What a learning curve cannot know: that images are soon seen in a better way, or that a better model stands aside.

Where answers are nearly worth nothing going by the rounds so far, that is said first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from labeler.models import PoolFeatures, PoolNetwork, Project, Round, Standing
from labeler.models.jobs import UNFINISHED_JOB
from labeler.selectors.features import features_state
from labeler.selectors.graphs import current_graph
from labeler.selectors.measured import Point, sight_words


@dataclass(frozen=True)
class BetterAside:
    """`difference`: its accuracy less that of the model in charge, as the verdict has it."""

    number: int
    difference: Mapping[str, Any]


def better_aside(project: Project) -> BetterAside | None:
    """The newest model, where a person keeps another in charge and the whole interval of the difference is above 0."""
    last = Round.objects.filter(project=project).exclude(standing="").order_by("-number").defer("metrics").first()
    if last is None or last.standing != Standing.ASIDE:
        return None
    difference = last.verdict.get("difference")
    return BetterAside(last.number, difference) if difference and difference["low"] > 0 else None


def why_to_wait(project: Project, newest: Point | None) -> str:
    """A sentence; empty where nothing is on its way by which the next models would see more than the `newest` did."""
    features = features_state(project)
    if features.ready is None and (features.made is not None or features.is_coming):
        words = _("%(features)s are being computed: wait for the round after them before you judge.")
        return words % {"features": features.wanted.title}
    networks = PoolNetwork.objects.filter(project=project)
    trained = networks.filter(state__in=UNFINISHED_JOB).values_list("pk", flat=True).first()
    # One follows the other as answers come in: from the second on the curve knows what networks are worth here.
    if trained is not None and not networks.filter(is_accepted__isnull=False).exists():
        words = _(
            "Network %(pk)s is being trained: wait until it is accepted or refused, and for the round after it, before "
            "you judge."
        )
        return words % {"pk": trained}
    seen = _seen_next(project, features.used)
    if newest is not None and newest.sees != seen:
        words = _(
            "The next round sees the images in another way (%(seen)s): wait for it, or start it, before you judge."
        )
        return words % {"seen": seen}
    return ""


def _seen_next(project: Project, features: PoolFeatures | None) -> str:
    """What the next round sees, in words. A graph whose features are gone, or that is of pixels though there are
    features, is being made again of those."""
    graph = current_graph(project)
    is_alike = graph is not None and bool(graph.vectors) and project.learning.learns_from == "likeness"
    if graph is not None and is_alike:
        features = graph.features or features
    return sight_words(features.key if features else None, is_alike=is_alike)
