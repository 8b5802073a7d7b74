"""PlusMinus on this machine: web, learner, the other workers and beat under one supervisor."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from labeler import embedded
from labeler.models import User


class Command(BaseCommand):
    help = "Run all of PlusMinus on this machine, at one address, until Ctrl+C."
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
        parser.add_argument("--port", type=int, help="default: 8000 if it is free, else a free one")

    def handle(self, *args: Any, host: str, port: int | None, **options: Any) -> None:
        try:
            with embedded.alone() as lock:
                embedded.prepare()
                embedded.run_everything(lock=lock, host=host, port=port, say=self._say, on_ready=self._announce)
        except KeyboardInterrupt:
            pass
        self._say("PlusMinus has stopped.")

    def _announce(self, address: str) -> None:
        self._say(
            f"\nPlusMinus is at {address}\nCtrl+C stops it. Logs: {embedded.shown(settings.DATA_DIR / 'logs')}/\n"
        )
        if not User.objects.exists():
            self._say("Nobody can sign in yet. Make the first person: .venv/bin/python manage.py createsuperuser\n")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
