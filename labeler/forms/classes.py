from __future__ import annotations

from typing import Any

from django import forms

from labeler.choices import RESERVED_KEYS
from labeler.forms.base import NameField, PlainForm
from labeler.models import LabelClass
from labeler.services.classes import MAX_NAME, class_names_in


class AddClassesForm(PlainForm):
    names = forms.CharField(
        label="Add classes",
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text="One a line. Each gets the next free key and a colour.",
    )

    def clean_names(self) -> list[str]:
        return class_names_in(self.cleaned_data["names"])


class ClassForm(PlainForm):
    name = NameField(max_length=MAX_NAME, label="Name", help_text="Answers stay with the class: renaming is safe.")
    shortcut = forms.RegexField(
        r"^[0-9a-zA-Z]$",
        required=False,
        max_length=1,
        label="Key",
        widget=forms.TextInput(attrs={"autocomplete": "off", "size": 3}),
        error_messages=dict.fromkeys(("invalid", "max_length"), "One digit or one letter."),
        help_text=f"One digit or letter, or nothing. The Label page keeps {', '.join(RESERVED_KEYS)} for itself.",
    )
    colour = forms.RegexField(
        r"^#[0-9a-f]{6}$",
        label="Colour",
        widget=forms.ColorInput,
        error_messages={"invalid": "A colour such as #0072b2."},
    )

    def __init__(self, *args: Any, label_class: LabelClass, **kwargs: Any) -> None:
        initial = {"name": label_class.name, "shortcut": label_class.shortcut, "colour": label_class.colour}
        super().__init__(*args, **{"initial": initial, **kwargs})

    def clean_shortcut(self) -> str:
        key: str = self.cleaned_data["shortcut"]
        return key.lower()
