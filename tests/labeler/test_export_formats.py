"""Each format, opened by the library that its users would open it with."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image as Picture
from pycocotools.coco import COCO

from labeler import clock
from labeler.export_formats import COLUMNS, MODEL, WITH_MODEL, Filters
from labeler.models import Annotation, Candidate, ExportJob, JobState, Project, Round
from labeler.selectors import worth
from labeler.services.exporting import ExportRefused, create_export, run_export
from labeler.services.importing import import_local
from learner.vision import torchvision
from tests.labeler.exported import answer, export
from tests.labeler.imports import png
from tests.labeler.scored import scored_round

pytestmark = pytest.mark.django_db
NAMES = ["=1+1.png", "Größe 1.png", "b/x.png", "a/x.png", 'semi;colon,"quote".png']


@pytest.fixture
def pool(project, manager, tmp_path):
    """Five imported images of awkward names."""
    for at, name in enumerate(NAMES):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(at))
    project.learning.holdout_share = 0.0
    project.learning.save()
    job = import_local(project=project, path=tmp_path / "pictures", by=manager)
    assert job.added == 5
    return list(project.images.order_by("position"))


@pytest.fixture
def labelled(project, manager, annotator, pool):
    """Of five: a cat by two, a dog that is holdout, a cat of the grid, an owl by one, one that nobody has seen."""
    project.images.filter(pk=pool[1].pk).update(is_holdout=True)
    round_ = Round.objects.create(project=project, number=7, trigger="button", reason="asked", seed=1, state="done")
    place = Candidate.objects.create(
        project=project, round=round_, image=pool[0], rank=3, reason="acquired", score=1, selection_probability=0.25
    )
    answer(project, annotator, pool[0], "cat", place.pk)
    answer(project, manager, pool[0], "cat")
    answer(project, annotator, pool[1], "dog")
    answer(project, annotator, pool[2], "cat")
    Annotation.objects.filter(image=pool[2]).update(is_grid=True)
    answer(project, annotator, pool[3], "owl")
    return pool


@pytest.fixture
def model(project, labelled):
    """A model in charge that is sure of the image that nobody has seen."""
    means = [[0.9, 0.1, 0.0], [0.15, 0.85, 0.0], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8], [0.01, 0.99, 0.0]]
    round_ = scored_round(project, means, [[0.05] * 3] * 5)
    Project.objects.filter(pk=project.pk).update(model_round=round_)
    project.refresh_from_db()
    return round_


def test_csv_by_pandas(project, manager, model):
    _, data = export(project, manager, "csv")
    table = pd.read_csv(io.BytesIO(data))
    assert list(table.columns) == list(COLUMNS)
    assert list(table["class"]) == ["cat", "dog", "cat", "owl"]
    assert list(table["split"]) == ["train", "holdout", "train", "train"]
    assert list(table["source"]) == ["single", "single", "grid", "single"]
    assert table["model_mean"].tolist() == pytest.approx([0.9, 0.85, 0.6, 0.8], abs=1e-3)
    assert table["model_std"].tolist() == pytest.approx([0.05] * 4, abs=1e-3)
    assert table["agreement"].isna().tolist() == [False, True, True, True]
    assert (table["round"][0], table["reason"][0], table["selection_probability"][0]) == (7, "acquired", 0.25)
    assert pd.to_datetime(table["labelled_at"]).notna().all()


def test_what_a_spreadsheet_takes_for_a_formula_is_quoted_and_the_rest_is_exact(project, manager, labelled):
    rows = {
        row["image"]: row["name"] for row in csv.DictReader(io.StringIO(export(project, manager, "csv")[1].decode()))
    }
    exact = dict(project.images.values_list("pk", "name"))
    changed = {pk: name for pk, name in rows.items() if name != exact[int(pk)]}
    assert list(changed.values()) == ["'=1+1.png"]
    lines = [json.loads(line) for line in export(project, manager, "jsonl")[1].splitlines()]
    assert [line["name"] for line in lines] == [exact[line["image"]] for line in lines]


def test_parquet_by_pyarrow_and_pandas(project, manager, model, monkeypatch):
    monkeypatch.setattr("labeler.export_formats.tables.GROUP", 2)
    _, data = export(project, manager, "parquet", includes_unlabelled=True)
    file = pq.ParquetFile(io.BytesIO(data))
    assert file.schema_arrow.names == list(COLUMNS)
    table = pd.read_parquet(io.BytesIO(data))
    lines = [json.loads(line) for line in export(project, manager, "jsonl", includes_unlabelled=True)[1].splitlines()]
    for row, line in zip(table.to_dict("records"), lines, strict=True):
        shown = {
            k: list(v) if isinstance(v, np.ndarray) else None if v is None or v != v else v for k, v in row.items()
        }
        assert shown == line
    assert table["class"].isna().tolist() == [False, False, False, False, True]


def test_an_export_of_nothing_is_a_table_all_the_same(project, manager):
    assert list(pd.read_parquet(io.BytesIO(export(project, manager, "parquet")[1])).columns) == list(COLUMNS)
    assert export(project, manager, "jsonl")[1] == b""
    assert json.loads(export(project, manager, "labelstudio")[1]) == []
    assert json.loads(export(project, manager, "coco")[1])["images"] == []


def test_coco_by_pycocotools(project, manager, model, tmp_path):
    path = tmp_path / "coco.json"
    path.write_bytes(export(project, manager, "coco", includes_unlabelled=True)[1])
    coco = COCO(str(path))
    assert [each["name"] for each in coco.loadCats(coco.getCatIds())] == ["cat", "dog", "owl"]
    assert len(coco.getImgIds()) == 5
    [cat] = coco.getCatIds(catNms=["cat"])
    named = {each["file_name"] for each in coco.loadImgs(coco.getImgIds(catIds=[cat]))}
    assert named == set(project.images.filter(label__name="cat").values_list("name", flat=True))
    boxes = [coco.loadAnns(coco.getAnnIds(imgIds=[pk]))[0]["bbox"] for pk in coco.getImgIds(catIds=[cat])]
    assert boxes == [[0, 0, 8, 8]] * 2
    assert len(coco.dataset["predictions"]) == 5  # of the model: never among the annotations
    assert (
        len(
            coco.loadRes(
                [
                    {k: row[k] for k in ("image_id", "category_id", "score")} | {"bbox": [0, 0, 8, 8]}
                    for row in coco.dataset["predictions"]
                ]
            ).anns
        )
        == 5
    )


def test_label_studio_has_every_answer_and_the_model_as_prediction(project, manager, annotator, model, labelled):
    answer(project, manager, labelled[4], None, outcome="skip")
    tasks = json.loads(export(project, manager, "labelstudio", includes_unlabelled=True)[1])
    assert [task["data"]["image"] for task in tasks] == [image.name for image in labelled]
    first = tasks[0]
    assert [each["annotator"]["username"] for each in first["annotations"]] == ["ann", "mia"]
    assert [each["annotator"]["id"] for each in first["annotations"]] == [annotator.pk, manager.pk]
    assert not any(
        "completed_by" in each for each in first["annotations"]
    )  # Label Studio wants people of its own there
    for each in first["annotations"]:
        [result] = each["result"]
        assert (result["type"], result["from_name"], result["to_name"]) == ("choices", "choice", "image")
        assert result["value"] == {"choices": ["cat"]}
        assert each["was_cancelled"] is False
    [prediction] = first["predictions"]
    assert prediction["model_version"] == f"round {model.number}"
    assert prediction["score"] == pytest.approx(0.9, abs=1e-3)
    assert prediction["result"][0]["value"] == {"choices": ["cat"]}
    [skipped] = tasks[4]["annotations"]
    assert (skipped["was_cancelled"], skipped["result"]) == (True, [])


def test_image_folder_by_torchvision(project, manager, labelled, tmp_path):

    project.classes.filter(name="owl").update(name="../..\\owl: CON")
    _, data = export(project, manager, "imagefolder")
    zipfile.ZipFile(io.BytesIO(data)).extractall(tmp_path / "out")
    folder = torchvision().datasets.ImageFolder(tmp_path / "out")
    assert folder.classes == ["_.._owl_ CON", "cat", "dog"]
    assert len(folder) == 4
    for path, number in folder.samples:
        assert (tmp_path / "out") in Path(path).parents
        assert np.asarray(folder.loader(path)).shape == (8, 8, 3)
        assert folder.classes[number] in path


def test_names_that_collide_are_told_apart(project, manager, labelled):
    """`a/x.png` and `b/x.png` in one class; the bytes are each image's own."""
    cat = project.classes.get(name="cat")
    for image in labelled[2:4]:
        project.images.filter(pk=image.pk).update(
            state="labelled", label=cat, name=f"{image.pk}/X.png" if image == labelled[3] else "x.png"
        )
    _, data = export(project, manager, "imagefolder")
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert archive.testzip() is None
    names = [name for name in archive.namelist() if name.lower().startswith("cat/x")]
    assert len({name.lower() for name in names}) == len(names) == 2
    assert len({archive.read(name) for name in names}) == 2


@pytest.mark.parametrize("file_format", ["csv", "jsonl", "parquet", "coco", "labelstudio", "everything"])
def test_with_the_images_each_row_names_its_file(project, manager, labelled, file_format):
    job, data = export(project, manager, file_format, filters=Filters(with_images=True))
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert archive.testzip() is None
    assert job.file_name.endswith(".zip")
    labels = next(name for name in archive.namelist() if name.startswith(("labels", "tasks", "annotations")))
    about = json.loads(archive.read("about-this-export.json"))
    assert about["project"]["name"] == "Signs"
    content = archive.read(labels)
    if file_format == "parquet":
        paths = pd.read_parquet(io.BytesIO(content))["path"].tolist()
    elif file_format == "csv":
        paths = [row["path"] for row in csv.DictReader(io.StringIO(content.decode()))]
        paths = [path.removeprefix("'") for path in paths]
    elif file_format == "coco":
        paths = [each["file_name"] for each in json.loads(content)["images"]]
    elif file_format == "labelstudio":
        paths = [task["data"]["image"] for task in json.loads(content)]
    else:
        paths = [json.loads(line)["path"] for line in content.splitlines()]
    assert len(paths) == 4
    for image, path in zip(labelled, paths, strict=False):
        picture = np.asarray(Picture.open(io.BytesIO(archive.read(path))))
        assert picture.shape == (image.height, image.width)


# --- Filters ---------------------------------------------------------------------------------------------------------


def names(project, by, **filters) -> list[int]:
    _, data = export(project, by, "jsonl", filters=Filters(**filters))
    return [json.loads(line)["image"] for line in data.splitlines()]


def test_filters(project, manager, annotator, labelled):
    pks = [image.pk for image in labelled]
    cat = project.classes.get(name="cat").pk
    now = clock.now()
    assert names(project, manager) == pks[:4]
    assert names(project, manager, label_class=cat) == [pks[0], pks[2]]
    assert names(project, manager, annotator=manager.pk) == [pks[0]]
    assert names(project, manager, holdout="only") == [pks[1]]
    assert names(project, manager, holdout="without") == [pks[0], pks[2], pks[3]]
    assert names(project, manager, least_agreement=0.9) == [pks[0]]  # the others have one answer
    assert names(project, manager, since=now + timedelta(hours=1)) == []
    assert names(project, manager, until=now + timedelta(hours=1)) == pks[:4]
    assert names(project, manager, images="all") == pks


# --- The model's own labels ----------------------------------------------------------------------------------------


@pytest.fixture
def measured(monkeypatch, model, project):
    monkeypatch.setattr(worth, "LEAST_HOLDOUT", 1)
    monkeypatch.setattr("labeler.selectors.pool.LEAST_HOLDOUT", 1)


def test_the_models_labels_are_marked_and_measured(project, manager, labelled, measured):
    filters = Filters(images=WITH_MODEL, model_above=0.8)
    job, data = export(project, manager, "jsonl", filters=filters)
    rows = {row["image"]: row for row in map(json.loads, data.splitlines())}
    told = rows[labelled[4].pk]
    assert (told["class"], told["source"], told["annotators"], told["split"]) == ("dog", MODEL, [], "pool")
    assert [row["source"] for row in rows.values()].count(MODEL) == 1
    right = job.manifest["model_labels"]["right"]
    assert 0 <= right["low"] <= right["value"] <= right["high"] <= 1
    assert job.manifest["by_source"] == {"single": 3, "grid": 1, "model": 1}

    _, zipped = export(project, manager, "imagefolder", filters=filters)
    folders = {name.rpartition("/")[0] for name in zipfile.ZipFile(io.BytesIO(zipped)).namelist()}
    assert folders == {"", "people/cat", "people/dog", "people/owl", "model/dog"}

    coco = json.loads(export(project, manager, "coco", filters=filters)[1])
    assert labelled[4].pk not in {each["image_id"] for each in coco["annotations"]}
    assert [each["image_id"] for each in coco["predictions"] if each["is_accepted"]] == [labelled[4].pk]

    tasks = json.loads(export(project, manager, "labelstudio", filters=filters)[1])
    assert [task["annotations"] for task in tasks if task["id"] == labelled[4].pk] == [[]]


def test_what_was_never_measured_is_not_exported(project, manager, model):
    """One holdout answer says nothing of the model."""
    with pytest.raises(ExportRefused, match="measured on holdout images"):
        create_export(
            project=project, by=manager, file_format="csv", filters=Filters(images=WITH_MODEL, model_above=0.8)
        )
    assert not ExportJob.objects.exists()


# --- The manifest --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["csv", "jsonl", "parquet", "coco", "labelstudio", "imagefolder", "everything"])
def test_the_manifest_says_what_the_file_is(project, manager, labelled, file_format):
    job, data = export(project, manager, file_format)
    manifest = job.manifest
    assert manifest["sha256"] == hashlib.sha256(data).hexdigest()
    assert (manifest["bytes"], manifest["rows"]) == (len(data), 4) == (job.size, job.done)
    assert manifest["classes"] == ["cat", "dog", "owl"]
    assert manifest["made_by"] == "mia"
    assert manifest["file"].startswith(f"signs-{file_format}-")


def test_an_image_whose_bytes_are_gone_fails_it_in_words(project, manager, labelled):
    from labeler import storage

    storage.delete(labelled[0].pack.name)
    job = create_export(project=project, by=manager, file_format="everything")
    run_export(job_id=job.pk)
    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert "is gone" in job.error
    assert storage.names_in(f"projects/{project.pk}/exports", with_temporary=True) == []


def test_one_that_is_cancelled_leaves_nothing(project, manager, labelled, monkeypatch):
    from labeler import storage
    from labeler.services import exporting, jobs

    monkeypatch.setattr(jobs, "BEAT_SECONDS", 0)
    job = create_export(project=project, by=manager, file_format="everything")
    rows = exporting.export_rows

    def stopped_meanwhile(reader, *, last):
        ExportJob.objects.update(is_cancel_requested=True)
        yield from rows(reader, last=last)

    monkeypatch.setattr(exporting, "export_rows", stopped_meanwhile)
    run_export(job_id=job.pk)
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED
    assert storage.names_in(f"projects/{project.pk}/exports", with_temporary=True) == []


@pytest.mark.parametrize("file_format", ["csv", "labelstudio"])
def test_answers_from_elsewhere_keep_their_dates(project, manager, labelled, file_format):
    then = datetime(2024, 3, 1, 12, tzinfo=UTC)
    Annotation.objects.update(is_imported=True, answered_at=then)
    text = export(project, manager, file_format)[1].decode()
    assert "2024-03-01" in text
    assert str(clock.now().year) + "-" not in text
