"""Images from a folder, a zip or an MNIST-like npz, as chunk files of one square size; or feature vectors."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from learner.config import Report
from learner.errors import LearnerError
from learner.files import write_array, write_arrays
from learner.pool import CHUNK_SIZE, Chunk

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm"})
MOST_BYTES = 64 * 2**20  # of one image file
LARGEST_SIDE = 96  # what images are brought down to when no side is asked for
UNKNOWN = -1  # the label of an image whose class is not known


@dataclass(frozen=True)
class Collection:
    """Images as a pool, with what is known of their classes.

    Args:
        chunks: Pixel files; position i is image i.
        names: Of each image, as in the source.
        labels: int64 `[N]`, indices into `class_names`, or `UNKNOWN`.
        class_names: Sorted.
        is_test: bool `[N]`, the part that the source itself keeps for testing.
        refused: Files that could not be read, each with the reason.
    """

    chunks: tuple[Chunk, ...]
    names: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    class_names: tuple[str, ...]
    is_test: npt.NDArray[np.bool_]
    refused: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _File:
    name: str  # with forward slashes, relative to the source
    read: Callable[[], bytes]


def read_collection(source: Path, directory: Path, report: Report, *, side: int | None = None) -> Collection:
    """Read all images of a source into chunk files.

    Args:
        source: A folder or zip with a folder of images for each class (images outside class folders have no label),
            or an `.npz` with `x_train`, `y_train` and perhaps `x_test`, `y_test`: uint8 images `[N, H, W]` or
            `[N, H, W, C]`, or floats `[N, D]`, which are feature vectors. Where there is no file of that name, `digits`
            is scikit-learn's 1,797 handwritten digits.
        directory: Where the chunk files go.
        report: Called with the phase `"read"`.
        side: Height and width in pixels; None: as the first image, at most 96. An npz, digits too, keeps its size.

    Raises:
        LearnerError: If the source is missing or of another kind, or holds no image; or if a side is asked for of an
            npz.
    """
    if str(source) == "digits" and not source.exists():
        source = _write_digits(directory)
    if not source.exists():
        raise LearnerError(f"there is no {source}")
    if source.suffix == ".npz":
        if side is not None:
            raise LearnerError(f"the images of {source.name} keep their size: leave the side out")
        return _read_npz(source, directory, report)
    if source.is_dir():
        paths = sorted(path for path in source.rglob("*") if path.is_file())
        files = [_File(path.relative_to(source).as_posix(), path.read_bytes) for path in paths]
        return _read_files(source, files, directory, report, side)
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            members = sorted((each for each in archive.infolist() if not each.is_dir()), key=lambda each: each.filename)
            return _read_files(source, [_member(archive, each) for each in members], directory, report, side)
    raise LearnerError(f"{source} is neither a folder nor a zip of images nor an npz")


def read_answers(path: Path, names: Iterable[str]) -> dict[int, str]:
    """Read answers from a CSV with the columns `name` and `label`.

    Args:
        path: The CSV file, UTF-8, with a header.
        names: Of the collection's images, by position.

    Returns:
        Class names by position.

    Raises:
        LearnerError: If the file is missing, a column is missing, or a name is not in the collection.
    """
    positions = {name: position for position, name in enumerate(names)}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LearnerError(f"cannot read the answers {path}: {error}") from error
    answers: dict[int, str] = {}
    for number, row in enumerate(rows, start=2):
        name, label = row.get("name"), row.get("label")
        if not name or not label:
            raise LearnerError(f"{path}, line {number}: expected the columns name and label, both filled")
        if name not in positions:
            raise LearnerError(f"{path}, line {number}: there is no image named {name!r}")
        answers[positions[name]] = label
    return answers


def write_chunks(images: Iterable[npt.NDArray[Any]], directory: Path) -> tuple[Chunk, ...]:
    """Write images `[C, H, W]` or feature vectors `[D]` as chunk files, holding one chunk in memory at a time."""
    chunks: list[Chunk] = []
    rest = iter(images)
    while part := list(islice(rest, CHUNK_SIZE)):
        path = write_array(directory / f"{len(chunks):06d}.npy", np.stack(part))
        chunks.append(Chunk(len(chunks), path, len(part)))
    return tuple(chunks)


def _write_digits(directory: Path) -> Path:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return write_arrays(directory / "digits.npz", {"x_train": pixels, "y_train": digits.target})


def _read_npz(source: Path, directory: Path, report: Report) -> Collection:
    try:
        with np.load(source, allow_pickle=False) as file:
            arrays: dict[str, npt.NDArray[Any]] = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise LearnerError(f"{source} is damaged: {error}") from error
    if not {"x_train", "y_train"} <= set(arrays):
        raise LearnerError(f"{source} has {sorted(arrays)}, expected x_train, y_train and perhaps x_test, y_test")
    parts = ["train", "test"] if {"x_test", "y_test"} <= set(arrays) else ["train"]
    shapes = [arrays[f"x_{part}"].shape[1:] for part in parts]
    if len(set(shapes)) > 1:
        raise LearnerError(f"{source}: x_train holds {list(shapes[0])} an image, x_test {list(shapes[1])}")
    inputs = np.concatenate([arrays[f"x_{part}"] for part in parts])
    values = np.concatenate([arrays[f"y_{part}"] for part in parts]).reshape(-1)
    if not len(values) or len(inputs) != len(values):
        raise LearnerError(f"{source}: {len(inputs)} images or vectors and {len(values)} labels")
    inputs = _as_inputs(source, inputs)
    report("read", 0, len(inputs))
    classes, labels = np.unique(values, return_inverse=True)
    chunks = write_chunks(inputs, directory)
    report("read", len(inputs), len(inputs))
    names = tuple(f"{part}/{i}" for part in parts for i in range(len(arrays[f"y_{part}"])))
    is_test = np.arange(len(inputs)) >= len(arrays["y_train"])
    return Collection(chunks, names, labels.astype(np.int64), tuple(map(str, classes)), is_test, ())


def _as_inputs(source: Path, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.dtype == np.uint8 and array.ndim in (3, 4):
        return array[:, None] if array.ndim == 3 else np.moveaxis(array, -1, 1)
    if np.issubdtype(array.dtype, np.floating) and array.ndim == 2 and array.shape[1]:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
            vectors = array.astype(np.float32)
        if not np.isfinite(vectors).all():
            raise LearnerError(f"{source}: the feature vectors hold NaN or infinite values; compute them again")
        return vectors
    raise LearnerError(
        f"{source} holds {array.dtype} {list(array.shape)}, expected uint8 images [N, H, W] or [N, H, W, C], or "
        "feature vectors, floats [N, D]"
    )


def _read_files(source: Path, files: list[_File], directory: Path, report: Report, side: int | None) -> Collection:
    names: list[str] = []
    refused: list[tuple[str, str]] = []
    files = [file for file in files if PurePosixPath(file.name).suffix.lower() in SUFFIXES]
    mode, first_side = _common_form(files)

    def images() -> Iterator[npt.NDArray[np.uint8]]:
        for done, file in enumerate(files, start=1):
            try:
                pixels = _pixels(file.read(), mode, side or first_side)
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, zipfile.BadZipFile) as error:
                refused.append((file.name, str(error)))
            else:
                names.append(file.name)
                yield pixels
            report("read", done, len(files))

    chunks = write_chunks(images(), directory)
    if not names:
        raise LearnerError(f"{source} holds no image that can be read ({len(refused)} files refused)")
    parents = [PurePosixPath(name).parent.name for name in names]
    class_names = tuple(sorted(set(parents) - {""}))
    labels = [class_names.index(parent) if parent else UNKNOWN for parent in parents]
    nothing = np.zeros(len(names), dtype=np.bool_)
    return Collection(chunks, tuple(names), np.array(labels, dtype=np.int64), class_names, nothing, tuple(refused))


def _common_form(files: list[_File]) -> tuple[str, int]:
    """Grey if the first readable image is, and its longer side, at most `LARGEST_SIDE`."""
    for file in files:
        try:
            with Image.open(io.BytesIO(file.read())) as image:
                return "L" if image.mode in ("1", "L", "LA", "I;16") else "RGB", min(LARGEST_SIDE, max(image.size))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, zipfile.BadZipFile):
            continue  # it is refused with its reason when it is read
    return "L", 1


def _pixels(content: bytes, mode: str, side: int) -> npt.NDArray[np.uint8]:
    if len(content) > MOST_BYTES:
        raise ValueError(f"the file is larger than {MOST_BYTES // 2**20} MiB")
    with Image.open(io.BytesIO(content)) as opened:
        image: Image.Image = opened
        if opened.mode.startswith("I;16"):
            image = Image.fromarray((np.asarray(opened) >> 8).astype(np.uint8))
        upright = ImageOps.exif_transpose(image).convert(mode)
    square = upright if upright.size == (side, side) else ImageOps.pad(upright, (side, side))
    pixels = np.asarray(square, dtype=np.uint8)
    return pixels[None] if mode == "L" else np.moveaxis(pixels, -1, 0)


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _File:
    def read() -> bytes:
        if info.file_size > MOST_BYTES:
            raise ValueError(f"the file is larger than {MOST_BYTES // 2**20} MiB")
        return archive.read(info)

    return _File(info.filename, read)
