"""Archives of unknown origin: hostile entries are refused by name, bombs stop before they unpack, memory stays flat."""

from __future__ import annotations

import contextlib
import io
import stat
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labeler.imaging.decode import DecodedImage, Limits, Refused
from labeler.imaging.sources import ArraySource, FolderSource, ZipSource, open_source
from labeler.imaging.zips import BadArchive, BadEntry, ZipReader

LIMITS = Limits(
    max_bytes=1_000_000,
    max_pixels=1_000_000,
    max_aspect_ratio=100,
    display_max_side=512,
    max_entries=1000,
    max_total_bytes=50_000_000,
    max_ratio=200,
)


def png(value: int = 0, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("L", (8, 8), value).save(out, kind)
    return out.getvalue()


@pytest.fixture
def archive(tmp_path: Path):
    def make(entries: dict[str, bytes], name: str = "a.zip", **options) -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as file:
            for entry, data in entries.items():
                file.writestr(entry, data)
        return path

    return make


def results(path: Path, limits: Limits = LIMITS) -> dict[str, DecodedImage | Refused | None]:
    with open_source(path, path.name, limits) as source:
        return {entry.name: entry.load() if entry.load else None for entry in source.entries(0)}


def reason_of(path: Path, name: str, limits: Limits = LIMITS) -> str:
    result = results(path, limits)[name]
    assert isinstance(result, Refused), result
    return result.reason


def test_it_reads_what_the_standard_library_writes(archive):
    entries = {f"cats/{n}.png": png(n) for n in range(5)} | {"dogs/ä.JPG": png(9, "JPEG"), "empty/": b""}
    path = archive(entries)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as file:
        file.writestr("stored.png", png(77))
    with ZipReader(path, LIMITS) as reader:
        found = {entry.name: reader.read(entry, 10**6) for entry in reader.entries()}
    assert found == {**entries, "stored.png": png(77)}


def test_it_reads_zip64(tmp_path):
    path = tmp_path / "64.zip"
    with zipfile.ZipFile(path, "w") as file, file.open("a.png", "w", force_zip64=True) as entry:
        entry.write(png())
    assert isinstance(results(path)["a.png"], DecodedImage)


def test_it_reads_archives_with_bytes_before_them(archive, tmp_path):
    path = tmp_path / "sfx.zip"
    path.write_bytes(b"#!/bin/sh\n" + archive({"a.png": png()}).read_bytes())
    with ZipReader(path, LIMITS) as reader:
        assert [reader.read(entry, 10**6) for entry in reader.entries()] == [png()]


def test_folders_become_labels_when_there_are_at_least_two(archive):
    def labels(names: list[str]) -> set[str]:
        path = archive(dict.fromkeys(names, png()))
        with ZipSource(path, LIMITS) as source:
            return {entry.label for entry in source.entries(0)}

    assert labels(["all/cat/1.png", "all/dog/2.png"]) == {"cat", "dog"}
    assert labels(["photos/1.png", "photos/2.png"]) == {""}
    assert labels(["1.png"]) == {""}
    assert labels(["train/1.png", "test/2.png"]) == {""}
    assert labels(["train/cat/1.png", "test/dog/2.png"]) == {"cat", "dog"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../../etc/passwd.png", "points out"),
        ("a/../../b.png", "points out"),
        ("..\\..\\b.png", "points out"),
        ("/etc/cron.d/x.png", "absolute"),
        ("C:\\Windows\\x.png", "absolute"),
        ("a\nb.png", "control"),
        ("\u202egnp.exe", "control"),
        ("x" * 501 + ".png", "longer"),
    ],
)
def test_names_that_leave_their_folder_are_refused_by_name(archive, tmp_path, name, words):
    path = archive({name: png(), "good.png": png(1)})
    before = set(tmp_path.rglob("*"))
    assert words in reason_of(path, name.replace("\\", "/"))
    assert isinstance(results(path)["good.png"], DecodedImage)
    assert set(tmp_path.rglob("*")) == before  # nothing was unpacked anywhere


def test_a_nul_in_a_name_is_refused(archive):
    data = archive({"aXb.png": png()}).read_bytes().replace(b"aXb.png", b"a\x00b.png")
    path = archive({})
    path.write_bytes(data)
    assert "control" in reason_of(path, "a\x00b.png")


def test_links_devices_and_encrypted_entries_are_refused(archive):
    path = archive({"good.png": png()})
    with zipfile.ZipFile(path, "a") as file:
        for name, kind in (("link.png", stat.S_IFLNK), ("pipe.png", stat.S_IFIFO), ("device.png", stat.S_IFBLK)):
            info = zipfile.ZipInfo(name)
            info.external_attr = (kind | 0o777) << 16
            file.writestr(info, "/etc/passwd")
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\x01\x02", 0, data.find(b"link.png", data.find(b"PK\x01\x02")))
    first = data.find(b"PK\x01\x02")
    assert at >= first
    data[first + 8] |= 1  # good.png is said to be encrypted
    path.write_bytes(data)
    assert "symbolic link" in reason_of(path, "link.png")
    assert "pipe" in reason_of(path, "pipe.png")
    assert "device" in reason_of(path, "device.png")
    assert "encrypted" in reason_of(path, "good.png")


def test_what_operating_systems_leave_is_passed_over(archive):
    names = ["__MACOSX/._1.png", "a/.DS_Store", "Thumbs.db", "._x.png", "desktop.ini"]
    assert set(results(archive(dict.fromkeys(names, b"x"))).values()) == {None}


def test_content_decides_and_not_the_extension(archive):
    found = results(archive({"a.txt": png(), "b.png": b"<svg/>", "c.JPG": png(3), "inner.zip": b"PK\x03\x04"}))
    assert isinstance(found["a.txt"], DecodedImage)
    assert isinstance(found["c.JPG"], DecodedImage)
    assert "SVG" in found["b.png"].reason
    assert "not opened" in found["inner.zip"].reason


def test_a_bomb_by_ratio_is_refused_without_unpacking(archive):
    path = archive({"bomb.png": b"\0" * 2_000_000}, compresslevel=9)
    limits = LIMITS.__class__(**{**LIMITS.__dict__, "max_bytes": 10_000_000})
    assert "200 times" in reason_of(path, "bomb.png", limits)


def test_a_bomb_by_bytes_is_refused(archive):
    assert "at most 1.0" in reason_of(archive({"big.png": np.random.default_rng(0).bytes(1_200_000)}), "big.png")


def test_an_entry_that_lies_about_its_size_is_stopped(archive):
    path = archive({"liar.png": b"\0" * 900_000})
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.find(b"PK\x01\x02") + 24, 100)
    path.write_bytes(data)
    assert "more than the archive says" in reason_of(path, "liar.png")


def test_bombs_by_count_and_by_total_are_refused(archive):
    with pytest.raises(BadArchive, match="at most 1,000"):
        results(archive({f"{n}.png": b"" for n in range(1001)}))
    limits = LIMITS.__class__(**{**LIMITS.__dict__, "max_total_bytes": 1000})
    with pytest.raises(BadArchive, match="unpacks to more"):
        results(archive({"a.png": b"0" * 600, "b.png": b"1" * 600}), limits)


def test_overlapping_entries_are_refused(archive):
    """The table names one body many times, as in archives of 10 MB that unpack to terabytes."""
    path = archive({"a.png": np.random.default_rng(0).bytes(50_000)})
    data = path.read_bytes()
    start = data.find(b"PK\x01\x02")
    end = data.find(b"PK\x05\x06")
    entry, tail = data[start:end], bytearray(data[end:])
    struct.pack_into("<HHII", tail, 8, 50, 50, 50 * len(entry), start)
    path.write_bytes(data[:start] + entry * 50 + tail)
    with pytest.raises(BadArchive, match="overlap"):
        results(path)


def test_damaged_archives_and_entries_are_told(archive, tmp_path):
    path = archive({"a.png": png(), "b.png": np.random.default_rng(0).bytes(5000)})
    whole = path.read_bytes()
    for cut in (10, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:cut])
        with pytest.raises(BadArchive):
            results(path)
    data = bytearray(whole)
    data[whole.find(b"b.png") + 2000] ^= 0xFF
    path.write_bytes(data)
    assert "damaged" in reason_of(path, "b.png")
    empty = tmp_path / "empty.zip"
    with zipfile.ZipFile(empty, "w"):
        pass
    with pytest.raises(BadArchive, match="holds nothing"):
        results(empty)


def test_hostile_archives_never_raise_anything_else(archive):
    path = archive({f"{n}/{n}.png": png(n) for n in range(4)})
    whole = path.read_bytes()
    rng = np.random.default_rng(3)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(int(rng.integers(1, 6))):
            data[int(rng.integers(len(data)))] = int(rng.integers(256))
        path.write_bytes(data)
        with contextlib.suppress(BadArchive, BadEntry):
            results(path)


def test_arrays_are_read_by_part_with_their_labels(tmp_path):
    rng = np.random.default_rng(0)
    train, test = rng.integers(0, 256, (7, 5, 6), dtype=np.uint8), rng.integers(0, 256, (3, 5, 6, 3), dtype=np.uint8)
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x_train=train, y_train=np.arange(7), x_test=test, y_test=np.array(["a", "b", "c"]))
    with open_source(path, "x.npz", LIMITS) as source:
        entries = list(source.entries(0))
        assert source.total == 10
    assert [(entry.name, entry.label) for entry in entries[:2]] == [("train/00000.png", "0"), ("train/00001.png", "1")]
    assert (entries[-1].name, entries[-1].label) == ("test/00002.png", "c")
    assert (entries[3].load().small == train[3]).all()
    assert (entries[8].load().small == test[1]).all()
    with ArraySource(path, LIMITS, ["test"]) as source:
        assert [entry.label for entry in source.entries(1)] == ["b", "c"]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x_train": np.zeros((2, 3, 3), np.float32)}, "float32"),
        ({"x_train": np.zeros((2, 3), np.uint8)}, "8 bits"),
        ({"x_train": np.array([{"a": 1}], dtype=object)}, "never loaded"),
        ({"z": np.zeros((2, 3, 3), np.uint8)}, "no array of images"),
        ({"x": np.asfortranarray(np.zeros((2, 3, 4), np.uint8))}, "C order"),
    ],
)
def test_other_arrays_are_refused_and_never_unpickled(tmp_path, arrays, words):
    path = tmp_path / "x.npz"
    np.savez(path, **arrays)
    with pytest.raises(BadArchive, match=words):
        open_source(path, "x.npz", LIMITS)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("photos.zip", b"just words", "This is a text file, not a zip archive."),
        ("photos.ZIP", bytes(range(128, 256)), "This is not a zip archive."),
        ("photos.zip", b"<!doctype html><title>Sign in</title>", "This is an HTML page, not a zip archive."),
        ("photos.zip", b"Rar!\x1a\x07", "This is a RAR archive, not a zip archive."),
        ("x.npz", b"just words", "This is a text file, not a zip archive, which an .npz has to be."),
    ],
)
def test_what_is_only_named_like_an_archive_is_told(tmp_path, name, data, words):
    path = tmp_path / "upload"
    path.write_bytes(data)
    with pytest.raises(BadArchive) as told:
        open_source(path, name, LIMITS)
    assert str(told.value) == words


def test_an_image_that_is_named_like_an_archive_is_an_image(tmp_path):
    path = tmp_path / "upload"
    path.write_bytes(png())
    with open_source(path, "photo.zip", LIMITS) as source:
        assert [isinstance(entry.load(), DecodedImage) for entry in source.entries(0)] == [True]


def test_what_only_claims_to_be_an_array_is_told_in_words(tmp_path, archive):
    with pytest.raises(BadArchive) as told:
        open_source(archive({"x.npy": b"just words"}), "x.npz", LIMITS)
    assert str(told.value) == "x.npy is no NumPy array."


def test_a_folder_does_not_follow_links(tmp_path):
    folder = tmp_path / "pictures"
    (folder / "cat").mkdir(parents=True)
    (folder / "dog").mkdir()
    (folder / "cat" / "1.JPG").write_bytes(png())
    (folder / "dog" / "2.png").write_bytes(png(2))
    (folder / "dog" / "link.png").symlink_to("/etc/passwd")
    (folder / "etc").symlink_to("/etc")
    with FolderSource(folder, LIMITS) as source:
        found = {entry.name: (entry.label, entry.load()) for entry in source.entries(0)}
    assert found["cat/1.JPG"][0] == "cat"
    assert "link" in found["dog/link.png"][1].reason
    assert len(found) == 3
