"""An installation of its own for tests of backups: commands, code that runs there, somebody who answers meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
STRONG_KEY = "k3y0-of-a-test/abcdefghijklmnopqrstuvwxyz" * 2

FURNISH = """
import uuid
from pathlib import Path
from django.core.management import call_command
call_command("migrate", verbosity=0)
from labeler import storage
from labeler.models import *
from labeler.services.importing import import_local
from labeler.services.audit import record
from tests.labeler.imports import png
from tests.labeler.queues import fill_queue
mia = User.objects.create_user("mia", password="correct horse battery staple")
ann = User.objects.create_user("ann", password="correct horse battery staple")
project = Project.objects.create(name="Zeichen – ü", slug="signs", created_by=mia)
LearningConfig.objects.create(project=project, overlap=1)
Membership.objects.create(project=project, user=mia, role=Role.MANAGER)
Membership.objects.create(project=project, user=ann, role=Role.ANNOTATOR)
classes = [LabelClass.objects.create(project=project, name=name, colour="#0072b2") for name in ("cat", "dog")]
folder = Path({folder!r})
for at in range({count}):
    file = folder / ("cat" if at % 2 else "dog") / f"{{at:03}}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(png(at))
import_local(project=project, path=folder, by=mia)
fill_queue(project, list(project.images.order_by("pk")))
record(project=project, by=mia, kind=AuditKind.CLASSES, words="made classes", count=2)
Invitation.objects.create(project=project, role=Role.ANNOTATOR, token_hash="ab" * 32, created_by=mia)
"""
ANSWER = """
import os, sys, uuid
from pathlib import Path
from labeler.models import *
from labeler.services.annotate import record_answer
project = Project.objects.select_related("learning", "queue_round").get()
cat, person, count = project.classes.get(name="cat"), User.objects.get(username="ann"), 0
for place in list(Candidate.objects.filter(state="open").order_by("rank")):
    record_answer(project=project, annotator=person, image_id=place.image_id, candidate_id=place.pk, outcome="label",
                  label_class_id=cat.pk, key=uuid.uuid4(), seconds=1.0)
    count += 1
    Path({told!r} + "~").write_text(str(count))
    os.replace({told!r} + "~", {told!r})
    if Path({stop!r}).exists():
        break
"""
# Of every table what is in it; of files their names and bytes.
DIGESTS = """
import hashlib, json
from labeler import storage
from labeler.services.table_rows import kept_tables, read_rows
rows = {model._meta.label_lower: hashlib.sha256(
    "\\n".join(json.dumps(row, sort_keys=True) for row in read_rows(model=model, using="default")).encode()).hexdigest()
    for model in kept_tables()}
files = {name: hashlib.sha256(open(storage.default_storage.path(name), "rb").read()).hexdigest()
         for name, _ in storage.every_file()}
print(json.dumps([rows, files]))
"""
HALF_ANSWERS = """
import json
from django.db.models import Exists, OuterRef
from labeler.models import *
live = Annotation.objects.filter(image=OuterRef("pk"), retracted_at=None, label_class__isnull=False)
places = Candidate.objects.filter(image=OuterRef("pk"), state="answered")
images = Image.objects.annotate(answer=Exists(live), place=Exists(places))
print(json.dumps([images.filter(answer=True).count(),
                  sum(len({image.answer, image.place, image.state == "labelled"}) > 1 for image in images)]))
"""
NEW_ROWS = """
from labeler.models import *
project = Project.objects.get()
User.objects.create_user("new")
LabelClass.objects.create(project=project, name="new", colour="#0072b2")
record = AuditEntry.objects.create(project=project, by=None, kind="classes", words="new")
print(record.pk)
"""


class Installation:
    """A data folder and a database, of one's own."""

    def __init__(self, folder: Path, database: str = "") -> None:
        self.folder = folder
        self.kept: list[dict[str, str]] | None = None  # digests of what is not to be changed
        self.env = {
            **os.environ, "DATA_DIR": str(folder), "DATABASE_URL": database, "REDIS_URL": "", "LOG_LEVEL": "ERROR",
            "SECRET_KEY": STRONG_KEY if database else "",
        }  # fmt: skip
        self.env.pop("DJANGO_SETTINGS_MODULE", None)

    def command(self, *arguments: str, code: int = 0, **run: Any) -> subprocess.CompletedProcess[Any]:
        result = subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=ROOT, env=self.env, capture_output=True, check=False, **run
        )
        assert result.returncode == code, f"{result.stdout!r}\n{result.stderr!r}"
        return result

    def ask(self, code: str) -> str:
        return self.command("shell", "--verbosity", "0", "-c", code, text=True).stdout.strip()

    def furnish(self, folder: Path, count: int = 24) -> None:
        self.ask(FURNISH.format(folder=str(folder), count=count))

    def digests(self) -> list[dict[str, str]]:
        return json.loads(self.ask(DIGESTS))

    @contextmanager
    def answering(self):
        """Somebody answers, as fast as it goes, until the block ends or nothing is left. Yields how many so far."""
        told, stop = self.folder / "told", self.folder / "stop"
        code = ANSWER.format(told=str(told), stop=str(stop))
        command = [sys.executable, "manage.py", "shell", "--verbosity", "0", "-c", code]
        person = subprocess.Popen(command, cwd=ROOT, env=self.env)
        try:
            yield lambda: int(told.read_text() or 0) if told.exists() else 0
        finally:
            stop.touch()
            assert person.wait(timeout=120) == 0
