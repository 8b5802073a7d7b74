"""Label Studio: tasks with what people chose (JSON), or one record an annotation (JSON-MIN)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from labeler.tables.columns import ENDINGS, is_address
from labeler.tables.row import Answer, Row, Scalar, label_of, metadata_of, one_label, scalar_of, storable
from labeler.told import told

UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")  # what uploads get before their name
IMAGE_KEYS = ("image", "img", "url", "image_url", "photo", "picture", "file", "path")
MIN_KEYS = {"annotation_id", "annotator", "lead_time"}  # what a record of JSON-MIN has beside the task's data
MIN_OWN = {*MIN_KEYS, "id", "created_at", "updated_at"}
DROPPED = "/data/upload/", "/data/local-files/"


def is_task(record: object) -> bool:
    if not isinstance(record, dict) or not isinstance(record.get("data"), dict):
        return False
    return bool({"annotations", "completions", "predictions"} & record.keys())


def is_min(record: object) -> bool:
    return isinstance(record, dict) and len(MIN_KEYS & record.keys()) >= 2


def task_row(task: Mapping[str, Any]) -> Row:
    """A task as a row: answers with who gave them and when; predictions, if there are any, as metadata."""
    data = task["data"] if isinstance(task.get("data"), dict) else {}
    given = _dicts(task.get("annotations") or task.get("completions"))
    key = _image_key(data, _target(given))
    paths, url = _places(data.get(key), task.get("file_upload"))
    if not paths and not url:
        return Row(refusal=told("Task %(number)s has no image in its data.", number=_shown(task.get("id"))))
    answers, notes = _answers(given)
    label, note = one_label(answer.label for answer in answers)
    return Row(paths, url, label, _kept(task, data, key), tuple(answers), note=note or (notes[0] if notes else ""))


def min_row(record: Mapping[str, Any]) -> Row:
    """One annotation of JSON-MIN; those of one image are joined by the index."""
    key = _image_key(record, "")
    paths, url = _places(record.get(key), None)
    if not paths and not url:
        return Row(refusal=told("Task %(number)s has no image in its data.", number=_shown(record.get("id"))))
    rest = {name: value for name, value in record.items() if name not in MIN_OWN and name != key}
    chosen = next((name for name, value in rest.items() if _choices(value)), "")
    names = _choices(rest.pop(chosen, None))
    label, note = one_label(names)
    answers: tuple[Answer, ...] = ()
    if len(names) == 1:
        answers = (Answer(_person(record.get("annotator")), label, *_when(record)),)
    return Row(paths, url, label, metadata_of(rest.items()), answers, note=note)


def _answers(given: Sequence[Mapping[str, Any]]) -> tuple[list[Answer], list[str]]:
    answers: list[Answer] = []
    notes: list[str] = []
    for one in given:
        by = _person(one.get("annotator") or one.get("completed_by"))
        names = [name for result in _dicts(one.get("result")) for name in _choices(result.get("value"))]
        if one.get("was_cancelled"):
            answers.append(Answer(by, "", *_when(one)))
        elif len({name.casefold() for name in names}) == 1:
            answers.append(Answer(by, names[0], *_when(one)))
        elif names:
            words = told(
                "%(person)s chose several classes at once (%(names)s): that answer is left out.",
                person=by, names=", ".join(names)[:120],
            )  # fmt: skip
            notes.append(words)
    return answers, notes


def _choices(value: object) -> list[str]:
    """The classes of a `choices` value, as Label Studio writes one or several."""
    if isinstance(value, dict):
        value = value.get("choices")
        return _choices(value) if not isinstance(value, dict) else []
    if isinstance(value, list):
        return [label_of(one) for one in value[:50] if isinstance(one, str) and label_of(one)]
    return [label_of(value)] if isinstance(value, str) and label_of(value) else []


def _kept(task: Mapping[str, Any], data: Mapping[str, Any], key: str) -> dict[str, Scalar]:
    meta = task.get("meta")
    values = [(name, value) for name, value in data.items() if name != key]
    values += list(meta.items()) if isinstance(meta, dict) else []
    for prediction in _dicts(task.get("predictions"))[-1:]:
        names = [name for result in _dicts(prediction.get("result")) for name in _choices(result.get("value"))]
        values += [
            ("prediction", ", ".join(names)),
            ("prediction score", scalar_of(prediction.get("score"))),
            ("prediction model", prediction.get("model_version")),
        ]
    return metadata_of(values)


def _target(given: Sequence[Mapping[str, Any]]) -> str:
    """The tag that choices were made for; its name is often the key of the data."""
    results = (result for one in given for result in _dicts(one.get("result")))
    return next((str(result.get("to_name")) for result in results if result.get("type") == "choices"), "")


def _image_key(data: Mapping[str, Any], target: str) -> str:
    texts = [name for name, value in data.items() if isinstance(value, str)]
    for name in (target, *IMAGE_KEYS):
        if name in texts:
            return name
    looks = (name for name in texts if is_address(data[name]) or data[name].lower().endswith(ENDINGS))
    return next(looks, "")


def _places(value: object, upload: object) -> tuple[tuple[str, ...], str]:
    """Where the image may lie in an archive, and its address. A file that was uploaded is named with and without the
    characters that uploads get before their name."""
    text = storable(value).strip() if isinstance(value, str) else ""
    paths = [storable(upload).strip()] if isinstance(upload, str) and upload.strip() else []
    url = ""
    if text.startswith(("http://", "https://")):
        url = text
        text = urlsplit(text).path if any(part in text for part in DROPPED) else ""
    elif is_address(text):
        text = unquote(text.partition("://")[2].partition("/")[2])  # a bucket's key
    if text.startswith("/data/local-files/"):
        text = next(iter(parse_qs(urlsplit(text).query).get("d", [])), "")
    elif text.startswith("/data/upload/"):
        text = unquote(text.rpartition("/")[2])
    if text:
        paths.append(text)
    paths += [UPLOADED.sub("", path) for path in paths]
    return tuple(dict.fromkeys(path for path in paths if path)), url


def _when(one: Mapping[str, Any]) -> tuple[str, float | None]:
    at = one.get("updated_at") or one.get("created_at")
    seconds = one.get("lead_time")
    is_time = isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds < 1e7
    return (at[:40] if isinstance(at, str) else ""), (float(seconds) if is_time and seconds is not None else None)


def _person(value: object) -> str:
    """`completed_by` is a number, an address, or an object with either."""
    if isinstance(value, dict):
        value = value.get("email") or value.get("username") or value.get("id")
    text = " ".join(storable(str(value)).split()) if isinstance(value, str | int) and value != "" else ""
    return (f"annotator {text}" if text.isdigit() else text)[:100] or "somebody"


def _dicts(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _shown(value: object) -> str:
    return str(value)[:50]


def rows_of(records: Iterator[Mapping[str, Any]], *, are_tasks: bool) -> Iterator[Row]:
    for record in records:
        yield task_row(record) if are_tasks else min_row(record)
