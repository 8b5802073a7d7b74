"""What a stage can do over there, beside the models and the services."""

from __future__ import annotations

import hashlib

from labeler.models import (
    Chunk,
    Image,
    LabelClass,
    LearningConfig,
    Membership,
    Pack,
    Project,
    Role,
    Round,
    Trigger,
    User,
)
from labeler.models.images import CHUNK_SIZE
from labeler.services.rounds import cancel_round, request_round, start_cold_round
from tests.labeler import rounds as painting


def set_the_stage(count: int, labelled: int = 30, side: int = 12, **learning: object) -> int:
    """A project whose first `labelled` images have their true label; holdout is every tenth image."""
    person = User.objects.create_user("ann", password="correct horse battery staple")
    project = Project.objects.create(name="Signs", slug="signs", created_by=person)
    LearningConfig.objects.create(project=project, debounce_seconds=0, cooldown_seconds=0)
    Membership.objects.create(project=project, user=person, role=Role.MANAGER)
    classes = [LabelClass.objects.create(project=project, name=name, colour="#0072b2") for name in ("a", "b", "c")]
    pack = Pack.objects.create(project=project, name="none.pack", size=0)
    for start in range(0, count, CHUNK_SIZE):
        size = min(CHUNK_SIZE, count - start)
        Chunk.objects.create(project=project, number=start // CHUNK_SIZE, count=size)
    Image.objects.bulk_create(
        [
            Image(
                project=project, position=p, content_hash=hashlib.sha256(str(p).encode()).hexdigest(), name=f"{p}.png",
                width=side, height=side, pack=pack, offset=0, length=0, media_type="image/png", is_holdout=p % 10 == 9,
                **({"state": "labelled", "label": classes[painting.truth(p)]} if p < labelled else {}),
            )
            for p in range(count)
        ],
        batch_size=1000,
    )  # fmt: skip
    painting.SIDE = side
    painting.paint(project)
    painting.tune(project, **learning)
    start_cold_round(project=project)
    return project.pk


def start_round() -> int:
    project = Project.objects.select_related("learning").get()
    round_ = request_round(project=project, trigger=Trigger.BUTTON, reason="test")
    assert round_ is not None
    return round_.pk


def cancel_newest() -> bool:
    return cancel_round(round_=Round.objects.first(), by=User.objects.get())
