"""Everything in one file, while the server runs: `manage.py backup plusminus.backup`."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.template.defaultfilters import filesizeformat

from labeler.disk import is_of_full_disk
from labeler.progress import Bars
from labeler.services.backup import write_backup


class Command(BaseCommand):
    help = (
        "Write all rows and files into one file, which `restore` makes an installation of again. Nothing has to be "
        "stopped. It holds people's names, mail addresses and password hashes, and every image: keep it private."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="a file that is not there yet, or - for the standard output")

    def handle(self, *args: Any, file: str, **options: Any) -> None:
        bars = Bars()
        try:
            with self._output(file) as output:
                contents = write_backup(to=output, report=bars)
        except OSError as error:
            full = "There is no room for it. " if is_of_full_disk(error) else ""
            raise CommandError(f"The backup could not be written. {full}{error}") from error
        finally:
            bars.close()
        rows, size = sum(table.rows for table in contents.tables), sum(member.size for member in contents.files)
        self.stderr.write(
            f"Backup as of {contents.made_at}: {rows:,} rows, {len(contents.files):,} files "
            f"({filesizeformat(size)}). Not in it: the secret key, sessions, logs, and files of backbones."
        )
        if contents.missing:
            self.stderr.write(
                f"{len(contents.missing):,} files that rows name are not in the storage, and so not in the backup: "
                f"{', '.join(contents.missing[:5])}"
            )

    @contextmanager
    def _output(self, file: str) -> Iterator[BinaryIO]:
        """A file that appears whole or not at all, readable by its owner only."""
        if file == "-":
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
            return
        path = Path(file)
        if path.exists():
            raise CommandError(f"{path} is there already. Give another name; nothing is overwritten.")
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as output:
                yield output
                output.flush()
                os.fsync(output.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
