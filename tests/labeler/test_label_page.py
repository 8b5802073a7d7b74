"""The Label page: what its script calls."""

from __future__ import annotations

import base64
import json
import re
import uuid

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from PIL import Image as Picture

from labeler.models import Annotation, Candidate, Image, ImageState, Pack, RoundState
from labeler.services.class_changes import archive_class
from labeler.services.classes import add_classes, change_class
from labeler.services.importing import import_local
from tests.labeler.queues import fill_queue


def call(client: Client, what: str, body: object) -> tuple[int, dict]:
    reply = client.post(f"/p/signs/label/{what}/", json.dumps(body), content_type="application/json")
    return reply.status_code, reply.json()


def answer_to(item: dict, label: int | None = None, **changes: object) -> dict:
    outcome = "skip" if label is None else "label"
    return {
        "key": str(uuid.uuid4()), "image": item["image"], "candidate": item["candidate"], "outcome": outcome,
        "label_class": label, "seconds": 1.5, "answered_at": "2026-01-01T00:00:00Z", "want": 3, "holding": [],
        **changes,
    }  # fmt: skip


def test_next_gives_items_in_rank_order_with_their_reason(client_of, annotator, project, queue) -> None:
    status, body = call(client_of(annotator), "next", {"want": 3})
    assert status == 200
    assert [item["image"] for item in body["items"]] == [image.pk for image in queue[:3]]
    assert body["items"][0]["reason"] == "random"
    assert body["progress"] == {"labelled": 0, "total": 40, "mine_today": 0, "seconds": None}
    assert body["empty"] is None


def test_next_tells_which_classes_the_project_has_now(client_of, annotator, project, queue) -> None:
    """An open page learns of a class that is added, renamed, archived, or has another key."""
    client = client_of(annotator)
    of_page = re.search('data-classes="(.+?)"', client.get("/p/signs/label/").content.decode())
    assert of_page is not None
    versions = [of_page[1], call(client, "next", {})[1]["classes"]]
    assert versions[0] == versions[1]
    cat, dog, owl = project.classes.all()
    for change in (
        lambda: add_classes(project=project, names=["elk"]),
        lambda: change_class(label_class=cat, name="tom", shortcut=cat.shortcut, colour=cat.colour),
        lambda: change_class(label_class=dog, name=dog.name, shortcut="9", colour=dog.colour),
        lambda: archive_class(label_class=owl),
    ):
        change()
        versions.append(call(client, "next", {})[1]["classes"])
    assert len(set(versions)) == 5


def test_a_small_image_comes_with_its_place_and_a_large_one_by_its_address(
    client_of, annotator, manager, project, tmp_path
) -> None:
    """One request less between an answer and the next picture."""
    noise = Picture.effect_noise((200, 200), 90)
    tiny = noise.crop((0, 0, 20, 20))
    for name, picture in (("a.png", tiny), ("b.png", noise), ("c.png", tiny.transpose(Picture.Transpose.ROTATE_90))):
        picture.save(tmp_path / name)
    import_local(project=project, path=tmp_path, by=manager)
    small, large, lost = project.images.order_by("name")
    fill_queue(project, [small, large, lost])
    Image.objects.filter(pk=lost.pk).update(pack=Pack.objects.create(project=project, name="gone.pack", size=9))
    client = client_of(annotator)
    items = call(client, "next", {"want": 3})[1]["items"]
    kind, _, content = items[0]["src"].partition(";base64,")
    assert kind == "data:image/png"
    assert base64.b64decode(content) == client.get(items[0]["url"]).content
    assert [item["src"] for item in items[1:]] == [item["url"] for item in items[1:]]
    assert f'<img src="{items[0]["src"]}"' in client.get("/p/signs/label/").content.decode()


def test_the_page_does_not_tell_which_images_measure_the_accuracy(client_of, annotator, project, queue) -> None:
    Candidate.objects.filter(image=queue[1]).update(reason="holdout")
    Candidate.objects.filter(image=queue[2]).update(reason="random")
    items = call(client_of(annotator), "next", {"want": 3})[1]["items"]
    assert {(item["reason"], item["reason_words"]) for item in items} == {("random", "drawn at random")}


def test_next_leaves_out_what_the_page_holds(client_of, annotator, project, queue) -> None:
    client = client_of(annotator)
    first = call(client, "next", {"want": 3})[1]["items"]
    again = call(client, "next", {"want": 3, "holding": [first[0]["candidate"]]})[1]["items"]
    assert [item["candidate"] for item in again] == [item["candidate"] for item in first[1:]]


def test_an_answer_is_saved_and_brings_what_there_is_room_for(client_of, annotator, project, queue) -> None:
    client = client_of(annotator)
    items = call(client, "next", {"want": 3})[1]["items"]
    holding = [item["candidate"] for item in items[1:]]
    body = answer_to(items[0], project.classes.first().pk, holding=holding)
    status, reply = call(client, "answer", body)
    assert (status, reply["saved"]) == (200, body["key"])
    assert [item["image"] for item in reply["items"]] == [queue[3].pk]
    row = Annotation.objects.get()
    assert (row.label_class.name, row.seconds, row.annotator) == ("cat", 1.5, annotator)


def test_a_repeated_answer_is_harmless(client_of, annotator, project, queue) -> None:
    client = client_of(annotator)
    item = call(client, "next", {"want": 1})[1]["items"][0]
    body = answer_to(item, project.classes.first().pk)
    assert call(client, "answer", body)[0] == call(client, "answer", body)[0] == 200
    assert Annotation.objects.count() == 1


def test_answer_and_next_lease_take_eight_statements(client_of, annotator, project, queue) -> None:
    client = client_of(annotator)
    items = call(client, "next", {"want": 3})[1]["items"]
    body = answer_to(items[0], project.classes.first().pk, holding=[item["candidate"] for item in items[1:]])
    with CaptureQueriesContext(connection) as captured:
        status, reply = call(client, "answer", body)
    assert status == 200
    assert len(reply["items"]) == 1
    work = [q["sql"] for q in captured if not q["sql"].startswith(("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT"))]
    assert len(work) <= 8, "\n".join(work)


def test_undo_brings_the_image_back(client_of, annotator, project, queue) -> None:
    client = client_of(annotator)
    item = call(client, "next", {"want": 1})[1]["items"][0]
    body = answer_to(item, project.classes.first().pk)
    call(client, "answer", body)
    status, reply = call(client, "undo", {"key": str(uuid.uuid4()), "target": body["key"]})
    assert (status, reply["undone"]) == (200, body["key"])
    assert Image.objects.get(pk=item["image"]).state == ImageState.POOL
    assert call(client, "next", {"want": 1})[1]["items"][0]["image"] == item["image"]


def test_a_correction_names_what_it_corrects(client_of, annotator, project, queue) -> None:
    client = client_of(annotator)
    item = call(client, "next", {"want": 1})[1]["items"][0]
    cat, dog, _ = project.classes.all()
    body = answer_to(item, cat.pk)
    call(client, "answer", body)
    status, _ = call(client, "answer", answer_to(item, dog.pk, corrects=body["key"]))
    assert status == 200
    assert Image.objects.get(pk=item["image"]).label == dog


def test_leases_are_renewed_and_given_back(client_of, annotator, project, queue) -> None:
    client = client_of(annotator)
    ids = [item["candidate"] for item in call(client, "next", {"want": 2})[1]["items"]]
    assert call(client, "leases", {"renew": ids})[1] == {"held": ids}
    reply = client.post("/p/signs/label/leases/", {"release": ids})  # as sendBeacon does
    assert reply.status_code == 200
    assert not Candidate.objects.filter(leased_to__isnull=False).exists()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"key": "no uuid"}, "key"),
        ({"image": "7; drop table"}, "image"),
        ({"image": None}, "image"),
        ({"label_class": 10**9}, "label_class"),
        ({"outcome": "undo", "label_class": None}, "outcome"),
        ({"candidate": -1}, "candidate"),
        ({"candidate": 10**30}, "candidate"),
        ({"holding": "all"}, "holding"),
    ],
)
def test_nonsense_is_refused_beside_its_field(client_of, annotator, project, queue, change, field) -> None:
    client = client_of(annotator)
    item = call(client, "next", {"want": 1})[1]["items"][0]
    status, reply = call(client, "answer", {**answer_to(item, project.classes.first().pk), **change})
    assert (status, reply["field"]) == (400, field)
    assert reply["error"]


@pytest.mark.parametrize("body", ["", "nonsense", "[]", '"text"', "{" * 70_000])
def test_what_is_no_json_object_is_refused(client_of, annotator, project, queue, body) -> None:
    for what in ("next", "answer", "undo", "leases"):
        reply = client_of(annotator).post(f"/p/signs/label/{what}/", body, content_type="application/json")
        assert reply.status_code == 400


@pytest.mark.parametrize("seconds", [-1, 1e9, "fast", None, float("inf"), True])
def test_a_clock_that_went_wrong_costs_no_answer(client_of, annotator, project, queue, seconds) -> None:
    client = client_of(annotator)
    item = call(client, "next", {"want": 1})[1]["items"][0]
    status, _ = call(
        client, "answer", answer_to(item, project.classes.first().pk, seconds=seconds, answered_at="1601-01-01")
    )
    assert status == 200
    assert Annotation.objects.get().seconds in {None, 3600.0}


@pytest.mark.parametrize("what", ["next", "answer", "undo", "leases"])
def test_who_may_call(client_of, stranger, project, queue, what) -> None:
    assert call(Client(), what, {})[0] == 401
    assert client_of(stranger).post(f"/p/signs/label/{what}/", "{}", content_type="application/json").status_code == 404
    assert client_of(stranger).get(f"/p/signs/label/{what}/").status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(stranger)
    assert strict.post(f"/p/signs/label/{what}/", "{}", content_type="application/json").status_code == 403


def test_a_page_made_for_somebody_else_gets_and_sends_nothing(client_of, annotator, manager, project, queue) -> None:
    """Another person has signed in in the same browser since: what the open page keeps is not theirs to send."""
    item = call(client_of(annotator), "next", {"want": 1})[1]["items"][0]
    client = client_of(manager)
    for what, body in (("answer", answer_to(item, project.classes.first().pk)), ("next", {"want": 3})):
        reply = client.post(
            f"/p/signs/label/{what}/",
            json.dumps(body),
            content_type="application/json",
            headers={"X-Annotator": str(annotator.pk)},
        )
        assert reply.status_code == 401
        assert "mia is signed in" in reply.json()["error"]
    assert not Annotation.objects.exists()


def test_folder_names_do_not_give_the_answer_away(client_of, annotator, project, queue) -> None:
    """A folder is often named after the class, and known labels stay hidden from annotators."""
    Image.objects.filter(project=project).update(name="secret-class/1.png")
    client = client_of(annotator)
    assert call(client, "next", {"want": 1})[1]["items"][0]["name"] == "1.png"
    assert "secret-class" not in client.get("/p/signs/label/").content.decode()


def test_nobody_holds_more_than_a_few_images(client_of, annotator, project, queue) -> None:
    items = call(client_of(annotator), "next", {"want": 1000})[1]["items"]
    assert len(items) == 8


@pytest.mark.parametrize(
    ("acquisition", "measure", "unit"),
    [
        ("power_predictive_entropy", "predictive entropy", "nats"),
        ("top_mutual_information", "mutual information", "nats"),
        ("power_margin", "1 − margin", ""),
        ("top_least_confidence", "1 − confidence", ""),
        ("soft_rank_mean_std", "mean std", ""),
        ("softmax_epig", "EPIG", "nats"),
        ("batchbald", "mutual information", "nats"),
        ("random", "predictive entropy", "nats"),
    ],
)
def test_a_score_comes_with_its_measure(client_of, annotator, project, queue, acquisition, measure, unit) -> None:
    place = Candidate.objects.select_related("round").order_by("rank").first()
    place.round.config["acquisition"] = acquisition
    place.round.save()
    cat, dog, _ = project.classes.all()
    likely = [{"class": cat.pk, "mean": 0.5, "std": 0.25}, {"class": dog.pk, "mean": 0.4, "std": 0.2}]
    Candidate.objects.filter(pk=place.pk).update(score=1.25, percentile=99.5, details={"likely": likely})
    item = call(client_of(annotator), "next", {"want": 1})[1]["items"][0]
    assert (item["measure"], item["unit"], item["score"], item["percentile"]) == (measure, unit, 1.25, 99.5)
    assert item["likely"] == []  # it says why it was chosen, and no class


def test_the_page_costs_a_fixed_number_of_statements(
    client_of, annotator, project, queue, django_assert_max_num_queries
) -> None:
    client = client_of(annotator)
    client.get("/p/signs/label/")
    with django_assert_max_num_queries(16):
        client.get("/p/signs/label/")


@pytest.mark.parametrize("body", [{"release": ["x"]}, {"renew": ["1e9"]}, {"release": ["-1"]}, {"hold": ["1"]}, {}])
def test_nonsense_about_leases_is_refused(client_of, annotator, project, queue, body) -> None:
    assert client_of(annotator).post("/p/signs/label/leases/", body).status_code == 400


def test_an_image_of_another_project_is_not_answered(
    client_of, annotator, project, queue, make_images, manager
) -> None:
    from labeler.models import LearningConfig, Project

    other = Project.objects.create(name="Other", slug="other")
    LearningConfig.objects.create(project=other)
    foreign = make_images(other, 1)[0]
    body = answer_to({"image": foreign.pk, "candidate": None}, project.classes.first().pk)
    status, reply = call(client_of(annotator), "answer", body)
    assert (status, reply["field"]) == (400, "image")


@pytest.mark.parametrize(
    ("prepare", "why"),
    [
        (lambda _project: None, "all_answered"),
        (lambda project: project.rounds.create(number=2, state=RoundState.FITTING, seed=1), "all_answered"),
        (lambda project: project.chunks.all().delete(), "no_images"),
        (lambda project: project.classes.update(is_archived=True), "no_classes"),
    ],
)
def test_nothing_to_answer_says_why(client_of, annotator, project, make_images, prepare, why) -> None:
    make_images(project, 2, state=ImageState.BAD)
    prepare(project)
    body = call(client_of(annotator), "next", {"want": 3})[1]
    assert (body["items"], body["empty"]["why"]) == ([], why)


@pytest.mark.parametrize(("count", "words"), [(1, "The only image has its"), (2, "All 2 images have their")])
def test_who_is_done_is_thanked(client_of, annotator, project, make_images, count, words) -> None:
    make_images(project, count, state=ImageState.BAD)
    body = call(client_of(annotator), "next", {"want": 3})[1]
    assert body["empty"]["words"] == f"{words} answers. Thank you."


def test_nobody_is_asked_before_there_is_a_class(client_of, annotator, project, queue) -> None:
    """All that one could say is skip, unsure or bad image."""
    project.classes.update(is_archived=True)
    body = call(client_of(annotator), "next", {"want": 3})[1]
    assert (body["items"], body["empty"]["why"]) == ([], "no_classes")
    assert not Candidate.objects.filter(leased_to__isnull=False).exists()


@pytest.mark.usefixtures("project")
def test_in_an_empty_project_a_manager_is_led_on_and_nobody_is_offered_tools(client_of, manager, annotator) -> None:
    text = client_of(manager).get("/p/signs/label/").content.decode()
    assert "A manager can import" not in text
    assert re.search(r'<p data-way-out="no_images" ><a [^>]*href="/p/signs/imports/new/"', text), text
    assert '<p data-way-out="no_classes" hidden>' in text
    assert '<form method="post" data-undo-form hidden>' in text
    reply = call(client_of(manager), "next", {"want": 1})[1]
    assert reply["empty"]["words"] == "There are no images yet."
    text = client_of(annotator).get("/p/signs/label/").content.decode()
    assert "A manager can import some." in text
    assert "data-way-out" not in text


def test_others_hold_the_rest(client_of, annotator, manager, project, make_images) -> None:
    fill_queue(project, make_images(project, 1))
    call(client_of(manager), "next", {"want": 1})
    assert call(client_of(annotator), "next", {"want": 1})[1]["empty"]["why"] == "others_hold"


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_moment_past_the_ends_of_the_calendar_costs_no_answer(client_of, annotator, project, queue, moment) -> None:
    client = client_of(annotator)
    item = call(client, "next", {"want": 1})[1]["items"][0]
    status, _ = call(client, "answer", answer_to(item, project.classes.first().pk, answered_at=moment))
    assert status == 200
    assert Annotation.objects.get().answered_at is None


def test_brackets_without_end_are_no_answer(client_of, annotator, queue) -> None:
    reply = client_of(annotator).post(
        "/p/signs/label/answer/", data="[" * 9000 + "]" * 9000, content_type="application/json"
    )
    assert reply.status_code == 400
