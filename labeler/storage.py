"""Files of projects: in a folder of DATA_DIR, or in the bucket that STORAGE_URL names (labeler/bucket_store.py), with
copies of what is used here. A file is written once, whole or not at all, and never changed.

Names are made here, never taken from users: `projects/<id>/<group>/<random>.<suffix>`.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, cast

from django.conf import settings
from django.core.files.storage import default_storage

from labeler import clock
from labeler.bucket_store import PARTS, BucketStore
from labeler.disk import is_of_full_disk
from labeler.file_cache import FileCache
from labeler.models import Project, Round
from labeler.storage_errors import StorageAway, StorageError, StorageFull
from labeler.storage_place import BucketPlace
from labeler.told import told

__all__ = ["StorageAway", "StorageError", "StorageFull"]


def project_folder(project: Project) -> str:
    return _folder_of(project.pk)


def _folder_of(project_id: int) -> str:
    return f"projects/{project_id}"


def bucket() -> BucketStore | None:
    """Where files are if not in a folder of this machine."""
    place: BucketPlace | None = settings.STORAGE
    return _bucket(place, Path(settings.DATA_DIR), settings.STORAGE_CACHE_BYTES) if place is not None else None


@lru_cache(maxsize=1)
def _bucket(place: BucketPlace, folder: Path, bound: int) -> BucketStore:
    return BucketStore(place, FileCache(folder / "cache" / f"files-{place.mark}", bound))


def round_folder(round_: Round) -> Path:
    """Where a round's files are, or their copies: see labeler/round_files.py. The learner needs a local folder."""
    name, store = round_name(round_), bucket()
    return store.cache.path(name) if store is not None else _path(name)


def round_name(round_: Round) -> str:
    return f"{_folder_of(round_.project_id)}/{round_.folder}"


def new_name(project: Project, group: str, suffix: str, prefix: str = "") -> str:
    """A name that nobody has: `projects/7/packs/<prefix>4f….pack`."""
    return f"{project_folder(project)}/{group}/{prefix}{secrets.token_hex(12)}.{suffix}"


def write_once(name: str, content: bytes | Callable[[BinaryIO], object]) -> int:
    """Write a file under a temporary name, sync it, rename it, sync the folder. Returns its size.

    Whatever happens to the process or the power, a reader sees no file or the whole one.
    """
    store = bucket()
    with _words_for_full_disks():
        if store is not None:
            return store.write(name, lambda file: _fill(file, content))
        return _write_local(_path(name), content)


def read_range(name: str, offset: int, length: int) -> bytes:
    """Bytes of a file, fewer at its end. Raises FileNotFoundError, StorageAway."""
    if (store := bucket()) is not None:
        return store.read_range(name, offset, length)
    descriptor = os.open(_path(name), os.O_RDONLY)
    try:
        return os.pread(descriptor, length, offset)
    finally:
        os.close(descriptor)


def is_local() -> bool:
    """Whether files are in a folder of this machine: to read one takes no request."""
    return bucket() is None


@contextmanager
def local_path(name: str) -> Iterator[Path]:
    """A path to the file on this machine: itself in a local folder, else a copy, which stays inside of the block."""
    if (store := bucket()) is not None:
        with _words_for_full_disks(), store.local(name) as path:
            yield path
        return
    path = _path(name)
    if not path.exists():
        raise FileNotFoundError(f"{name} is not in the storage")
    yield path


def stage(name: str, offset: int, data: bytes) -> None:
    """Put a part of an upload in its place. A half-written one is written again: `ImportFile.received` is the truth."""
    if (store := bucket()) is not None:
        store.stage(name, offset, data)
        return
    path = _path(name)
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
    if (store := bucket()) is not None:
        store.delete(name)
    else:
        default_storage.delete(name)


def mark(name: str) -> None:
    """Make now the time that `older` goes by, if the file is there; its content stays."""
    if (store := bucket()) is not None:
        store.mark(name)
        return
    with suppress(FileNotFoundError):
        os.utime(_path(name))


def names_in(folder: str, *, with_temporary: bool = False) -> list[str]:
    """The names of the files in a folder. Temporary ones are being written, or were when a process was killed."""
    return [name for name, _ in _files_in(folder, with_temporary=with_temporary)]


def older(folder: str, age: timedelta) -> list[str]:
    """The names of the files in a folder that were written or marked so long ago, temporary ones too."""
    moment = clock.now() - age
    return [name for name, at in _files_in(folder, with_temporary=True) if at < moment]


def _files_in(folder: str, *, with_temporary: bool) -> Iterator[tuple[str, datetime]]:
    """Name and time."""
    if (store := bucket()) is not None:
        found = {one.name.partition(f"{PARTS}/")[0]: one.at for one in store.listed(f"{folder}/")}
        yield from ((name, at) for name, at in found.items() if "/" not in name[len(folder) + 1 :])
        return
    try:
        _, files = default_storage.listdir(folder)
    except FileNotFoundError:
        return
    for file in files:
        if with_temporary or not file.startswith("."):
            with suppress(FileNotFoundError):  # gone since the folder was read
                yield f"{folder}/{file}", default_storage.get_modified_time(f"{folder}/{file}")


def every_file() -> Iterator[tuple[str, int]]:
    """Name and size of each file there is, of all projects, without those that are just being written."""
    if (store := bucket()) is not None:
        yield from store.every()
        return
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


def reading(name: str) -> BinaryIO:
    """A file for reading from its beginning or any other place. Raises FileNotFoundError."""
    store = bucket()
    return store.open(name) if store is not None else cast(BinaryIO, _path(name).open("rb"))


def rewritten(name: str) -> Path:
    """The newest of a file that whoever has its job writes again and again; it may not be there yet. See `keep`."""
    store = bucket()
    if store is None:
        return _path(name)
    store.fetch_anew(name)
    return store.cache.path(name)


def keep(name: str) -> None:
    """Let others have what was written at the path of `rewritten`."""
    if (store := bucket()) is not None:
        store.keep(name)


def folders_in(folder: str) -> list[str]:
    """Their names in the folder."""
    if (store := bucket()) is not None:
        return list(store.folders(folder))
    path = _path(folder)
    return [each.name for each in path.iterdir() if each.is_dir()] if path.is_dir() else []


def is_older(folder: str, age: timedelta) -> bool:
    """Whether nothing was written into a folder for so long."""
    if (store := bucket()) is not None:
        return max((one.at for one in store.listed(f"{folder}/")), default=clock.now()) < clock.now() - age
    return datetime.fromtimestamp(_path(folder).stat().st_mtime, UTC) < clock.now() - age


def delete_folder(folder: str) -> None:
    if (store := bucket()) is not None:
        store.delete_folder(folder)
    else:
        shutil.rmtree(_path(folder), ignore_errors=True)


def exists(name: str) -> bool:
    store = bucket()
    return store.exists(name) if store is not None else default_storage.exists(name)


def _path(name: str) -> Path:
    return Path(default_storage.path(name))


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
            raise StorageError(told("There is a file named %(name)s already.", name=path.name))
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
            words = told("The disk of the server is full. Make room, then try again; nothing was lost.")
            raise StorageFull(words) from error
        raise
