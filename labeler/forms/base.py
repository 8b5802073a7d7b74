"""What all forms share: errors in plain words, and fields that several have."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from django import forms
from django.utils.choices import flatten_choices
from django.utils.text import Truncator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from labeler.naming import clean_name

PLAIN = {
    "required": _("This is needed."),
    "min_value": _("%(limit_value)s or more."),
    "max_value": _("%(limit_value)s or less."),
    "max_length": _("At most %(limit_value)s characters; this has %(show_value)s."),
    "invalid_choice": _("Choose one from the list."),
}
INVALID = (  # the first that fits: Django's FloatField is an IntegerField
    (forms.FloatField, _("A number.")),
    (forms.IntegerField, _("A whole number.")),
    (forms.TimeField, _("A time such as 02:30.")),
)
OVERTAKEN = _(
    "Nothing was saved: somebody else (or you, in another tab) has changed this since you opened the page. See beside "
    "the fields what differs: {}. Save again to keep what stands in them."
)
LONGEST_SHOWN = 300


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


class ChangeForm(PlainForm):
    """A form over what is saved (its `initial`), that overwrites nothing which its person has not seen.

    It carries a digest of each value that it was made from. One that has changed since is an error of its field,
    unless the form says the same; the page that shows the error is made from what is saved now: sent again, it saves.
    """

    MADE_FROM = "made_from"

    @property
    def made_from(self) -> str:
        return " ".join(self._digest(name) for name in self.fields)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        known = set(self.data.get(self.MADE_FROM, "").split())
        changed = [name for name in self.fields if self._digest(name) not in known]
        overtaken = [name for name in changed if name not in cleaned or not self._is_saved(name, cleaned[name])]
        for name in overtaken:
            self.add_error(name, _("Now saved: %(words)s.") % {"words": self.words_of(name, self.initial[name])})
        if overtaken:
            self.add_error(None, OVERTAKEN.format(", ".join(str(self.fields[name].label) for name in overtaken)))
        return cleaned

    def words_of(self, name: str, value: Any) -> str:
        field = self.fields[name]
        if isinstance(value, bool):
            return str(_("on") if value else _("off"))
        if isinstance(field, forms.ChoiceField):
            choices: Iterator[tuple[Any, Any]] = flatten_choices(field.choices)  # type: ignore[arg-type]
            words = {str(each): str(text) for each, text in choices}
            return ", ".join(words[str(each)] for each in (value if isinstance(value, list) else [value]))
        text = field.widget.format_value(self._shown(name, value))
        return quoted(Truncator(text).chars(LONGEST_SHOWN)) if text else str(_("nothing"))

    def _shown(self, name: str, value: Any) -> Any:
        return self.fields[name].prepare_value(value)

    def _is_saved(self, name: str, value: Any) -> bool:
        return bool(self._shown(name, value) == self._shown(name, self.initial[name]))

    def _digest(self, name: str) -> str:
        return f"{name}:{sha256(repr(self._shown(name, self.initial[name])).encode()).hexdigest()[:16]}"


def quoted(text: str) -> str:
    """In the quotation marks of the reader's language."""
    return gettext("“%(text)s”") % {"text": text}


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
