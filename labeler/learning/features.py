"""The features of images: a backbone, and the pictures that it looks at."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from django.conf import settings

from labeler.imaging.pixels import to_picture
from labeler.learning.files import limit_threads
from labeler.learning.pool import cannot_derive
from labeler.learning.students import open_student
from labeler.models import Image, PoolFeatures, PoolNetwork
from labeler.models.images import CHUNK_SIZE
from labeler.services.derived import CannotDerive, Report
from labeler.services.features import Compute, Part, VectorsLost, Write
from labeler.storage import local_path, read_range
from labeler.told import told

if TYPE_CHECKING:
    from learner.backbones import Backbone

Pixels = npt.NDArray[np.uint8]


def open_backbone(job: PoolFeatures, beat: Callable[[], None]) -> Compute:
    """The backbone of a job, or the pool's own network, ready to look at chunks. Raises CannotDerive."""
    if job.network is not None:
        return _open_network(job.network)
    with cannot_derive():
        from learner.background import in_background

        limit_threads()
        backbone = in_background(lambda: load_named_backbone(job.backbone, job.weights), beat)

    def compute(part: Part, report: Report) -> Write:
        from learner.features import compute_features

        before = _vectors_before(part)
        with cannot_derive():
            features = compute_features(
                backbone,
                _reader(part, backbone),
                part.stop - part.start,
                device=settings.LEARNER_DEVICE,
                report=lambda _phase, done, total: report(done, total),
            )
        return _written(before, features)

    return compute


def load_named_backbone(name: str, weights: str) -> Backbone:
    """A backbone with its own weights, or those of a file in `BACKBONE_DIR`."""
    from learner.backbones import load_backbone

    _keep_downloads()
    return load_backbone(name, Path(settings.BACKBONE_DIR) / weights if weights else None)


def _vectors_before(part: Part) -> npt.NDArray[np.float16] | None:
    if not part.before:
        return None
    try:
        with local_path(part.before) as path:
            vectors: npt.NDArray[np.float16] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise VectorsLost from error
    if len(vectors) != part.start or not np.isfinite(vectors).all():
        raise VectorsLost
    return vectors


def _written(before: npt.NDArray[np.float16] | None, features: npt.NDArray[np.float16]) -> Write:
    """How to write all vectors of a chunk up to the end of a part. Raises VectorsLost, where they do not fit."""
    if before is not None and before.shape[1] != features.shape[1]:
        raise VectorsLost
    vectors = features if before is None else np.concatenate([before, features])
    return lambda file: np.save(file, vectors, allow_pickle=False)


def _open_network(network: PoolNetwork) -> Compute:
    with cannot_derive():
        look = open_student(network)

    def compute(part: Part, report: Report) -> Write:
        before = _vectors_before(part)
        with cannot_derive():
            features = look(part, lambda _phase, done, total: report(done, total))
        return _written(before, features)

    return compute


def _keep_downloads() -> None:
    """torch and timm put what they download beside the other files of the product, where all workers find it."""
    for name in ("TORCH_HOME", "HF_HOME"):
        os.environ.setdefault(name, str(Path(settings.DATA_DIR) / "cache" / name.removesuffix("_HOME").lower()))


def _reader(part: Part, backbone: Backbone) -> Callable[[int, int], Pixels]:
    """Images as people see them, at the backbone's size: what a learner is given of a photograph is far smaller."""
    chunk = part.chunk
    first = chunk.number * CHUNK_SIZE + part.start

    def read(start: int, stop: int) -> Pixels:
        rows = Image.objects.filter(
            project=chunk.project_id, position__gte=first + start, position__lt=first + stop
        ).order_by("position")
        stored = list(rows.values_list("name", "pack__name", "offset", "length"))
        if len(stored) != stop - start:
            raise CannotDerive(
                told(
                    "Of chunk %(number)s %(value)s images are missing.",
                    number=str(chunk.number),
                    value=stop - start - len(stored),
                )
            )
        return np.stack([_picture(backbone.side, *row) for row in stored])

    return read


def _picture(side: int, name: str, pack: str, offset: int, length: int) -> Pixels:
    """See `to_picture`."""
    try:
        return to_picture(read_range(pack, offset, length), side)
    except (OSError, SyntaxError, ValueError) as error:
        raise CannotDerive(
            told("The picture %(name)s cannot be read in the storage (%(why)s).", name=name, why=str(error))
        ) from error
