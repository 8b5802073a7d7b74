"""COCO: categories of the objects in an image, of which one may stand for the image."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

from labeler.tables.row import BadTable, Row, label_of, many_named, metadata_of, storable
from labeler.told import told

KEYS = {"images", "annotations", "categories"}
ADDRESSES = ("coco_url", "flickr_url", "url")
NOT_KEPT = {"file_name", "width", "height", "id", *ADDRESSES}
SCHEMA = """
CREATE TABLE images (n INTEGER PRIMARY KEY, id TEXT UNIQUE, image TEXT);
CREATE TABLE named (image TEXT, category TEXT, PRIMARY KEY (image, category)) WITHOUT ROWID;
"""
SHOWN = 6  # categories that are named where an image has several


def coco_rows(elements: Iterable[tuple[str, Any]]) -> Iterator[Row]:
    """A row an image. Annotations of one category label it, of several none; their boxes and shapes are not read.

    Images, annotations and categories may come in any order. Raises BadTable.
    """
    categories: dict[str, str] = {}
    with closing(sqlite3.connect("", isolation_level=None)) as base:
        base.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; {SCHEMA} BEGIN;")
        for key, element in elements:
            if key not in KEYS:
                continue
            if not isinstance(element, dict):
                raise BadTable(told("“%(key)s” of the COCO file holds something other than objects.", key=key))
            if key == "images":
                packed = json.dumps({name: value for name, value in element.items() if not isinstance(value, dict)})
                base.execute("INSERT OR IGNORE INTO images (id, image) VALUES (?, ?)", (_id(element.get("id")), packed))
            elif key == "annotations":
                named = _id(element.get("image_id")), _id(element.get("category_id"))
                base.execute("INSERT OR IGNORE INTO named VALUES (?, ?)", named)
            else:
                categories[_id(element.get("id"))] = label_of(element.get("name"))
        for image_id, packed in base.execute("SELECT id, image FROM images ORDER BY n"):
            found = base.execute("SELECT category FROM named WHERE image = ? LIMIT ?", (image_id, SHOWN)).fetchall()
            yield _row(json.loads(packed), [categories.get(category, "") for (category,) in found])


def _row(image: dict[str, Any], names: list[str]) -> Row:
    path = storable(str(image.get("file_name") or "")).strip()
    url = next((storable(str(image[key])).strip() for key in ADDRESSES if image.get(key)), "")
    if not path and not url:
        return Row(refusal=told("The COCO file gives the image neither a file name nor an address."))
    note = ""
    if len(names) > 1:
        note = many_named(", ".join(sorted(names)[: SHOWN - 1])[:150])
    elif names and not names[0]:
        note = told("Its category is not among the categories of the COCO file.")
    label = names[0] if len(names) == 1 else ""
    kept = metadata_of((name, value) for name, value in image.items() if name not in NOT_KEPT)
    return Row((path,) if path else (), url, label, kept, note=note)


def _id(value: object) -> str:
    return str(value)[:100]
