"""Out, into an empty project, out again: equal. The first project has what is hard: names that are no file names,
two images of one name, several people, what tables said, images without a label."""

from __future__ import annotations

import csv
import io
import json
import zipfile

import pandas as pd
import pytest

from labeler.export_formats import ALL, LABELLED, Filters
from labeler.models import ImageMetadata, ImportJob, LearningConfig, Membership, Project
from labeler.services.importing import import_local
from labeler.services.offered_answers import take_offered_answers
from labeler.services.offered_labels import make_offered_classes, take_offered_labels
from tests.labeler.exported import answer, export
from tests.labeler.imports import png

pytestmark = pytest.mark.django_db
NAMES = ["=1+1.png", "Größe 1.png", "b/x.png", "a/x.png", 'semi;colon,"quote".png', "a/con.png"]
SAME = ("class", "state", "width", "height", "content_hash")


@pytest.fixture
def first(project, manager, annotator, tmp_path) -> Project:
    for at, name in enumerate(NAMES):
        path = tmp_path / "first" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(at, colour=at == 1))
    project.learning.holdout_share = 0.0
    project.learning.save()
    import_local(project=project, path=tmp_path / "first", by=manager)
    images = list(project.images.order_by("position"))
    answer(project, annotator, images[0], "cat")
    answer(project, manager, images[0], "cat")
    for image, label in zip(images[1:5], ("dog", "owl", "owl", "cat"), strict=True):
        answer(project, annotator, image, label)
    return project


def with_metadata(project) -> None:
    ImportJob.objects.filter(project=project).update(columns=["camera", "night"])
    for image in project.images.all()[:3]:
        ImageMetadata.objects.create(image=image, values={"camera": f"=cam {image.position}", "night": True})


def empty_project(slug: str, manager) -> Project:
    project = Project.objects.create(name=slug, slug=slug, created_by=manager)
    LearningConfig.objects.create(project=project, holdout_share=0.0)
    Membership.objects.create(project=project, user=manager, role="manager")
    return project


def moved(data: bytes, slug: str, manager, tmp_path, *, names=("cat", "dog", "owl")) -> Project:
    """A new project of an export: imported, its classes made, its labels or answers taken."""
    path = tmp_path / f"{slug}.zip"
    path.write_bytes(data)
    project = empty_project(slug, manager)
    job = import_local(project=project, path=path, by=manager)
    assert (job.refused, job.error) == (0, ""), list(job.rejected.values_list("name", "reason"))
    make_offered_classes(project=project, names=names, by=manager)
    if not take_offered_answers(project=project, by=manager):
        take_offered_labels(project=project, by=manager)
    return project


def table_of(data: bytes) -> dict[str, dict]:
    """The rows of an archive's table by the path of their image."""
    archive = zipfile.ZipFile(io.BytesIO(data))
    [labels] = [name for name in archive.namelist() if name.startswith("labels.")]
    content = archive.read(labels)
    if labels.endswith(".csv"):
        rows = [
            {name: value.removeprefix("'") for name, value in row.items()}
            for row in csv.DictReader(io.StringIO(content.decode()))
        ]
    elif labels.endswith(".parquet"):
        rows = pd.read_parquet(io.BytesIO(content)).to_dict("records")
    else:
        rows = [json.loads(line) for line in content.splitlines()]
    return {row["path"]: {name: str(row[name]) for name in row if name in SAME or "metadata" in name} for row in rows}


@pytest.mark.parametrize("file_format", ["everything", "jsonl", "csv", "parquet"])
def test_tables_with_images(first, manager, tmp_path, file_format):
    with_metadata(first)
    filters = Filters(images=ALL, with_images=True)
    _, out = export(first, manager, file_format, filters=filters)
    before = table_of(out)
    assert len(before) == len(NAMES)
    assert {"cat", "dog", "owl"} <= {row["class"] for row in before.values()}
    second = moved(out, "second", manager, tmp_path)
    _, again = export(second, manager, file_format, filters=filters)
    assert table_of(again) == before
    assert images_of(again) == images_of(out)


def images_of(data: bytes) -> set[str]:
    return {name for name in zipfile.ZipFile(io.BytesIO(data)).namelist() if name.endswith(".png")}


def test_image_folder(first, manager, tmp_path):
    """Names become those in the folders of the classes, and stay so."""
    _, out = export(first, manager, "imagefolder")
    second = moved(out, "second", manager, tmp_path)
    _, again = export(second, manager, "imagefolder")
    assert images_of(again) == images_of(out)
    assert hashes(second) == hashes(first, state="labelled")


def hashes(project, **fields) -> dict[str, str | None]:
    return dict(project.images.filter(**fields).values_list("content_hash", "label__name"))


def test_coco(first, manager, tmp_path):
    with_metadata(first)
    filters = Filters(images=ALL, with_images=True)
    _, out = export(first, manager, "coco", filters=filters)
    second = moved(out, "second", manager, tmp_path)
    assert hashes(second) == hashes(first)
    _, again = export(second, manager, "coco", filters=filters)
    assert coco_of(again) == coco_of(out)


def coco_of(data: bytes) -> dict:
    """What COCO says, without numbers: each image's name, size, metadata and category."""
    content = json.loads(zipfile.ZipFile(io.BytesIO(data)).read("annotations.json"))
    categories = {each["id"]: each["name"] for each in content["categories"]}
    labels = {each["image_id"]: (categories[each["category_id"]], each["bbox"]) for each in content["annotations"]}
    return {
        each["file_name"]: (labels.get(each["id"]), {name: each[name] for name in each if name != "id"})
        for each in content["images"]
    }


def test_label_studio(first, manager, tmp_path):
    """Every answer, whose it was and how long it took; skips as skips. People get accounts of their own."""
    with_metadata(first)
    answer(first, manager, first.images.last(), None, outcome="skip")
    filters = Filters(images=ALL, with_images=True)
    _, out = export(first, manager, "labelstudio", filters=filters)
    second = moved(out, "second", manager, tmp_path)
    assert hashes(second) == hashes(first)
    _, again = export(second, manager, "labelstudio", filters=filters)
    assert tasks_of(again) == tasks_of(out)


def tasks_of(data: bytes) -> dict:
    tasks = json.loads(zipfile.ZipFile(io.BytesIO(data)).read("tasks.json"))
    return {
        task["data"]["image"]: (
            task["meta"],
            task["plusminus"]["class"],
            sorted(
                (
                    each["annotator"]["username"].partition(" (imported")[0],
                    [result["value"] for result in each["result"]],
                    each["was_cancelled"],
                    each["lead_time"],
                )
                for each in task["annotations"]
            ),
        )
        for task in tasks
    }


def test_a_table_alone_labels_images_that_are_moved_otherwise(first, manager, tmp_path):
    """`labels.jsonl` beside a folder of the images."""
    _, out = export(first, manager, "jsonl", filters=Filters(images=LABELLED))
    (tmp_path / "first" / "labels.jsonl").write_bytes(out)
    second = empty_project("second", manager)
    import_local(project=second, path=tmp_path / "first", by=manager)
    make_offered_classes(project=second, names=["cat", "dog", "owl"], by=manager)
    take_offered_labels(project=second, by=manager)
    assert hashes(second) == hashes(first)
