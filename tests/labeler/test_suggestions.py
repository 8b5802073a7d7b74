"""What the model says: shown as the project wants it, never where it would spoil a measurement, kept with answers."""

from __future__ import annotations

import json
import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.translation import override

from labeler.models import Annotation, Candidate, LearningConfig, Reason, Scope
from labeler.selectors.labelling import item_of
from labeler.services.lease import lease_next
from labeler.services.tokens import make_token
from tests.labeler.queues import fresh

LABEL = "/p/signs/label/"


@pytest.fixture
def place(project, queue) -> Candidate:
    cat, dog, _ = project.classes.all()
    likely = [{"class": dog.pk, "mean": 0.6, "std": 0.2}, {"class": cat.pk, "mean": 0.93, "std": 0.04}]
    Candidate.objects.update(reason=Reason.ACQUIRED, details={"likely": likely})
    return Candidate.objects.order_by("rank").first()


SAID = "cat: 0.93 ± 0.04"


def ask(client, address: str, body: dict) -> dict:
    reply = client.post(f"{LABEL}{address}/", json.dumps(body), content_type="application/json")
    assert reply.status_code == 200, reply.content
    return reply.json()


def answer_to(item: dict, label_class, **more) -> dict:
    return {
        "key": str(uuid.uuid4()), "image": item["image"], "candidate": item["candidate"], "outcome": "label",
        "label_class": label_class.pk, "want": 2, **more,
    }  # fmt: skip


def kept(key: str) -> str:
    return Annotation.objects.get(key=key).suggestion


def suggestion(project, annotator) -> dict | None:
    (place,) = lease_next(project=fresh(project), annotator=annotator)
    names = {row.pk: row.name for row in project.classes.all()}
    return item_of(fresh(project), place, names)["suggestion"]


def everything_sent_before_an_answer(client, token: str) -> dict[str, str]:
    """The page, with its script and without; the queue as it is fetched ahead; and the queue of the API."""
    reply = client.post(
        "/api/v1/projects/signs/queue/next",
        json.dumps({"want": 3}),
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert reply.status_code == 200, reply.content
    return {
        "page": client.get(LABEL).content.decode(),
        "next": json.dumps(ask(client, "next", {"want": 3})),
        "api": reply.content.decode(),
    }


@pytest.fixture
def token(annotator) -> str:
    return make_token(user=annotator, name="t", scopes=[Scope.READ, Scope.ANNOTATE], days=None).token


@pytest.mark.parametrize(("when", "is_sent"), [("hidden", False), ("after", False), ("before", True)])
def test_before_an_answer_classes_are_sent_only_where_they_are_shown(
    project, place, annotator, client_of, token, when, is_sent
) -> None:
    LearningConfig.objects.update(suggestions=when)
    Candidate.objects.update(score=1.25, percentile=99.5)
    sent = everything_sent_before_an_answer(client_of(annotator), token)
    for where, text in sent.items():
        assert ("0.93" in text or "0.60" in text) == is_sent, where
        assert "99.5" in text and "1.25" in text, where  # why it was chosen is told all the same


def test_never_is_the_default_and_tells_nothing_with_the_reply(project, place, annotator, client_of) -> None:
    client = client_of(annotator)
    item = ask(client, "next", {"want": 1})["items"][0]
    reply = ask(client, "answer", body := answer_to(item, project.classes.first()))
    assert "told" not in reply and "0.93" not in json.dumps(reply) and "0.60" not in json.dumps(reply)
    assert kept(body["key"]) == ""


def test_after_the_answer_it_comes_with_the_reply(project, place, annotator, client_of) -> None:
    LearningConfig.objects.update(suggestions="after")
    client = client_of(annotator)
    item = ask(client, "next", {"want": 1})["items"][0]
    body = answer_to(item, project.classes.get(name="dog"))
    cat = project.classes.get(name="cat").pk
    told = ask(client, "answer", body)["told"]
    assert told == {"class": cat, "words": SAID, "when": "after"}
    assert kept(body["key"]) == "after"
    assert ask(client, "answer", body)["told"] == told  # the first reply was lost
    corrected = answer_to(item, project.classes.get(name="cat"), corrects=body["key"])
    ask(client, "answer", corrected)
    assert kept(corrected["key"]) == "before"  # they knew by then


def test_the_api_tells_it_with_the_reply(project, place, annotator, client, token) -> None:
    LearningConfig.objects.update(suggestions="after")
    lease_next(project=fresh(project), annotator=annotator)
    body = {
        "key": str(uuid.uuid4()), "image": place.image_id, "candidate": place.pk, "outcome": "label",
        "label_class": project.classes.first().pk, "suggestion": "",
    }  # fmt: skip
    reply = client.post(
        "/api/v1/projects/signs/answers",
        json.dumps(body),
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert reply.json()["told"] == {"label_class": project.classes.get(name="cat").pk, "words": SAID, "when": "after"}
    assert kept(body["key"]) == "after"


def test_an_image_that_comes_back_is_answered_by_who_was_told(project, place, annotator, client_of) -> None:
    """By an undo, whose image has a new place in a new queue by then."""
    LearningConfig.objects.update(suggestions="after")
    client = client_of(annotator)
    item = ask(client, "next", {"want": 1})["items"][0]
    ask(client, "answer", body := answer_to(item, project.classes.first()))
    ask(client, "undo", {"key": str(uuid.uuid4()), "target": body["key"]})
    LearningConfig.objects.update(suggestions="hidden")
    ask(client, "answer", again := answer_to(item, project.classes.first()))
    assert kept(again["key"]) == "before"


def test_another_person_was_not_told(project, place, annotator, manager, client_of) -> None:
    LearningConfig.objects.update(suggestions="after", overlap=2)
    client = client_of(annotator)
    item = ask(client, "next", {"want": 1})["items"][0]
    ask(client, "answer", answer_to(item, project.classes.first()))
    LearningConfig.objects.update(suggestions="hidden")
    other = client_of(manager)
    ask(other, "answer", body := answer_to({**item, "candidate": None}, project.classes.first()))
    assert kept(body["key"]) == ""


@pytest.mark.parametrize("when", ["hidden", "after", "before"])
def test_no_way_takes_more_statements(project, place, annotator, client_of, when) -> None:
    LearningConfig.objects.update(suggestions=when)
    client = client_of(annotator)
    items = ask(client, "next", {"want": 2})["items"]
    body = answer_to(items[0], project.classes.first(), holding=[items[1]["candidate"]])
    with CaptureQueriesContext(connection) as captured:
        reply = ask(client, "answer", body)
    assert len(reply["items"]) == 1
    work = [q["sql"] for q in captured if not q["sql"].startswith(("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT"))]
    assert len(work) <= (8 if when == "hidden" else 9), "\n".join(work)  # the names of the classes


@pytest.mark.parametrize(
    "reason", [Reason.HOLDOUT, Reason.GOLD, Reason.RELABEL, Reason.GRID_CHECK, Reason.RANDOM, Reason.COLD_START]
)
def test_never_where_it_would_spoil_a_measurement(project, place, annotator, reason) -> None:
    """Images drawn at random look like gold ones; if those alone showed nothing, people would know them."""
    LearningConfig.objects.update(suggestions="before")
    Candidate.objects.update(reason=reason)
    assert suggestion(project, annotator) is None


def test_an_archived_class_is_not_suggested(project, place, annotator) -> None:
    LearningConfig.objects.update(suggestions="before")
    names = {row.pk: row.name for row in project.classes.exclude(name="cat")}
    (held,) = lease_next(project=fresh(project), annotator=annotator)
    assert item_of(fresh(project), held, names)["suggestion"]["words"] == "dog: 0.60 ± 0.20"
    with override("de"):
        assert item_of(fresh(project), held, names)["suggestion"]["words"] == "dog: 0,60 ± 0,20"


@pytest.mark.parametrize(("sent", "stays"), [("before", "before"), ("after", ""), ("", ""), ("x", ""), (7, "")])
def test_what_stood_on_the_page_only_the_page_knows(project, place, annotator, client_of, sent, stays) -> None:
    """The setting may have changed since; what is told after answers the server knows better."""
    client = client_of(annotator)
    item = ask(client, "next", {"want": 1})["items"][0]
    ask(client, "answer", body := answer_to(item, project.classes.first(), suggestion=sent))
    assert kept(body["key"]) == stays


def test_the_form_offers_it_before_the_answer(project, place, annotator, client_of) -> None:
    LearningConfig.objects.update(suggestions="before")
    page = client_of(annotator).get(LABEL).content.decode()
    assert "<strong data-suggested>cat: 0.93 ± 0.04</strong>" in page
    assert '<input type="hidden" name="suggestion" value="before">' in page


def test_the_form_tells_it_after_the_answer(project, place, annotator, client_of) -> None:
    LearningConfig.objects.update(suggestions="after")
    client = client_of(annotator)
    page = client.get(LABEL).content.decode()
    assert "<strong data-suggested></strong>" in page
    assert '<input type="hidden" name="suggestion" value="">' in page
    sent = {
        "key": str(uuid.uuid4()), "image": place.image_id, "candidate": place.pk, "suggestion": "",
        "label_class": project.classes.get(name="dog").pk,
    }  # fmt: skip
    assert "The model says cat: 0.93 ± 0.04" in client.post(LABEL, sent, follow=True).content.decode()
    assert Annotation.objects.get().suggestion == "after"
