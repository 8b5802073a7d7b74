"""The OpenAPI document: what ninja writes, and what is true of every operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labeler.api.once import HEADER, KEPT_HOURS, LONGEST
from labeler.api.problems import KINDS, MEDIA_TYPE

if TYPE_CHECKING:
    from ninja import NinjaAPI

ANY = (401, 403, 414, 422, 429, 431)  # a token, its scopes, parameters that nobody knows, too many, too long
OF_SOMETHING = (404,)  # that its address names
WRITING = (409, 507)
WITH_BODY = (400, 411, 413, 415)
# Reads that things as they are may speak against: nothing was measured, made or scored yet, or its file is gone.
CONFLICTING = frozenset({
    "download_export", "download_model", "download_predictions", "list_confused", "list_duplicates", "list_map_points",
    "list_neighbours", "list_predictions", "read_card", "read_card_text", "read_comparison", "read_confusion",
    "read_gallery", "read_grid", "read_manifest", "read_prediction", "read_regions",
})  # fmt: skip
EVERYWHERE = (
    "Beside what each operation lists: 405 for another method of its address; 503 while the database or the storage is "
    "away, and 500 where something broke, both of which may go better in a minute."
)
BEFORE_US = (414, 431)  # said by the web server itself, in a page of its own
PREFIX = "/api/v1"
PROBLEM = {
    "type": "object",
    "description": "Problem details (RFC 9457).",
    "required": ["type", "title", "status", "detail", "errors"],
    "properties": {
        "type": {"type": "string", "description": "The kind of problem, explained at this address."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What happened and what to do, for people."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "detail"],
                "properties": {
                    "field": {
                        "type": "string",
                        "description": "As the request names it; body: all of that; empty: the request.",
                    },
                    "detail": {"type": "string"},
                },
            },
        },
        "received": {"type": "integer", "description": "Of an upload: the byte to go on from."},
    },
}
RATE_HEADERS = {
    "RateLimit-Limit": "Requests that this token may make in a minute.",
    "RateLimit-Remaining": "Of these, how many are left.",
    "RateLimit-Reset": "Seconds until the minute is over.",
}


def document(api: NinjaAPI) -> dict[str, Any]:
    found: dict[str, Any] = api.get_openapi_schema(path_prefix=f"{PREFIX}/")
    found["servers"] = [{"url": "/"}]
    parts = found["components"]
    parts["schemas"]["Problem"] = PROBLEM
    all_ = sorted({*ANY, *OF_SOMETHING, *WRITING, *WITH_BODY})
    parts["responses"] = {KINDS[status][0]: _problem(status) for status in all_}
    parts["headers"] = {
        name: {"description": words, "schema": {"type": "integer", "minimum": 0}}
        for name, words in RATE_HEADERS.items()
    }
    for methods in found["paths"].values():
        for method, operation in methods.items():
            _complete(method, operation)
    found["info"]["description"] += f"\n\n{EVERYWHERE}"
    return found


def _statuses(method: str, operation: dict[str, Any]) -> list[int]:
    """What it may answer beside what went well."""
    found = [*ANY]
    if any(each["in"] == "path" for each in operation["parameters"]):
        found += OF_SOMETHING
    if method != "get":
        found += WRITING
    elif operation["operationId"] in CONFLICTING:
        found.append(409)
    if "requestBody" in operation:
        found += WITH_BODY
    return sorted(found)


def _problem(status: int) -> dict[str, Any]:
    if status in BEFORE_US:
        return {"description": KINDS[status][1]}
    schema = {"$ref": "#/components/schemas/Problem"}
    headers: dict[str, Any] = {}
    if status == 429:
        headers["Retry-After"] = {"schema": {"type": "integer", "minimum": 0}}
    if status == 401:
        headers["WWW-Authenticate"] = {"schema": {"type": "string"}}
    described = {"description": KINDS[status][1], "content": {MEDIA_TYPE: {"schema": schema}}}
    return {**described, "headers": headers} if headers else described


def _complete(method: str, operation: dict[str, Any]) -> None:
    for reply in operation["responses"].values():
        reply["headers"] = {
            **reply.get("headers", {}),
            **{name: {"$ref": f"#/components/headers/{name}"} for name in RATE_HEADERS},
        }
    if media := operation.pop("x-media", None):
        picture = {"schema": {"type": "string", "format": "binary"}}
        operation["responses"][200]["content"] = dict.fromkeys(media, picture)
    for status in _statuses(method, operation):
        operation["responses"][str(status)] = {"$ref": f"#/components/responses/{KINDS[status][0]}"}
    operation["responses"] = {str(status): reply for status, reply in operation["responses"].items()}
    if str(operation.get("requestBody", {})).find("schemas/Nothing'") > 0:
        operation["requestBody"]["required"] = False
    if method == "post":
        operation["parameters"].append(
            {
                "in": "header",
                "name": HEADER,
                "required": False,
                "description": f"Made anew for each thing that is to be done: within {KEPT_HOURS} hours the same key "
                "gets the same reply and does nothing more.",
                "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": "^[\\x21-\\x7e]+$"},
            }
        )
    who = {"member": "Members of the project", "manager": "Managers of the project", "person": "Anybody with a token"}
    words = f"{who[operation['x-who']]}; scope “{operation['x-scope']}”."
    operation["description"] = f"{operation.get('description', '')}\n\n{words}".strip()
