from __future__ import annotations

from typing import Any

from django import forms
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from labeler.choices import RESERVED_KEYS
from labeler.forms.base import NameField, PlainForm
from labeler.models import LabelClass
from labeler.selectors.classes import targets_of
from labeler.services.classes import MAX_NAME, class_names_in


class AddClassesForm(PlainForm):
    names = forms.CharField(
        label=_("Add classes"),
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text=_("One a line; paste as many as you have. Each gets the next free key and a colour."),
    )

    def clean_names(self) -> list[str]:
        return class_names_in(self.cleaned_data["names"])


class ClassForm(PlainForm):
    name = NameField(
        max_length=MAX_NAME, label=_("Name"), help_text=_("Answers stay with the class: renaming is safe.")
    )
    shortcut = forms.RegexField(
        r"^[0-9a-zA-Z]$",
        required=False,
        max_length=1,
        label=_("Key"),
        widget=forms.TextInput(attrs={"autocomplete": "off", "size": 3}),
        error_messages=dict.fromkeys(("invalid", "max_length"), _("One digit or one letter.")),
        help_text=format_lazy(
            _("One digit or letter, or nothing. The Label page keeps {keys} for itself."), keys=", ".join(RESERVED_KEYS)
        ),
    )
    colour = forms.RegexField(
        r"^#[0-9a-f]{6}$",
        label=_("Colour"),
        widget=forms.ColorInput,
        error_messages={"invalid": _("A colour such as #0072b2.")},
    )

    def __init__(self, *args: Any, label_class: LabelClass, **kwargs: Any) -> None:
        initial = {"name": label_class.name, "shortcut": label_class.shortcut, "colour": label_class.colour}
        super().__init__(*args, **{"initial": initial, **kwargs})

    def clean_shortcut(self) -> str:
        key: str = self.cleaned_data["shortcut"]
        return key.lower()


class MergeForm(PlainForm):
    into = forms.ModelChoiceField(
        LabelClass.objects.none(),
        label=_("Merge into"),
        empty_label=_("Choose a class"),
        error_messages={"invalid_choice": _("Choose a class that is offered.")},
        help_text=_("Both become one. Answers keep the name that was given, and mean the other class."),
    )

    def __init__(self, *args: Any, label_class: LabelClass, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["into"].queryset = targets_of(label_class)  # type: ignore[attr-defined]


class SplitForm(PlainForm):
    names = forms.CharField(
        label=_("Split into"),
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text=_(
            "Two names or more, one a line; classes that are there already may be among them. All images of this "
            "class are asked again, first of all, also of people who have answered them."
        ),
    )

    def clean_names(self) -> list[str]:
        return class_names_in(self.cleaned_data["names"])
