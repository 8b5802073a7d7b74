"""Names of files in archives that other machines unpack: made of names that people gave, safe on every system, once."""

from __future__ import annotations

import re
import unicodedata
from hashlib import blake2b

UNSAFE = re.compile(r'[<>:"|?*\\/\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffd]')
DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)", re.IGNORECASE)  # of Windows
PART_BYTES = 180  # file systems take 255, and a number and a suffix may follow
MOST_FOLDERS = 8
SUFFIXES = {
    "image/png": (".png",),
    "image/jpeg": (".jpg", ".jpeg"),
    "image/webp": (".webp",),
}


def safe_part(name: str) -> str:
    """The name of one file or folder: no separators, no controls, nothing hidden, nothing that a system keeps for
    itself.

    >>> safe_part("../.ssh"), safe_part("a:b?"), safe_part("CON.png"), safe_part("  ")
    ('_.ssh', 'a_b_', '_CON.png', '_')
    """
    part = UNSAFE.sub("_", unicodedata.normalize("NFC", name)).strip()
    part = re.sub(r"^\.+", "", part).rstrip(". ")
    if DEVICES.match(part) or part.startswith(("-", "~")):
        part = f"_{part}"
    while len(part.encode()) > PART_BYTES:
        part = part[:-1].rstrip(". ")
    return part or "_"


def safe_path(name: str, media_type: str) -> str:
    """The path of an image: its folders are kept, `..` and drives are not; the suffix tells what it is.

    >>> safe_path("cat/../../etc/passwd", "image/png"), safe_path("C:\\\\a\\\\b.JPG", "image/jpeg")
    ('cat/etc/passwd.png', 'C_/a/b.JPG')
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part not in {"", ".", ".."}] or ["_"]
    folders, last = parts[:-1][-MOST_FOLDERS:], parts[-1]
    stem, dot, suffix = last.rpartition(".")
    allowed = SUFFIXES.get(media_type, (".png",))
    if not dot or f".{suffix.lower()}" not in allowed:
        stem, suffix = last, allowed[0][1:]
    return "/".join([*map(safe_part, folders), f"{safe_part(stem)}.{safe_part(suffix)}"])


class Taken:
    """Which names are taken, 8 bytes' worth of each: a file system may take two for one that differ in case alone."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def once(self, path: str, number: int) -> str:
        """The path, or where it is taken the path with a number that no other image has.

        >>> taken = Taken()
        >>> taken.once("a.png", 1), taken.once("A.png", 2)
        ('a.png', 'A-2.png')
        """
        found = path
        if not self._take(found):
            stem, dot, suffix = path.rpartition(".")
            found = f"{stem}-{number}{dot}{suffix}"
            while not self._take(found):
                found = f"{found.rpartition('.')[0]}_{dot}{suffix}"
        return found

    def _take(self, path: str) -> bool:
        key = int.from_bytes(blake2b(path.casefold().encode(), digest_size=8).digest())
        if key in self._seen:
            return False
        self._seen.add(key)
        return True
