"""Writes an export in its format, and makes its digest on the way."""

from __future__ import annotations

import hashlib
import io
import json
from typing import TYPE_CHECKING, BinaryIO, cast

from labeler.export_formats import FORMATS, About, Batches, CannotWrite
from labeler.export_formats.archives import ReadPicture, write_image_folder, write_with_images
from labeler.export_formats.coco import write_coco
from labeler.export_formats.label_studio import write_label_studio
from labeler.export_formats.tables import write_csv, write_json_lines, write_parquet

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

WRITERS = {
    "csv": write_csv,
    "jsonl": write_json_lines,
    "everything": write_json_lines,
    "parquet": write_parquet,
    "coco": write_coco,
    "labelstudio": write_label_studio,
}
LABELS = {"everything": "labels.jsonl", "labelstudio": "tasks.json", "coco": "annotations.json"}


class Digesting(io.RawIOBase):
    """What is written through it goes on to the file, and into a SHA-256."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest, self.size = file, hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        piece = bytes(data)
        self._file.write(piece)
        self._digest.update(piece)
        self.size += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self.size

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def write_export(
    file: BinaryIO, key: str, batches: Batches, *, about: About, with_images: bool, read: ReadPicture
) -> Digesting:
    """Write all rows to the file. Returns its size and digest. Raises CannotWrite."""
    digesting = Digesting(file)
    out = cast(BinaryIO, digesting)
    described = json.dumps(about.manifest, indent=1, ensure_ascii=False).encode()
    if key == "imagefolder":
        write_image_folder(out, batches, read, about, about_file=described)
    elif with_images or FORMATS[key].has_images:
        labels = LABELS.get(key, f"labels.{FORMATS[key].suffix}")

        def rows(to: BinaryIO, each: Batches) -> None:
            _write(key, to, each, about, with_path=True)

        write_with_images(out, batches, read, labels=labels, write=rows, about=described)
    else:
        _write(key, out, batches, about, with_path=False)
    return digesting


def _write(key: str, file: BinaryIO, batches: Batches, about: About, *, with_path: bool) -> None:
    if key not in WRITERS:
        raise CannotWrite(f"There is no format {key}.")
    WRITERS[key](file, batches, about, with_path=with_path)
