from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from labeler.forms.base import PlainForm


class MailForm(PlainForm):
    """A manager's own choice."""

    gets_mail = forms.BooleanField(required=False, label=_("Send me the notices of this project by mail"))
    address = forms.EmailField(
        required=False,
        label=_("To this address"),
        error_messages={"invalid": _("An address such as mia@example.org.")},
        help_text=_("It is yours in all projects, and shown to nobody else."),
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("gets_mail") and not cleaned.get("address") and "address" not in self.errors:
            self.add_error("address", _("Where to?"))
        return cleaned


class PauseForm(PlainForm):
    reason = forms.CharField(max_length=200, required=False, label=_("Why, for everybody to read"))


class TargetForm(PlainForm):
    """What a model is to get right, in per cent; empty: no target."""

    target = forms.FloatField(min_value=1, max_value=99.99, required=False, label=_("Target, % right"))

    @property
    def share(self) -> float | None:
        value = self.cleaned_data["target"]
        return None if value is None else round(value / 100, 6)
