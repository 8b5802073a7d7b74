"""What a file is, by its first bytes. Words are in English, and marked for who shows them."""

from __future__ import annotations

import codecs
import struct

from django.utils.translation import gettext_noop as _

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
LOSSLESS = {"PNG", "GIF", "BMP", "TIFF"}
OTHERS = [
    (b"PK\x03\x04", _("a zip archive (archives inside archives are not opened: import it by itself)")),
    (b"PK\x05\x06", _("an empty zip archive")),
    (b"Rar!", _("a RAR archive")),
    (b"7z\xbc\xaf\x27\x1c", _("a 7-Zip archive")),
    (b"\x1f\x8b", _("a gzip archive")),
    (b"BZh", _("a bzip2 archive")),
    (b"\xfd7zXZ", _("an xz archive")),
    (b"%PDF", _("a PDF document")),
    (b"\x93NUMPY", _("a NumPy array (an .npz with x and y arrays is taken)")),
    (b"\x89HDF", _("an HDF5 file")),
    (b"8BPS", _("a Photoshop document")),
    (b"MZ", _("a program")),
    (b"\x7fELF", _("a program")),
]
ISO_BRANDS = {b"heic": _("a HEIC photograph"), b"heix": _("a HEIC photograph"), b"mif1": _("a HEIF photograph"),
              b"avif": _("an AVIF image")}  # fmt: skip
IMAGES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}  # before a text, they say how it is written


def name_of_other_content(data: bytes) -> str:
    """Words for content that is known and is no image that we take; empty when it may be one."""
    for magic, words in OTHERS:
        if data.startswith(magic):
            return words
    if data[4:8] == b"ftyp":
        return ISO_BRANDS.get(data[8:12], _("a video or another media file"))
    head = data[:4096].lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n").replace(b"\x00", b"").lower()
    if not head.startswith(b"<"):
        return ""
    if b"<svg" in head:
        return _("an SVG drawing (it can carry scripts; save it as PNG)")
    if b"<html" in head or b"<!doctype html" in head or b"<script" in head:
        return _("an HTML page")
    return _("an XML or text file")


def name_of_unreadable(data: bytes) -> str:
    """Words for what no decoder takes, for the end of "This is …"; empty when it begins as an image does."""
    if data.startswith(IMAGES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
        return ""
    if _is_text(data[:4096]):
        return _("a text file, not an image")
    return "" if data.startswith(b"BM") else _("not an image")  # words may begin like a BMP


def _is_text(head: bytes) -> bool:
    """Whether all of it are characters; the last one may be cut off."""
    decoder = codecs.getincrementaldecoder(MARKS.get(head[:2], "utf-8"))()
    try:
        return all(char.isprintable() or char in "\t\n\r\f\ufeff" for char in decoder.decode(head))
    except UnicodeDecodeError:
        return False


def webp_size(data: bytes) -> tuple[int, int] | None:
    """Width and height from a WebP's header: its decoder reserves the canvas as soon as it opens a file."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return None
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def kind_of_upload(head: bytes) -> str:
    """`zip` for anything that may be an archive (an .npz is one), else `image`."""
    return "zip" if head[:4] in (b"PK\x03\x04", b"PK\x05\x06") else "image"
