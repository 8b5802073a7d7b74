"""The record of who did what when: one row an act, written in the transaction of the act, never changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from labeler.models import Annotation, AuditEntry, AuditKind, Project, User
from labeler.told import told, told_word

MAX_WORDS = 1000
ANEW, TAKEN_BACK = "anew", "taken back"


def record(*, project: Project, by: User | None, kind: str, words: str, **details: Any) -> None:
    """Keep what `by` did, in the caller's transaction. None: nobody did it, but a command or a worker.

    `words` begin with a verb in the past tense and name what it was done to: `merged “cat” into “felid”`. `details` are
    for machines: they are kept as JSON, what JSON does not know as text.
    """
    kept = json.loads(json.dumps(details, default=str))
    AuditEntry.objects.create(project=project, by=by, kind=kind, words=shortened(words, MAX_WORDS), details=kept)


def record_decision(*, decision: Annotation, did: str = "") -> None:
    """Keep that a manager has settled an image; `did`: has done so again (ANEW), or taken that back (TAKEN_BACK)."""
    image = decision.image_id
    names = {
        "image": decision.image.name,
        "name": decision.label_class.name if decision.label_class else told_word(decision.get_outcome_display()),
    }
    if did == ANEW:
        words = told("decided anew on the image %(image)s: %(name)s", **names)
    elif did == TAKEN_BACK:
        words = told("took back the decision on the image %(image)s: %(name)s", **names)
    else:
        words = told("decided on the image %(image)s: %(name)s", **names)
    record(project=decision.project, by=decision.annotator, kind=AuditKind.REVIEW, words=words, image=image)


def record_changes(
    *,
    project: Project,
    by: User | None,
    kind: str,
    what: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    **details: Any,
) -> None:
    """Keep which values changed, from what to what; nothing if none did. Pages say it anew: forms/setting_words.py."""
    changed = [name for name in after if before.get(name) != after[name]]
    if not changed:
        return
    parts = [f"{name.replace('_', ' ')} from {_shown(before.get(name))} to {_shown(after[name])}" for name in changed]
    record(
        project=project,
        by=by,
        kind=kind,
        words=f"changed {what}: {'; '.join(parts)}",
        before={name: before.get(name) for name in changed},
        after={name: after[name] for name in changed},
        **details,
    )


def _shown(value: object) -> str:
    if value is None or value == "":
        return "nothing"
    if isinstance(value, bool):
        return "on" if value else "off"
    text = " ".join(str(value).split())
    return f"“{shortened(text, 80)}”" if isinstance(value, str) else shortened(text, 80)


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
