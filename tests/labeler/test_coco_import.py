"""COCO files: one category an image."""

from __future__ import annotations

import json

import pytest

from labeler.models import ImageMetadata, OfferedLabel
from labeler.services.importing import import_local
from labeler.tables.reader import open_table
from tests.labeler.imports import make_zip, png

CATEGORIES = [{"id": 1, "name": "cat", "supercategory": "animal"}, {"id": 2, "name": "dog"}]
IMAGES = [
    {"id": n, "file_name": f"{n:012}.png", "width": 8, "height": 8, "license": 3, "date_captured": "2013-11-14",
     "coco_url": f"http://images.cocodataset.org/val2017/{n:012}.png"}
    for n in range(1, 6)
]  # fmt: skip
ANNOTATIONS = [
    {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0, "segmentation": []},
    {"id": 2, "image_id": 1, "category_id": 1, "bbox": [0, 0, 3, 4]},
    {"id": 3, "image_id": 2, "category_id": 2},
    {"id": 4, "image_id": 3, "category_id": 1},
    {"id": 5, "image_id": 3, "category_id": 2},
    {"id": 6, "image_id": 4, "category_id": 9},
]
COCO = {"info": {"year": 2017}, "licenses": [], "images": IMAGES, "annotations": ANNOTATIONS, "categories": CATEGORIES}


@pytest.mark.django_db
def test_the_category_of_an_image_is_offered(project, manager, tmp_path):
    entries = {f"val2017/{n:012}.png": png(n) for n in range(1, 6)}
    entries["annotations/instances.json"] = json.dumps(COCO).encode()
    job = import_local(project=project, path=make_zip(tmp_path / "a.zip", entries), by=manager)
    assert (job.added, job.refused) == (5, 0)
    offered = dict(OfferedLabel.objects.filter(image__project=project).values_list("image__name", "class_name"))
    assert offered == {"val2017/000000000001.png": "cat", "val2017/000000000002.png": "dog"}
    reasons = dict(job.rejected.values_list("name", "reason"))
    assert "cat, dog" in reasons["val2017/000000000003.png"]
    assert "not among" in reasons["val2017/000000000004.png"]
    kept = ImageMetadata.objects.get(image__name="val2017/000000000001.png").values
    assert kept == {"license": 3, "date_captured": "2013-11-14"}


@pytest.mark.parametrize("order", [["categories", "annotations", "images"], ["annotations", "images", "categories"]])
def test_the_parts_may_come_in_any_order(tmp_path, order):
    (tmp_path / "a.json").write_text(json.dumps({key: COCO[key] for key in order}))
    with open_table(tmp_path / "a.json", "a.json", 100) as table:
        assert (table.kind, [row.label for row in table.rows]) == ("COCO", ["cat", "dog", "", "", ""])


def test_images_may_have_an_address_only(tmp_path):
    images = [
        {"id": 1, "coco_url": "https://example.org/1.png"},
        {"id": 2, "flickr_url": "https://f.example/2.png"},
        {"id": 3},
    ]
    (tmp_path / "a.json").write_text(
        json.dumps({"images": images, "annotations": ANNOTATIONS, "categories": CATEGORIES})
    )
    with open_table(tmp_path / "a.json", "a.json", 100) as table:
        first, second, third = table.rows
    assert (first.url, first.label, second.url) == ("https://example.org/1.png", "cat", "https://f.example/2.png")
    assert "neither" in third.refusal
