"""A backbone that a manager chooses: tried at once, refused in words."""

from __future__ import annotations

import pytest
import torch
from django.urls import reverse

from labeler import tasks
from labeler.choices import DEFAULT_BACKBONE
from labeler.models import (
    ChunkFeatures,
    ImportJob,
    JobState,
    PoolFeatures,
    PoolGraph,
)
from labeler.selectors.features import ready_features
from labeler.services import features, graphs
from labeler.services.rounds import start_cold_round
from tests.labeler.features.conftest import (
    Small,
    choose,
    made,
    page,
    run,
)
from tests.labeler.rounds import answer

pytestmark = pytest.mark.django_db


def test_the_pages_say_what_was_picked_and_why(pool, manager, client_of) -> None:
    client = client_of(manager)
    for name in ("learning-settings", "monitor"):
        text = page(client, name).lower()
        assert f"features of {DEFAULT_BACKBONE}" in text and "picked, since the images are in colour" in text
    made(pool)
    assert "features of 30 images are ready" in page(client)


def test_a_manager_chooses_pixels_and_back(pool, manager, client_of) -> None:
    client = client_of(manager)
    made(pool)
    tasks.make_graph(PoolGraph.objects.first().pk)
    choose(client, representation="pixels")
    assert ready_features(pool.__class__.objects.get(pk=pool.pk)) is None
    assert graphs.sweep_graphs() == 1  # the graph follows
    tasks.make_graph(PoolGraph.objects.first().pk)
    assert PoolGraph.objects.get().features is None
    choose(client, representation="default")
    assert graphs.sweep_graphs() == 1
    assert not PoolFeatures.objects.exclude(state=JobState.DONE).exists()  # they were there already


def test_another_backbone_is_tried_at_once_though_there_are_no_images(project, manager, client_of) -> None:
    client = client_of(manager)
    choose(client, representation="other", backbone="small")
    job = PoolFeatures.objects.get()
    tasks.compute_features(job.pk)
    assert "The backbone works" in page(client)
    choose(client, representation="other", backbone="no_such_thing")
    job = PoolFeatures.objects.first()
    tasks.compute_features(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert "There is no backbone" in page(client)


@pytest.mark.parametrize("has_features", [False, True])
def test_a_bad_choice_leaves_rounds_as_they_were(pool, manager, annotator, client_of, has_features) -> None:
    client = client_of(manager)
    if has_features:
        made(pool)
        tasks.make_graph(PoolGraph.objects.first().pk)
    start_cold_round(project=pool)
    answer(pool, annotator, 8)
    choose(client, representation="other", backbone="no_such_thing")
    tasks.compute_features(PoolFeatures.objects.first().pk)
    pool.learning.refresh_from_db()
    words = f"features of {DEFAULT_BACKBONE}" if has_features else "their pixels"
    assert f"Images go by {words} meanwhile" in page(client)
    assert run(pool).config["features"] == (DEFAULT_BACKBONE if has_features else None)
    assert graphs.sweep_graphs() == (0 if has_features else 1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backbone": ""}, "Name the backbone"),
        ({"backbone": "../../etc"}, "A name such as"),
        ({"backbone": "timm/x y"}, "A name such as"),
        ({"backbone": "small", "backbone_file": "elsewhere.pth"}, "Choose one from the list."),
        ({"backbone": "small", "backbone_file": "text.pth"}, "holds no weights"),
        ({"backbone": "small", "backbone_file": "text.safetensors"}, "holds no weights"),
    ],
)
def test_a_choice_that_is_none_is_refused_at_once(
    project, manager, client_of, settings, tmp_path, changes, words
) -> None:
    settings.BACKBONE_DIR = tmp_path / "backbones"
    settings.BACKBONE_DIR.mkdir()
    for name in ("text.pth", "text.safetensors", "notes.txt"):
        (settings.BACKBONE_DIR / name).write_text("no weights at all, as long as this may be")
    reply = choose(client_of(manager), representation="other", **changes)
    assert words in reply.content.decode()
    assert "notes.txt" not in reply.content.decode()
    project.learning.refresh_from_db()
    assert project.learning.representation == "auto"
    assert not PoolFeatures.objects.exists()


def test_a_file_of_weights_is_taken(pool, manager, client_of, settings, tmp_path) -> None:
    settings.BACKBONE_DIR = tmp_path / "backbones"
    settings.BACKBONE_DIR.mkdir()
    torch.save(Small().state_dict(), settings.BACKBONE_DIR / "mine.pth")
    torch.save({"0.weight": torch.zeros(3)}, settings.BACKBONE_DIR / "other.pth")
    client = client_of(manager)
    choose(client, representation="other", backbone="small", backbone_file="mine.pth")
    job = PoolFeatures.objects.first()
    tasks.compute_features(job.pk)
    job.refresh_from_db()
    assert (job.state, job.key) == (JobState.DONE, "small mine.pth")
    assert {row.backbone for row in ChunkFeatures.objects.all()} == {"small mine.pth"}
    choose(client, representation="other", backbone="small", backbone_file="other.pth")
    tasks.compute_features(PoolFeatures.objects.first().pk)
    assert "The file other.pth does not fit" in page(client)


def test_only_managers_see_and_start_features(pool, annotator, stranger, client_of) -> None:
    for name, method in (("features", "get"), ("features-start", "post"), ("features-stop", "post")):
        for person, status in ((annotator, 403), (stranger, 404)):
            assert getattr(client_of(person), method)(reverse(name, args=["signs"])).status_code == status
    assert client_of(annotator).get(reverse("features-start", args=["signs"])).status_code == 405


def test_an_import_that_runs_is_waited_for(pool) -> None:
    ImportJob.objects.create(project=pool, state=JobState.RUNNING)
    assert features.sweep_features() == 0
