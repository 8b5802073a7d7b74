"""The OpenAPI document: what ninja writes, and what is true of every operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labeler.api.once import HEADER, KEPT_HOURS, LONGEST
from labeler.api.problems import KINDS, MEDIA_TYPE

if TYPE_CHECKING:
    from ninja import NinjaAPI

ANY = (400, 401, 403, 404, 405, 409, 411, 413, 414, 422, 429, 431, 500, 503)
WRITING = (415, 507)
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
    parts["responses"] = {KINDS[status][0]: _problem(status) for status in (*ANY, *WRITING)}
    parts["headers"] = {
        name: {"description": words, "schema": {"type": "integer", "minimum": 0}}
        for name, words in RATE_HEADERS.items()
    }
    for methods in found["paths"].values():
        for method, operation in methods.items():
            _complete(method, operation)
    return found


def _problem(status: int) -> dict[str, Any]:
    if status in BEFORE_US:
        return {"description": KINDS[status][1]}
    schema = {"$ref": "#/components/schemas/Problem"}
    headers: dict[str, Any] = {}
    if status == 429:
        headers["Retry-After"] = {"schema": {"type": "integer", "minimum": 0}}
    if status == 401:
        headers["WWW-Authenticate"] = {"schema": {"type": "string"}}
    if status == 405:
        headers["Allow"] = {"schema": {"type": "string"}}
    described = {"description": KINDS[status][1], "content": {MEDIA_TYPE: {"schema": schema}}}
    return {**described, "headers": headers} if headers else described


def _complete(method: str, operation: dict[str, Any]) -> None:
    statuses = ANY if method == "get" else (*ANY, *WRITING)
    for reply in operation["responses"].values():
        reply["headers"] = {
            **reply.get("headers", {}),
            **{name: {"$ref": f"#/components/headers/{name}"} for name in RATE_HEADERS},
        }
    if media := operation.pop("x-media", None):
        picture = {"schema": {"type": "string", "format": "binary"}}
        operation["responses"][200]["content"] = dict.fromkeys(media, picture)
    for status in statuses:
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
