"""Progress bars of commands that do one thing after another."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

UNITS = {"files": "B", "check": "B", "rows": " rows"}
WORDS = {"files": "Files", "check": "Checking", "rows": "Rows"}


class Bars:
    """`bars(what, done, total)` moves the bar of `what`; another `what` ends it. None are drawn where nobody looks."""

    def __init__(self) -> None:
        self._what = ""
        self._bar: tqdm[Any] | None = None

    def __call__(self, what: str, done: int, total: int) -> None:
        if what != self._what or self._bar is None:
            self.close()
            bytes_too = UNITS[what] == "B"
            self._what = what
            self._bar = tqdm(desc=WORDS[what], unit=UNITS[what], unit_scale=bytes_too, disable=None, file=sys.stderr)
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = None
