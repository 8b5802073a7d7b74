"""Texts of our CSV files, so that no spreadsheet takes one for a formula; and back again, exactly.

Where the list separator is a semicolon, as in German Excel, a cell of ours is cut at each semicolon and return in it,
for its quotation marks do not stand where a cell begins: so each piece is looked at, as if it were a cell.
"""

from __future__ import annotations

import re

SIGNS = "=+\\-@＝＋－＠"
FIRST = frozenset("=+-@＝＋－＠\t\r\n ';")  # what a text begins with that has to be looked at
_AT_START = rf"^ *(?='*[{SIGNS}\t\r\n])"
_INSIDE = rf"(?<=[;\t\r\n])[\" ]*(?='*[{SIGNS}])"
_OPEN = re.compile(rf"({_AT_START}|{_INSIDE})")
_GUARDED = re.compile(_OPEN.pattern.replace("(?='*", "'(?='*"))


def safe(text: str) -> str:
    """With an apostrophe before what would be a formula, and one more where there are some already."""
    if text[:1] in FIRST or ";" in text or "\n" in text or "\r" in text or "\t" in text:
        return _OPEN.sub(r"\1'", text)
    return text


def exact(text: str) -> str:
    """What `safe` was given."""
    return _GUARDED.sub(lambda found: found[0][:-1], text) if "'" in text else text
