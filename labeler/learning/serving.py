"""A round's model as a file that looks at new images: how such an image gets all that the round learned from.

Its pixels are brought to what the learner or a backbone sees, as an import does it. Features are made inside the file
by the same network. Where the round learned from likeness, the image stands where its nearest neighbours in the pool
do.
"""

from __future__ import annotations

import hashlib
import secrets
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from django.conf import settings

from labeler.learning.features import load_named_backbone
from labeler.learning.files import CannotLearn, folder_of, limit_threads
from labeler.learning.pool import cannot_derive
from labeler.learning.students import load_student
from labeler.models import Chunk, ChunkFeatures, JobState, ModelExport, PoolGraph, PoolNetwork, Round
from labeler.models.images import CHUNK_SIZE
from labeler.models.jobs import is_network_key, network_key
from labeler.round_files import hand_on
from labeler.selectors.served import about_round
from labeler.services.derived import Report
from labeler.services.serving import Exported
from labeler.storage import local_path
from labeler.told import keep, told

if TYPE_CHECKING:
    from learner.exported import Look
    from learner.graph.newcomers import Newcomers
    from learner.pool import Chunk as PixelChunk

STEPS = 1000  # of a progress bar: finding again what the graph was made by, then writing


@dataclass(frozen=True)
class _Seen:
    """How an image comes in: `look` makes features of it, where there are any."""

    look: Look | None
    shape: tuple[int, int, int]
    form: dict[str, Any]


def export_model(job: ModelExport, report: Report) -> Exported:
    """Write the file beside the round's model. Raises CannotDerive."""
    with cannot_derive(), ExitStack() as stack:
        from learner.exported import Export

        limit_threads()
        round_ = job.round
        seen = _seen(round_)
        found = _newcomers(round_, stack, report) if round_.config.get("has_likeness") else None
        report(STEPS // 2, STEPS)
        about = about_round(round_, seen.form, _versions(), _notes(found))
        name = f"served-{secrets.token_hex(8)}"
        path, arrays = (folder_of(round_) / f"{name}.{suffix}" for suffix in ("onnx", "arrays"))
        export = Export(folder_of(round_), seen.shape, seen.look, found)
        size = export.write(path, about)
        export.write_arrays(arrays)
        hand_on(round_, [path, arrays])
        report(STEPS, STEPS)
        kept = about | {"notes": [keep(each) for each in about["notes"]]}
        return Exported(path.name, arrays.name, size, hashlib.sha256(path.read_bytes()).hexdigest(), kept)


def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in ("torch", "onnx", "onnxruntime", "numpy", "pillow")}


def _seen(round_: Round) -> _Seen:
    from learner.exported import Look

    project, key = round_.project, round_.config.get("features") or ""
    side, channels = project.pixel_side, project.pixel_channels
    if side is None or channels is None:
        raise CannotLearn(told("The project has no images, so it is not known how large new ones are to be."))
    small = (channels, side, side)
    form = {"kind": "small", "channels": channels, "side": side}
    if not key:
        return _Seen(None, small, form)
    network = next((row for row in PoolNetwork.objects.filter(project=project) if network_key(row.pk) == key), None)
    if network is not None:
        return _Seen(Look.of_network(load_student(network).network.cpu()), small, form)
    if is_network_key(key):
        raise CannotLearn(
            told(
                "The %(key)s that round %(number)s looked through was deleted. Start a round.",
                key=key,
                number=str(round_.number),
            )
        )
    name, _, weights = key.partition(" ")
    backbone = load_named_backbone(name, weights)
    picture = {
        "kind": "picture", "channels": 3, "side": backbone.side, "display_max_side": settings.DISPLAY_MAX_SIDE
    }  # fmt: skip
    return _Seen(Look.of_backbone(backbone), (3, backbone.side, backbone.side), picture)


def _newcomers(round_: Round, stack: ExitStack, report: Report) -> Newcomers:
    """What the round's graph was made by. Raises CannotLearn, naming what is gone."""
    from learner.graph.newcomers import newcomers

    gone = told(
        "Which images look alike has been found anew since round %(number)s, and what it went by is gone. "
        "Start a round: its model can be prepared.",
        number=str(round_.number),
    )
    graph = PoolGraph.objects.filter(project=round_.project_id, pk=round_.config.get("graph") or 0).first()
    if graph is None or graph.state != JobState.DONE or not graph.vectors:
        raise CannotLearn(gone)
    try:
        path = stack.enter_context(local_path(graph.vectors))
        chunks = tuple(_chunk(graph, chunk, stack) for chunk in _chunks_of(graph))
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise CannotLearn(gone) from error
    return newcomers(
        chunks,
        vectors,
        seed=round_.project_id,
        report=lambda _phase, done, total: report(done * STEPS // (2 * max(1, total)), STEPS),
    )


def _chunks_of(graph: PoolGraph) -> list[Chunk]:
    chunks = Chunk.objects.filter(project=graph.project_id, count__gt=0).order_by("number")
    return [chunk for chunk in chunks if chunk.number * CHUNK_SIZE < graph.done]


def _chunk(graph: PoolGraph, chunk: Chunk, stack: ExitStack) -> PixelChunk:
    """The images of a chunk that the graph knows: the first ones, in a file that may have grown since."""
    from learner.pool import Chunk as PixelChunk

    count = min(CHUNK_SIZE, graph.done - chunk.number * CHUNK_SIZE)
    name = chunk.pixels
    if graph.features is not None:
        rows = ChunkFeatures.objects.filter(chunk=chunk, backbone=graph.features.key, count__gte=count)
        name = rows.values_list("file", flat=True).first() or ""
    if not name:
        raise FileNotFoundError(f"features of chunk {chunk.number}")
    path: Path = stack.enter_context(local_path(name))
    return PixelChunk(chunk.number, path, count, 0)


def _notes(found: Newcomers | None) -> list[str]:
    if found is None or found.n_pool == len(found.vectors_N_D):
        return []
    return [
        told(
            "New images are placed by %(images)s of the pool’s %(pool)s images, drawn at random: all of them would not "
            "fit.",
            images=len(found.vectors_N_D),
            pool=found.n_pool,
        )
    ]
