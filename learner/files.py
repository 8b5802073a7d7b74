"""Writing files so that a half-written one is never taken for whole, and a digest to tell files apart."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> Path:
    """Write a file under a temporary name beside its own, sync it to disk, then rename it.

    A reader sees the old file or the whole new one, whatever happens to this process or the power. Two writers of the
    same path do not disturb each other: the last rename wins.

    Args:
        path: Where the file shall be; its folder is made if it is missing.
        write: Gets the open binary file and writes the content.

    Returns:
        `path`.

    Raises:
        OSError: If the disk refuses (full, read-only); no file is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return path


def write_bytes(path: Path, content: bytes) -> Path:
    """Write bytes atomically; see `write_atomically`."""
    return write_atomically(path, lambda file: file.write(content))


def write_json(path: Path, content: Mapping[str, Any]) -> Path:
    """Write JSON atomically, with sorted keys and no NaN; see `write_atomically`."""
    return write_bytes(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False).encode() + b"\n")


def write_array(path: Path, array: npt.NDArray[Any]) -> Path:
    """Write one array as `.npy` atomically, without pickle; see `write_atomically`."""
    return write_atomically(path, lambda file: np.save(file, np.ascontiguousarray(array), allow_pickle=False))


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> Path:
    """Write named arrays as `.npz` atomically, without pickle; see `write_atomically`."""
    return write_atomically(path, lambda file: np.savez(file, allow_pickle=False, **arrays))


def digest(*parts: bytes | npt.NDArray[Any]) -> str:
    """SHA-256 of the parts in order, as 64 hexadecimal digits.

    >>> digest(b"one", b"two") == digest(b"one", b"two") != digest(b"two", b"one")
    True
    """
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes())
    return sha.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; folders cannot be opened on Windows, where the rename itself has to do."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
