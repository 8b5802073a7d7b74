"""Comments from who labels to who manages, replies, and the guide's examples."""

from __future__ import annotations

import json
import threading
import uuid

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.urls import reverse

from labeler.models import AuditEntry, Candidate, ClassExample, Comment, Project, Reason
from labeler.selectors.comments import guide_classes
from labeler.services.comments import (
    ExampleRefused,
    close_comment,
    comment_image,
    hide_example,
    note_reply_read,
    show_example,
)
from labeler.services.gold import mark_gold
from labeler.services.projects import change_learning
from labeler.services.rounds import start_cold_round
from tests.labeler.queues import answer_place, fresh

LABEL = "/p/signs/label/"


def comment(project, by, image, text: str = "Is this a lynx?", key=None) -> Comment:
    return comment_image(project=project, by=by, image_id=image.pk, text=text, key=key or uuid.uuid4())


def open_count(project) -> int:
    return Project.objects.get(pk=project.pk).open_comments


def test_a_comment_waits_is_counted_and_recorded(project, queue, annotator) -> None:
    key = uuid.uuid4()
    first = comment(project, annotator, queue[0], "  Is this a lynx? ", key)
    assert comment(project, annotator, queue[0], "again", key) == first
    assert (first.text, open_count(project), Comment.objects.count()) == ("Is this a lynx?", 1, 1)
    assert AuditEntry.objects.get(kind="comments").words.endswith("Is this a lynx?")


@pytest.mark.parametrize("text", ["", "  \n", "x" * 1001, "\0"])
def test_a_comment_without_words_or_too_long_is_refused(project, queue, annotator, text) -> None:
    with pytest.raises(ValidationError):
        comment(project, annotator, queue[0], text)


def test_an_image_of_another_project_is_not_there(project, queue, annotator) -> None:
    other = Project.objects.create(name="Other", slug="other")
    with pytest.raises(ValidationError, match="no such image"):
        comment(other, annotator, queue[0])


def test_a_reply_closes_it_once_and_is_read_once(project, queue, annotator, manager) -> None:
    row = comment(project, annotator, queue[0])
    assert close_comment(project=project, by=manager, comment_id=row.pk, reply="Yes: call it cat.")
    assert not close_comment(project=project, by=manager, comment_id=row.pk, reply="No.")
    row.refresh_from_db()
    assert (row.reply, row.closed_by, open_count(project)) == ("Yes: call it cat.", manager, 0)
    note_reply_read(project=project, person=manager, comment_id=row.pk)  # not theirs to read
    row.refresh_from_db()
    assert row.read_at is None
    note_reply_read(project=project, person=annotator, comment_id=row.pk)
    row.refresh_from_db()
    assert row.read_at is not None


def test_the_script_sends_it_once_and_nonsense_names_the_field(project, queue, annotator, client_of) -> None:
    client, url = client_of(annotator), reverse("label-comment", args=["signs"])
    body = {"key": str(uuid.uuid4()), "image": queue[0].pk, "text": "Blurred"}

    def send(**changes) -> tuple[int, dict]:
        reply = client.post(url, json.dumps(body | changes), content_type="application/json")
        return reply.status_code, reply.json()

    assert send() == send() == (200, {"saved": body["key"], "items": [], "empty": None})
    assert Comment.objects.count() == 1
    for field, value in (("key", "x"), ("image", "x"), ("image", True), ("text", 7), ("text", "")):
        status, reply = send(**{"key": str(uuid.uuid4()), field: value})
        assert (status, reply["field"]) == (400, field)


def test_from_the_form_to_the_manager_and_back(project, queue, annotator, manager, client_of) -> None:
    client, boss = client_of(annotator), client_of(manager)
    sent = {"comment_key": str(uuid.uuid4()), "image": queue[0].pk, "text": "Is <this> a lynx?"}
    for _ in range(2):
        reply = client.post(reverse("comment-send", args=["signs"]), sent, follow=True)
    assert "Sent to the managers." in reply.content.decode()
    page = boss.get(reverse("comments", args=["signs"])).content.decode()
    assert "Is &lt;this&gt; a lynx?" in page
    assert '1<span class="visually-hidden"> open comment<' in page
    row = Comment.objects.get()
    close = reverse("comment-close", args=["signs", row.pk])
    assert "The reply is empty." in boss.post(close, {"with_reply": "1", "reply": " "}, follow=True).content.decode()
    boss.post(close, {"with_reply": "1", "reply": "Cat is right."})
    assert "Somebody else has closed it" in boss.post(close, {}, follow=True).content.decode()
    assert "Reply: Cat is right." in client.get(LABEL).content.decode()
    client.post(reverse("reply-read", args=["signs"]), {"comment": row.pk})
    assert "Reply: Cat is right." not in client.get(LABEL).content.decode()
    assert "Cat is right." in boss.get(reverse("comments", args=["signs"]) + "?show=closed").content.decode()
    assert "No comments wait." in boss.get(reverse("comments", args=["signs"])).content.decode()


def test_closed_without_a_word_nobody_is_told(project, queue, annotator, manager, client_of) -> None:
    row = comment(project, annotator, queue[0])
    client_of(manager).post(reverse("comment-close", args=["signs", row.pk]), {})
    assert "Reply:" not in client_of(annotator).get(LABEL).content.decode()


def test_the_list_has_a_constant_number_of_statements(
    project, queue, annotator, manager, client_of, django_assert_max_num_queries
) -> None:
    for image in queue[:20]:
        comment(project, annotator, image)
    client = client_of(manager)
    with django_assert_max_num_queries(7):
        client.get(reverse("comments", args=["signs"]))


# --- Examples -------------------------------------------------------------------------------------------------------


@pytest.fixture
def labelled(project, queue, annotator):
    for place in Candidate.objects.order_by("rank")[:2]:
        answer_place(project, annotator, place)
    return queue[:2]


def test_an_example_is_shown_as_long_as_it_has_that_label(project, labelled, annotator, manager, client_of) -> None:
    url = reverse("example", args=["signs", labelled[0].pk])
    for _ in range(2):
        client_of(manager).post(url, {"show": "on"})
    assert (ClassExample.objects.count(), Project.objects.get(pk=project.pk).examples) == (1, 1)
    page = client_of(annotator).get(reverse("guide", args=["signs"])).content.decode()
    assert "Example of cat" in page
    assert "<html" in page
    part = client_of(annotator).get(reverse("guide", args=["signs"]), headers={"HX-Request": "true"}).content.decode()
    assert "Example of cat" in part
    assert "<html" not in part
    drawer = client_of(annotator).get(LABEL).content.decode()
    assert 'data-part="/p/signs/label/guide/"' in drawer
    assert "Example of cat" not in drawer  # fetched when it is opened
    mark_gold(project=project, image_id=labelled[0].pk, label_class=project.classes.get(name="dog"), by=manager)
    assert guide_classes(project) == []
    client_of(manager).post(url, {})
    assert Project.objects.get(pk=project.pk).examples == 0


def test_only_labelled_images_and_not_too_many(project, queue, labelled, manager, monkeypatch) -> None:
    with pytest.raises(ExampleRefused, match="no label yet"):
        show_example(project=project, image_id=queue[5].pk, by=manager)
    monkeypatch.setattr("labeler.services.comments.MOST_EXAMPLES", 1)
    show_example(project=project, image_id=labelled[0].pk, by=manager)
    with pytest.raises(ExampleRefused, match="Take one out"):
        show_example(project=project, image_id=labelled[1].pk, by=manager)
    assert not hide_example(project=project, image_id=labelled[1].pk, by=manager)


@pytest.mark.parametrize("is_example", [True, False])
def test_nobody_is_checked_with_an_example(project, make_images, annotator, manager, is_example) -> None:
    images = make_images(project, 30)
    change_learning(project=project, values={"gold_share": 0.5})
    mark_gold(project=project, image_id=images[0].pk, label_class=project.classes.get(name="cat"), by=manager)
    if is_example:
        show_example(project=project, image_id=images[0].pk, by=manager)
    start_cold_round(project=fresh(project), reason="for a test")
    assert Candidate.objects.filter(reason=Reason.GOLD).exists() is not is_example


@pytest.mark.django_db(transaction=True)
def test_who_sends_at_once_counts_right(make_user, make_images) -> None:
    from labeler.services.projects import create_project

    people = [make_user(name) for name in ("ana", "ben", "cem")]
    project = create_project(name="Signs", guidelines="", class_names=["cat"], by=people[0])
    (image,) = make_images(project, 1)
    keys, problems = [uuid.uuid4() for _ in people], []

    def work(number: int) -> None:
        try:
            for _ in range(3):
                comment(project, people[number], image, key=keys[number])
        except Exception as error:  # noqa: BLE001 (whatever it is, the test looks at it)
            problems.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=[number % 3]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert problems == []
    assert (Comment.objects.count(), open_count(project)) == (3, 3)


def test_a_reply_that_was_typed_is_sent_whichever_button_closes(project, make_images, annotator, manager, client_of):
    """Enter, or an old page without the style that hides the other button: what was written is not lost."""
    image = make_images(project, 1)[0]
    comment = comment_image(project=project, image_id=image.pk, by=annotator, text="A lynx?", key=uuid.uuid4())
    client_of(manager).post(reverse("comment-close", args=["signs", comment.pk]), {"reply": "Cat is right."})
    assert Comment.objects.get().reply == "Cat is right."
