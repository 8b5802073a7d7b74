"""What a table says of one image, cleaned: text that databases take, numbers that JSON knows."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from labeler.imaging.names import LABEL_LENGTH, class_name
from labeler.told import Told, told

Scalar = str | int | float | bool
MAX_COLUMNS = 100
MAX_COLUMN_NAME = 100
MAX_VALUE = 1000  # characters; longer ones are cut, and end with “…”
LARGEST = 2**63 - 1
MAX_METADATA = 20_000  # characters of all values of one image
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL takes no NUL, UTF-8 no half of a pair


class BadTable(Exception):
    """The table as a whole cannot be read; the message is for people."""


@dataclass(frozen=True)
class Answer:
    """What one person said of an image in another tool. `label` is empty for one who skipped it."""

    by: str
    label: str
    at: str = ""  # ISO 8601, as it was given
    seconds: float | None = None


@dataclass(frozen=True)
class Row:
    """`paths`: where the image may lie in the archive or folder, likeliest first. `note`: why no label is offered.
    `refusal`: why the row is not taken at all."""

    paths: tuple[str, ...] = ()
    url: str = ""
    label: str = ""
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    answers: tuple[Answer, ...] = ()
    note: str = ""
    refusal: str = ""
    has_no_labels: bool = False  # the table has none: what else is known of the image's label stands

    @property
    def name(self) -> str:
        return self.paths[0] if self.paths else self.url


def storable(text: str) -> str:
    return UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def label_of(value: object) -> str:
    """The name of a class as a cell gives it; empty for none."""
    if value is None or isinstance(value, dict | list) or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a column of numbers with gaps is one of floats to many tools
    return class_name(storable(_text(value)))[:LABEL_LENGTH]


def scalar_of(value: object) -> Scalar | None:
    """A value as it is kept; None where there is nothing to keep. What is nested is kept as its JSON."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -LARGEST <= value <= LARGEST else _text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False)[: MAX_VALUE + 1] if value else ""
    text = storable(str(value)).strip() if value is not None else ""
    if not text:
        return None
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"


def column_name(name: object, number: int) -> str:
    """As a column is kept. A name that is a number would be taken for a place in a list by databases."""
    text = " ".join(storable(str(name or "")).split())[:MAX_COLUMN_NAME]
    return f"column {text or number}" if not text or text.lstrip("-").isdigit() else text


def metadata_of(values: Iterable[tuple[str, object]]) -> dict[str, Scalar]:
    kept: dict[str, Scalar] = {}
    left = MAX_METADATA
    for number, (name, value) in enumerate(values, start=1):
        found = scalar_of(value)
        left -= len(str(found))
        if found is not None and len(kept) < MAX_COLUMNS and left >= 0:
            kept.setdefault(column_name(name, number), found)
    return kept


def many_named(names: str) -> Told:
    return told("Several classes are named for it (%(names)s): none is offered.", names=names)


def one_label(labels: Iterable[str]) -> tuple[str, str]:
    """The label that all agree on, and nothing; or none, and why."""
    names = list(dict.fromkeys(label for label in labels if label))
    if len({name.casefold() for name in names}) > 1:
        shown = ", ".join(names[:4]) + (" …" if len(names) > 4 else "")
        return "", many_named(shown[:150])
    return (names[0] if names else ""), ""


def joined(first: Row, second: Row) -> Row:
    """Two rows about one image: answers add up, labels have to agree."""
    label, note = ("", first.note) if first.note else one_label([first.label, second.label])
    return replace(
        first,
        label=label,
        note=note or second.note,
        url=first.url or second.url,
        paths=first.paths or second.paths,
        metadata={**second.metadata, **first.metadata},
        answers=first.answers + second.answers,
    )


def _text(value: object) -> str:
    if isinstance(value, int) and abs(value) > LARGEST:
        return f"{value:x}"[:MAX_VALUE] if value.bit_length() > 4000 else str(value)
    return str(value)
