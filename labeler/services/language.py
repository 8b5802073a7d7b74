"""The language that a person reads pages in."""

from __future__ import annotations

from labeler.models import User


def choose_language(*, person: User, language: str) -> None:
    """`language` is a code of settings.LANGUAGES. It comes along to every machine that the person signs in at."""
    User.objects.filter(pk=person.pk).update(language=language)
    person.language = language
