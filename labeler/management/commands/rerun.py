"""A round once more, and whether it comes out the same: `manage.py rerun digits 7`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from labeler.models import Round
from labeler.selectors.reruns import why_no_rerun
from labeler.selectors.verdicts import rerun_words


class Command(BaseCommand):
    help = "Fit and score a round again from what it kept, and compare all bytes. Exit code 1 if anything differs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="the project's address name, such as digits")
        parser.add_argument("number", type=int, help="the round's")

    def handle(self, *args: Any, project: str, number: int, **options: Any) -> None:
        from labeler import learning

        round_ = Round.objects.select_related("project").filter(project__slug=project, number=number).first()
        if round_ is None:
            raise CommandError(f"There is no round {number} in a project {project}.")
        if words := why_no_rerun(round_):
            raise CommandError(words)
        with tqdm(unit=" images", desc="Scoring", disable=None) as bar:

            def report(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            try:
                result = learning.run_again(round_, report)
            except learning.CannotLearn as error:
                raise CommandError(str(error)) from error
        lines = rerun_words(result)
        if not result["is_equal"]:
            raise CommandError("\n".join(lines))
        self.stdout.write("\n".join(lines))
