"""JSON of any size element by element: of a list at the top, or of the lists in an object at the top."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TextIO

from labeler.tables.row import BadTable
from labeler.told import Told, amount, told

PIECE = 2**18
MAX_ELEMENT = 16 * 2**20  # characters
MAX_DIGITS = 400
SPACE = " \t\r\n"


def _broken(place: int) -> Told:
    return told("The JSON is damaged or cut off near character %(place)s.", place=place)


def _whole(text: str) -> int | str:
    return int(text) if len(text) <= MAX_DIGITS else text


DECODER = json.JSONDecoder(parse_int=_whole, parse_constant=lambda _: None)  # NaN and Infinity are no JSON


def decode(text: str) -> Any:
    """One value. Raises BadTable."""
    try:
        return DECODER.decode(text)
    except RecursionError:
        raise BadTable(told("The JSON is nested too deeply.")) from None
    except ValueError as error:
        raise BadTable(_broken(getattr(error, "pos", 0))) from None


def elements(file: TextIO) -> Iterator[tuple[str, Any]]:
    """(key, element) of each list in the object at the top, (key, value) of what is no list; of a list at the top
    ("", element). Raises BadTable."""
    reader = _Reader(file)
    opening = reader.peek()
    if opening == "[":
        for element in reader.list():
            yield "", element
    elif opening == "{":
        yield from _members(reader)
    else:
        raise BadTable(told("The JSON holds neither a list nor an object."))
    if reader.peek():
        raise BadTable(_broken(reader.place))


def _members(reader: _Reader) -> Iterator[tuple[str, Any]]:
    reader.take("{")
    if reader.peek() == "}":
        reader.take("}")
        return
    while True:
        key = reader.value()
        if not isinstance(key, str):
            raise BadTable(_broken(reader.place))
        reader.take(":")
        if reader.peek() == "[":
            for element in reader.list():
                yield key, element
        else:
            yield key, reader.value()
        if reader.take(",}") == "}":
            return


class _Reader:
    def __init__(self, file: TextIO) -> None:
        self._file, self._text, self._at, self._before = file, "", 0, 0
        self._is_over = False

    @property
    def place(self) -> int:
        return self._before + self._at

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in SPACE:
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def take(self, wanted: str) -> str:
        found = self.peek()
        if not found or found not in wanted:
            raise BadTable(_broken(self.place))
        self._at += 1
        return found

    def list(self) -> Iterator[Any]:
        self.take("[")
        if self.peek() == "]":
            self.take("]")
            return
        while True:
            yield self.value()
            if self.take(",]") == "]":
                return

    def value(self) -> Any:
        self.peek()
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
            except RecursionError:
                raise BadTable(told("The JSON is nested too deeply.")) from None
            except ValueError:
                if not self._more():
                    raise BadTable(_broken(self.place)) from None
                continue
            if end == len(self._text) and self._more():
                continue  # a number may go on
            self._at = end
            return value

    def _more(self) -> bool:
        """Read on, as much again as is waiting: large elements are not looked at again for every piece."""
        if self._is_over:
            return False
        waiting = self._text[self._at :]
        if len(waiting) > MAX_ELEMENT:
            raise BadTable(
                told(
                    "One element of the JSON has more than %(value)s million characters.",
                    value=amount(MAX_ELEMENT / 2**20, 0),
                )
            )
        piece = self._file.read(max(PIECE, len(waiting)))
        self._is_over = not piece
        self._before += self._at
        self._text, self._at = waiting + piece, 0
        return bool(piece)
