"""The features of images: a backbone, and the pictures that it looks at."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from django.conf import settings
from PIL import Image as Picture

from labeler.learning.files import limit_threads
from labeler.learning.networks import open_student
from labeler.learning.pool import cannot_derive
from labeler.models import Chunk, Image, PoolFeatures, PoolNetwork
from labeler.models.images import CHUNK_SIZE
from labeler.services.derived import CannotDerive, Report
from labeler.services.features import Compute, Write
from labeler.storage import read_range

if TYPE_CHECKING:
    from learner.backbones import Backbone

Pixels = npt.NDArray[np.uint8]


def open_backbone(job: PoolFeatures, beat: Callable[[], None]) -> Compute:
    """The backbone of a job, or the pool's own network, ready to look at chunks. Raises CannotDerive."""
    if job.network is not None:
        return _open_network(job.network)
    with cannot_derive():
        from learner.backbones import load_backbone
        from learner.background import in_background

        _keep_downloads()
        limit_threads()
        weights = Path(settings.BACKBONE_DIR) / job.weights if job.weights else None
        backbone = in_background(lambda: load_backbone(job.backbone, weights), beat)

    def compute(chunk: Chunk, report: Report) -> Write:
        from learner.features import compute_features

        with cannot_derive():
            features = compute_features(
                backbone,
                _reader(chunk, backbone),
                chunk.count,
                device=settings.LEARNER_DEVICE,
                report=lambda _phase, done, total: report(done, total),
            )
        return lambda file: np.save(file, features, allow_pickle=False)

    return compute


def _open_network(network: PoolNetwork) -> Compute:
    with cannot_derive():
        look = open_student(network)

    def compute(chunk: Chunk, report: Report) -> Write:
        with cannot_derive():
            features = look(chunk, lambda _phase, done, total: report(done, total))
        return lambda file: np.save(file, features, allow_pickle=False)

    return compute


def _keep_downloads() -> None:
    """torch and timm put what they download beside the other files of the product, where all workers find it."""
    for name in ("TORCH_HOME", "HF_HOME"):
        os.environ.setdefault(name, str(Path(settings.DATA_DIR) / "cache" / name.removesuffix("_HOME").lower()))


def _reader(chunk: Chunk, backbone: Backbone) -> Callable[[int, int], Pixels]:
    """Images as people see them, at the backbone's size: what a learner is given of a photograph is far smaller."""
    first = chunk.number * CHUNK_SIZE

    def read(start: int, stop: int) -> Pixels:
        rows = Image.objects.filter(
            project=chunk.project_id, position__gte=first + start, position__lt=first + stop
        ).order_by("position")
        stored = list(rows.values_list("name", "pack__name", "offset", "length"))
        if len(stored) != stop - start:
            raise CannotDerive(f"Of chunk {chunk.number} {stop - start - len(stored)} images are missing.")
        return np.stack([_picture(backbone.side, *row) for row in stored])

    return read


def _picture(side: int, name: str, pack: str, offset: int, length: int) -> Pixels:
    """uint8 `[3, side, side]`; other shapes are stretched to a square, as they are for the learner."""
    try:
        with Picture.open(io.BytesIO(read_range(pack, offset, length))) as picture:
            picture.draft("RGB", (2 * side, 2 * side))  # a JPEG is read at about that size
            colour = picture.convert("RGB").resize((side, side), Picture.Resampling.BICUBIC, reducing_gap=3.0)
    except (OSError, SyntaxError, ValueError) as error:
        raise CannotDerive(f"The picture {name} cannot be read in the storage ({error}).") from error
    return np.asarray(colour, dtype=np.uint8).transpose(2, 0, 1)
