"""Which images are seen by pixels and which by features, and why."""

from __future__ import annotations

import pytest

from labeler import tasks
from labeler.choices import BACKBONE_NAME, DEFAULT_BACKBONE, WEIGHT_SUFFIXES
from labeler.models import (
    PoolFeatures,
    Project,
)
from labeler.selectors import networks
from labeler.selectors.features import picked_representation
from labeler.selectors.imports import lost_pixels
from labeler.services import features
from labeler.services.importing import import_local
from learner import backbones
from tests.labeler.features.conftest import (
    page_of,
    vectors_of,
)
from tests.labeler.imports import make_zip, png

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("counts", "backbone", "words"),
    [
        ((60, 0, 0, 0), "", "picked, since the images are small and grey"),
        ((0, 60, 0, 0), DEFAULT_BACKBONE, "picked, since the images are larger than 40 pixels"),
        ((0, 0, 60, 0), DEFAULT_BACKBONE, "picked, since the images are in colour"),
        ((0, 0, 0, 60), DEFAULT_BACKBONE, "picked, since the images are in colour"),
        ((30, 0, 0, 2062), DEFAULT_BACKBONE, "picked, since 2,062 of 2,092 images are in colour"),
        ((30, 10, 10, 10), DEFAULT_BACKBONE, "picked, since 30 of 60 images are in colour or larger than 40 pixels"),
        ((31, 10, 10, 10), "", "picked, since 31 of 61 images are small and grey"),
        ((0, 0, 0, 0), "", "there are no images yet"),
    ],
)
def test_the_images_decide_all_of_them(counts, backbone, words) -> None:
    names = ("small_grey_images", "large_grey_images", "small_colour_images", "large_colour_images")
    picked = picked_representation(Project(**dict(zip(names, counts, strict=True))))
    assert (picked.backbone, picked.reason) == (backbone, words)


def test_a_few_small_grey_images_first_do_not_decide_for_the_photographs_that_follow(
    project, manager, tmp_path, bring, client_of, sent, django_capture_on_commit_callbacks
) -> None:
    first = make_zip(tmp_path / "first.zip", {f"{n}.png": png(n, 12) for n in range(25)})
    job = import_local(project=project, path=first, by=manager)
    project.refresh_from_db()
    assert features.sweep_features() == 0
    assert not networks.teaches_itself(project)
    assert "network on pixels sees" not in page_of(client_of(manager), job)
    bring(15)
    assert (project.small_grey_images, project.small_colour_images + project.large_colour_images) == (25, 15)
    assert features.sweep_features() == 0
    bring(20)
    assert (project.pixel_side, project.pixel_channels) == (28, 1)
    assert networks.teaches_itself(project)
    with django_capture_on_commit_callbacks(execute=True):
        assert features.sweep_features() == 1
    made_now = PoolFeatures.objects.get()
    assert (features.COMPUTE, made_now.pk) in sent
    tasks.compute_features(made_now.pk)
    assert vectors_of(project).shape == (60, 48)
    text = page_of(client_of(manager), project.imports.first())
    assert "35 images without colour" in text and "grey, 28 × 28 pixels" in text


def test_the_import_page_says_what_the_learner_sees_of_larger_images(project, manager, tmp_path) -> None:
    import_local(project=project, path=make_zip(tmp_path / "a.zip", {"a.png": png(1, 20)}), by=manager)
    import_local(
        project=project, path=make_zip(tmp_path / "b.zip", {"b.png": png(2, 41), "c.png": png(3, 40)}), by=manager
    )
    project.refresh_from_db()
    assert (project.small_grey_images, project.large_grey_images) == (2, 1)
    assert "1 image of more than 40 pixels brought to 28 × 28" in lost_pixels(project)
    assert "colour" not in lost_pixels(project)


def test_names_are_the_learners() -> None:
    assert DEFAULT_BACKBONE == backbones.DEFAULT
    assert backbones.NAME.pattern == BACKBONE_NAME
    assert WEIGHT_SUFFIXES == backbones.SUFFIXES
