from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from labeler.forms.base import ChangeForm, NameField, PlainForm
from labeler.services.classes import class_names_in

GUIDELINES_MAX = 20_000


class DescriptionForm(PlainForm):
    name = NameField(max_length=100, label=_("Name"), help_text=_("What everybody in the project sees."))
    guidelines = forms.CharField(
        max_length=GUIDELINES_MAX,
        required=False,
        label=_("Guidelines"),
        widget=forms.Textarea(attrs={"rows": 8}),
        help_text=_("How to decide in doubt. People open them beside the image. Plain text."),
    )


class GeneralForm(ChangeForm, DescriptionForm):
    """The name and the guidelines of a project that is there."""


class ProjectForm(DescriptionForm):
    """A new project."""

    classes = forms.CharField(
        required=False,
        label=_("Classes"),
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false"}),
        help_text=_("One a line. Keys (1 to 9, 0, letters) and colours are given in this order; you can change them."),
    )
    field_order = ["name", "classes", "guidelines"]

    def clean_classes(self) -> list[str]:
        return class_names_in(self.cleaned_data["classes"])


class CopyForm(PlainForm):
    """A new project with the settings of another."""

    name = NameField(max_length=100, label=_("Name"), help_text=_("Of the new project."))
    with_people = forms.BooleanField(
        required=False, label=_("Its people, too"), help_text=_("Everybody who is in this project now, in their roles.")
    )
