"""What the model says of an image, and when who is asked about it may know: never, after the answer, or before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from labeler.models import Annotation, Candidate, LabelClass, Project, Reason
from labeler.models.rounds import NOT_OF_THE_POOL
from labeler.numerals import numeral

SHOWN_AS_RANDOM = {Reason.HOLDOUT, Reason.COLD_START, *NOT_OF_THE_POOL}


def is_told(project: Project, place: Candidate, when: str) -> bool:
    """Never of what measures accuracy or people, nor of what looks the same: images drawn at random."""
    is_open = place.reason not in {Reason.RANDOM, *SHOWN_AS_RANDOM}
    return is_open and project.learning.suggestions == when and bool(place.details.get("likely"))


def likely_words(project: Project, place: Candidate, names: dict[int, str]) -> list[str]:
    """The likeliest classes, for who may know before they answer."""
    return [_words(each, names) for each in _likely(place, names)] if is_told(project, place, "before") else []


def suggestion_of(project: Project, place: Candidate, names: dict[int, str], when: str) -> dict[str, Any] | None:
    """The likeliest class, where the project tells it at that moment."""
    likely = _likely(place, names) if is_told(project, place, when) else []
    if not likely:
        return None
    best = max(likely, key=lambda each: each["mean"])
    return {"class": best["class"], "words": _words(best, names), "when": when}


def told_after(project: Project, answer: Annotation) -> dict[str, Any] | None:
    """What comes with the reply to an answer. No statement where nothing is told after answers."""
    if project.learning.suggestions != "after" or (place := answer.candidate) is None:
        return None
    return suggestion_of(project, place, names_for(project, [place], when="after"), "after")


def names_for(project: Project, places: Iterable[Candidate], when: str = "before") -> dict[int, str]:
    """Of the classes that there are, where what the model says is told of one of these places: a statement, or none."""
    if not any(is_told(project, place, when) for place in places):
        return {}
    return dict(LabelClass.objects.filter(project=project, is_archived=False).values_list("pk", "name"))


def _likely(place: Candidate, names: dict[int, str]) -> list[dict[str, Any]]:
    return [each for each in place.details.get("likely", []) if each["class"] in names]


def _words(each: dict[str, Any], names: dict[int, str]) -> str:
    return f"{names[each['class']]}: {numeral(each['mean'], 2)} ± {numeral(each['std'], 2)}"
