"""A project of photographs, a backbone that is quick, and their job run at once."""

from __future__ import annotations

import io

import numpy as np
import pytest
from django.urls import reverse
from PIL import Image as Picture
from torch import nn

from labeler import storage, tasks
from labeler.choices import DEFAULT_BACKBONE
from labeler.models import (
    ChunkFeatures,
    ImportJob,
    JobState,
    PoolFeatures,
    RoundState,
    Trigger,
)
from labeler.services import features
from labeler.services.importing import import_local
from labeler.services.rounds import request_round
from learner import backbones
from tests.labeler.imports import make_zip
from tests.labeler.rounds import truth, tune


class Small(nn.Sequential):
    """Sixteen pixels of an image, in colour, are its features."""

    def __init__(self) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 2))


def small() -> backbones.Untrained:
    module = Small()
    return backbones.Untrained(module, 8, (0.0,) * 3, (255.0,) * 3, module.state_dict)


@pytest.fixture(autouse=True)
def quick_backbone(monkeypatch) -> None:
    monkeypatch.setitem(backbones.BUILDERS, DEFAULT_BACKBONE, small)
    monkeypatch.setitem(backbones.BUILDERS, "small", small)


def photograph(position: int) -> bytes:
    """One of three colours, in some shade; `truth` says which."""
    rng = np.random.default_rng(position)
    pixels = rng.integers(0, 90, (20, 24, 3), dtype=np.uint8)
    pixels[..., truth(position)] += 150
    out = io.BytesIO()
    Picture.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def bring(project, tmp_path, manager):
    """Imports photographs, in colour."""

    def bring(count: int) -> None:
        start = project.images.count()
        path = make_zip(tmp_path / f"{start}.zip", {f"{n:04}.png": photograph(n) for n in range(start, start + count)})
        assert import_local(project=project, path=path, by=manager).state == JobState.DONE
        project.refresh_from_db()

    return bring


@pytest.fixture
def pool(project, bring):
    tune(project, retrain_every=0, holdout_target=0, holdout_share=0.0, holdout_questions=0.0, random_share=0.0)
    bring(30)
    return project


def made(project) -> PoolFeatures:
    job = features.request_features(project=project)
    assert job is not None
    tasks.compute_features(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.DONE, job.error
    return job


def run(project):
    round_ = request_round(project=project, trigger=Trigger.BUTTON, reason="a test")
    tasks.run_round(round_.pk)
    round_.refresh_from_db()
    assert round_.state == RoundState.DONE, round_.error
    return round_


def vectors_of(project) -> np.ndarray:
    with storage.local_path(ChunkFeatures.objects.get(chunk__project=project).file) as path:
        return np.load(path)


def page_of(client, job: ImportJob) -> str:
    return client.get(reverse("import", args=["signs", job.pk])).content.decode()


def page(client, name: str = "learning-settings") -> str:
    return client.get(reverse(name, args=["signs"])).content.decode()


def form_of(client, **changes: object) -> dict[str, object]:
    form = client.get(reverse("learning-settings", args=["signs"])).context["form"]
    values = {name: value for name, value in form.initial.items() if value is not None and value is not False}
    values |= {name: form[name].value() for name in ("random_share", "holdout_questions", "holdout_share")}
    return {**values, "made_from": form.made_from, **changes}


def choose(client, **changes: object):
    return client.post(reverse("learning-settings", args=["signs"]), form_of(client, **changes), follow=True)
