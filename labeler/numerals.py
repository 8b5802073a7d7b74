"""Numbers as the language of the page writes them: `1,234.5` in English, `1.234,5` in German."""

from __future__ import annotations

from django.utils.formats import get_format

SIGNS = {",": "THOUSAND_SEPARATOR", ".": "DECIMAL_SEPARATOR"}


def numeral(value: float, digits: int = 0) -> str:
    """Rounded to so many digits after the point, with groups of thousands and a minus that is none of a word."""
    return localised(f"{value:,.{digits}f}".replace("-", "−"))


def localised(english: str) -> str:
    """Of digits that were written in English."""
    signs = {sign: str(get_format(name)) for sign, name in SIGNS.items()}
    return "".join(signs.get(character, character) for character in english)
