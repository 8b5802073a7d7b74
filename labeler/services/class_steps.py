"""Steps in the list of classes, taken back: added, changed (name, key, colour) and moved.

They are kept by services/classes.py, and taken back by `undo_change` like all other changes. No answer means anything
else after them; what has been done since decides whether they still can be taken back.
"""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef
from django.utils.translation import gettext as _

from labeler.models import Annotation, ClassChange, GoldImage, Image, LabelClass, Project
from labeler.services.classes import check_key, check_name, put_in_place

Kind = ClassChange.Kind


def why_step_stays(change: ClassChange) -> str:
    """Empty if it can be taken back, for all that its classes are now."""
    if change.kind == Kind.ADD:
        return _why_still_there(change)
    row = LabelClass.objects.get(pk=change.did["class"])
    if change.kind == Kind.MOVE:
        return _("“%(name)s” is offered no more, so it has no place.") % {"name": row} if row.is_archived else ""
    if any(getattr(row, name) != value for name, value in change.did["after"].items()):
        return _("“%(name)s” was changed again since.") % {"name": row}
    try:
        _check(_as_before(row, change))
    except ValidationError as error:
        return error.messages[0]
    return ""


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


def _why_still_there(change: ClassChange) -> str:
    added = LabelClass.objects.filter(pk__in=change.did["made"])
    naming = [
        Annotation.objects.filter(label_class=OuterRef("pk")),
        GoldImage.objects.filter(label_class=OuterRef("pk")),
    ]
    named = added.filter(Exists(naming[0]) | Exists(naming[1]) | Exists(Image.objects.filter(label=OuterRef("pk"))))
    if (row := named.first()) is not None:
        return _("“%(name)s” has answers since then. Archive it, or merge it into another class.") % {"name": row}
    return "" if added.filter(is_archived=False).exists() else _("What was added is offered no more already.")


def _as_before(row: LabelClass, change: ClassChange) -> LabelClass:
    for name, value in change.did["before"].items():
        setattr(row, name, value)
    return row


def _check(row: LabelClass) -> None:
    check_name(row)
    check_key(row)
