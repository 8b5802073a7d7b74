"""Fields that several forms share."""

from __future__ import annotations

from typing import Any

from django import forms

from labeler.naming import clean_name


class NameField(forms.CharField):
    """A name for people: see labeler/naming.py."""

    def clean(self, value: Any) -> str:
        text: str = super().clean(value)
        return clean_name(text) if text or self.required else ""


class PercentField(forms.FloatField):
    """Shown and typed as 0 to 100, stored as a share from 0 to 1."""

    def __init__(self, *, highest: float = 100, **kwargs: Any) -> None:
        super().__init__(min_value=0, max_value=highest, step_size=None, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        return f"{value * 100:.10g}" if isinstance(value, float) else value

    def clean(self, value: Any) -> float | None:
        percent = super().clean(value)
        return None if percent is None else percent / 100
