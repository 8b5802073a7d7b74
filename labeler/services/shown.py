"""Whether a person had seen what the model says of an image when they answered it, as the server knows it."""

from __future__ import annotations

from labeler.models import Annotation, Candidate, Project, Shown
from labeler.selectors.suggestions import is_told


def note_shown(project: Project, answer: Annotation, place: Candidate | None, *, was_told: bool) -> None:
    """“Before”: it stood on their page (only that knows), or they were told with an answer that they have undone or
    replaced since. “After”: it goes out with the reply to this one."""
    if was_told or answer.suggestion == Shown.BEFORE:
        answer.suggestion = Shown.BEFORE
    else:
        answer.suggestion = Shown.AFTER if place is not None and is_told(project, place, "after") else ""
