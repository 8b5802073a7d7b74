"""What images are compared by and learned from: their pixels, or the features of a backbone or of a network of the
pool's own. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.text import capfirst
from django.utils.translation import gettext as _

from labeler import clock
from labeler.choices import DEFAULT_BACKBONE
from labeler.imaging.pixels import LARGEST_SMALL
from labeler.models import Chunk, ChunkFeatures, JobState, PoolFeatures, PoolGraph, Project
from labeler.models.images import CHUNK_SIZE
from labeler.models.jobs import UNFINISHED_JOB, backbone_key, network_key
from labeler.numerals import numeral
from labeler.selectors.graphs import LEAST_IMAGES
from labeler.selectors.pool import total_images
from labeler.told import said, told

SILENT_SECONDS = 10  # a worker beats twice a second, and for each batch of photographs at least


@dataclass(frozen=True)
class Representation:
    """What a project wants. `backbone` is empty for pixels; `weights` is empty where they come with the name. A network
    of the pool's own stands in place of a backbone, which is then named after it."""

    backbone: str
    weights: str
    reason: str
    network: int | None = None

    @property
    def key(self) -> str:
        return backbone_key(self.backbone, self.weights)

    @property
    def title(self) -> str:
        """The same, to begin a sentence."""
        return capfirst(self.words)

    @property
    def words(self) -> str:
        return _words(self.backbone, self.weights) if self.backbone else _("pixels")


@dataclass(frozen=True)
class ChunkInput:
    """The first `count` images of a chunk; `features` is empty where its pixels are read, else a file of vectors: its
    own, or that of all images with its first one in some row."""

    chunk: Chunk
    count: int
    features: str = ""
    row: int | None = None

    @property
    def pixels(self) -> str:
        return self.chunk.pixels


@dataclass(frozen=True)
class FeaturesState:
    """What is wanted, what is there, what is being made and what went wrong with it."""

    wanted: Representation
    ready: PoolFeatures | None
    used: PoolFeatures | None  # those that are wanted, or until then those of the last choice
    made: PoolFeatures | None
    failed: PoolFeatures | None  # or stopped by a person
    is_coming: bool  # nobody has asked for them yet; the sweep does, once no import is under way
    is_pool_small: bool  # or does not, of so few images

    @property
    def least_images(self) -> int:
        return LEAST_IMAGES

    @property
    def meanwhile(self) -> str:
        return _words(self.used.backbone, self.used.weights) if self.used else _("their pixels")

    @property
    def seconds_left(self) -> float | None:
        """As the worker expects that has it now; None while there is no sign of it."""
        made, now = self.made, clock.now()
        if made is None or made.ready_at is None or made.heartbeat_at is None or made.state != JobState.RUNNING:
            return None
        if (now - made.heartbeat_at).total_seconds() > SILENT_SECONDS:
            return None
        return max(0.0, (made.ready_at - now).total_seconds())

    @property
    def percent(self) -> int:
        return round(100 * self.made.done / self.made.total) if self.made and self.made.total else 0


def wanted_representation(project: Project) -> Representation:
    """A network that has taken over; else as chosen."""
    if (pk := project.learning.network_id) is not None:
        return Representation(network_key(pk), "", _("trained on this project’s images"), pk)
    return chosen_representation(project)


def chosen_representation(project: Project) -> Representation:
    """As the manager chose, or picked by looking at the images alone: their colour and size."""
    learning = project.learning
    if learning.representation == "pixels":
        return Representation("", "", _("chosen in the settings"))
    if learning.representation == "default":
        return Representation(DEFAULT_BACKBONE, "", _("chosen in the settings"))
    if learning.representation == "other":
        return Representation(learning.backbone, learning.backbone_file, _("chosen in the settings"))
    return picked_representation(project)


def picked_representation(project: Project) -> Representation:
    """Small grey images are compared well by their pixels; of photographs those say little. All images that there are
    have their say, however small and grey the first ones were."""
    small_grey, large_grey = project.small_grey_images, project.large_grey_images
    in_colour = project.small_colour_images + project.large_colour_images
    others = large_grey + in_colour
    total = small_grey + others
    if not total:
        return Representation("", "", _("there are no images yet"))
    if small_grey > others:
        return Representation("", "", _picked(small_grey, total, _("small and grey")))
    pixels = {"pixels": LARGEST_SMALL}
    if in_colour in (0, others):
        kind = _("in colour") if in_colour else _("larger than %(pixels)s pixels") % pixels
    else:
        kind = _("in colour or larger than %(pixels)s pixels") % pixels
    return Representation(DEFAULT_BACKBONE, "", _picked(others, total, kind))


def _picked(count: int, total: int, kind: str) -> str:
    if count == total:
        return _("picked, since the images are %(kind)s") % {"kind": kind}
    return _("picked, since %(count)s of %(total)s images are %(kind)s") % {
        "count": numeral(count), "total": numeral(total), "kind": kind,
    }  # fmt: skip


def ready_features(project: Project) -> PoolFeatures | None:
    """The features that rounds and graphs take; what was imported since may be missing in them."""
    return ready_by_project([project]).get(project.pk)


def ready_by_project(projects: Iterable[Project]) -> dict[int, PoolFeatures]:
    """The same for many projects in one query, by the project's id.

    Those that are wanted and were once complete; until there are any, those of the choice before: a backbone that
    cannot be had takes nothing away.
    """
    wanted = {project.pk: wanted_representation(project) for project in projects}
    ready: dict[int, PoolFeatures] = {}
    for row in PoolFeatures.objects.filter(state=JobState.DONE, images__gt=0, project__in=wanted).order_by("pk"):
        last, key = ready.get(row.project_id), wanted[row.project_id].key
        if key and (row.key == key or last is None or last.key != key):
            ready[row.project_id] = row
    return ready


def chunk_inputs(project: Project, features: PoolFeatures | None) -> Sequence[ChunkInput]:
    """The files of the pool in order: all pixels, or the vectors up to the first image that has none yet."""
    chunks = Chunk.objects.filter(project=project, count__gt=0).order_by("number")
    if features is None:
        return [ChunkInput(chunk, chunk.count) for chunk in chunks]
    made = {row.chunk_id: row for row in ChunkFeatures.objects.filter(chunk__project=project, backbone=features.key)}
    inputs: list[ChunkInput] = []
    for chunk in chunks:
        row = made.get(chunk.pk)
        if row is None:
            break
        inputs.append(ChunkInput(chunk, min(row.count, chunk.count), row.file))
        if row.count < chunk.count:
            break  # positions of a pool have no gaps
    return inputs


def likeness_inputs(graph: PoolGraph) -> Sequence[ChunkInput]:
    """The vectors of likeness in order, up to the last image that the graph knows."""
    chunks = Chunk.objects.filter(project=graph.project, count__gt=0).order_by("number")
    starts = [(chunk, chunk.number * CHUNK_SIZE) for chunk in chunks]
    return [
        ChunkInput(chunk, min(chunk.count, graph.done - start), graph.vectors, start)
        for chunk, start in starts
        if start < graph.done
    ]


@dataclass(frozen=True)
class Seen:
    """What a round or a replay learns from: files, the features that they came of, and whether they tell likeness."""

    inputs: Sequence[ChunkInput]
    features: PoolFeatures | None
    has_likeness: bool


def seen_by(project: Project, config: Mapping[str, Any], graph: PoolGraph | None) -> Seen:
    """Likeness where that is wanted and known, else what is seen of each image alone."""
    if graph is not None and graph.vectors and config.get("learns_from") == "likeness":
        return Seen(likeness_inputs(graph), graph.features, True)
    features = ready_features(project)
    return Seen(chunk_inputs(project, features), features, False)


def architecture_of(config: Mapping[str, Any]) -> str:
    """The network of a round by its config: there is a setting for pixels and one for vectors."""
    is_of_vectors = config.get("features") or config.get("has_likeness")
    return str(config["feature_architecture"] if is_of_vectors else config["architecture"])


def features_state(project: Project) -> FeaturesState:
    wanted = wanted_representation(project)
    rows = [row for row in PoolFeatures.objects.filter(project=project)[:20] if row.key == wanted.key]
    newest = rows[0] if rows else None
    is_unasked = bool(wanted.backbone) and newest is None
    is_pool_small = is_unasked and total_images(project) < LEAST_IMAGES
    return FeaturesState(
        wanted=wanted,
        ready=next((row for row in rows if row.state == JobState.DONE), None),
        used=ready_features(project),
        made=next((row for row in rows if row.state in UNFINISHED_JOB), None),
        failed=newest if newest and newest.state in (JobState.FAILED, JobState.CANCELLED) else None,
        is_coming=is_unasked and not is_pool_small,
        is_pool_small=is_pool_small,
    )


def seer_words(key: str) -> str:
    """Whose features they are, on a page: a backbone has a name of its own, `network 3` is a word and a number."""
    kind, _space, pk = key.partition(" ")
    return told("network %(pk)s", pk=pk) if kind == "network" and pk.isdigit() else key


def features_words(key: str | None) -> str:
    """What is looked at: `features of efficientnet_lite0`, or pixels."""
    return _("features of %(backbone)s") % {"backbone": said(seer_words(key))} if key else _("pixels")


def _words(backbone: str, weights: str) -> str:
    if weights:
        return _("features of %(backbone)s with the weights in %(file)s") % {"backbone": backbone, "file": weights}
    return features_words(backbone)
