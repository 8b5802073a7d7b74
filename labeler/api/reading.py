"""The OpenAPI document as people read it: operations by noun, with what goes in and what comes out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils.text import slugify
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from labeler.api.problems import KINDS

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

WHO = {"member": _("members"), "manager": _("managers"), "person": _("anybody")}
DEEPEST = 3
JSON, FORM = "application/json", "multipart/form-data"


@dataclass(frozen=True)
class Value:
    name: str
    kind: str
    is_required: bool
    words: str
    depth: int = 0


@dataclass(frozen=True)
class Described:
    id: str
    method: str
    path: str
    summary: str
    words: str
    who: StrOrPromise
    scope: str
    parameters: list[Value]
    body: list[Value]
    takes: str  # the media type of a body that is no JSON
    status: str
    reply: list[Value]
    returns: StrOrPromise  # in place of a reply's values


@dataclass(frozen=True)
class Noun:
    name: str
    anchor: str
    operations: list[Described]


@dataclass(frozen=True)
class Kind:
    name: str
    status: int
    words: str


def nouns_of(document: Mapping[str, Any]) -> list[Noun]:
    schemas = document["components"]["schemas"]
    found: dict[str, list[Described]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            found.setdefault(operation["tags"][0], []).append(_described(method, path, operation, schemas))
    return [Noun(name, slugify(name), operations) for name, operations in found.items()]


def kinds_of_problems() -> list[Kind]:
    return [Kind(name, status, gettext(words)) for status, (name, words) in KINDS.items()]


def _described(method: str, path: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Described:
    content = operation.get("requestBody", {}).get("content", {})
    only = next(iter(content)) if len(content) == 1 else ""
    fields = content[only].get("schema") if only in (JSON, FORM) else None
    status, reply = next((status, reply) for status, reply in operation["responses"].items() if status < "300")
    media = reply.get("content", {})
    shown = media.get(JSON, {}).get("schema")
    values = list(_values(shown, schemas, 0)) if shown else []
    return Described(
        id=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        words=operation["description"].partition("\n\n")[0].removeprefix(operation["summary"]).lstrip(". "),
        who=WHO[operation["x-who"]],
        scope=operation["x-scope"],
        parameters=[
            Value(each["name"], _kind(each["schema"]), each.get("required", False), each.get("description", ""))
            for each in operation["parameters"]
            if each["in"] == "query"  # the one header is every POST's, and said once
        ],
        body=list(_values(fields, schemas, 0)) if fields else [],
        takes="" if only == JSON else ", ".join(content),
        status=status,
        reply=values,
        returns="" if values else ", ".join(media) or _("nothing"),
    )


def _values(schema: Mapping[str, Any], schemas: Mapping[str, Any], depth: int) -> Iterator[Value]:
    """The values of an object, and of the objects in it, each below its own."""
    if schema.get("type") == "array":
        yield from _values(schema["items"], schemas, depth)
        return
    found = _resolved(schema, schemas)
    required = set(found.get("required", []))
    for name, details in found.get("properties", {}).items():
        words = details.get("description", "")
        yield Value(name, _kind(details), name in required, words, depth)
        inner = _object_in(details)
        if inner is not None and depth < DEEPEST:
            yield from _values(inner, schemas, depth + 1)


def _resolved(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return found


def _object_in(schema: Mapping[str, Any]) -> Mapping[str, Any] | None:
    inner: list[Mapping[str, Any]] = [schema, schema.get("items", {}), *schema.get("anyOf", [])]
    return next((each for each in inner if "$ref" in each), None)


def _kind(schema: Mapping[str, Any]) -> str:
    """In a few words: `whole number`, `list of text`, `text or null`."""
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(str(value) or "“”" for value in schema["enum"])
    if "$ref" in schema:
        return "object"
    names = {"integer": "whole number", "string": "text", "boolean": "true | false"}
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return {"date-time": "time", "uuid": "UUID", "binary": "file"}.get(schema.get("format", ""), names.get(kind, kind))
