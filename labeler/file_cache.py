"""Copies of files of a bucket on this machine: whole or not there, in a folder with a bound.

What was used longest ago goes first. What is in use stays: `pinned` holds a lock of the kernel on the folder of a file,
which also a killed process gives back; what was used in the last minute stays as well.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from django.utils._os import safe_join

GRACE_SECONDS = 60.0
LEFT_SECONDS = 3600.0  # a half-written file that nobody has touched for so long is a killed process's
LEAST = 0.9  # of the bound, after room was made
STEP = 0.05  # of the bound: looked at again when so much has come


@dataclass
class FileCache:
    """A folder of copies, by the names of the files."""

    root: Path
    bound: int
    unseen: int | None = None  # bytes that came since the last look; None: nobody has looked yet
    _pins: dict[Path, tuple[int, int]] = field(default_factory=dict)  # of a folder: descriptor, users
    _guard: threading.RLock = field(default_factory=threading.RLock)

    def path(self, name: str) -> Path:
        return Path(safe_join(str(self.root), name))

    def has(self, name: str) -> bool:
        """Whether it is here; it counts as used now."""
        try:
            os.utime(self.path(name))
        except FileNotFoundError:
            return False
        return True

    def write(self, name: str, fill: Callable[[BinaryIO], object], then: Callable[[Path], object] | None = None) -> int:
        """Put a copy there, whole or not at all. `then` is done before others see it. Returns its size."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
        try:
            with temporary.open("xb") as file:
                fill(file)
                size = file.tell()
            if then is not None:
                then(temporary)
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        self._came(size)
        return size

    def forget(self, name: str) -> None:
        self.path(name).unlink(missing_ok=True)

    @contextmanager
    def pinned(self, folder: Path) -> Iterator[None]:
        """Nothing of the folder goes meanwhile."""
        self.pin(folder)
        try:
            yield
        finally:
            self.unpin(folder)

    def pin(self, folder: Path) -> None:
        with self._guard:
            descriptor, users = self._pins.get(folder, (-1, 0))
            if not users:
                descriptor = _locked(folder)
            self._pins[folder] = (descriptor, users + 1)

    def unpin(self, folder: Path) -> None:
        with self._guard:
            descriptor, users = self._pins[folder]
            if users > 1:
                self._pins[folder] = (descriptor, users - 1)
            else:
                del self._pins[folder]
                os.close(descriptor)

    def _came(self, size: int) -> None:
        with self._guard:
            if self.unseen is not None and self.unseen + size < self.bound * STEP:
                self.unseen += size
                return
            self.unseen = 0
        self.make_room()

    def make_room(self) -> None:
        """Delete what was used longest ago, until all is within the bound."""
        files = sorted(_files(self.root))
        total = sum(size for _, size, _ in files)
        if total <= self.bound:
            return
        now, tried = time.time(), dict[Path, int | None]()
        try:
            for used_at, size, path in files:
                is_left = path.name.startswith(".") and used_at < now - LEFT_SECONDS
                if total <= self.bound * LEAST or used_at > now - GRACE_SECONDS:
                    break
                if path.name.startswith(".") and not is_left:
                    continue
                if path.parent not in tried:
                    tried[path.parent] = _taken(path.parent)
                if tried[path.parent] is not None:
                    path.unlink(missing_ok=True)
                    total -= size
        finally:
            for folder, descriptor in tried.items():
                if descriptor is not None:
                    with suppress(OSError):
                        folder.rmdir()  # where nothing is left in it
                    os.close(descriptor)


def _locked(folder: Path) -> int:
    """A shared lock on the folder itself. One that went away meanwhile is made again."""
    while True:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        with suppress(FileNotFoundError):
            if folder.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        os.close(descriptor)


def _taken(folder: Path) -> int | None:
    """The folder for deleting in it; None: it is in use."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _files(root: Path) -> Iterator[tuple[float, int, Path]]:
    for folder, _, names in os.walk(root):
        for name in names:
            with suppress(FileNotFoundError):
                path = Path(folder) / name
                stat = path.stat()
                yield stat.st_mtime, stat.st_size, path
