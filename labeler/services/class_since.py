"""Why a change of the classes stays as it is: what has been done since, read once for a whole list of changes."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from labeler.models import Annotation, ClassChange, GoldImage, Image, JobState, LabelClass, Project
from labeler.models.classes import STEPS
from labeler.services.classes import check_key, check_name
from labeler.told import said

Kind = ClassChange.Kind
NOT_TAKEN_BACK = {
    Kind.UNDO: gettext_lazy("This took back another change. Do that one again instead."),
    Kind.ACCEPT: gettext_lazy("An accepted class is archived or merged like any other."),
    Kind.REFUSE: gettext_lazy(
        "A refusal stays: its images have been asked again. Offer the class again if it is wanted after all."
    ),
    Kind.WITHDRAW: gettext_lazy("Who proposed the class took it back. They may propose it again."),
}


def why_not_undone(change: ClassChange) -> str:
    """Empty if it can be taken back."""
    return Since(change.project, [change]).why_it_stays(change)


class Since:
    """The project's classes and what else was done to them, in three statements whatever the number of changes."""

    def __init__(self, project: Project, changes: Sequence[ClassChange]) -> None:
        first = min((change.pk for change in changes), default=0)
        later = ClassChange.objects.filter(project=project, pk__gt=first, undone_by__isnull=True)
        self.later = list(later.exclude(kind=Kind.UNDO).order_by("-pk"))
        self.classes = {row.pk: row for row in LabelClass.objects.filter(project=project)}
        made = [pk for change in changes if change.kind == Kind.ADD for pk in change.did["made"]]
        self.named = set(_named(made)) if made else set[int]()

    def why_it_stays(self, change: ClassChange) -> str:
        """Empty if it can be taken back."""
        if (words := NOT_TAKEN_BACK.get(Kind(change.kind))) is not None:
            return str(words)
        if change.state in (JobState.QUEUED, JobState.RUNNING):
            return _("A worker is still going over its images. Take it back when that is done.")
        if change.kind == Kind.ARCHIVE and not self.classes[change.did["class"]].is_archived:
            return _("It is offered again already.")
        if change.is_step and (why := self._why_step_stays(change)):
            return why
        touched = set(change.did["classes"])
        no_matter = [step for step in STEPS if step != change.kind]
        for other in self.later:
            if other.pk > change.pk and other.kind not in no_matter and touched & set(other.did["classes"]):
                return _("Something was done to the same classes later: %(change)s. Take that back first.") % {
                    "change": said(other.words)
                }
        return ""

    def _why_step_stays(self, change: ClassChange) -> str:
        if change.kind == Kind.ADD:
            return self._why_still_there([self.classes[pk] for pk in change.did["made"] if pk in self.classes])
        row = self.classes[change.did["class"]]
        if change.kind == Kind.MOVE:
            return _("“%(name)s” is offered no more, so it has no place.") % {"name": row} if row.is_archived else ""
        if any(getattr(row, name) != value for name, value in change.did["after"].items()):
            return _("“%(name)s” was changed again since.") % {"name": row}
        before = LabelClass(**{field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields})
        for name, value in change.did["before"].items():
            setattr(before, name, value)
        try:
            check_name(before, among=self.classes.values())
            check_key(before, among=self.classes.values())
        except ValidationError as error:
            return error.messages[0]
        return ""

    def _why_still_there(self, made: Sequence[LabelClass]) -> str:
        for row in made:
            if row.pk in self.named:
                return _("“%(name)s” has answers since then. Archive it, or merge it into another class.") % {
                    "name": row
                }
        return "" if any(not row.is_archived for row in made) else _("What was added is offered no more already.")


def _named(made: Sequence[int]) -> list[int]:
    """Those that an answer, a gold image or a label names."""
    naming = [
        Annotation.objects.filter(label_class=OuterRef("pk")),
        GoldImage.objects.filter(label_class=OuterRef("pk")),
        Image.objects.filter(label=OuterRef("pk")),
    ]
    rows = LabelClass.objects.filter(pk__in=made)
    found = rows.filter(Exists(naming[0]) | Exists(naming[1]) | Exists(naming[2]))
    return list(found.values_list("pk", flat=True))
