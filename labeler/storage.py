"""Files of projects, on Django's storage API. A file is written once, whole or not at all, and never changed.

Names are made here, never taken from users: `projects/<id>/<group>/<random>.<suffix>`.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage

from labeler.disk import is_of_full_disk
from labeler.models import Project, Round


class StorageError(Exception):
    """Storage refused; the message is for people."""


class StorageFull(StorageError):
    """No space left. Nothing half-written was kept."""


def project_folder(project: Project) -> str:
    return _folder_of(project.pk)


def _folder_of(project_id: int) -> str:
    return f"projects/{project_id}"


def round_folder(round_: Round) -> Path:
    """Where a round's files are. The learner needs a local folder for them."""
    return Path(default_storage.path(f"{_folder_of(round_.project_id)}/{round_.folder}"))


def new_name(project: Project, group: str, suffix: str, prefix: str = "") -> str:
    """A name that nobody has: `projects/7/packs/<prefix>4f….pack`."""
    return f"{project_folder(project)}/{group}/{prefix}{secrets.token_hex(12)}.{suffix}"


def write_once(name: str, content: bytes | Callable[[BinaryIO], object]) -> int:
    """Write a file under a temporary name, sync it, rename it, sync the folder. Returns its size.

    Whatever happens to the process or the power, a reader sees no file or the whole one.
    """
    path = _path(name)
    with _words_for_full_disks():
        if path is not None:
            return _write_local(path, content)
        with tempfile.TemporaryFile() as file:
            _fill(file, content)
            size = file.tell()
            file.seek(0)
            if default_storage.save(name, File(file)) != name:
                raise StorageError(f"There is a file named {name} already.")
            return size


def read_range(name: str, offset: int, length: int) -> bytes:
    """Bytes of a file, fewer at its end. Raises FileNotFoundError."""
    path = _path(name)
    if path is None:
        with default_storage.open(name) as remote:
            remote.seek(offset)
            return cast(bytes, remote.read(length))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.pread(descriptor, length, offset)
    finally:
        os.close(descriptor)


def is_local(name: str) -> bool:
    return _path(name) is not None


@contextmanager
def local_path(name: str) -> Iterator[Path]:
    """A path to the file on this machine: itself in a local folder, else a copy that is fetched once and kept."""
    path = _path(name)
    if path is None:
        path = Path(settings.DATA_DIR) / "cache" / hashlib.sha256(name.encode()).hexdigest()
        if not path.exists():
            with default_storage.open(name) as remote, _words_for_full_disks():
                _write_local(path, lambda file: shutil.copyfileobj(remote, file))
    if not path.exists():
        raise FileNotFoundError(f"{name} is not in the storage")
    yield path


def stage(name: str, offset: int, data: bytes) -> None:
    """Put a part of an upload in its place. A half-written one is written again: `ImportFile.received` is the truth."""
    path = _path(name)
    if path is None:
        raise StorageError("Uploads need a local folder as their staging area.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _words_for_full_disks():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            _write_at(descriptor, offset, data)
        except OSError:
            os.ftruncate(descriptor, offset)  # gives its room back
            raise
        finally:
            os.close(descriptor)


def delete(name: str) -> None:
    """Delete a file; one that is gone already is no error."""
    default_storage.delete(name)


def touch(name: str) -> None:
    """Make now the modification time of a local file, if it is there; its content stays. Elsewhere nothing."""
    path = _path(name)
    if path is not None:
        with suppress(FileNotFoundError):
            os.utime(path)


def names_in(folder: str, *, with_temporary: bool = False) -> list[str]:
    """The names of the files in a folder. Temporary ones are being written, or were when a process was killed."""
    try:
        _, files = default_storage.listdir(folder)
    except FileNotFoundError:
        return []
    return [f"{folder}/{file}" for file in files if with_temporary or not file.startswith(".")]


def every_file() -> Iterator[tuple[str, int]]:
    """Name and size of each file there is, of all projects, without those that are just being written."""
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            inner, files = default_storage.listdir(folder)
        except FileNotFoundError:
            continue
        folders += [f"{folder}/{name}".lstrip("/") for name in inner]
        for file in files:
            name = f"{folder}/{file}".lstrip("/")
            if not file.startswith("."):
                with suppress(FileNotFoundError):  # gone since the folder was read
                    yield name, default_storage.size(name)


@contextmanager
def reading(name: str) -> Iterator[BinaryIO]:
    """A file from its beginning. Raises FileNotFoundError."""
    with default_storage.open(name) as file:
        yield cast(BinaryIO, file)


def exists(name: str) -> bool:
    return default_storage.exists(name)


def _path(name: str) -> Path | None:
    try:
        return Path(default_storage.path(name))
    except NotImplementedError:  # Django's way to say that a storage is not local
        return None


def _write_at(descriptor: int, offset: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
    os.fsync(descriptor)


def _fill(file: BinaryIO, content: bytes | Callable[[BinaryIO], object]) -> None:
    if callable(content):
        content(file)
    else:
        file.write(content)


def _write_local(path: Path, content: bytes | Callable[[BinaryIO], object]) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as file:
            _fill(file, content)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        if path.exists():
            raise StorageError(f"There is a file named {path.name} already.")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return size


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _words_for_full_disks() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if is_of_full_disk(error):
            raise StorageFull("The disk of the server is full. Make room, then try again; nothing was lost.") from error
        raise
