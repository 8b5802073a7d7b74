"""A project with a graph and answers, and a network that is quick to train."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.urls import reverse

from labeler import storage, tasks
from labeler.models import (
    Image,
    ImageState,
    JobState,
    LabelClass,
    PoolNetwork,
    Project,
)
from labeler.selectors import networks as selected
from labeler.services import graphs, networks
from labeler.services.rounds import start_cold_round
from learner import distillation, gate, trial
from tests.labeler.queues import fresh
from tests.labeler.rounds import paint, truth, tune

N = 180


@pytest.fixture(autouse=True)
def quick(settings, monkeypatch) -> None:
    """30 steps, of which every tenth is kept."""
    settings.LEARNER_THREADS = 1
    config = distillation.student_config
    monkeypatch.setattr(distillation, "student_config", lambda *of, **kw: config(*of, **{**kw, "steps": 30}))
    monkeypatch.setattr(distillation, "EVERY", 10)
    for name, change in (("BY_GRAPH", {"batch": 32}), ("BY_ITSELF", {"batch": 16, "unlabelled": 16})):
        monkeypatch.setattr(distillation, name, replace(getattr(distillation, name), **change))
    monkeypatch.setattr(gate, "LEAST_HELD", 10)
    monkeypatch.setattr(selected, "LEAST_IMAGES", 100)


@pytest.fixture
def pool(project, make_images) -> Project:
    """180 images of three kinds with 15 labels, 12 labelled ones of the holdout, a graph and a queue."""
    make_images(project, N)
    make_images(project, 12, is_holdout=True)
    paint(project)
    tune(project, learns_from="likeness", retrain_every=0)
    label(project, [*range(15), *range(N, N + 12)])
    graphs.request_graph(project=project)
    tasks.make_graph(project.graphs.get().pk)
    start_cold_round(project=project)
    return fresh(project)


@pytest.fixture
def photographs(pool, monkeypatch) -> Project:
    """The same, as photographs: a network teaches itself, and answers that were kept back measure it; 40 labels."""
    monkeypatch.setattr(selected, "teaches_itself", lambda _project: True)
    monkeypatch.setattr("labeler.learning.networks.teaches_itself", lambda _project: True)
    recipe = replace(distillation.BY_ITSELF, batch=16, unlabelled=16, learning_rate=None)
    monkeypatch.setattr(distillation, "BY_ITSELF", recipe)
    Image.objects.filter(is_holdout=True).update(state=ImageState.POOL, label=None)
    label(pool, range(40))
    return pool


def label(project, positions) -> None:
    classes = list(LabelClass.objects.filter(project=project))
    images = list(Image.objects.filter(project=project, position__in=positions))
    for image in images:
        image.state, image.label = ImageState.LABELLED, classes[truth(image.position)]
    Image.objects.bulk_update(images, ["state", "label"])


def asked(pool) -> PoolNetwork:
    job = networks.request_network(project=pool)
    assert job is not None
    return job


def trained(pool) -> PoolNetwork:
    job = asked(pool)
    tasks.train_network(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error) == (JobState.DONE, "")
    return job


@pytest.fixture
def worse(monkeypatch) -> None:
    """A network on whose features everything looks like the first class."""
    predict = trial.predict_classes

    def predict_classes(request, positions, **kwargs):
        found = predict(request, positions, **kwargs)
        return found * 0 if request.directory.name == "new" else found

    monkeypatch.setattr(trial, "predict_classes", predict_classes)


def files(pool, *groups: str) -> set[str]:
    folder = storage.project_folder(pool)
    return {name for group in groups for name in storage.names_in(f"{folder}/{group}", with_temporary=True)}


def page(client) -> str:
    text = client.get(reverse("learning-settings", args=["signs"])).content.decode()
    return " ".join(text.split())
