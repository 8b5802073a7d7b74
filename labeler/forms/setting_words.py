"""The record's entries about settings, in the words of the forms and the language of who reads.

An entry keeps its words as they were written, in English and with the names that the database has; which values
changed is kept beside them. Both are shown by what the form calls them, as far as it still does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from django import forms
from django.utils.html import strip_tags
from django.utils.translation import gettext as _

from labeler.forms.base import ChangeForm, PlainForm, quoted
from labeler.forms.classes import ClassForm
from labeler.forms.learning import LearningForm
from labeler.forms.notices import TargetForm
from labeler.forms.projects import GeneralForm
from labeler.models import AuditEntry
from labeler.numerals import localised
from labeler.services.schedule import words_of_kept
from labeler.told import said

CLASS = re.compile(r"changed the class “(?P<name>.*?)”: ", re.DOTALL)
COSTS = re.compile(r"\s*<span.*", re.DOTALL)  # what a choice costs stands behind its name
Words = Callable[[str, Any], str]


class SettingWords:
    """For one page: the forms are made once."""

    def __init__(self) -> None:
        self.learning, self.general = LearningForm(initial={}), GeneralForm(initial={})

    def of(self, entry: AuditEntry) -> str:
        before, after = entry.details.get("before"), entry.details.get("after")
        if not (isinstance(before, dict) and isinstance(after, dict)):
            return said(entry.words)
        form: PlainForm | None
        words: Words
        if entry.words.startswith("changed how the project learns: "):
            start, form, words = _("changed how the project learns"), self.learning, partial(_value, self.learning)
        elif entry.words.startswith("changed the project: "):
            start, form, words = _("changed the project"), self.general, self._of_project
        elif entry.words.startswith("changed when a round starts: "):
            return _schedule(entry)
        elif (found := CLASS.match(entry.words)) is not None:
            start, form, words = _("changed the class “%(name)s”") % {"name": found["name"]}, None, _of_class
        else:
            return said(entry.words)
        changes = [
            _("%(setting)s from %(before)s to %(after)s")
            % {"setting": _label(form, name), "before": words(name, before.get(name)), "after": words(name, value)}
            for name, value in sorted(after.items(), key=lambda pair: _place(form, pair[0]))
        ]
        return f"{start}: {'; '.join(changes)}"

    def _of_project(self, name: str, value: Any) -> str:
        if name == "target_accuracy":
            return _("nothing") if value is None else localised(f"{100 * value:.6g}")
        return _value(self.general, name, value)


def _place(form: PlainForm | None, name: str) -> int:
    """In the order of the form: databases keep JSON in orders of their own."""
    names = ["name", "key", "colour"] if form is None else list(form.fields)
    return names.index(name) if name in names else len(names)


def _label(form: PlainForm | None, name: str) -> str:
    """As the form has it; a setting that there is no more is named as it was kept."""
    labels = {"target_accuracy": TargetForm.base_fields["target"].label, "key": ClassForm.base_fields["shortcut"].label}
    fields: dict[str, forms.Field] = form.fields if form is not None else ClassForm.base_fields
    label = labels.get(name) or (fields[name].label if name in fields else name.replace("_", " "))
    return str(label)


def _value(form: ChangeForm, name: str, value: Any) -> str:
    if value is None or value == "":
        return _("nothing")
    try:
        text = strip_tags(COSTS.sub("", form.words_of(name, value)))
    except KeyError:  # the setting or the choice is no more
        text = str(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return localised(text.strip("“”„")) if is_number else text


def _of_class(_name: str, value: Any) -> str:
    return quoted(value) if value else _("nothing")


def _schedule(entry: AuditEntry) -> str:
    before, after = (words_of_kept(entry.details.get(name)) or _("nothing") for name in ("former", "schedule"))
    words = _("changed when a round starts: from %(before)s to %(after)s")
    return words % {"before": before, "after": after}
