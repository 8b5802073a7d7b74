"""Names: what people type is normalised once and never only invisible characters; digits have words."""

from __future__ import annotations

import unicodedata

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
REORDERING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # they can make one name look like another


def clean_name(text: str) -> str:
    """NFC, runs of white space as one space. Raises ValidationError if nothing of it can be seen."""
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if any(unicodedata.category(character) == "Cc" or character in REORDERING for character in name):
        raise ValidationError(_("This has control characters in it; type it again."), code="control_characters")
    if not any(unicodedata.category(character)[0] in "LNPS" for character in name):
        raise ValidationError(_("Give it a name that can be seen."), code="invisible")
    return name
