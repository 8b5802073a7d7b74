"""Tars of unknown origin: plain and packed, with links, devices, bombs and lies."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from labeler.imaging.decode import DecodedImage, Refused
from labeler.imaging.sources import TarSource, open_source
from labeler.imaging.zips import BadArchive
from tests.labeler.imports import png
from tests.labeler.test_archives import LIMITS


def member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(data), link
    return info, data


@pytest.fixture
def archive(tmp_path: Path):
    def make(*members, name="a.tar", mode="w", form=tarfile.PAX_FORMAT) -> Path:
        with tarfile.open(tmp_path / name, mode, format=form) as file:
            for info, data in members:
                file.addfile(info, io.BytesIO(data))
        return tmp_path / name

    return make


def results(path: Path, limits=LIMITS, start: int = 0) -> dict[str, DecodedImage | Refused | None]:
    with open_source(path, path.name, limits) as source:
        return {entry.name: entry.load() if entry.load else None for entry in source.entries(start)}


@pytest.mark.parametrize(("mode", "name"), [("w", "a.tar"), ("w:gz", "a.tgz"), ("w:bz2", "a.tbz"), ("w:xz", "a.txz")])
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_all_kinds_are_read_in_order(archive, mode, name, form):
    long = "/".join(["folder" * 5] * 5) if form != tarfile.USTAR_FORMAT else "folder/" * 18
    names = ["cat/1.png", "cat/größe.png", f"{long}/2.png"]
    path = archive(*(member(name, png(n)) for n, name in enumerate(names)), name=name, mode=mode, form=form)
    found = results(path)
    assert list(found) == names if form != tarfile.USTAR_FORMAT else len(found) == 3
    assert all(isinstance(result, DecodedImage) for result in found.values())
    assert list(results(path, start=2)) == list(found)[2:]


def test_hostile_members_are_refused_by_name(archive):
    path = archive(
        member("ok.png", png(1)),
        member("../evil.png", png(2)),
        member("/etc/evil.png", png(3)),
        member("link.png", kind=tarfile.SYMTYPE, link="/etc/passwd"),
        member("hard.png", kind=tarfile.LNKTYPE, link="ok.png"),
        member("device", kind=tarfile.CHRTYPE),
        member("pipe", kind=tarfile.FIFOTYPE),
        member("draw.svg", b"<svg/>"),
        member("._ok.png", b"x"),
        member("folder/", kind=tarfile.DIRTYPE),
        member("large.png", b"x" * 1_100_000),
        member("last.png", png(4)),
    )
    found = results(path)
    assert isinstance(found.pop("ok.png"), DecodedImage)
    assert isinstance(found.pop("last.png"), DecodedImage)
    assert found.pop("._ok.png") is None
    reasons = {name: result.reason for name, result in found.items()}
    assert set(reasons) == {
        "../evil.png",
        "/etc/evil.png",
        "link.png",
        "hard.png",
        "device",
        "pipe",
        "draw.svg",
        "large.png",
    }
    assert "symbolic link" in reasons["link.png"] and "hard link" in reasons["hard.png"]
    assert "points out" in reasons["../evil.png"] and "MiB" in reasons["large.png"]


@pytest.mark.parametrize(
    ("pack", "name"), [(gzip.compress, "a.tgz"), (bz2.compress, "a.tbz"), (lzma.compress, "a.txz")]
)
def test_a_bomb_stops_before_it_unpacks(archive, tmp_path, pack, name):
    plain = archive(member("zeros.png", b"\0" * 80_000_000)).read_bytes()
    (tmp_path / name).write_bytes(pack(plain))
    assert (tmp_path / name).stat().st_size < 100_000
    with pytest.raises(BadArchive, match="bomb"):
        open_source(tmp_path / name, name, replace(LIMITS, max_total_bytes=10**9))
    with pytest.raises(BadArchive, match="unpacks to more than"):
        open_source(tmp_path / name, name, replace(LIMITS, max_total_bytes=10**6))


def test_more_entries_than_are_allowed_are_refused(archive):
    path = archive(*(member(f"{n}.png", b"") for n in range(30)))
    with pytest.raises(BadArchive, match="more than 20 entries"):
        results(path, replace(LIMITS, max_entries=20))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
def test_what_comes_before_a_damage_is_taken(archive, mode):
    path = archive(*(member(f"{n}.png", png(n, 200, colour=True)) for n in range(60)), name="a.bin", mode=mode)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = results(path)
    *images, _, last = found.values()
    assert 10 < len(images) < 40 and all(isinstance(image, DecodedImage) for image in images)
    assert "cut off" in last.reason
    with TarSource(path, LIMITS) as source:
        assert source.total == len(found)


def test_lying_headers_are_refused(archive, tmp_path):
    plain = bytearray(archive(member("a.png", png(1))).read_bytes())
    for field in (b"\x80" + b"\xff" * 11, b"77777777777\0", b"notanumber\0\0"):
        lying = bytearray(plain)
        lying[124:136] = field
        lying[148:156] = b" " * 8
        lying[148:156] = b"%06o\0 " % sum(lying[:512])
        (tmp_path / "lie.tar").write_bytes(lying)
        try:
            found = results(tmp_path / "lie.tar")
        except BadArchive as error:
            assert "cut off" in str(error)
        else:
            assert not any(isinstance(result, DecodedImage) for result in found.values())


def test_headers_without_end_take_no_memory(tmp_path):
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**33
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"x" * 10_000)
    with pytest.raises(BadArchive, match="longer than any name"):
        open_source(tmp_path / "a.tar", "a.tar", LIMITS)
