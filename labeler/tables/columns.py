"""Which column of a table says what: the image's path or address, its label, and all that is kept beside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from labeler.tables.row import BadTable, Row, Scalar, label_of, metadata_of, one_label, storable
from labeler.told import told

PLACES = (
    "path", "file", "filename", "file_name", "filepath", "file_path", "image_path", "image_file", "img_path", "name",
    "image", "img", "image_name", "url", "image_url", "img_url", "link", "uri", "href", "address", "id", "image_id",
)  # fmt: skip
LABELS = ("label", "class", "class_name", "category", "label_name", "target", "y", "choice", "labels", "classes")
OWN = {"name", "class", "state", "selection_probability", "content_hash"}  # columns of our own exports
OWN_METADATA = "metadata."
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
LOOKED_AT = 50  # rows by which a column is chosen


class NoPlace(BadTable):
    """A table of which somebody has to say which column names the image; it has `names`."""

    def __init__(self, words: str, names: Sequence[str]) -> None:
        super().__init__(words)
        self.names = tuple(names)


@dataclass(frozen=True)
class Chosen:
    """By a person: the column that names the image, and the one that is its label; empty: none is. Where it is
    `remembered` from an import before, a table without these columns is read as any other."""

    place: str
    label: str
    is_remembered: bool = False


@dataclass(frozen=True)
class Columns:
    """`place` and `label` name columns, `kept` those that become metadata."""

    place: str
    label: str
    kept: tuple[str, ...]
    more_places: tuple[str, ...] = ()
    is_own: bool = False


def choose_columns(
    names: Sequence[str], first: Sequence[Mapping[str, object]], chosen: Chosen | None = None
) -> Columns:
    """The columns that a person has chosen; else by their names, and where several could say which image it is, by what
    stands in the first rows.

    Raises BadTable where none could, or one of those chosen is not there.
    """
    if chosen is not None:
        missing = [name for name in (chosen.place, chosen.label) if name and name not in names]
        if not missing:
            kept = tuple(name for name in names if name not in (chosen.place, chosen.label))
            return Columns(chosen.place, chosen.label, kept)
        if not chosen.is_remembered:
            raise NoPlace(
                told("There is no column “%(name)s”. Its columns: %(names)s.", name=missing[0], names=_shown(names)),
                names,
            )
    known = {_plain(name): name for name in reversed(names)}
    if set(names) >= OWN:
        kept = tuple(name for name in names if name.startswith(OWN_METADATA) or name == "metadata")
        return Columns("path" if "path" in names else "name", "class", kept, is_own=True)
    places = [known[word] for word in PLACES if word in known] or (list(names) if len(names) == 1 else [])
    places += [name for name in names if name not in places and _share_of_places(name, first) > 0.9]
    if not places:
        words = told(
            "No column says which image a row is about: path, file or url. Its columns: %(names)s.", names=_shown(names)
        )
        raise NoPlace(words, names)
    places.sort(key=lambda name: _share_of_places(name, first) < 0.5)  # those that look like it first
    label = next((known[word] for word in LABELS if word in known and known[word] != places[0]), "")
    more = tuple(name for name in places[1:] if _share_of_places(name, first) >= 0.5)
    kept = tuple(name for name in names if name not in (places[0], label, *more))
    return Columns(places[0], label, kept, more)


def _shown(names: Sequence[str]) -> str:
    return ", ".join(f"“{name}”" for name in names[:10]) or "–"


def row_of(record: Mapping[str, object], columns: Columns) -> Row:
    """A record of the table as a row. Without a path or an address it is refused."""
    paths, url = [], ""
    for name in (columns.place, *columns.more_places):
        text = storable(str(record.get(name) or "")).strip()
        if is_address(text):
            url = url or text
        elif text:
            paths.append(text)
    value = record.get(columns.label)
    label, note = one_label(map(label_of, value)) if isinstance(value, list) else (label_of(value), "")
    if not paths and not url:
        return Row(refusal=told("The row names no image."))
    metadata = _metadata(record, columns)
    return Row(tuple(paths[:1]), url, label, metadata, note=note, has_no_labels=not columns.label)


def is_address(text: str) -> bool:
    return "://" in text[:20] and text.partition("://")[0].isalnum()


def _metadata(record: Mapping[str, object], columns: Columns) -> dict[str, Scalar]:
    if not columns.is_own:
        return metadata_of((name, record.get(name)) for name in columns.kept)
    return metadata_of(_own_metadata(record, columns))


def _own_metadata(record: Mapping[str, object], columns: Columns) -> Iterator[tuple[str, object]]:
    for name in columns.kept:
        value = record.get(name)
        if name == "metadata" and isinstance(value, dict):
            yield from value.items()
        elif name != "metadata":
            yield name.removeprefix(OWN_METADATA), value


def _share_of_places(name: str, first: Sequence[Mapping[str, object]]) -> float:
    values = [str(row[name]) for row in first[:LOOKED_AT] if row.get(name)]
    return sum(is_address(value) or value.lower().endswith(ENDINGS) for value in values) / max(1, len(values))


def _plain(name: str) -> str:
    return "_".join(name.strip().lower().replace("-", " ").split())
