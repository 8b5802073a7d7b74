"""The pages of classes: many of them, their order, and surgery with its preview."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from labeler.models import Image, Round, RoundState, Trigger
from labeler.services import classes as service
from labeler.services.class_changes import archive_class, merge_class
from tests.labeler.queues import fill_queue
from tests.labeler.test_class_changes import answer, label_of, named


@pytest.fixture
def images(project, make_images) -> list[Image]:
    images = make_images(project, 6)
    fill_queue(project, images)
    return images


def url(name: str, *arguments: object) -> str:
    return reverse(name, args=["signs", *arguments])


def text_of(reply) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", reply.content.decode()))


# --- Many -------------------------------------------------------------------------------------------------------------


def test_a_thousand_classes_are_pasted_paged_and_found(
    project, manager, client_of, django_assert_max_num_queries
) -> None:
    client = client_of(manager)
    names = "\n".join(f"class {number:04}" for number in range(1000))
    assert "1000 added." in client.post(url("classes"), {"names": names}, follow=True).content.decode()
    with django_assert_max_num_queries(13):
        first = client.get(url("classes"))
    assert [row.label_class.name for row in first.context["classes"].rows][:4] == ["cat", "dog", "owl", "class 0000"]
    assert len(first.content) < 150_000
    assert "Page 1 of 11; 1,003 classes" in text_of(first)
    last = client.get(url("classes"), {"page": "11"}).context["classes"].rows
    assert (last[-1].label_class.name, last[-1].place, last[-1].is_last) == ("class 0999", 1003, True)
    found = client.get(url("classes"), {"find": "CLASS 099"})
    assert [row.label_class.name for row in found.context["classes"].rows] == [f"class 099{n}" for n in range(10)]
    assert "No class has “x” in its name" not in text_of(found)
    assert "No class has “zzz” in its name" in text_of(client.get(url("classes"), {"find": "zzz"}))
    for nonsense in ("0", "-1", "99999", "x", "²", ""):
        assert client.get(url("classes"), {"page": nonsense}).status_code == 200


# --- The order, by keyboard and without scripts -----------------------------------------------------------------------


def test_after_a_move_the_page_has_the_focus_where_it_was(project, manager, client_of) -> None:
    client, owl = client_of(manager), named(project, "owl")
    reply = client.post(url("class-move", owl.pk), {"to": "up", "find": "", "page": "1"})
    page = client.get(reply.headers["Location"]).content.decode()
    focused = re.findall(r"<button[^>]*autofocus[^>]*>", page)
    assert len(focused) == 1
    assert 'aria-label="Move owl up"' in focused[0]
    reply = client.post(url("class-move", owl.pk), {"to": "up"})  # at the end the button is off: the other has it
    focused = re.findall(r"<button[^>]*autofocus[^>]*>", client.get(reply.headers["Location"]).content.decode())
    assert len(focused) == 1
    assert 'aria-label="Move owl down"' in focused[0]


def test_a_class_moves_to_a_place(project, manager, client_of) -> None:
    client, cat = client_of(manager), named(project, "cat")
    client.post(url("class-move", cat.pk), {"place": "3"})
    assert list(project.classes.values_list("name", flat=True)) == ["dog", "owl", "cat"]
    client.post(url("class-move", cat.pk), {"place": "99"})
    client.post(url("class-move", named(project, "owl").pk), {"place": "1"})
    assert list(project.classes.values_list("name", flat=True)) == ["owl", "dog", "cat"]
    for nonsense in ("", "x", "-1", "²"):
        reply = client.post(url("class-move", cat.pk), {"place": nonsense}, follow=True)
        assert "A place is a number" in reply.content.decode()


# --- Surgery ----------------------------------------------------------------------------------------------------------


def test_a_merge_shows_first_what_it_changes_and_then_does_it(project, manager, annotator, images, client_of) -> None:
    cat, dog = named(project, "cat"), named(project, "dog")
    for image, label in zip(images, ["cat", "cat", "dog"], strict=False):
        answer(project, annotator, image, label)
    Image.objects.filter(pk=images[1].pk).update(is_holdout=True)
    for number, folder in ((7, "rounds/7"), (8, "")):
        Round.objects.create(
            project=project, number=number, trigger=Trigger.BUTTON, reason="", seed=0, state=RoundState.DONE,
            classes=[cat.pk, dog.pk], folder=folder,
        )  # fmt: skip
    client = client_of(manager)
    preview = text_of(client.get(url("class-merge", cat.pk), {"into": dog.pk}))
    assert "Merge “cat” into “dog”" in preview
    assert "2 Answers named “cat”: they stay as they were given, and mean “dog”" in preview
    assert "1 Labelled images: they become “dog”, which is the label of 1 image now" in preview
    assert "1 Labelled images of the holdout: they do so, too" in preview
    assert "1 Rounds that have learned it" in preview
    assert label_of(images[0]) == ("labelled", "cat")
    for _ in range(2):  # a double submit
        reply = client.post(url("class-merge", cat.pk), {"into": dog.pk})
        assert reply.headers["Location"] == url("class-changes")
    assert label_of(images[0]) == ("labelled", "dog")
    assert "Merged “cat” into “dog”" in text_of(client.get(url("class-changes")))
    assert "merged into dog" in text_of(client.get(url("classes")))
    assert "It was merged into" in text_of(client.get(url("class-edit", cat.pk)))


def test_a_split_and_an_archiving_show_what_they_change(project, manager, annotator, images, client_of) -> None:
    cat, dog, client = named(project, "cat"), named(project, "dog"), client_of(manager)
    answer(project, annotator, images[0], "dog")
    preview = text_of(client.get(url("class-split", dog.pk), {"names": "hound\nwolf"}))
    assert "Split “dog” into “hound”, “wolf”" in preview
    assert "1 Answers named “dog”: they stay as they were given, and count no more" in preview
    assert "1 Places at most that come before all else in the queue" in preview
    assert "No answer names it" in text_of(client.get(url("class-split", cat.pk), {"names": "a\nb"}))
    assert client.post(url("class-split", dog.pk), {"names": "hound\nwolf"}).status_code == 302
    assert label_of(images[0]) == ("pool", None)
    answer(project, annotator, images[1], "cat")
    preview = text_of(client.get(url("class-archive", cat.pk)))
    assert "1 Labelled images: they keep their label" in preview


def test_taking_back_shows_what_it_changes_and_what_it_leaves(project, manager, annotator, images, client_of) -> None:
    client = client_of(manager)
    answer(project, annotator, images[0], "cat")
    change = merge_class(label_class=named(project, "cat"), into=named(project, "dog"), by=manager)
    answer(project, annotator, images[1], "dog")
    preview = text_of(client.get(url("class-change-undo", change.pk)))
    assert "1 Answers named “cat”, late ones too: they mean “cat” again" in preview
    assert "1 Answers given since as “dog”: they stay so" in preview
    reply = client.post(url("class-change-undo", change.pk), follow=True)
    assert reply.redirect_chain == [(url("class-changes"), 302)]
    assert "Done. It stands under Changes." in text_of(reply)  # what took back is not taken back
    assert client.post(url("class-change-undo", change.pk)).headers["Location"] == url("class-changes")
    assert label_of(images[0]) == ("labelled", "cat")
    reply = client.get(url("class-change-undo", change.pk), follow=True)
    assert "It was taken back already." in text_of(reply)


def test_what_cannot_be_taken_back_says_why(project, manager, client_of) -> None:
    first = merge_class(label_class=named(project, "cat"), into=named(project, "dog"), by=manager)
    merge_class(label_class=named(project, "dog"), into=named(project, "owl"), by=manager)
    client = client_of(manager)
    reply = client.get(url("class-change-undo", first.pk), follow=True)
    assert "merged “dog” into “owl”. Take that back first." in text_of(reply)
    refused = text_of(client.post(url("class-change-undo", first.pk)))
    assert "Take that back first. Nothing was changed." in refused


@pytest.mark.parametrize("names", ["cat\ncat mirrored", "owl\nwolf"])
def test_a_split_that_would_be_refused_is_refused_before_its_button(project, manager, client_of, names) -> None:
    """Into itself, or into a class that is archived: no numbers and no button that could only fail."""
    archive_class(label_class=named(project, "owl"), by=manager)
    reply = client_of(manager).get(url("class-split", named(project, "cat").pk), {"names": names})
    page = text_of(reply)
    assert "is what is split" in page or "“owl” is archived" in page
    assert "What changes" not in page and 'type="submit">Split<' not in reply.content.decode()
    assert "See what changes" in page  # the names can be written anew


def test_a_merge_that_would_be_refused_is_refused_before_its_button(project, manager, client_of) -> None:
    cat, dog, owl = (named(project, name) for name in ("cat", "dog", "owl"))
    merge_class(label_class=cat, into=dog, by=manager)
    reply = client_of(manager).get(url("class-merge", cat.pk), {"into": owl.pk})
    assert "“cat” was merged already." in text_of(reply)
    assert 'type="submit">Merge<' not in reply.content.decode()


@pytest.mark.parametrize(
    ("name", "form", "words"),
    [
        ("class-merge", {}, "This is needed."),
        ("class-merge", {"into": "x"}, "Choose a class that is offered."),
        ("class-merge", {"into": "999999"}, "Choose a class that is offered."),
        ("class-split", {"names": ""}, "This is needed."),
        ("class-split", {"names": "a"}, "A class is split into two or more."),
        ("class-split", {"names": "a\nA"}, "stands there twice"),
        ("class-split", {"names": "cat\nb"}, "is what is split"),
    ],
)
def test_nonsense_is_said_on_the_page_and_nothing_changes(project, manager, client_of, name, form, words) -> None:
    reply = client_of(manager).post(url(name, named(project, "cat").pk), form)
    assert reply.status_code == 200
    assert words in text_of(reply)
    assert not project.class_changes.exists()
    assert project.classes.count() == 3


def test_a_class_of_another_project_is_not_merged_into(project, manager, client_of, make_user) -> None:
    from labeler.services.projects import create_project

    other = create_project(name="Other", guidelines="", class_names=["elk"], by=manager)
    form = {"into": other.classes.get().pk}
    reply = client_of(manager).post(url("class-merge", named(project, "cat").pk), form)
    assert "Choose a class that is offered." in text_of(reply)


def test_the_list_of_changes_has_a_fixed_number_of_queries(
    project, manager, client_of, django_assert_max_num_queries
) -> None:
    assert "No class has been added, changed, moved, merged" in text_of(client_of(manager).get(url("class-changes")))
    service.add_classes(project=project, names=[f"class {number}" for number in range(12)])
    dog = named(project, "dog")
    for number in range(12):
        merge_class(label_class=named(project, f"class {number}"), into=dog, by=manager)
    client = client_of(manager)
    with django_assert_max_num_queries(9):
        client.get(url("class-changes"))


def test_taking_back_is_offered_only_where_it_works(project, manager, annotator, images, client_of) -> None:
    service.add_classes(project=project, names=["elk"], by=manager)
    service.add_classes(project=project, names=["fox"], by=manager)
    answer(project, annotator, images[0], "fox")
    first = merge_class(label_class=named(project, "cat"), into=named(project, "dog"), by=manager)
    page = client_of(manager).get(url("class-changes")).content.decode()
    assert 'aria-label="Take back: added “elk”"' in page
    assert 'aria-label="Take back: added “fox”"' not in page  # it has an answer
    assert url("class-change-undo", first.pk) in page
    archive_class(label_class=named(project, "dog"), by=manager)
    page = client_of(manager).get(url("class-changes")).content.decode()
    assert url("class-change-undo", first.pk) not in page  # what it was merged into was archived since
    links = re.findall(r'href="([^"]+/undo/)"', page)
    assert len(links) == 2
    for link in links:
        assert client_of(manager).get(link).status_code == 200


def test_an_image_shows_answers_as_they_were_given_and_what_they_mean(
    project, manager, annotator, images, client_of
) -> None:
    answer(project, annotator, images[0], "cat")
    merge_class(label_class=named(project, "cat"), into=named(project, "dog"), by=manager)
    page = text_of(client_of(manager).get(url("image", images[0].pk)))
    assert "cat (now dog)" in page
