"""What an annotator has not read yet reaches the open Label page with the queue, in one statement."""

from __future__ import annotations

import json
import re
import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from labeler.models import ClassProposal, Comment, Project
from labeler.selectors.news import news_for
from labeler.services.comments import close_comment, comment_image

LABEL = "/p/signs/label/"
ABSENT = r"<[^>]*%s[^>]*\bdata-absent\b"  # what the script leaves hidden for now


@pytest.fixture
def reply(project, queue, annotator, manager) -> Comment:
    row = comment_image(project=project, by=annotator, image_id=queue[0].pk, text="A <lynx>?", key=uuid.uuid4())
    close_comment(project=project, by=manager, comment_id=row.pk, reply="No, a cat.")
    return row


@pytest.fixture
def decision(project, annotator) -> ClassProposal:
    words = "“Lynx” is a class now."
    return ClassProposal.objects.create(label_class=project.classes.first(), by=annotator, decision=words)


def ask(client, address: str, body: dict) -> dict:
    reply = client.post(f"{LABEL}{address}/", json.dumps(body), content_type="application/json")
    assert reply.status_code == 200, reply.content
    return reply.json()


def test_both_come_with_the_queue_until_they_are_read(client_of, annotator, project, reply, decision) -> None:
    client = client_of(annotator)
    unread = ask(client, "next", {"want": 1})["unread"]
    assert unread["marks"] == f"decision-{decision.pk} reply-{reply.pk}"
    for words in ("Reply: No, a cat.", "“A &lt;lynx&gt;?”", "“Lynx” is a class now.", "csrfmiddlewaretoken"):
        assert words in unread["html"]
    assert unread["marks"] in client.get(LABEL).content.decode()  # the page knows what it shows
    client.post(f"{LABEL}reply/read/", {"comment": reply.pk})
    assert ask(client, "next", {"want": 1})["unread"]["marks"] == f"decision-{decision.pk}"
    client.post(f"{LABEL}read/", {"decision": decision.pk})
    assert ask(client, "next", {"want": 1})["unread"] == {"marks": "", "html": ""}


def test_they_are_their_persons_alone(client_of, manager, project, reply, decision) -> None:
    assert ask(client_of(manager), "next", {"want": 1})["unread"] == {"marks": "", "html": ""}


def test_what_waits_or_was_closed_without_a_word_is_no_news(project, queue, annotator, manager) -> None:
    for answer in (None, ""):
        row = comment_image(project=project, by=annotator, image_id=queue[0].pk, text="?", key=uuid.uuid4())
        if answer is not None:
            close_comment(project=project, by=manager, comment_id=row.pk, reply=answer)
    ClassProposal.objects.create(label_class=project.classes.first(), by=annotator)
    assert news_for(project, annotator) == []


def test_all_of_it_is_one_statement(project, annotator, reply, decision, django_assert_num_queries) -> None:
    with django_assert_num_queries(1):
        assert len(news_for(project, annotator)) == 2


def test_an_answer_asks_for_no_news(client_of, annotator, project, queue, reply) -> None:
    client = client_of(annotator)
    item = ask(client, "next", {"want": 1})["items"][0]
    body = {
        "key": str(uuid.uuid4()), "image": item["image"], "candidate": item["candidate"], "outcome": "label",
        "label_class": project.classes.first().pk,
    }  # fmt: skip
    with CaptureQueriesContext(connection) as captured:
        assert "unread" not in ask(client, "answer", body)
    assert not any("labeler_comment" in query["sql"] or "labeler_classproposal" in query["sql"] for query in captured)


def test_whether_there_is_a_guide_comes_with_the_queue(project, annotator, client_of) -> None:
    """The open page shows its button only then."""
    client = client_of(annotator)
    page = client.get(reverse("label", args=[project.slug])).content.decode()
    assert re.search(ABSENT % "data-guide-open", page) and ask(client, "next", {"want": 1})["guide"] is False
    for changes in ({"guidelines": "Look at it."}, {"guidelines": "", "examples": 1}):
        Project.objects.filter(pk=project.pk).update(**changes)
        assert ask(client, "next", {"want": 1})["guide"] is True
        page = client.get(reverse("label", args=[project.slug])).content.decode()
        assert "data-guide-open" in page and not re.search(ABSENT % "data-guide-open", page)


def test_whether_classes_may_be_proposed_comes_with_the_queue(project, annotator, client_of) -> None:
    """What it shows then is on the page already."""
    client = client_of(annotator)
    for is_allowed in (False, True):
        Project.objects.filter(pk=project.pk).update(takes_proposals=is_allowed)
        assert ask(client, "next", {"want": 1})["proposals"] is is_allowed
        page = client.get(reverse("label", args=[project.slug])).content.decode()
        assert 'name="proposed"' in page
        assert bool(re.search(ABSENT % "data-propose", page)) is not is_allowed
