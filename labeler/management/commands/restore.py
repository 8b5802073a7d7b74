"""A backup back: `manage.py restore plusminus.backup`, into an installation that is empty and stopped."""

from __future__ import annotations

import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, cast

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from labeler import embedded, storage
from labeler.models import Worker
from labeler.progress import Bars
from labeler.selectors.workers import alive_since
from labeler.services.restore import BadBackup, NotEmpty, check_digests, open_backup, restore


class Command(BaseCommand):
    help = "Make this installation what a backup holds; on SQLite or PostgreSQL, whichever it came from."
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="what `backup` wrote, or - for the standard input")
        parser.add_argument(
            "--replace", action="store_true", help="delete all people, projects and files that are here"
        )

    def handle(self, *args: Any, file: str, replace: bool, **options: Any) -> None:
        bars = Bars()
        with ExitStack() as stack:
            if settings.IS_EMBEDDED:
                stack.enter_context(embedded.alone())
            call_command("migrate", verbosity=0, interactive=False)
            if Worker.objects.filter(seen_at__gt=alive_since()).exists():
                raise CommandError(
                    "Workers are at work on this database. Stop everything first, and wait half a minute."
                )
            try:
                archive, contents = open_backup(self._input(file, stack))
                check_digests(archive=archive, contents=contents, report=bars)
                restore(archive=archive, contents=contents, replaces=replace, report=bars)
            except NotEmpty as error:
                raise CommandError(
                    f"{error} Restore into an empty installation, or say --replace: then all that is here is deleted."
                ) from error
            except (BadBackup, storage.StorageError) as error:
                raise CommandError(str(error)) from error
            finally:
                bars.close()
        rows = sum(table.rows for table in contents.tables)
        self.stdout.write(
            f"Restored as of {contents.made_at}: {rows:,} rows, {len(contents.files):,} files. People have to sign in "
            "again. Links of invitations, and the secrets by which receivers know webhooks, are good only with the "
            "secret key of then."
        )

    def _input(self, file: str, stack: ExitStack) -> BinaryIO:
        """A zip is read from its end, so a pipe is kept on disk first."""
        if file != "-":
            try:
                return stack.enter_context(Path(file).open("rb"))
            except OSError as error:
                raise CommandError(f"{file} cannot be read: {error.strerror}.") from error
        spool = stack.enter_context(tempfile.TemporaryFile(dir=settings.DATA_DIR))  # noqa: SIM115 (the stack closes it)
        shutil.copyfileobj(sys.stdin.buffer, spool)
        spool.seek(0)
        return cast(BinaryIO, spool)
