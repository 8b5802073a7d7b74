"""Whatever the document says of a value of a body can be said in JSON: days and keys are text, whole numbers have no
point, and each choice is one that is taken."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from ninja import Schema

from labeler.api.app import openapi
from labeler.api.exports import ExportNew
from labeler.api.operations import In
from labeler.models import ExportJob

FORMATS = {"date": "2026-11-26", "uuid": "7c9e6679-7425-40de-944b-e07fc1f90afb"}
TEXTS = ("02:00", "#0072b2", "a", "photo of a cat", "")  # for patterns


def models_of(base: type[Schema]) -> Iterator[type[Schema]]:
    for model in base.__subclasses__():
        yield model
        yield from models_of(model)


assert openapi()  # so that the modules of all operations are loaded
BODIES = sorted(set(models_of(In)), key=lambda model: model.__name__)


def values(part: dict[str, Any], names: dict[str, Any]) -> list[Any]:
    """What a program might send of it, at least one value of each kind that the schema names."""
    if "$ref" in part:
        part = names[part["$ref"].rpartition("/")[2]]
    if "anyOf" in part:
        return [value for each in part["anyOf"] for value in values(each, names)]
    if "enum" in part or "const" in part:
        return list(part.get("enum", [part.get("const")]))
    kind = part["type"]
    if kind == "string":
        return [FORMATS[part["format"]]] if "format" in part else [_text(part)]
    if kind in ("integer", "number"):
        ends = [part[name] for name in ("minimum", "maximum") if name in part] or [1]
        return [*ends, *([int(end) for end in ends if end == int(end)] + [0.5] if kind == "number" else [])]
    if kind == "array":
        return [[value] * max(1, part.get("minItems", 1)) for value in values(part["items"], names)]
    if kind == "object":
        return [{name: values(each, names)[0] for name, each in part["properties"].items()}]
    return [{"boolean": True, "null": None}[kind]]


def _text(part: dict[str, Any]) -> str:
    least = part.get("minLength", 0)
    return next(text for text in TEXTS if len(text) >= least and re.search(part.get("pattern", ""), text))


@pytest.mark.parametrize("model", BODIES, ids=lambda model: model.__name__)
def test_all_that_the_document_allows_is_taken(model):
    schema = model.model_json_schema()
    names, parts = schema.get("$defs", {}), schema.get("properties", {})
    least = {name: values(parts[name], names)[0] for name in schema.get("required", [])}
    for name, part in parts.items():
        for value in values(part, names):
            if value == 0.5 and not part.get("minimum", 0) <= 0.5 <= part.get("maximum", 1):
                continue
            body = json.loads(json.dumps({**least, name: value}))
            assert name in model.model_validate(body).model_fields_set


def test_no_two_shapes_have_one_name():
    """The document has them by their names: of two, one would be described as the other."""
    ours = {model for model in models_of(Schema) if model.__module__.startswith("labeler.")}
    named = Counter(model.__name__ for model in ours)
    assert [name for name, count in named.items() if count > 1] == []


def test_days_are_text_of_one_form(as_manager, project):
    made = as_manager.post("/projects/signs/exports", {"format": "csv", "since": "2026-11-20", "until": "2026-11-26"})
    assert made.status_code == 201, made.content
    kept = ExportJob.objects.get(pk=made.json()["id"]).filters
    assert kept["since"][:10] <= "2026-11-20" and kept["until"][:10] >= "2026-11-26"
    assert ExportNew.model_validate({"since": "2026-11-26"}).since == date(2026, 11, 26)
    for wrong in (20261126, 1764115200, "26.11.2026", "2026-02-30", "2026-11-26T00:00", "20261126", True, ""):
        reply = as_manager.post("/projects/signs/exports", {"since": wrong})
        assert reply.status_code == 422 and reply.json()["errors"][0]["field"] == "since", wrong
