"""Images with known labels for the demo: scikit-learn's digits, a file or folder, or MNIST where a network is."""

from __future__ import annotations

import importlib
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labeler.naming import DIGIT_WORDS

ANY_GUIDELINES = (
    "Which class is it? Choose by what the picture shows, whatever its file is called. "
    "Unsure: it could be two of them. Bad image: nobody could tell. Skip: somebody else should look."
)
KNOWN = {"digits": "Digits", "mnist": "MNIST"}  # those that are no path, and what their projects are called


class NoSuchData(Exception):
    """In words for the person at the command line."""


@dataclass(frozen=True)
class Dataset:
    """A source that `import_local` takes. `rename` maps its labels to the names of classes."""

    name: str
    path: Path
    guidelines: str
    rename: dict[str, str]
    parts: tuple[str, ...] = ()  # of an .npz; none: all


def name_of(wanted: str) -> str:
    """What the project of a dataset is called, before anything is read of it. Raises NoSuchData."""
    if wanted in KNOWN:
        return KNOWN[wanted]
    path = Path(wanted).expanduser()
    if not path.exists():
        raise NoSuchData(f"There is nothing at {path}. Give a .zip, an .npz or a folder of class folders, or `mnist`.")
    name = path.stem.replace("-", " ").replace("_", " ")
    return name.upper() if path.name.startswith("mnist") else name.capitalize()


@contextmanager
def open_dataset(wanted: str) -> Iterator[Dataset]:
    """`digits`, `mnist`, or a path to a .zip, an .npz or a folder of class folders. Raises NoSuchData."""
    if wanted == "digits":
        with tempfile.TemporaryDirectory() as folder:
            yield _digits(Path(folder))
    elif wanted == "mnist":
        with tempfile.TemporaryDirectory() as folder:
            yield _mnist(Path(folder))
    else:
        name, path = name_of(wanted), Path(wanted).expanduser()
        is_digits = path.name.startswith("mnist")
        yield Dataset(
            name=name,
            path=path,
            guidelines="Which digit is it?" if is_digits else ANY_GUIDELINES,
            rename=_digit_names() if is_digits else {},
            parts=_parts(path),
        )


def _parts(path: Path) -> tuple[str, ...]:
    """Where an .npz comes split, what it holds back for tests stays out."""
    if path.suffix != ".npz":
        return ()
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return ()  # the import says what is wrong with it
    return ("train",) if {"x_train.npy", "x_test.npy"} <= names else ()


def _digits(folder: Path) -> Dataset:
    """1,797 handwritten digits of 8 x 8 that come with scikit-learn."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    path = folder / "digits.npz"
    np.savez(path, x=255 - pixels, y=digits.target.astype(np.uint8))
    return Dataset(KNOWN["digits"], path, "Which digit is it? Images are 8 by 8 pixels, scaled up.", _digit_names())


def _mnist(folder: Path) -> Dataset:
    """60,000 handwritten digits, downloaded by torchvision."""
    from learner.vision import torchvision

    try:
        torchvision()
        data = importlib.import_module("torchvision.datasets").MNIST(str(folder), train=True, download=True)
    except (OSError, RuntimeError) as error:
        raise NoSuchData(
            f"MNIST could not be downloaded ({error}). With a file at hand: DATA=path/to/mnist.npz"
        ) from error
    path = folder / "mnist.npz"
    np.savez(path, x_train=data.data.numpy(), y_train=data.targets.numpy().astype(np.uint8))
    return Dataset(KNOWN["mnist"], path, "Which digit is it?", _digit_names())


def _digit_names() -> dict[str, str]:
    return {str(number): name for number, name in enumerate(DIGIT_WORDS)}
