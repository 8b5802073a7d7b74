"""What all forms share: errors in plain words, and fields that several have."""

from __future__ import annotations

from typing import Any

from django import forms

from labeler.naming import clean_name

PLAIN = {
    "required": "This is needed.",
    "min_value": "%(limit_value)s or more.",
    "max_value": "%(limit_value)s or less.",
    "max_length": "At most %(limit_value)s characters; this has %(show_value)s.",
    "invalid_choice": "Choose one from the list.",
}
INVALID = (  # the first that fits: Django's FloatField is an IntegerField
    (forms.FloatField, "A number."),
    (forms.IntegerField, "A whole number."),
    (forms.TimeField, "A time such as 02:30."),
)


class PlainForm(forms.Form):
    """A form that says what is wrong as one person would to another. A field's own words come before these."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            stock: dict[str, Any] = {}
            for each in reversed(type(field).__mro__):
                stock |= getattr(each, "default_error_messages", {})
            invalid = [words for kind, words in INVALID if isinstance(field, kind)]
            plain = PLAIN | ({"invalid": invalid[0]} if invalid else {})
            field.error_messages |= {
                code: words for code, words in plain.items() if field.error_messages.get(code) == stock.get(code)
            }


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
