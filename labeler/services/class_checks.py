"""What speaks against merging or splitting a class, in words: asked by previews, and again when it is done."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from labeler.models import Fate, LabelClass, Project


def check_merge(*, label_class: LabelClass, into: LabelClass) -> None:
    """Raises ValidationError as `merge_class` would now: a preview says so before the press."""
    check_free(label_class)
    target_of(label_class.project, label_class, into.pk)


def check_split(*, label_class: LabelClass, names: Sequence[str]) -> None:
    """As `check_merge`, of `split_class`."""
    check_free(label_class)
    known_parts(label_class.project, label_class, names)


def known_parts(project: Project, source: LabelClass, names: Sequence[str]) -> dict[str, LabelClass]:
    """The classes that there are, by their names; raises ValidationError where these cannot be the parts."""
    wanted = {name.casefold() for name in names}
    if source.name.casefold() in wanted:
        raise ValidationError(
            _("“%(name)s” is what is split. Give what is left of it another name.") % {"name": source}, code="itself"
        )
    if len(wanted) < 2:
        raise ValidationError(_("A class is split into two or more. Name each on a line of its own."), code="too_few")
    known = {row.name.casefold(): row for row in project.classes.all()}
    for row in (known[name] for name in wanted if name in known):
        if row.fate:
            raise ValidationError(
                _("“%(name)s” was %(fate)s. Choose another name.") % {"name": row, "fate": row.get_fate_display()},
                code="fate",
            )
        if row.is_archived:
            raise ValidationError(
                _("“%(name)s” is archived. Offer it again first, or choose another name.") % {"name": row},
                code="archived",
            )
    return known


def target_of(project: Project, source: LabelClass, into: int) -> LabelClass:
    target = LabelClass.objects.filter(project=project, pk=into).first()
    if target is None or target.is_archived:
        raise ValidationError(_("The class to merge into is offered no more. Choose another one."), code="target")
    if target.pk == source.pk:
        raise ValidationError(_("A class cannot be merged into itself."), code="itself")
    return target


def check_free(source: LabelClass) -> None:
    """A class that was merged, split or refused is changed by taking that back first."""
    if source.fate in (Fate.MERGED, Fate.SPLIT, Fate.REFUSED):
        raise ValidationError(
            _("“%(name)s” was %(fate)s already.") % {"name": source, "fate": source.get_fate_display()}, code="fate"
        )
