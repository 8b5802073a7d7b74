"""Gold images: marked, asked about unseen, never changed by answers, and raced for."""

from __future__ import annotations

import threading
import uuid

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from labeler.models import (
    Annotation,
    Candidate,
    CandidateState,
    GoldImage,
    Image,
    ImageState,
    Project,
    Reason,
)
from labeler.services.annotate import record_answer, retract_answer
from labeler.services.gold import GoldRefused, mark_gold, mark_labels_gold, unmark_gold
from labeler.services.lease import claim_places, lease_next
from labeler.services.projects import change_learning
from labeler.services.rounds import start_cold_round
from tests.labeler.queues import answer_place, fill_queue, fresh


@pytest.fixture
def cat(project):
    return project.classes.get(name="cat")


@pytest.fixture
def gold(project, make_images, manager, cat) -> Image:
    """One gold image, with a place in a queue of four."""
    images = make_images(project, 4)
    mark_gold(project=project, image_id=images[0].pk, label_class=cat, by=manager)
    round_ = fill_queue(project, images[1:])
    Candidate.objects.create(project=project, round=round_, image=images[0], rank=-1, reason=Reason.GOLD)
    return Image.objects.get(pk=images[0].pk)


def test_marking_labels_it(gold, cat) -> None:
    assert (gold.state, gold.label, gold.label_probability) == (ImageState.LABELLED, cat, 1.0)


def test_an_answer_on_it_counts_and_changes_nothing(project, gold, annotator, cat) -> None:
    (place,) = lease_next(project=fresh(project), annotator=annotator)
    assert place.image_id == gold.pk
    answer = answer_place(project, annotator, place, label="dog")
    gold.refresh_from_db()
    assert (gold.state, gold.label, gold.is_contested) == (ImageState.LABELLED, cat, False)
    assert answer.candidate.reason == Reason.GOLD
    assert Candidate.objects.get(pk=place.pk).state == CandidateState.ANSWERED
    (following,) = lease_next(project=fresh(project), annotator=annotator)
    assert following.image_id != gold.pk


def test_undo_brings_it_back_to_the_same_person(project, gold, annotator, cat) -> None:
    (place,) = lease_next(project=fresh(project), annotator=annotator)
    answer = answer_place(project, annotator, place, label="dog")
    retract_answer(project=fresh(project), annotator=annotator, target_key=answer.key, key=uuid.uuid4())
    (again,) = lease_next(project=fresh(project), annotator=annotator)
    assert again.pk == place.pk
    gold.refresh_from_db()
    assert gold.label == cat


def test_who_marked_it_is_not_asked(project, gold, manager) -> None:
    assert all(place.image_id != gold.pk for place in claim_places(project=fresh(project), annotator=manager, count=4))


def test_it_is_a_label_that_a_wrong_label_gives_way_to(project, make_images, annotator, manager, cat) -> None:
    (image,) = make_images(project, 1)
    fill_queue(project, [image])
    (place,) = lease_next(project=fresh(project), annotator=annotator)
    answer_place(project, annotator, place, label="dog")
    mark_gold(project=project, image_id=image.pk, label_class=cat, by=manager)
    image.refresh_from_db()
    assert image.label == cat
    assert unmark_gold(project=fresh(project), image_id=image.pk)
    image.refresh_from_db()
    assert image.label.name == "dog"
    assert not unmark_gold(project=fresh(project), image_id=image.pk)


def test_without_answers_it_goes_back_into_the_pool(project, make_images, manager, cat) -> None:
    (image,) = make_images(project, 1)
    mark_gold(project=project, image_id=image.pk, label_class=cat, by=manager)
    unmark_gold(project=fresh(project), image_id=image.pk)
    image.refresh_from_db()
    assert (image.state, image.label, image.label_probability) == (ImageState.POOL, None, None)


def test_marked_while_it_is_on_a_screen(project, make_images, annotator, manager, cat) -> None:
    """The answer counts, and the known class stays."""
    (image,) = make_images(project, 1)
    fill_queue(project, [image])
    (place,) = lease_next(project=fresh(project), annotator=annotator)
    mark_gold(project=project, image_id=image.pk, label_class=cat, by=manager)
    answer_place(project, annotator, place, label="dog")
    image.refresh_from_db()
    assert (image.state, image.label) == (ImageState.LABELLED, cat)
    assert Annotation.objects.get().label_class.name == "dog"


def test_unmarked_while_it_is_on_a_screen(project, gold, annotator) -> None:
    (place,) = lease_next(project=fresh(project), annotator=annotator)
    unmark_gold(project=fresh(project), image_id=gold.pk)
    answer_place(project, annotator, place, label="dog")
    gold.refresh_from_db()
    assert (gold.state, gold.label.name) == (ImageState.LABELLED, "dog")


def test_a_holdout_image_that_waits_cannot_be(project, make_images, manager, cat) -> None:
    (image,) = make_images(project, 1, is_holdout=True)
    with pytest.raises(GoldRefused, match="random"):
        mark_gold(project=project, image_id=image.pk, label_class=cat, by=manager)
    assert not GoldImage.objects.exists()


def test_several_at_once_with_the_labels_they_have(project, make_images, manager, cat) -> None:
    first, second, _ = make_images(project, 3)
    Image.objects.filter(pk__in=[first.pk, second.pk]).update(state=ImageState.LABELLED, label=cat)
    mark_gold(project=project, image_id=second.pk, label_class=cat, by=manager)
    marked = mark_labels_gold(project=project, positions=[0, 1, 2, 99], by=manager)
    assert (marked.marked, marked.already, marked.unlabelled, marked.unknown) == (1, 1, 1, 1)
    assert marked.words == ("1 image is gold now. Left out: 1 gold already; 1 without a label; 1 not in this project.")
    with pytest.raises(GoldRefused):
        mark_labels_gold(project=project, positions=[], by=manager)


def test_a_queue_has_its_share_and_nobody_gets_one_twice(project, make_images, manager, annotator, cat) -> None:
    images = make_images(project, 100)
    for image in images[:8]:
        mark_gold(project=project, image_id=image.pk, label_class=cat, by=manager)
    change_learning(project=project, values={"gold_share": 0.1, "budget": 60, "holdout_target": 0})
    start_cold_round(project=fresh(project))
    queue = Candidate.objects.filter(round=fresh(project).queue_round)
    golden = queue.filter(reason=Reason.GOLD)
    assert golden.count() in (6, 7)  # 60 / 0.9 - 60
    assert golden.values("image").distinct().count() == golden.count()  # one person is active who did not mark them
    asked = []
    while places := lease_next(project=fresh(project), annotator=annotator):
        asked.append(places[0].image_id)
        answer_place(project, annotator, places[0])
    assert len(asked) == len(set(asked)) == 60 + golden.count()


def test_they_stand_anywhere_in_the_queue(project, make_images, manager, annotator, cat) -> None:
    images = make_images(project, 300)
    for image in images[:40]:
        mark_gold(project=project, image_id=image.pk, label_class=cat, by=manager)
    change_learning(project=project, values={"gold_share": 0.2, "budget": 100, "holdout_target": 0})
    start_cold_round(project=fresh(project))
    ranks = list(Candidate.objects.filter(reason=Reason.GOLD).values_list("rank", flat=True))
    assert len(ranks) in (25, 26)
    assert min(ranks) < 40
    assert max(ranks) > 85


def test_more_people_get_the_same_image_each_once(project, make_images, make_user, manager, cat) -> None:
    from labeler.models import Membership, Role

    images = make_images(project, 50)
    mark_gold(project=project, image_id=images[0].pk, label_class=cat, by=manager)
    people = [make_user(f"p{number}") for number in range(3)]
    for person in people:
        Membership.objects.create(project=project, user=person, role=Role.ANNOTATOR)
    change_learning(project=project, values={"gold_share": 0.3, "budget": 20, "holdout_target": 0})
    start_cold_round(project=fresh(project))
    golden = Candidate.objects.filter(reason=Reason.GOLD)
    assert golden.count() == 4  # three and ann; not mia, who marked it
    assert len(set(golden.values_list("rank", flat=True))) == 4
    got = []
    for person in people:
        while places := lease_next(project=fresh(project), annotator=person):
            got.append((person.pk, places[0].image_id))
            answer_place(project, person, places[0])
    assert sum(image == images[0].pk for _, image in got) == 3
    assert len(got) == len(set(got))


def test_the_label_page_does_not_tell(client_of, project, gold, annotator, manager) -> None:
    client = client_of(annotator)
    reply = client.post(reverse("label-next", args=[project.slug]), {"want": 4}, content_type="application/json").json()
    items = {item["image"]: item for item in reply["items"]}
    known, other = items.pop(gold.pk), next(iter(items.values()))
    assert set(known) == set(other)
    same = ("reason", "reason_words", "score", "percentile", "likely", "group", "measure", "unit", "round")
    assert {name: known[name] for name in same} == {name: other[name] for name in same}
    assert "gold" not in str(reply)
    page = client.get(reverse("image", args=[project.slug, gold.pk])).content.decode()
    assert "gold" not in page.lower()
    assert "in the pool" in page
    assert ">cat<" not in page
    assert "none yet" in page
    images = client.get(reverse("images", args=[project.slug])).content.decode()
    assert images.count("in the pool") == 4
    assert (
        client_of(manager).get(reverse("image", args=[project.slug, gold.pk])).content.decode().count("known to be cat")
    )


def test_an_answer_on_gold_takes_no_more_statements(client_of, project, gold, annotator, cat) -> None:
    from django.test.utils import CaptureQueriesContext

    client = client_of(annotator)
    reply = client.post(reverse("label-next", args=[project.slug]), {"want": 1}, content_type="application/json").json()
    body = {
        "key": str(uuid.uuid4()),
        "image": reply["items"][0]["image"],
        "candidate": reply["items"][0]["candidate"],
        "outcome": "label",
        "label_class": cat.pk,
        "seconds": 1.0,
        "want": 1,
        "holding": [],
    }
    assert body["image"] == gold.pk
    with CaptureQueriesContext(connection) as captured:
        answer = client.post(reverse("label-answer", args=[project.slug]), body, content_type="application/json")
    assert answer.status_code == 200
    work = [q["sql"] for q in captured if not q["sql"].startswith(("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT"))]
    assert len(work) <= 8, "\n".join(work)


def test_a_queue_with_nothing_but_gold_left_is_dry(project, make_images, manager, annotator, cat) -> None:
    """Gold places are nobody's reason to wait: the person who may not have them gets others."""
    from labeler.services.triggers import round_due

    images = make_images(project, 30)
    mark_gold(project=project, image_id=images[0].pk, label_class=cat, by=manager)
    round_ = fill_queue(project, [])
    Candidate.objects.create(project=project, round=round_, image=images[0], rank=1, reason=Reason.GOLD)
    due = round_due(fresh(project))
    assert due is not None
    assert "empty" in due.reason


@pytest.mark.django_db(transaction=True)
def test_marked_and_answered_at_the_same_time(project, make_images, annotator, manager, cat) -> None:
    """Whoever is first, the image ends with its known class, and the answer is kept."""
    images = make_images(project, 12)
    fill_queue(project, images)
    dog = project.classes.get(name="dog")
    places = claim_places(project=fresh(project), annotator=annotator, count=3)
    for place in places:
        start, errors = threading.Barrier(2), []

        def answer(place=place, start=start, errors=errors) -> None:
            try:
                start.wait(10)
                record_answer(
                    project=fresh(project), annotator=annotator, image_id=place.image_id, candidate_id=place.pk,
                    outcome="label", label_class_id=dog.pk, key=uuid.uuid4(),
                )  # fmt: skip
            except Exception as error:  # noqa: BLE001
                errors.append(error)
            finally:
                connection.close()

        def mark(place=place, start=start, errors=errors) -> None:
            try:
                start.wait(10)
                mark_gold(project=project, image_id=place.image_id, label_class=cat, by=manager)
            except Exception as error:  # noqa: BLE001
                errors.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=answer), threading.Thread(target=mark)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert errors == []
        image = Image.objects.get(pk=place.image_id)
        assert (image.state, image.label) == (ImageState.LABELLED, cat)
        assert Annotation.objects.filter(image=image, retracted_at__isnull=True).count() == 1
    assert Project.objects.count() == 1


def listed(client: Client, **query: object) -> list[int]:
    return [image.pk for image in client.get("/p/signs/images/", query).context["page"].images]


def test_no_filter_finds_out_which_images_are_gold(project, gold, annotator, manager, cat, client_of) -> None:
    """To who has not been asked about it, it waits like the others: in lists, too."""
    client = client_of(annotator)
    waiting = list(project.images.order_by("position").values_list("pk", flat=True))
    assert listed(client, state="pool") == waiting and gold.pk in waiting
    assert listed(client, state="labelled") == listed(client, **{"class": cat.pk}) == []
    assert listed(client, state="pool", **{"class": cat.pk}) == []
    page = client.get("/p/signs/images/", {"class": cat.pk})
    assert page.context["matching"] == 0
    assert listed(client_of(manager), state="labelled") == [gold.pk]

    (place,) = lease_next(project=fresh(project), annotator=annotator)
    assert place.image_id == gold.pk
    answer_place(project, annotator, place, label="cat")
    assert listed(client, state="labelled") == listed(client, **{"class": cat.pk}) == [gold.pk]
    assert gold.pk not in listed(client, state="pool")
