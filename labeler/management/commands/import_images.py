"""Import a file, a folder or a table of this machine into a project, as the page does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from labeler.models import JobState, Project, Role, User
from labeler.services.importing import import_local


class Command(BaseCommand):
    help = "Import a zip, a tar, a folder, an .npz, an image or a table of addresses into a project, here and now."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="the project's short name, as in its address")
        parser.add_argument("path", type=Path)
        parser.add_argument("--by", help="the username of the manager in whose name it is; default: nobody's")

    def handle(self, *args: Any, project: str, path: Path, by: str | None, **options: Any) -> None:
        found = Project.objects.filter(slug=project).first()
        if found is None:
            raise CommandError(f"There is no project {project}.")
        if not path.exists():
            raise CommandError(f"There is nothing at {path}.")
        with tqdm(desc=f"Importing {path.name}", unit=" images", total=1, leave=False) as bar:

            def show(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            job = import_local(project=found, path=path, by=self._manager(found, by), report=show)
        if job.state != JobState.DONE:
            raise CommandError(job.error)
        words = f"{job.added:,} added, {job.duplicates:,} in the project already, {job.refused:,} refused."
        self.stdout.write(f"{words} {job.error}".strip())
        for row in job.rejected.exclude(kind="duplicate")[:20]:
            self.stdout.write(f"  {row.name}: {row.reason}")
        left = job.refused + job.unlabelled - 20
        if left > 0:
            self.stdout.write(f"  and {left:,} others; the import's page names the first thousands of them.")

    def _manager(self, project: Project, name: str | None) -> User | None:
        if name is None:
            return None
        user = User.objects.filter(username=name).first()
        is_manager = project.memberships.filter(user=user, role=Role.MANAGER, deactivated_at__isnull=True).exists()
        if user is None or not (is_manager or user.is_superuser):
            raise CommandError(f"{name} is no manager of {project}.")
        return user
