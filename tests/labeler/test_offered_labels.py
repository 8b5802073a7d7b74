"""Labels from folder names: offered, and answers only when a manager takes them."""

from __future__ import annotations

from labeler.models import (
    Annotation,
    ImageState,
)
from labeler.services.importing import import_local
from labeler.services.offered_labels import make_offered_classes, take_offered_labels
from tests.labeler.imports import make_zip, png


def test_offered_labels_become_classes_and_answers_only_when_taken(project, manager, tmp_path):
    entries = {f"{name}/{n}.png": png(10 * at + n) for at, name in enumerate(("cat", "fox")) for n in range(4)}
    import_local(project=project, path=make_zip(tmp_path / "a.zip", entries), by=manager)
    assert take_offered_labels(project=project, by=manager) == 4  # cat is a class, fox is none
    assert make_offered_classes(project=project, names=["fox", "Cat"]) == 1
    assert take_offered_labels(project=project, by=manager) == 4
    assert take_offered_labels(project=project, by=manager) == 0
    assert project.images.filter(state=ImageState.LABELLED).count() == 8
    assert all(image.label.name == image.offered.class_name for image in project.images.select_related("label"))
    assert Annotation.objects.filter(annotator=manager).count() == 8


def test_offered_labels_count_as_one_answer_of_several(project, manager, tmp_path):
    project.learning.overlap = 2
    project.learning.save()
    entries = {"cat/1.png": png(1), "dog/2.png": png(2)}
    import_local(project=project, path=make_zip(tmp_path / "a.zip", entries), by=manager)
    assert take_offered_labels(project=project, by=manager) == 2
    assert project.images.filter(state=ImageState.POOL).count() == 2
