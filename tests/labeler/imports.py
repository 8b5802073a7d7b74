"""Archives to import, and a look at what became of them."""

from __future__ import annotations

import io
import zipfile
from datetime import timedelta
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image as Picture

from labeler import storage
from labeler.models import (
    ImportJob,
)
from labeler.services import packing
from labeler.services.leftovers import forget_unnamed_files
from labeler.services.uploads import (
    add_whole_file,
    create_import,
    finish_upload,
)


def png(value: int, side: int = 8, colour: bool = False) -> bytes:
    rng = np.random.default_rng(value)
    out = io.BytesIO()
    Picture.fromarray(rng.integers(0, 256, (side, side, 3) if colour else (side, side), dtype=np.uint8)).save(
        out, "PNG"
    )
    return out.getvalue()


def make_zip(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in entries.items():
            file.writestr(name, data)
    return path


def check_whole(project) -> None:
    """Positions are dense, chunks fit, each image's bytes and pixels are where its row says, no file is left over."""
    images = list(project.images.select_related("pack").order_by("position"))
    assert [image.position for image in images] == list(range(len(images)))
    chunks = list(project.chunks.order_by("number"))
    assert sum(chunk.count for chunk in chunks) == len(images)
    for chunk in chunks:
        with storage.local_path(chunk.pixels) as path:
            pixels = np.load(path)
        assert pixels.shape == (chunk.count, project.pixel_channels, project.pixel_side, project.pixel_side)
        for image in images[chunk.number * packing.CHUNK_SIZE :][: chunk.count]:
            shown = Picture.open(io.BytesIO(storage.read_range(image.pack.name, image.offset, image.length)))
            assert shown.size == (image.width, image.height)
            if project.pixel_side == image.width and shown.mode == "L" and project.pixel_channels == 1:
                assert (np.asarray(shown) == pixels[image.position % packing.CHUNK_SIZE][0]).all()
    folder = storage.project_folder(project)
    assert set(storage.names_in(f"{folder}/packs")) == set(project.packs.values_list("name", flat=True))
    with mock.patch("labeler.services.leftovers.KEPT", timedelta(days=-1)):
        forget_unnamed_files(project)
    assert set(storage.names_in(f"{folder}/pixels")) == {chunk.pixels for chunk in chunks}
    assert storage.names_in(f"{folder}/staging") == []


def check_files(project) -> None:
    for chunk in project.chunks.all():
        with storage.local_path(chunk.pixels) as path:
            assert len(np.load(path)) == chunk.count


def upload(project, by, path: Path) -> ImportJob:
    job = create_import(project=project, by=by)
    with path.open("rb") as file:
        add_whole_file(job=job, name=path.name, size=path.stat().st_size, file=file)
    finish_upload(job=job)
    return job
