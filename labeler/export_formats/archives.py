"""Zips that hold the images: a folder a class, or a table or JSON beside them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from labeler.export_formats import MODEL, About, Batches, Picture, Row
from labeler.export_formats.file_names import Taken, safe_part, safe_path
from labeler.export_formats.zip_stream import ZipStream
from labeler.imaging.names import OWN_WORDS

ReadPicture = Callable[[Picture], bytes]
WriteRows = Callable[[BinaryIO, Batches], object]


def write_with_images(
    file: BinaryIO, batches: Batches, read: ReadPicture, *, labels: str, write: WriteRows, about: bytes
) -> None:
    """Each image under its own name, made safe and unique, and then `labels`, whose rows name the images' paths."""
    taken = Taken()
    taken.once(labels, 0)
    taken.once(OWN_WORDS, 0)
    with ZipStream(file) as archive, tempfile.TemporaryFile() as rows_file:

        def adding() -> Iterator[Sequence[Row]]:
            for rows in batches:
                for row in rows:
                    wanted = safe_path(row.record["name"], row.picture.media_type)
                    row.path = taken.once(wanted, row.record["image"])
                    archive.add(row.path, read(row.picture))
                yield rows

        write(rows_file, adding())
        archive.add_file(labels, rows_file)
        archive.add(OWN_WORDS, about)


def write_image_folder(file: BinaryIO, batches: Batches, read: ReadPicture, about: About, *, about_file: bytes) -> None:
    """`<class>/<image>`. Where the model's labels come along nobody can take one for a person's: there are two folders
    then, `people/` and `model/`, each of which is an ImageFolder. Images without a label have no folder."""
    folders = class_folders(about)
    is_split = about.manifest.get("filters", {}).get("model_above") is not None
    taken = Taken()
    with ZipStream(file) as archive:
        for rows in batches:
            for row in rows:
                name = row.record["class"]
                if name is None:
                    continue
                base = safe_path(row.record["name"], row.picture.media_type).rpartition("/")[2]
                root = ("model/" if row.record["source"] == MODEL else "people/") if is_split else ""
                path = taken.once(f"{root}{folders[name]}/{base}", row.record["image"])
                archive.add(path, read(row.picture))
        archive.add(OWN_WORDS, about_file)


def class_folders(about: About) -> dict[str, str]:
    """A folder for each class, by name; two names that would be one folder get their numbers."""
    taken, folders = Taken(), {}
    for pk, name in about.classes:
        wanted = safe_part(name)
        folder = taken.once(f"{wanted}.", pk).removesuffix(".")
        folders[name] = folder
    return folders
