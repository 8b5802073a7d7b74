"""Gather the words of all pages and scripts into the catalogues, and compile what is translated. Needs GNU gettext."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand

DOMAINS = {"django": ["html", "py"], "djangojs": ["js"]}
IGNORED = [".venv/*", "tests/*", "benchmarks/*", "learner/*", "data/*", "staticfiles/*"]


class Command(BaseCommand):
    help = "Bring the catalogues in labeler/locale up to date with the sources, and compile them."

    def handle(self, *args: Any, **options: Any) -> None:
        codes = [code for code, _ in settings.LANGUAGES if code != settings.LANGUAGE_CODE]
        for domain, extensions in DOMAINS.items():
            call_command(
                "makemessages", locale=codes, domain=domain, extensions=extensions, ignore_patterns=IGNORED,
                no_location=True, no_wrap=True, no_obsolete=True, verbosity=0,
            )  # fmt: skip
        call_command("compilemessages", locale=codes, ignore_patterns=[".venv"], verbosity=0)
        self.stdout.write("Now look for what is fuzzy or empty in labeler/locale, and run this again.")
