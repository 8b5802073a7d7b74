"""COCO's JSON with one category an image: the box of an annotation is the whole image.

What the model says is never among the annotations: it stands in a list of its own, `predictions`, as COCO's results do.
https://cocodataset.org/#format-data
"""

from __future__ import annotations

import json
import shutil
import tempfile
from typing import Any, BinaryIO

from labeler.export_formats import MODEL, About, Batches, Row

encode = json.JSONEncoder(ensure_ascii=False).encode


def write_coco(file: BinaryIO, batches: Batches, about: About, *, with_path: bool = False) -> None:
    """Images first; annotations and predictions wait in temporary files, as the format has them apart."""
    categories = {name: number for number, (_, name) in enumerate(about.classes, start=1)}
    head = {
        "info": {
            "description": about.project,
            "date_created": about.made_at,
            "contributor": "PlusMinus",
            "version": "1",
            "year": int(about.made_at[:4]),
            "url": "",
        },
        "licenses": [],
        "categories": [{"id": at, "name": name, "supercategory": ""} for name, at in categories.items()],
    }
    file.write(encode(head)[:-1].encode() + b',\n"images": [')
    with tempfile.TemporaryFile() as annotations, tempfile.TemporaryFile() as predictions:
        lists = [(file, _image), (annotations, _annotation), (predictions, _prediction)]
        begun = [False] * len(lists)
        for rows in batches:
            for at, (to, make) in enumerate(lists):
                made = [each for row in rows if (each := make(row, categories, with_path)) is not None]
                if made:
                    to.write((",\n" if begun[at] else "\n").encode() + ",\n".join(map(encode, made)).encode())
                    begun[at] = True
        for name, kept in (("annotations", annotations), ("predictions", predictions)):
            file.write(f'\n],\n"{name}": ['.encode())
            kept.seek(0)
            shutil.copyfileobj(kept, file)
    file.write(b"\n]}\n")


def _image(row: Row, _: dict[str, int], with_path: bool) -> dict[str, Any]:
    record = row.record
    return {
        **row.metadata,
        "id": record["image"],
        "file_name": row.path if with_path else record["name"],
        "width": record["width"],
        "height": record["height"],
        "plusminus": {"state": record["state"], "split": record["split"]},
    }


def _annotation(row: Row, categories: dict[str, int], _: bool) -> dict[str, Any] | None:
    record = row.record
    if record["class"] is None or record["source"] == MODEL:
        return None
    return {
        "id": record["image"],
        "image_id": record["image"],
        "category_id": categories[record["class"]],
        "bbox": [0, 0, record["width"], record["height"]],
        "area": record["width"] * record["height"],
        "iscrowd": 0,
        "segmentation": [],
        "source": record["source"],
        "annotators": record["annotators"],
        "label_probability": record["label_probability"],
    }


def _prediction(row: Row, categories: dict[str, int], _: bool) -> dict[str, Any] | None:
    record = row.record
    if row.model is None or row.model.class_name not in categories:
        return None
    return {
        "image_id": record["image"],
        "category_id": categories[row.model.class_name],
        "score": record["model_mean"],
        "std": record["model_std"],
        "is_accepted": record["source"] == MODEL,
    }
