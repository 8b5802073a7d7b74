"""From the database that is in use to a PostgreSQL: `manage.py move --to postgres://user:password@host/name`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from labeler import embedded
from labeler.models import Worker
from labeler.progress import Bars
from labeler.selectors.workers import alive_since
from labeler.services.moving import MoveRefused, move_rows


class Command(BaseCommand):
    help = (
        "Copy all rows of the database in use to an empty PostgreSQL, and compare the counts. Stop PlusMinus first. "
        "Nothing is changed here: files stay, and so does the old database."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--to", required=True, help="postgres://user:password@host:5432/name")

    def handle(self, *args: Any, to: str, **options: Any) -> None:
        bars = Bars()
        with ExitStack() as stack:
            if settings.IS_EMBEDDED:
                stack.enter_context(embedded.alone())
            if Worker.objects.filter(seen_at__gt=alive_since()).exists():
                raise CommandError("Workers are at work. Stop everything first, and wait half a minute.")
            try:
                counted = move_rows(to=to, report=bars)
            except MoveRefused as error:
                raise CommandError(str(error)) from error
            finally:
                bars.close()
        rows = sum(counted.values())
        self.stdout.write(
            f"{rows:,} rows of {len(counted)} tables are there, as many as here. Set DATABASE_URL to that address and "
            f"SECRET_KEY to {_secret_key()}; keep DATA_DIR ({settings.DATA_DIR}), where the files are; start again, "
            "and people sign in again."
        )


def _secret_key() -> str:
    file = settings.DATA_DIR / "secret_key"
    return f"what is in {file}" if file.exists() else "what it is now"
