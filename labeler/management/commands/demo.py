"""A project to try PlusMinus with, and all of it running at one address."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from labeler import embedded
from labeler.datasets import NoSuchData, name_of, open_dataset
from labeler.models import Project
from labeler.services.demo import (
    PEOPLE,
    ImportFailed,
    fill_project,
    find_project,
    give_passwords,
    is_filled,
    make_people,
)


class Command(BaseCommand):
    help = "Make a demo project with its people (once), then run all of PlusMinus at one address until Ctrl+C."
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--data", default="digits", help="digits, mnist, or a .zip, .npz or folder of class folders"
        )
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
        parser.add_argument("--port", type=int, help="default: 8000 if it is free, else a free one")
        parser.add_argument("--prepare-only", action="store_true", help="make project and people, start nothing")

    def handle(self, *args: Any, data: str, host: str, port: int | None, prepare_only: bool, **options: Any) -> None:
        try:
            with embedded.alone() as lock:
                embedded.prepare()
                self.project = self._make(data)
                if prepare_only:
                    self._print_sign_ins()
                    return
                self._say("Starting …")
                embedded.run_everything(lock=lock, host=host, port=port, say=self._say, on_ready=self._announce)
        except KeyboardInterrupt:
            pass
        self._say("PlusMinus has stopped. Your data is kept: the same command goes on with it.")

    def _make(self, data: str) -> Project:
        make_people()
        try:
            name = name_of(data)
            if not is_filled(name=name):
                self._fill(data)
        except NoSuchData as error:
            raise CommandError(str(error)) from error
        except ImportFailed as error:
            raise CommandError(f"The import of {data} did not work: {error}") from error
        return find_project(name=name)

    def _fill(self, data: str) -> None:
        with (
            open_dataset(data) as dataset,
            tqdm(desc=f"Importing {dataset.name}", unit=" images", total=1, leave=False) as bar,
        ):

            def show(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            project = find_project(name=dataset.name)
            job = fill_project(project=project, dataset=dataset, report=show)
        refused = f"; {job.refused:,} refused, see the import's page" if job.refused else ""
        self._say(f"Imported {job.added:,} images into “{project.name}”{refused}.")

    def _announce(self, address: str) -> None:
        self._say(f"\nPlusMinus is at {address}\n")
        self._print_sign_ins()
        self._say(
            f"\nTo watch simulated annotators: {self._manage('oracle', self.project.slug)} --annotators 3 --rate 2\n"
            f"Logs: {embedded.shown(settings.DATA_DIR / 'logs')}/   Ctrl+C stops everything.\n"
        )

    def _print_sign_ins(self) -> None:
        passwords = give_passwords()
        if passwords:
            self._say("Sign in as (the passwords are shown this once and stored nowhere):")
        else:
            self._say("Sign in as (the passwords were printed at the first start and are stored nowhere):")
        for username, role in PEOPLE:
            self._say(f"  {username:9}{passwords.get(username, ''):21}{role}")
        if len(passwords) < len(PEOPLE):
            self._say(f"A new password: {self._manage('changepassword', PEOPLE[0][0])}")

    def _manage(self, *words: str) -> str:
        """The command line that reaches this data folder."""
        is_usual = settings.DATA_DIR == settings.BASE_DIR / "data"
        return f"{'' if is_usual else f'DATA_DIR={settings.DATA_DIR} '}.venv/bin/python manage.py {' '.join(words)}"

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
