"""A move from Label Studio: images, choices, who made them and when."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.contrib.auth import authenticate
from django.urls import reverse

from labeler import clock
from labeler.models import Annotation, ImageMetadata, ImageState, OfferedAnswer, OfferedLabel, Outcome, User
from labeler.selectors.imports import offer_of
from labeler.services.importing import import_local
from labeler.services.offered_answers import take_offered_answers
from labeler.services.offered_labels import make_offered_classes
from labeler.services.offered_rows import moment_of
from labeler.tables.label_studio import task_row
from labeler.tables.reader import open_table
from tests.labeler.imports import make_zip, png

pytestmark = pytest.mark.django_db
EXPORT = Path(__file__).with_name("fixtures") / "label_studio.json"
FILES = {f"upload/{name}": png(n) for n, name in enumerate(["1f4d7a20-one.png", "three.png"])}
FILES |= {"photos/two.png": png(7), "photos/four.png": png(8)}


@pytest.fixture
def job(project, manager, tmp_path):
    path = make_zip(tmp_path / "a.zip", {**FILES, "export.json": EXPORT.read_bytes()})
    return import_local(project=project, path=path, by=manager)


def test_images_are_found_and_choices_offered(project, job):
    assert (job.added, job.refused) == (4, 2)
    offered = dict(OfferedLabel.objects.filter(image__project=project).values_list("image__name", "class_name"))
    assert offered == {"upload/1f4d7a20-one.png": "Cat", "photos/two.png": "Dog"}
    reasons = {row.name: (row.kind, row.reason) for row in job.rejected.all()}
    assert "no file" in reasons["00000000-gone.png"][1]
    assert reasons["export.json"][1].startswith("Row 6: Task 6 has no image")
    assert reasons["upload/three.png"][0] == reasons["photos/four.png"][0] == "unlabelled"
    assert "several classes at once (Cat, Dog)" in reasons["upload/three.png"][1]
    assert "Cat, Dog" in reasons["photos/four.png"][1]
    assert ImageMetadata.objects.get(image__name="upload/1f4d7a20-one.png").values == {
        "site": "north", "camera": "K1", "prediction": "Dog", "prediction score": 0.91, "prediction model": "resnet-3",
    }  # fmt: skip
    assert not Annotation.objects.exists()


def test_answers_wait_with_their_people_and_dates(project, job):
    rows = OfferedAnswer.objects.filter(image__name="upload/1f4d7a20-one.png").order_by("person__name")
    assert [(row.person.name, row.class_name, row.seconds) for row in rows] == [
        ("annotator 1", "Cat", 3.412), ("ben@example.org", "Cat", 2.0),
    ]  # fmt: skip
    assert rows[1].answered_at == datetime(2026, 3, 3, 10, tzinfo=UTC)
    assert OfferedAnswer.objects.count() == 6


def test_taken_answers_are_those_of_their_people(project, manager, job):
    """The classes cat and dog are there: names of classes are compared without regard to capitals."""
    project.learning.overlap = 2
    project.learning.save()
    offer = offer_of(project, manager)
    assert (dict(offer.people), offer.answers_of_people) == (
        {"annotator 1": 3, "annotator 2": 1, "annotator 3": 1, "ben@example.org": 1}, 6,
    )  # fmt: skip
    assert take_offered_answers(project=project, by=manager) == 6
    assert take_offered_answers(project=project, by=manager) == 0
    one = project.images.get(name="upload/1f4d7a20-one.png")
    assert (one.state, one.label.name) == (ImageState.LABELLED, "cat")
    four = project.images.get(name="photos/four.png")
    assert four.state == ImageState.DISPUTED
    answer = one.annotations.get(annotator__imported_person__name="ben@example.org")
    assert (answer.outcome, answer.seconds) == (Outcome.LABEL, 2.0)
    assert answer.answered_at == datetime(2026, 3, 3, 10, tzinfo=UTC)
    assert answer.given_at == answer.answered_at  # what pages and exports say
    assert one.annotations.get(pk=answer.pk).created_at > answer.answered_at
    assert project.images.get(name="photos/two.png").annotations.filter(outcome=Outcome.SKIP).count() == 1
    assert not Annotation.objects.filter(annotator=manager).exists()


def test_nobody_signs_in_as_an_imported_person(project, manager, job, rf):
    take_offered_answers(project=project, by=manager)
    user = User.objects.get(imported_person__name="ben@example.org")
    assert (user.is_active, user.has_usable_password()) == (False, False)
    assert project.memberships.get(user=user).deactivated_at is not None
    for password in ("", "!", "ben@example.org"):
        assert authenticate(rf.post("/login/"), username=user.username, password=password) is None


def test_names_of_real_people_are_not_taken(project, manager, annotator, tmp_path):
    """A file says that ann answered: our ann has not."""
    answer = {"completed_by": {"username": "ann"}, "result": [{"type": "choices", "value": {"choices": ["cat"]}}]}
    task = {"id": 1, "data": {"image": "a.png"}, "annotations": [answer]}
    path = make_zip(tmp_path / "a.zip", {"a.png": png(1), "x.json": json.dumps([task]).encode()})
    import_local(project=project, path=path, by=manager)
    assert take_offered_answers(project=project, by=manager) == 1
    assert Annotation.objects.get().annotator != annotator


def test_the_page_offers_them_and_escapes_names(project, manager, annotator, client_of, tmp_path):
    xss = "<script>alert(1)</script>"
    task = {"id": 1, "data": {"image": "a.png", xss: xss}, "annotations": [
        {"completed_by": xss, "result": [{"type": "choices", "value": {"choices": ["cat"]}}]}]}  # fmt: skip
    path = make_zip(tmp_path / "a.zip", {"a.png": png(1), "x.json": json.dumps([task]).encode()})
    job = import_local(project=project, path=path, by=manager)
    url = reverse("import", args=[project.slug, job.pk])
    page = client_of(manager).get(url).content.decode()
    assert "Take 1 answer of 1 person as theirs" in page
    assert xss not in page
    labels = reverse("import-labels", args=[project.slug, job.pk])
    assert client_of(annotator).post(labels, {"do": "people"}).status_code == 403
    for _ in range(2):
        assert client_of(manager).post(labels, {"do": "people"}).status_code == 302
    assert Annotation.objects.count() == 1
    for name in ("images", "answers", "people", "audit"):
        assert xss not in client_of(manager).get(reverse(name, args=[project.slug])).content.decode()


def test_new_classes_are_made_of_the_names_in_answers(project, manager, tmp_path):
    task = {"id": 1, "data": {"image": "a.png"}, "annotations": [
        {"completed_by": n, "result": [{"type": "choices", "value": {"choices": [name]}}]}
        for n, name in enumerate(["wolf", "fox"])]}  # fmt: skip
    path = make_zip(tmp_path / "a.zip", {"a.png": png(1), "x.json": json.dumps([task]).encode()})
    import_local(project=project, path=path, by=manager)
    assert offer_of(project, manager).new_names == ["fox", "wolf"]
    assert take_offered_answers(project=project, by=manager) == 0
    make_offered_classes(project=project, names=["fox", "wolf"])
    assert take_offered_answers(project=project, by=manager) == 2


def test_the_small_export_is_read(tmp_path):
    records = [
        {"image": "https://example.org/1.png", "id": 1, "choice": "Cat", "annotator": 1, "annotation_id": 1,
         "created_at": "2026-03-02T09:14:05Z", "updated_at": "2026-03-02T09:14:06Z", "lead_time": 3.4, "site": "north"},
        {"image": "/data/upload/4/1f4d7a20-one.png", "id": 2, "choice": {"choices": ["Cat", "Dog"]}, "annotator": 2,
         "annotation_id": 2, "created_at": "2026-03-02T09:14:05Z", "updated_at": "x", "lead_time": None},
    ]  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(records))
    with open_table(tmp_path / "a.json", "a.json", 10) as table:
        first, second = table.rows
    assert (first.url, first.label, dict(first.metadata)) == ("https://example.org/1.png", "Cat", {"site": "north"})
    assert [(answer.by, answer.label, answer.at) for answer in first.answers] == [
        ("annotator 1", "Cat", "2026-03-02T09:14:06Z")
    ]
    assert second.paths == ("1f4d7a20-one.png", "one.png")
    assert (second.label, second.answers) == ("", ())


NESTED = {"choices": {"choices": {"choices": []}}}


@pytest.mark.parametrize(
    "annotations",
    [
        7, "x", [7], [{"result": 7}], [{"result": [{"value": 7}]}], [{"completed_by": []}], [{"lead_time": 1e400}],
        [{"result": [{"value": NESTED}]}], [{"created_at": 5, "lead_time": "x", "completed_by": None}],
    ],
)  # fmt: skip
def test_shapes_that_no_tool_writes_do_no_harm(project, manager, tmp_path, annotations):
    task = {"id": [], "data": {"image": "a.png"}, "annotations": annotations, "predictions": [1, {"result": 3}]}
    path = make_zip(tmp_path / "a.zip", {"a.png": png(1), "x.json": json.dumps([task]).encode()})
    assert import_local(project=project, path=path, by=manager).added == 1


def test_who_chose_one_class_is_offered_beside_who_chose_several():
    row = task_row(
        {
            "data": {"image": "p00.png"},
            "annotations": [
                {"completed_by": 7, "result": [{"type": "choices", "value": {"choices": ["A"]}}]},
                {"completed_by": 8, "result": [{"type": "choices", "value": {"choices": ["A", "B"]}}]},
            ],
        }
    )
    assert row.label == "A" and [answer.by for answer in row.answers] == ["annotator 7"]
    assert row.note == "annotator 8 chose several classes at once (A, B): that answer is left out."


@pytest.mark.parametrize(
    ("text", "is_taken"), [("2026-03-03T10:00:00Z", True), ("2131-03-03T10:00:00Z", False), ("1971-01-01", False)]
)
def test_no_answer_was_given_in_years_to_come(text, is_taken):
    assert (moment_of(text) is not None) == is_taken


def test_clocks_of_others_may_be_some_hours_ahead():
    assert moment_of((clock.now() + timedelta(hours=13)).isoformat()) is not None
    assert moment_of((clock.now() + timedelta(hours=25)).isoformat()) is None
