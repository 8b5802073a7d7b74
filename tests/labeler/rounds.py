"""What tests of rounds share: a pool with real pixels, and people who answer it truly."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable

import numpy as np

from labeler import storage
from labeler.models import Candidate, CandidateState, Image, LabelClass, Project, User
from labeler.services.annotate import record_answer
from labeler.services.lease import lease_next
from labeler.services.rounds import start_cold_round

SIDE = 12  # pixels of a side; a multiple of 3


def truth(position: int) -> int:
    return position % 3


def paint(project: Project) -> None:
    """Give every image of the project pixels that show its class: a bright band, in one of three places, with noise."""
    rng = np.random.default_rng(0)
    for chunk in project.chunks.all():
        pixels = rng.integers(0, 60, (chunk.count, 1, SIDE, SIDE), dtype=np.uint8)
        for index in range(chunk.count):
            top = SIDE // 3 * truth(chunk.number * 4096 + index)
            pixels[index, :, top : top + SIDE // 3] += 150
        buffer = io.BytesIO()
        np.save(buffer, pixels, allow_pickle=False)
        chunk.pixels = storage.new_name(project, "chunks", "npy")
        storage.write_once(chunk.pixels, buffer.getvalue())
        chunk.save()
    project.pixel_side, project.pixel_channels = SIDE, 1
    project.save()


def tune(project: Project, **changes: object) -> None:
    """Small and quick."""
    learning = project.learning
    quick = {
        "learns_from": "images", "architecture": "mlp", "posterior_samples": 4, "budget": 12, "retrain_every": 6,
        "holdout_target": 20,
    }  # fmt: skip
    for name, value in (quick | changes).items():
        setattr(learning, name, value)
    learning.save()


def begun(project: Project, make_images: Callable[..., object]) -> Project:
    """70 images and 20 of the holdout, painted, and their first queue."""
    make_images(project, 70)
    make_images(project, 20, is_holdout=True)
    paint(project)
    tune(project)
    start_cold_round(project=project)
    return project


def answer(project: Project, user: User, count: int, *, bad: int | None = None) -> int:
    """Answer up to `count` places as they are handed out, truly; images of the kind `bad` are said to be bad ones.
    Returns how many there were."""
    project.refresh_from_db()
    classes = list(LabelClass.objects.filter(project=project))
    for done in range(count):
        places = lease_next(project=project, annotator=user)
        if not places:
            return done
        position = Image.objects.get(pk=places[0].image_id).position
        record_answer(
            project=project,
            annotator=user,
            image_id=places[0].image_id,
            candidate_id=places[0].pk,
            outcome="bad_image" if truth(position) == bad else "label",
            label_class_id=None if truth(position) == bad else classes[truth(position)].pk,
            key=uuid.uuid4(),
            seconds=1.0,
        )
    return count


def open_places(project: Project) -> list[Candidate]:
    project.refresh_from_db()
    return list(Candidate.objects.filter(round=project.queue_round, state=CandidateState.OPEN))
