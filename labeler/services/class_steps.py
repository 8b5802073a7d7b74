"""Steps in the list of classes, taken back: added, changed (name, key, colour) and moved.

They are kept by services/classes.py, and taken back by `undo_change` like all other changes. No answer means anything
else after them; what has been done since decides whether they still can be taken back.
"""

from __future__ import annotations

from labeler.models import ClassChange, LabelClass, Project
from labeler.services.classes import check_key, check_name, put_in_place

Kind = ClassChange.Kind


def undo_step(*, project: Project, change: ClassChange) -> None:
    """In the caller's transaction, which has locked the classes and found that nothing speaks against it."""
    if change.kind == Kind.ADD:
        # The rows stay: a page that is open may still send an answer that names one.
        added = LabelClass.objects.filter(pk__in=change.did["made"], fate="")
        added.update(is_archived=True, shortcut="")
        return
    row = LabelClass.objects.select_for_update().get(pk=change.did["class"])
    if change.kind == Kind.MOVE:
        put_in_place(project=project, label_class=row, to=change.did["from"])
        return
    _check(_as_before(row, change))
    row.save(update_fields=list(change.did["before"]))


def _as_before(row: LabelClass, change: ClassChange) -> LabelClass:
    for name, value in change.did["before"].items():
        setattr(row, name, value)
    return row


def _check(row: LabelClass) -> None:
    check_name(row)
    check_key(row)
