"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from labeler import storage


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_it_writes_once_and_reads_ranges(settings):
    assert storage.write_once("projects/1/packs/a.pack", b"0123456789") == 10
    assert storage.read_range("projects/1/packs/a.pack", 3, 4) == b"3456"
    assert storage.read_range("projects/1/packs/a.pack", 8, 100) == b"89"
    with storage.local_path("projects/1/packs/a.pack") as path:
        assert path.read_bytes() == b"0123456789"
    with pytest.raises(storage.StorageError):
        storage.write_once("projects/1/packs/a.pack", b"other")
    assert files_in(Path(settings.MEDIA_ROOT)) == ["a.pack"]


def test_a_missing_file_is_told(settings):
    with pytest.raises(FileNotFoundError):
        storage.read_range("projects/1/none", 0, 1)
    with pytest.raises(FileNotFoundError), storage.local_path("projects/1/none"):
        pass


def test_a_writer_that_breaks_off_leaves_nothing(settings):
    def write(file):
        file.write(b"half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        storage.write_once("projects/1/a", write)
    assert files_in(Path(settings.MEDIA_ROOT)) == []


def test_a_name_cannot_leave_the_storage():
    with pytest.raises(Exception, match="outside"):
        storage.write_once("../../etc/x", b"")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_told_in_words_and_leaves_nothing(settings, monkeypatch, call):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), full)
    with pytest.raises(storage.StorageFull, match="disk of the server is full"):
        storage.write_once("projects/1/a", b"data")
    assert files_in(Path(settings.MEDIA_ROOT)) == []


@pytest.fixture
def small_disk(settings, tmp_path):
    """A file system of 1 MiB, where the tests may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small file system")
    settings.MEDIA_ROOT = folder
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_truly_full_disk_leaves_nothing(small_disk):
    storage.write_once("projects/1/fits", b"0" * 500_000)
    with pytest.raises(storage.StorageFull):
        storage.write_once("projects/1/large", b"0" * 900_000)
    with pytest.raises(storage.StorageFull):
        storage.stage("projects/1/staged", 0, b"0" * 900_000)
    assert "large" not in files_in(small_disk)
    storage.write_once("projects/1/later", b"0" * 100)
    assert storage.read_range("projects/1/fits", 0, 3) == b"000"


def test_a_disk_that_is_full_in_the_middle_of_an_array_is_told_in_words(small_disk):
    """numpy says how much it wrote, and gives the error no number."""
    array = np.zeros(64 * 2**20, np.uint8)
    with pytest.raises(storage.StorageFull, match="disk of the server is full"):
        storage.write_once("projects/1/pixels/a.npy", lambda file: np.save(file, array, allow_pickle=False))
    assert not [path for path in small_disk.rglob("*") if path.is_file()]
