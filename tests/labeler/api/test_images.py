"""Images with their metadata: shown to managers, and filtered by as the Images page does."""

from __future__ import annotations

import pytest

from labeler.models import ImageMetadata, ImportJob

IMAGES = "/projects/signs/images"


@pytest.fixture
def images(project, make_images, manager):
    found = make_images(project, 4)
    ImportJob.objects.create(project=project, created_by=manager, columns=["camera", "depth", "is_day"])
    for image, values in zip(
        found, [{"camera": "north", "depth": 3}, {"camera": "south", "depth": 3.5}, {"is_day": True}], strict=False
    ):
        ImageMetadata.objects.create(image=image, values=values)
    return found


def ids(api, query: str) -> list[int]:
    reply = api.get(f"{IMAGES}?{query}")
    assert reply.status_code == 200, reply.content
    return [row["id"] for row in reply.json()["items"]]


def test_an_image_shows_what_tables_said_of_it(as_manager, images):
    assert as_manager.get(f"{IMAGES}/{images[0].pk}").json()["metadata"] == {"camera": "north", "depth": 3}
    assert as_manager.get(f"{IMAGES}/{images[3].pk}").json()["metadata"] == {}
    assert as_manager.get("/projects/signs/metadata").json() == ["camera", "depth", "is_day"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("column=camera", [0, 1]), ("column=camera&value=south", [1]), ("column=depth&value=3", [0]),
        ("column=depth&value=3.5", [1]), ("column=is_day&value=true", [2]), ("column=camera&value=west", []),
        ("column=camera&state=pool", [0, 1]), ("column=camera&state=bad", []),
    ],
)  # fmt: skip
def test_images_are_filtered_by_metadata(as_manager, images, query, expected):
    assert ids(as_manager, query) == [images[at].pk for at in expected]


def test_what_it_was_labelled_is_told_to_managers(as_manager, as_annotator, project, images):
    cat = project.classes.create(name="lynx", colour="#123456")
    type(images[0]).objects.filter(pk=images[0].pk).update(state="disputed", is_contested=True, doubted_label=cat)
    address = f"{IMAGES}/{images[0].pk}"
    assert as_manager.get(address).json()["doubted_label"] == {"id": cat.pk, "name": cat.name}
    assert as_manager.get(f"{IMAGES}/{images[1].pk}").json()["doubted_label"] is None
    assert as_annotator.get(address).json()["doubted_label"] is None


def test_pages_of_a_filter_follow_each_other(as_manager, images):
    first = as_manager.get(f"{IMAGES}?column=camera&limit=1").json()
    second = as_manager.get(f"{IMAGES}?column=camera&limit=1&cursor={first['next']}").json()
    assert [row["id"] for page in (first, second) for row in page["items"]] == [images[0].pk, images[1].pk]
    assert as_manager.get(f"{IMAGES}?column=depth&limit=1&cursor={first['next']}").status_code == 422


def test_a_column_that_there_is_not_is_named(as_manager, images):
    reply = as_manager.get(f"{IMAGES}?column=camrea&value=north")
    assert reply.status_code == 422 and reply.json()["errors"][0]["field"] == "column"
    assert "camera" in reply.json()["detail"]
    assert as_manager.get(f"{IMAGES}?value=north").json()["errors"][0]["field"] == "column"


def test_annotators_neither_see_nor_filter_what_is_the_managers(as_annotator, images):
    assert as_annotator.get(f"{IMAGES}/{images[0].pk}").json()["metadata"] is None
    for query in ("column=camera", "holdout=yes", "column=camera&value=north"):
        reply = as_annotator.get(f"{IMAGES}?{query}")
        assert reply.status_code == 403 and "manager" in reply.json()["detail"], query
    assert as_annotator.get(f"{IMAGES}?state=pool&name=1").status_code == 200
