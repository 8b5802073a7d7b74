"""Reading what the Label page sends, as JSON or as a form."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from django.utils.dateparse import parse_datetime

from labeler.models import Shown

WANT = 3
MAX_BODY = 64 * 1024
MAX_SECONDS = 3600.0


class BadRequest(Exception):
    def __init__(self, field: str, words: str) -> None:
        self.field, self.words = field, words


@dataclass(frozen=True)
class Answer:
    key: UUID
    image_id: int
    candidate_id: int | None
    outcome: str
    label_class_id: int | None
    seconds: float | None
    answered_at: datetime | None
    corrects: UUID | None
    proposed: str = ""  # the name of a class that there may not be
    suggestion: str = ""  # “before”: the model's word stood on the page


def read_body(request: HttpRequest) -> dict[str, Any]:
    if len(request.body) > MAX_BODY:
        raise BadRequest("", "This is too long for an answer.")
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError) as error:  # brackets in brackets in brackets
        raise BadRequest("", "This is not JSON.") from error
    if not isinstance(body, dict):
        raise BadRequest("", "This is not a JSON object.")
    return body


def read_answer(body: dict[str, Any]) -> Answer:
    image_id = read_number(body, "image")
    if image_id is None:
        raise BadRequest("image", "Which image?")
    return Answer(
        key=read_uuid(body, "key"),
        image_id=image_id,
        candidate_id=read_number(body, "candidate"),
        outcome=str(body.get("outcome", "")),
        label_class_id=read_number(body, "label_class"),
        seconds=_seconds(body),
        answered_at=_moment(body),
        corrects=read_uuid(body, "corrects") if body.get("corrects") else None,
        proposed=_proposed(body),
        suggestion=Shown.BEFORE if body.get("suggestion") == Shown.BEFORE else "",
    )


def _proposed(body: dict[str, Any]) -> str:
    """An empty box is a wish to propose, too: the service says what is missing."""
    value = body.get("proposed")
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRequest("label_class", "A proposed class is a name.")
    return value or " "


def read_uuid(body: dict[str, Any], field: str) -> UUID:
    try:
        return UUID(str(body[field]))
    except (KeyError, ValueError) as error:
        raise BadRequest(field, f"“{field}” is not a UUID.") from error


def read_number(body: dict[str, Any], field: str) -> int | None:
    value = body.get(field)
    if value is None or value == "":
        return None
    try:
        number = int(value) if isinstance(value, str | int) and not isinstance(value, bool) else -1
    except ValueError:
        number = -1
    if not 0 <= number < 2**63:
        raise BadRequest(field, f"“{field}” is not an id.")
    return number


def read_ids(body: dict[str, Any], field: str) -> list[int]:
    values = body.get(field, [])
    if not isinstance(values, list) or len(values) > 100:
        raise BadRequest(field, f"“{field}” is not a list of ids.")
    ids = [read_number({field: value}, field) for value in values]
    return [value for value in ids if value is not None]


def read_want(body: dict[str, Any]) -> int:
    return max(1, min(read_number(body, "want") or WANT, settings.LEASES_PER_ANNOTATOR))


def _seconds(body: dict[str, Any]) -> float | None:
    value = body.get("seconds")
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < float("inf"):
        return None  # a clock that went wrong costs no answer
    return min(float(value), MAX_SECONDS)


def _moment(body: dict[str, Any]) -> datetime | None:
    value = body.get("answered_at")
    try:
        moment = parse_datetime(value) if isinstance(value, str) else None
        return moment.astimezone(UTC) if moment is not None and moment.tzinfo is not None else None
    except (ValueError, OverflowError):  # a day before the first or after the last that there is
        return None
