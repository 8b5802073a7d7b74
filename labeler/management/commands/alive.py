"""Exit code 0 if the process of this container does its work: what docker-compose.yml asks."""

from __future__ import annotations

import socket
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from labeler.selectors.workers import PROGRAMS, worker_is_alive


class Command(BaseCommand):
    help = "Does the named process of this machine do its work? Exit code 1 and a line if not."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("process", choices=list(PROGRAMS.values()))

    def handle(self, *args: Any, process: str, **options: Any) -> None:
        if not worker_is_alive(f"{process}@{socket.gethostname()}"):
            raise CommandError(f"{process} has not been heard of lately.")
