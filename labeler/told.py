"""Sentences that are kept in the database, and said in the language of whoever reads them.

Workers and requests write down what happened: why a round began, why a file was refused, what a manager did. Such a
sentence is kept as its English text and, beside it, the msgid that it was made of with what fills its holes. To Python
it is that text: logs, programs and files read English. A page says it in the reader's language, by itself where a
template shows it, else by `said`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from django.db import models
from django.utils.html import escape
from django.utils.translation import gettext, ngettext, override

from labeler.numerals import numeral

PARTS = "\x1f"  # in the column: the text, this, and what the sentence is made of
UNSTORABLE = re.compile("[\x00\x1f\ud800-\udfff]")  # in names that came with files

if TYPE_CHECKING:
    TextField = models.TextField[str, str]
else:
    TextField = models.TextField


class Told(str):
    """The English text of a sentence that can be said in every language of the site."""

    msgid: str
    plural: str
    number: int
    values: Mapping[str, Any]

    def __new__(cls, msgid: str, values: Mapping[str, Any], plural: str = "", number: int = 0) -> Told:
        values = {name: _storable(value) for name, value in values.items()}
        chosen = plural if plural and number != 1 else msgid
        with override("en"):
            self = super().__new__(cls, _filled(chosen, values))
        self.msgid, self.values, self.plural, self.number = msgid, values, plural, number
        return self

    def __str__(self) -> str:
        """Itself: what an exception was raised with is what `str` of it gives."""
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:
        return self.msgid, self.values, self.plural, self.number

    def __html__(self) -> str:
        """What a template shows."""
        return escape(self.said())

    def said(self) -> str:
        """In the language of who reads."""
        chosen = ngettext(self.msgid, self.plural, self.number) if self.plural else gettext(self.msgid)
        return _filled(chosen, self.values)

    def with_texts(self, change: Callable[[str], str]) -> Told:
        """The same with other texts in its holes."""

        def changed(value: Any) -> Any:
            if isinstance(value, Told):
                return value.with_texts(change)
            return change(value) if isinstance(value, str) else value

        values = {name: changed(value) for name, value in self.values.items()}
        return Told(self.msgid, values, self.plural, self.number)

    @property
    def parts(self) -> dict[str, Any]:
        parts: dict[str, Any] = {"id": self.msgid}
        if self.values:
            parts["with"] = {name: _plain(value) for name, value in self.values.items()}
        if self.plural:
            parts |= {"many": self.plural, "n": self.number}
        return parts


class Amount(float):
    """A number that is shown with so many digits after the point."""

    digits: int


def amount(value: float, digits: int = 0) -> Amount:
    found = Amount(value)
    found.digits = digits
    return found


def told(msgid: str, /, **values: Any) -> Told:
    """A sentence with `%(name)s` where values go: texts, whole numbers (they get groups of thousands: give the number
    of a round as text), amounts, other such sentences, or lists of these. `manage.py words` gathers msgids."""
    return Told(msgid, values)


def ntold(msgid: str, plural: str, number: int, /, **values: Any) -> Told:
    """The same where a number, `%(count)s`, decides on the form."""
    return Told(msgid, {"count": number, **values}, plural, number)


def told_word(word: object) -> Told:
    """A word of a list, which is lazily translated where the list stands."""
    with override("en"):
        return Told(str(word), {})


def together(*sentences: str, between: str = " ") -> Told:
    """One after the other."""
    values = {f"part{number}": sentence for number, sentence in enumerate(sentences) if sentence}
    return Told(between.join(f"%({name})s" for name in values), values)


def said(words: object) -> str:
    """In the language of who reads, as far as it is known of what the words are made."""
    return words.said() if isinstance(words, Told) else str(words)


def keep(words: str) -> str:
    """As a column of the database holds it, or JSON; `from_kept` reads it."""
    return f"{words}{PARTS}{json.dumps(words.parts, ensure_ascii=False)}" if isinstance(words, Told) else words


def from_kept(kept: str) -> str:
    text, mark, parts = kept.partition(PARTS)
    if not mark:
        return text
    try:
        return _made(json.loads(parts))
    except (ValueError, KeyError, TypeError, AttributeError):  # nothing of ours: somebody has typed the mark
        return text


def _made(parts: Mapping[str, Any]) -> Told:
    values = {name: _of_plain(value) for name, value in parts.get("with", {}).items()}
    if not isinstance(parts["id"], str):
        raise TypeError
    return Told(parts["id"], values, parts.get("many", ""), parts.get("n", 0))


def _storable(value: Any) -> Any:
    if isinstance(value, Told | int | float | list | tuple):
        return value
    return UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", str(value))


def _plain(value: Any) -> Any:
    if isinstance(value, Told):
        return value.parts
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Amount):
        return {"amount": float(value), "digits": value.digits}
    return value if isinstance(value, int) else str(value)


def _of_plain(value: Any) -> Any:
    if isinstance(value, dict):
        return amount(value["amount"], value["digits"]) if "amount" in value else _made(value)
    return [_of_plain(each) for each in value] if isinstance(value, list) else value


def _filled(sentence: str, values: Mapping[str, Any]) -> str:
    return sentence % {name: _shown(value) for name, value in values.items()} if values else sentence


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_shown(each) for each in value)
    if isinstance(value, Amount):
        return numeral(value, value.digits)
    return numeral(value) if isinstance(value, int) and not isinstance(value, bool) else said(value)


class ToldField(TextField):
    """A column of such sentences, and of texts that are none."""

    def from_db_value(self, value: str | None, *_: object) -> str | None:
        return value if value is None else from_kept(value)

    def to_python(self, value: Any) -> Any:
        return from_kept(value) if isinstance(value, str) and not isinstance(value, Told) else value

    def get_prep_value(self, value: Any) -> Any:
        return keep(value) if isinstance(value, str) else super().get_prep_value(value)

    def value_to_string(self, obj: models.Model) -> str:
        return str(self.get_prep_value(self.value_from_object(obj)))
