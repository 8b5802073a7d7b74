"""Annotators propose classes, managers decide: answers wait, become labels, mean another class, or count no more."""

from __future__ import annotations

import json
import re
import uuid

import pytest
from django.core.exceptions import ValidationError
from django.urls import reverse

from labeler.models import Annotation, ClassProposal, Image
from labeler.selectors.labelling import recent_answers
from labeler.selectors.pool import labelled_images
from labeler.services.class_changes import archive_class, merge_class, undo_change
from labeler.services.classes import add_classes
from labeler.services.lease import lease_next
from labeler.services.proposals import accept_proposal, merge_proposal, refuse_proposal, take_back_proposal
from tests.labeler.queues import fill_queue, fresh


def propose(client_of, project, person, name: str, key: str = "", place=None) -> tuple[int, dict]:
    place = place or lease_next(project=fresh(project), annotator=person)[0]
    body = {
        "key": key or str(uuid.uuid4()), "image": place.image_id, "candidate": place.pk, "outcome": "label",
        "label_class": None, "proposed": name, "seconds": 1.0, "want": 1, "holding": [],
    }  # fmt: skip
    url = reverse("label-answer", args=[project.slug])
    reply = client_of(person).post(url, json.dumps(body), content_type="application/json")
    return reply.status_code, reply.json()


def states(project) -> list[str]:
    return list(project.images.order_by("position").values_list("state", flat=True))


def test_a_proposal_waits_and_nobody_learns_from_it_or_is_asked(client_of, open_project, annotator, manager) -> None:
    status, body = propose(client_of, open_project, annotator, "  Lynx ")
    assert status == 200
    assert len(body["items"]) == 1
    lynx = open_project.classes.get(name="Lynx")
    assert (lynx.fate, lynx.is_archived) == ("proposed", True)
    assert states(open_project)[0] == "set_aside"
    assert not labelled_images(open_project, is_holdout=False).exists()
    first = open_project.images.order_by("position")[0]
    held = lease_next(project=open_project, annotator=manager, want=5)
    assert first.pk not in [place.image_id for place in held]
    (shown,) = recent_answers(open_project, annotator)
    assert (shown["words"], shown["proposed"]) == ("proposed: Lynx", True)
    assert 'data-name="Lynx"' not in client_of(annotator).get(reverse("label", args=["signs"])).content.decode()


def test_a_repeated_send_is_one_answer_also_when_it_was_decided_meanwhile(
    client_of, open_project, annotator, manager
) -> None:
    place, key = lease_next(project=open_project, annotator=annotator)[0], str(uuid.uuid4())
    for _ in range(2):
        assert propose(client_of, open_project, annotator, "Lynx", key, place)[0] == 200
    refuse_proposal(label_class=open_project.classes.get(name="Lynx"), why="", by=manager)
    assert propose(client_of, open_project, annotator, "Lynx", key, place)[0] == 200
    assert Annotation.objects.count() == 1


@pytest.mark.parametrize("name", ["CAT", "cat", " Cat "])
def test_a_name_that_is_a_class_already_is_that_class(client_of, open_project, annotator, name) -> None:
    assert propose(client_of, open_project, annotator, name)[0] == 200
    assert (states(open_project)[0], Image.objects.exclude(label=None).get().label.name) == ("labelled", "cat")
    assert open_project.classes.count() == 3


def test_a_name_of_a_merged_class_means_the_other_one(client_of, open_project, annotator, manager) -> None:
    cat, dog = open_project.classes.get(name="cat"), open_project.classes.get(name="dog")
    merge_class(label_class=cat, into=dog, by=manager)
    assert propose(client_of, open_project, annotator, "cat")[0] == 200
    assert Image.objects.exclude(label=None).get().label == dog


@pytest.mark.parametrize(
    ("name", "words"),
    [("", "can be seen"), (" ", "can be seen"), ("x" * 101, "too long"), ("a\u202eb", "control"), ("owl", "archived"),
     ("Lynx", "refused")],
)  # fmt: skip
def test_what_is_no_name_for_a_class_is_refused_and_names_its_field(
    client_of, open_project, annotator, manager, name, words
) -> None:
    archive_class(label_class=open_project.classes.get(name="owl"), by=manager)
    propose(client_of, open_project, annotator, "Lynx")
    refuse_proposal(label_class=open_project.classes.get(name="Lynx"), why="", by=manager)
    status, body = propose(client_of, open_project, annotator, name)
    assert (status, body["field"]) == (400, "label_class")
    assert words in body["error"]


def test_nonsense_in_the_body_is_refused(client_of, open_project, annotator) -> None:
    assert propose(client_of, open_project, annotator, 7)[0] == 400
    assert propose(client_of, open_project, annotator, ["a"])[0] == 400


def test_a_project_that_takes_none_says_so(client_of, project, annotator, make_images) -> None:
    fill_queue(project, make_images(project, 2))
    status, body = propose(client_of, project, annotator, "Lynx")
    assert (status, body["error"]) == (400, "This project takes no new classes. Choose one that there is.")
    page = client_of(annotator).get(reverse("label", args=[project.slug])).content.decode()
    assert re.search(r"<details[^>]*data-propose data-absent hidden>", page)  # there, for the page to show it later


def test_accepted_its_answers_are_labels(client_of, open_project, annotator, manager) -> None:
    propose(client_of, open_project, annotator, "Lynx")
    propose(client_of, open_project, manager, "lynx")
    accept_proposal(label_class=open_project.classes.get(name="Lynx"), name="Luchs", by=manager)
    luchs = open_project.classes.get(name="Luchs")
    assert (luchs.fate, luchs.is_archived, luchs.shortcut) == ("", False, "4")
    assert Image.objects.filter(label=luchs).count() == 2
    assert set(ClassProposal.objects.values_list("decision", flat=True)) == {"“Lynx” is a class now: “Luchs”."}
    with pytest.raises(ValidationError, match="Somebody else"):
        accept_proposal(label_class=luchs, name="Luchs", by=manager)


def test_a_name_that_is_taken_is_not_accepted(client_of, open_project, annotator, manager) -> None:
    propose(client_of, open_project, annotator, "Lynx")
    lynx = open_project.classes.get(name="Lynx")
    with pytest.raises(ValidationError, match="There is a class"):
        accept_proposal(label_class=lynx, name="Cat", by=manager)
    lynx.refresh_from_db()
    assert lynx.fate == "proposed"


def test_merged_its_answers_mean_the_other_class_and_it_can_be_taken_back(
    client_of, open_project, annotator, manager
) -> None:
    propose(client_of, open_project, annotator, "Lynx")
    lynx, cat = open_project.classes.get(name="Lynx"), open_project.classes.get(name="cat")
    merge_proposal(label_class=lynx, into=cat, by=manager)
    assert Image.objects.get(label=cat).state == "labelled"
    assert "is called “cat” here" in ClassProposal.objects.get().decision
    undo_change(change=open_project.class_changes.get(kind="merge"), by=manager)
    lynx.refresh_from_db()
    assert (lynx.fate, lynx.merged_into, ClassProposal.objects.get().decision) == ("proposed", None, "")
    assert states(open_project)[0] == "set_aside"


def test_refused_its_images_are_asked_again_and_who_proposed_it_is_told_once(
    client_of, open_project, annotator, manager, stranger
) -> None:
    propose(client_of, open_project, annotator, "Lynx")
    refuse_proposal(label_class=open_project.classes.get(name="Lynx"), why="Say cat.", by=manager)
    assert states(open_project)[0] == "pool"
    page = client_of(annotator).get(reverse("label", args=["signs"])).content.decode()
    assert "“Lynx” was not taken as a class. Say cat. Its images are asked again." in page
    held = lease_next(project=open_project, annotator=annotator, want=5)
    first = open_project.images.order_by("position")[0].pk
    assert next(p for p in held if p.image_id == first).details["question"].startswith("“Lynx” was proposed for it")
    told = ClassProposal.objects.get()
    read = reverse("label-read", args=["signs"])
    client_of(manager).post(read, {"decision": told.pk})
    assert ClassProposal.objects.get().read_at is None
    client_of(annotator).post(read, {"decision": [told.pk, "x", "9" * 30]})
    assert ClassProposal.objects.get().read_at is not None
    assert "Lynx" not in client_of(annotator).get(reverse("label", args=["signs"])).content.decode()


def test_a_late_answer_with_a_refused_class_counts_for_nothing(client_of, open_project, annotator, manager) -> None:
    """From a page that was opened before, whose strip shows the proposal."""
    from labeler.services.annotate import record_answer

    propose(client_of, open_project, annotator, "Lynx")
    lynx = open_project.classes.get(name="Lynx")
    refuse_proposal(label_class=lynx, why="", by=manager)
    (place,) = lease_next(project=open_project, annotator=annotator)
    late = record_answer(
        project=open_project, annotator=annotator, image_id=place.image_id, candidate_id=place.pk, outcome="label",
        label_class_id=lynx.pk, key=uuid.uuid4(),
    )  # fmt: skip
    assert late.retracted_at is not None
    assert Image.objects.get(pk=place.image_id).state == "pool"


# --- Taken back by who proposed it -----------------------------------------------------------------------------------


def take_back(client_of, person, pk: int) -> str:
    url = reverse("proposal-take-back", args=["signs", pk])
    return client_of(person).post(url, follow=True).content.decode()


def test_while_it_waits_it_can_be_taken_back_and_its_image_is_asked_again(client_of, open_project, annotator) -> None:
    propose(client_of, open_project, annotator, "Lynx")
    lynx = open_project.classes.get(name="Lynx")
    own = reverse("annotator", args=["signs", annotator.pk])
    assert "Take back Lynx" in client_of(annotator).get(own).content.decode()
    page = take_back(client_of, annotator, lynx.pk)
    assert "You have taken “Lynx” back. Its 1 image is asked again." in page
    assert "Take back Lynx" not in page
    lynx.refresh_from_db()
    assert (lynx.fate, ClassProposal.objects.count()) == ("withdrawn", 0)
    answer = Annotation.objects.get()
    assert (answer.voided_by.kind, answer.voided_by.created_by) == ("withdraw", annotator)
    assert states(open_project)[0] == "pool"
    held = lease_next(project=open_project, annotator=annotator, want=5)
    first = open_project.images.order_by("position")[0].pk
    assert "taken back" in next(place for place in held if place.image_id == first).details["question"]
    assert open_project.audit.get(words__startswith="took back the proposed class “Lynx”").by == annotator
    assert "Perhaps you took it back already" in take_back(client_of, annotator, lynx.pk)


@pytest.mark.parametrize("decision", ["accept", "merge", "refuse"])
def test_a_decided_one_stays_and_says_so(client_of, open_project, annotator, manager, decision) -> None:
    propose(client_of, open_project, annotator, "Lynx")
    lynx, cat = open_project.classes.get(name="Lynx"), open_project.classes.get(name="cat")
    {
        "accept": lambda: accept_proposal(label_class=lynx, name="Lynx", by=manager),
        "merge": lambda: merge_proposal(label_class=lynx, into=cat, by=manager),
        "refuse": lambda: refuse_proposal(label_class=lynx, why="No.", by=manager),
    }[decision]()
    before = (states(open_project), list(Annotation.objects.values("retracted_at", "voided_by")))
    page = take_back(client_of, annotator, lynx.pk)
    assert "“Lynx” was decided on already, and cannot be taken back." in page
    assert "Take back Lynx" not in page
    assert (states(open_project), list(Annotation.objects.values("retracted_at", "voided_by"))) == before


def test_of_two_who_proposed_it_one_may_leave_the_other(client_of, open_project, annotator, manager) -> None:
    propose(client_of, open_project, annotator, "Lynx")
    propose(client_of, open_project, manager, "lynx")
    lynx = open_project.classes.get(name="Lynx")
    assert take_back_proposal(label_class=lynx, by=annotator) == 1
    lynx.refresh_from_db()
    assert (lynx.fate, ClassProposal.objects.get().by) == ("proposed", manager)
    assert Annotation.objects.get(retracted_at=None).annotator == manager
    assert (states(open_project)[0], states(open_project).count("set_aside")) == ("pool", 1)


def test_who_did_not_propose_it_changes_nothing(client_of, open_project, annotator, manager) -> None:
    propose(client_of, open_project, annotator, "Lynx")
    lynx = open_project.classes.get(name="Lynx")
    assert "You have no proposal of “Lynx”" in take_back(client_of, manager, lynx.pk)
    assert states(open_project)[0] == "set_aside"


def test_it_may_be_proposed_again_and_late_answers_of_old_pages_count_for_nothing(
    client_of, open_project, annotator
) -> None:
    from labeler.services.annotate import record_answer

    propose(client_of, open_project, annotator, "Lynx")
    lynx = open_project.classes.get(name="Lynx")
    take_back_proposal(label_class=lynx, by=annotator)
    image = open_project.images.order_by("position")[3]
    late = record_answer(
        project=open_project, annotator=annotator, image_id=image.pk, candidate_id=None, outcome="label",
        label_class_id=lynx.pk, key=uuid.uuid4(),
    )  # fmt: skip
    assert (late.retracted_at is None, late.voided_by.kind) == (False, "withdraw")
    assert propose(client_of, open_project, annotator, "LYNX")[0] == 200
    lynx.refresh_from_db()
    assert (lynx.fate, open_project.classes.count()) == ("proposed", 4)
    accept_proposal(label_class=lynx, name="Lynx", by=annotator)
    assert Image.objects.filter(label=lynx).count() == 1


@pytest.mark.parametrize("end", ["take back", "refuse"])
def test_what_was_refused_or_taken_back_may_be_offered_by_a_manager(
    client_of, open_project, annotator, manager, end
) -> None:
    propose(client_of, open_project, annotator, "Lynx")
    lynx = open_project.classes.get(name="Lynx")
    if end == "refuse":
        refuse_proposal(label_class=lynx, why="", by=manager)
    else:
        take_back_proposal(label_class=lynx, by=annotator)
    client = client_of(manager)
    assert "Offer Lynx again" in client.get(reverse("classes", args=["signs"])).content.decode()
    client.post(reverse("class-restore", args=["signs", lynx.pk]))
    lynx.refresh_from_db()
    assert (lynx.fate, lynx.is_archived, Image.objects.filter(label=lynx).exists()) == ("", False, False)


def test_the_plain_form_proposes_too(client_of, open_project, annotator) -> None:
    client, url = client_of(annotator), reverse("label", args=["signs"])
    page = client.get(url).content.decode()
    assert 'name="proposed"' in page
    place = lease_next(project=open_project, annotator=annotator)[0]
    form = {"annotator": annotator.pk, "key": str(uuid.uuid4()), "image": place.image_id, "candidate": place.pk}
    for _ in range(2):
        assert client.post(url, {**form, "propose": "1", "proposed": "Lynx"}).status_code == 302
    assert Annotation.objects.get().label_class.name == "Lynx"
    reply = client.post(url, {**form, "key": str(uuid.uuid4()), "propose": "1", "proposed": ""}, follow=True)
    assert "Give it a name that can be seen." in reply.content.decode()


# --- The manager's pages ----------------------------------------------------------------------------------------------


def test_managers_see_how_many_wait_and_decide_on_the_page(client_of, open_project, annotator, manager) -> None:
    for name in ("Lynx", "Wolf", "Elk"):
        propose(client_of, open_project, annotator, name)
    client, url = client_of(manager), reverse("proposals", args=["signs"])
    for page in (reverse("monitor", args=["signs"]), reverse("classes", args=["signs"])):
        assert "3 proposed classes" in client.get(page).content.decode()
    page = client.get(url).content.decode()
    assert page.count("proposal-images") == 3
    assert "By ann; 1 image waits." in page
    decide = {row.name: reverse("proposal-decide", args=["signs", row.pk]) for row in open_project.classes.all()}
    cat = open_project.classes.get(name="cat")
    client.post(decide["Lynx"], {"decision": "accept", "name": "Lynx"})
    client.post(decide["Wolf"], {"decision": "merge", "into": cat.pk})
    client.post(decide["Elk"], {"decision": "refuse", "why": "No."})
    assert states(open_project)[:3] == ["labelled", "labelled", "pool"]
    for form, words in (
        ({"decision": "accept", "name": "Lynx"}, "Somebody else has decided"),
        ({"decision": "merge", "into": "x"}, "Choose the class"),
        ({"decision": "burn"}, "Accept, merge or refuse"),
    ):
        assert words in client.post(decide["Lynx"], form, follow=True).content.decode()
    assert "No proposed class waits" in client.get(url).content.decode()


def test_its_queries_do_not_grow_with_the_proposals(
    client_of, open_project, annotator, manager, django_assert_max_num_queries
) -> None:
    client = client_of(manager)
    for number in range(5):
        propose(client_of, open_project, annotator, f"animal {number}")
    with django_assert_max_num_queries(9):
        client.get(reverse("proposals", args=["signs"]))


def test_a_switch_allows_them(client_of, project, manager) -> None:
    client, url = client_of(manager), reverse("class-proposing", args=["signs"])
    for _ in range(2):
        client.post(url, {"takes_proposals": "on"})
    assert fresh(project).takes_proposals
    assert project.audit.filter(words__contains="allowed annotators").count() == 1
    client.post(url, {})
    assert not fresh(project).takes_proposals


def test_adding_a_proposed_class_by_hand_is_not_passed_over_in_silence(
    client_of, open_project, annotator, manager
) -> None:
    propose(client_of, open_project, annotator, "Lynx")
    assert add_classes(project=open_project, names=["lynx"]) == []
    page = client_of(manager).post(reverse("classes", args=["signs"]), {"names": "lynx"}, follow=True).content.decode()
    assert "Not offered: “Lynx” (proposed)." in page
