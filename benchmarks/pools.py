"""Projects of any size for benchmarks, made by SQL: real image files for a few images, shared by all rows.

Run as a process of its own, with the database of the server in the environment; each prints JSON:

    python -m benchmarks.pools make SLUG IMAGES PEOPLE SEED [SIDE]
    python -m benchmarks.pools refill SLUG PLACES SEED
"""

from __future__ import annotations

import io
import json
import os
import random
import sys
import uuid
from typing import Any

import django
import numpy as np
from PIL import Image as Picture

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labeler.settings")
django.setup()

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.utils import timezone  # noqa: E402

from labeler.models import (  # noqa: E402
    Annotation,
    Candidate,
    CandidateState,
    Chunk,
    Image,
    LabelClass,
    LearningConfig,
    Membership,
    Pack,
    Project,
    Reason,
    Role,
    Round,
    RoundState,
    Trigger,
    User,
)
from labeler.models.images import CHUNK_SIZE  # noqa: E402
from labeler.models.rounds import UNFINISHED  # noqa: E402
from labeler.storage import new_name, write_once  # noqa: E402

FILES = 16
SERIES = {
    "sqlite": "WITH RECURSIVE series(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM series WHERE n < {last})",
    "postgresql": "WITH series AS (SELECT n FROM generate_series(0, {last}) AS n)",
}
HASH = {"sqlite": "printf('%064d', n)", "postgresql": "lpad(n::text, 64, '0')"}


def make(slug: str, images: int, people: int, seed: int, side: int = 28) -> dict[str, Any]:
    """A project with ten classes, so many images, and people with a session each."""
    with transaction.atomic():
        project = Project.objects.create(name=slug, slug=slug)
        LearningConfig.objects.create(project=project)
        classes = [LabelClass.objects.create(project=project, name=str(n), colour="#0072b2") for n in range(10)]
        _insert_images(project, images, seed, side)
        sessions = [_person(project, f"{slug}-{number}") for number in range(people)]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")  # autovacuum would, within a minute
    return {"sessions": sessions, "classes": [row.pk for row in classes], "images": images}


def _insert_images(project: Project, count: int, seed: int, side: int) -> None:
    rng = np.random.default_rng(seed)
    files, offsets = io.BytesIO(), []
    for _ in range(FILES):
        start = files.tell()
        Picture.fromarray(rng.integers(0, 256, (side, side), dtype=np.uint8)).save(files, "PNG")
        offsets.append((start, files.tell() - start))
    name = new_name(project, "packs", "pack")
    pack = Pack.objects.create(project=project, name=name, size=write_once(name, files.getvalue()))
    pick = " ".join(f"WHEN {number} THEN {{}}" for number in range(FILES))
    values = {
        "project_id": str(project.pk), "position": "n", "content_hash": HASH[connection.vendor], "name": "'image'",
        "width": str(side), "height": str(side), "pack_id": str(pack.pk), "media_type": "'image/png'",
        "is_holdout": "%s", "is_contested": "FALSE",
        "state": "'pool'", "created_at": "%s",
        "offset": f"CASE n %% {FILES} {pick.format(*(start for start, _ in offsets))} END",
        "length": f"CASE n %% {FILES} {pick.format(*(length for _, length in offsets))} END",
    }  # fmt: skip
    columns = ", ".join(f'"{column}"' for column in values)
    series = SERIES[connection.vendor].format(last=count - 1)
    select = f"{series} SELECT {', '.join(values.values())} FROM series"
    if connection.vendor == "sqlite":
        sql = f"INSERT INTO labeler_image ({columns}) {select}"
    else:
        sql = f"INSERT INTO labeler_image ({columns}) ({select})"
    with connection.cursor() as cursor:
        cursor.execute(sql, [False, connection.ops.adapt_datetimefield_value(timezone.now())])
    Chunk.objects.bulk_create(
        Chunk(project=project, number=number, count=min(CHUNK_SIZE, count - number * CHUNK_SIZE))
        for number in range(-(-count // CHUNK_SIZE))
    )


def add_vectors(slug: str, features: int, labels: int, seed: int) -> None:
    """Give every image a feature vector, ten overlapping clusters of them, and some images their label."""
    project, rng = Project.objects.get(slug=slug), np.random.default_rng(seed)
    centres = rng.normal(0, 1, (10, features)).astype(np.float32)
    for chunk in project.chunks.order_by("number"):
        classes = (chunk.number * CHUNK_SIZE + np.arange(chunk.count)) % 10
        vectors = centres[classes] + rng.standard_normal((chunk.count, features), np.float32) * 1.5
        file = io.BytesIO()
        np.save(file, vectors, allow_pickle=False)
        chunk.pixels = new_name(project, "chunks", "npy")
        write_once(chunk.pixels, file.getvalue())
        chunk.save()
    count = sum(project.chunks.values_list("count", flat=True))
    by_name = {int(row.name): row for row in project.classes.all()}
    for position in random.Random(seed).sample(range(count), labels):
        image = Image.objects.filter(project=project, position=position)
        image.update(state="labelled", label=by_name[position % 10], labelled_at=timezone.now())


def _person(project: Project, name: str) -> str:
    user = User.objects.create_user(name)
    Membership.objects.create(project=project, user=user, role=Role.ANNOTATOR)
    session = SessionStore()
    session[SESSION_KEY], session[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()
    session[BACKEND_SESSION_KEY] = "labeler.authentication.PersonBackend"
    session.save()
    return str(session.session_key)


@transaction.atomic
def refill(slug: str, places: int, seed: int) -> dict[str, Any]:
    """A new round of images drawn at random is the queue; what waited or was held is replaced, what was answered is
    taken back, so that a small pool does not run out."""
    project = Project.objects.get(slug=slug)
    Round.objects.filter(project=project, state__in=UNFINISHED).update(state=RoundState.CANCELLED)
    Candidate.objects.filter(project=project, state=CandidateState.OPEN).update(
        state=CandidateState.SUPERSEDED, leased_to=None, leased_until=None
    )
    Annotation.objects.filter(project=project, retracted_at__isnull=True).update(retracted_at=timezone.now())
    Image.objects.filter(project=project).exclude(state="pool").update(state="pool", label=None, labelled_at=None)
    newest = Annotation.objects.order_by("-id").values_list("id", flat=True).first() or 0
    last = Round.objects.filter(project=project).order_by("-number").values_list("number", flat=True).first() or 0
    round_ = Round.objects.create(
        project=project, number=last + 1, trigger=Trigger.BUTTON, reason=str(uuid.uuid4()), state=RoundState.DONE,
        seed=seed, last_annotation_id=newest,
    )  # fmt: skip
    first = Image.objects.filter(project=project, position=0).values_list("pk", flat=True).get()
    count = sum(project.chunks.values_list("count", flat=True))
    positions = random.Random(seed).sample(range(count), min(count, 2 * places))
    waiting = Image.objects.filter(pk__in=[first + position for position in positions[:30_000]], state="pool")
    rows = list(waiting.values_list("pk", flat=True)[:places])
    random.Random(seed).shuffle(rows)
    Candidate.objects.bulk_create(
        Candidate(project=project, round=round_, image_id=pk, rank=rank, reason=Reason.RANDOM, score=0.5)
        for rank, pk in enumerate(rows, start=1)
    )
    Project.objects.filter(pk=project.pk).update(queue_round=round_)
    return {"places": len(rows)}


if __name__ == "__main__":
    command, slug, *numbers = sys.argv[1:]
    print(json.dumps({"make": make, "refill": refill}[command](slug, *map(int, numbers))))
