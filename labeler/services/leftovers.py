"""Files that nothing names any more, deleted a day later: a backup that read the database first still finds them.

The day begins when a file is replaced (`mark_replaced`), not when it was written: that may be long ago.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from django.db import DEFAULT_DB_ALIAS
from django.db.models import Q, QuerySet

from labeler import clock, storage
from labeler.models import ChunkFeatures, Project, RoundChunk
from labeler.models.rounds import UNFINISHED

KEPT = timedelta(days=1)


def mark_replaced(names: Iterable[str]) -> None:
    """Begin their day, before the rows name other files. One that is not replaced after all stays for longer."""
    for name in names:
        storage.mark(name)


def forget_unnamed_files(project: Project) -> int:
    """Delete pixels and features of chunks that grew, and what killed imports, exports, maps and graphs left,
    half-written or whole. Returns how many.
    """
    folder = storage.project_folder(project)
    groups = ("packs", "pixels", "features", "exports", "maps", "graphs", "networks")
    names = {name for group in groups for name in storage.older(f"{folder}/{group}", KEPT)}
    old = names - named_files(project) if names else set()
    for name in old:
        storage.delete(name)
    return len(old)


def named_files(project: Project) -> set[str]:
    """What rows name, what rounds read that a backup of the last day may know as unfinished, and what the model in
    charge was made of: it may be asked again, and its round run again. Of the database that the project is from."""
    using = project._state.db or DEFAULT_DB_ALIAS
    projects = Project.objects.using(using).filter(pk=project.pk, model_round__isnull=False)
    in_charge = Q(round__in=projects.values("model_round"))
    recent = Q(round__state__in=UNFINISHED) | Q(round__finished_at__gt=clock.now() - KEPT)
    read = RoundChunk.objects.using(using).filter(recent | in_charge, round__project=project)
    features = ChunkFeatures.objects.using(using).filter(chunk__project=project)
    return {
        *project.packs.values_list("name", flat=True),
        *project.chunks.values_list("pixels", flat=True),
        *project.exports.values_list("file", flat=True),
        *project.predictions.values_list("file", flat=True),
        *project.maps.values_list("file", flat=True),
        *(name for graph in project.graphs.all() for name in graph.files),
        *(name for network in project.networks.all() for name in network.files),
        *features.values_list("file", flat=True),
        *_read_by(read),
    }


def _read_by(round_chunks: QuerySet[RoundChunk]) -> set[str]:
    return {name for names in round_chunks.values_list("pixels", "features") for name in names if name}
