"""Label Studio's JSON of an image classification: a task an image, an annotation an answer, the model's word a
prediction with its score. The shape is that of its export and import files: https://labelstud.io/guide/export."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, BinaryIO

from labeler.export_formats import About, Answer, Batches, Row

FROM, TO = "choice", "image"  # names of the controls in Label Studio's labelling configuration
encode = json.JSONEncoder(ensure_ascii=False).encode


def write_label_studio(file: BinaryIO, batches: Batches, about: About, *, with_path: bool = False) -> None:
    file.write(b"[")
    begun = False
    for rows in batches:
        tasks = [encode(_task(row, about, with_path)) for row in rows]
        if tasks:
            file.write((",\n" if begun else "\n").encode() + ",\n".join(tasks).encode())
            begun = True
    file.write(b"\n]\n")


def _task(row: Row, about: About, with_path: bool) -> dict[str, Any]:
    record = row.record
    shown = (
        "name",
        "class",
        "source",
        "state",
        "split",
        "agreement",
        "label_probability",
        "round",
        "reason",
        "content_hash",
    )
    task = {
        "id": record["image"],
        "data": {"image": row.path if with_path else record["name"]},
        "meta": row.metadata,
        "plusminus": {name: record[name] for name in shown},
        "annotations": [_annotation(answer) for answer in row.answers],
        "predictions": [],
    }
    if row.model is not None:
        task["predictions"] = [
            {
                "model_version": about.model,
                "score": record["model_mean"],
                "std": record["model_std"],
                "result": _result(f"p{record['image']}", row.model.class_name),
            }
        ]
    return task


def _annotation(answer: Answer) -> dict[str, Any]:
    """Who gave no class has an empty result, as who skips a task in Label Studio. The person stands under a name of our
    own: Label Studio refuses a file whose `completed_by` is nobody that it knows."""
    named = answer.class_name is not None
    return {
        "id": answer.pk,
        "annotator": {"id": answer.person_id, "username": answer.person},
        "result": _result(f"a{answer.pk}", answer.class_name or "") if named else [],
        "was_cancelled": not named,
        "ground_truth": False,
        "created_at": _moment(answer.at),
        "updated_at": _moment(answer.at),
        "lead_time": answer.seconds,
        "outcome": answer.outcome,
        "source": answer.source,
    }


def _result(key: str, name: str) -> list[dict[str, Any]]:
    return [{"id": key, "type": "choices", "from_name": FROM, "to_name": TO, "value": {"choices": [name]}}]


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
