"""Django's command, which knows here that sentences that are kept (labeler/told.py) are words of the catalogue, too."""

from __future__ import annotations

from django.core.management.commands import makemessages


class Command(makemessages.Command):
    xgettext_options = [*makemessages.Command.xgettext_options, "--keyword=told", "--keyword=ntold:1,2"]
