"""Some of the processes on this machine, where others run elsewhere: see docs/operations.md, On several machines."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, connections
from django.db import Error as DatabaseProblem
from django.db.migrations.executor import MigrationExecutor

from labeler import embedded, storage
from labeler.parts import UnknownPart, chosen
from labeler.selectors.health import broker
from labeler.supervisor import Supervisor, read_procfile

NEEDED = ("DATABASE_URL", "REDIS_URL", "STORAGE_URL")


class Command(BaseCommand):
    help = "Run the named processes on this machine until Ctrl+C: web, learner, worker, importer, …; learner=2."
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "parts", nargs="+", metavar="part", help="web, beat, worker, importer, messenger, background, learner=3"
        )

    def handle(self, *args: Any, parts: list[str], **options: Any) -> None:
        try:
            commands = chosen(read_procfile(settings.BASE_DIR / "Procfile"), parts)
        except UnknownPart as error:
            raise CommandError(str(error)) from error
        self._check()
        with embedded.alone() as lock, embedded.own_foreground():
            if "web" in commands:
                embedded.collect_static_files()
            supervisor = Supervisor(
                commands,
                folder=settings.BASE_DIR,
                logs=settings.DATA_DIR / "logs",
                env={**os.environ, "DATA_DIR": str(settings.DATA_DIR), "STARTED_BY": "supervisor"},
                say=self._say,
                lock=lock,
            )
            self._say(f"{', '.join(commands)}. Ctrl+C stops it. Logs: {embedded.shown(settings.DATA_DIR / 'logs')}/")
            supervisor.run()
        self._say("Stopped.")

    def _check(self) -> None:
        """That what all machines share is there. Raises CommandError, which says what to set or to start."""
        if not settings.DATABASE_URL or not settings.REDIS_URL:
            raise CommandError(
                "Processes on several machines share PostgreSQL, Redis and a bucket: set "
                f"{', '.join(NEEDED)}. For everything on this machine: manage.py up."
            )
        try:
            executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
            is_behind = bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))
        except DatabaseProblem as error:
            raise CommandError(f"The database does not answer: {error}") from error
        if is_behind:
            raise CommandError("The database is not of this version: run manage.py migrate once, on one machine.")
        if broker() != "ok":
            raise CommandError("Redis does not answer at REDIS_URL.")
        store = storage.bucket()
        if store is None:
            self._say(f"Without STORAGE_URL {settings.DATA_DIR} has to be a folder that all machines share.")
            return
        try:
            store.check()
        except storage.StorageAway as error:
            raise CommandError(f"The bucket of STORAGE_URL cannot be used. {error}") from error

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
