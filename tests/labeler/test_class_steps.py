"""Adding, changing and moving classes: kept, and taken back, as far as what was done since allows it."""

from __future__ import annotations

import uuid

import pytest
from django.core.exceptions import ValidationError
from django.urls import reverse

from labeler.models import ClassChange, LabelClass, Project
from labeler.services.annotate import record_answer
from labeler.services.class_changes import archive_class, merge_class, split_class, undo_change
from labeler.services.class_since import why_not_undone
from labeler.services.classes import add_classes, change_class, move_class, renew_keys

URL = ["signs"]


def named(project: Project, name: str) -> LabelClass:
    return project.classes.get(name=name)


def offered(project: Project) -> list[str]:
    return list(project.classes.filter(is_archived=False).values_list("name", flat=True))


def edit(project: Project, old: str, by, **values: str) -> ClassChange:
    row = named(project, old)
    values = {"name": row.name, "shortcut": row.shortcut, "colour": row.colour, **values}
    change_class(label_class=row, by=by, **values)
    return project.class_changes.first()


def test_what_was_added_is_taken_back(project, manager) -> None:
    add_classes(project=project, names=["elk", "fox"], by=manager)
    change = project.class_changes.get()
    assert (change.words, change.created_by) == ("added “elk”, “fox”", manager)
    undo_change(change=change, by=manager)
    assert offered(project) == ["cat", "dog", "owl"]
    assert named(project, "elk").shortcut == ""
    assert project.audit.filter(words__startswith="took back: added “elk”, “fox”").count() == 1
    assert undo_change(change=change, by=manager) == change.undone_by  # a double click
    assert project.class_changes.count() == 2


def test_what_was_added_and_has_answers_stays(project, manager, annotator, make_images) -> None:
    (image,) = make_images(project, 1)
    add_classes(project=project, names=["elk"], by=manager)
    change = project.class_changes.get()
    record_answer(
        project=project, annotator=annotator, image_id=image.pk, candidate_id=None, outcome="label",
        label_class_id=named(project, "elk").pk, key=uuid.uuid4(),
    )  # fmt: skip
    with pytest.raises(ValidationError, match="“elk” has answers since then"):
        undo_change(change=change, by=manager)
    assert "elk" in offered(project)


def test_a_new_name_key_and_colour_are_taken_back(project, manager) -> None:
    cat = named(project, "cat")
    change = edit(project, "cat", manager, name="tom", shortcut="9", colour="#123456")
    assert change.words == "renamed “cat” to “tom”, gave “tom” the key 9, gave “tom” another colour"
    undo_change(change=change, by=manager)
    row = LabelClass.objects.get(pk=cat.pk)
    assert (row.name, row.shortcut, row.colour) == (cat.name, cat.shortcut, cat.colour)


def test_saving_without_a_change_is_no_change(project, manager) -> None:
    edit(project, "cat", manager)
    assert not project.class_changes.exists()


def test_a_name_or_key_that_was_taken_since_is_not_taken_back(project, manager) -> None:
    renamed = edit(project, "cat", manager, name="tom")
    edit(project, "dog", manager, name="cat")
    assert why_not_undone(renamed) == "There is a class “cat” already, perhaps an archived one."
    moved_key = edit(project, "tom", manager, shortcut="9")
    edit(project, "cat", manager, shortcut="1")
    with pytest.raises(ValidationError, match="“cat” has this key"):
        undo_change(change=moved_key, by=manager)


def test_changed_again_since_is_said(project, manager) -> None:
    change = edit(project, "cat", manager, shortcut="9")
    renew_keys(project=project, by=manager)
    assert why_not_undone(change) == "“cat” was changed again since."
    first = edit(project, "dog", manager, name="hound")
    second = edit(project, "hound", manager, shortcut="8")
    assert "renamed" not in why_not_undone(first)
    assert why_not_undone(first).endswith("gave “hound” the key 8. Take that back first.")
    undo_change(change=second, by=manager)
    undo_change(change=first, by=manager)
    assert offered(project) == ["cat", "dog", "owl"]


def test_a_place_is_taken_back(project, manager) -> None:
    move_class(label_class=named(project, "owl"), to=0, by=manager)
    assert offered(project) == ["owl", "cat", "dog"]
    change = project.class_changes.get()
    assert change.words == "moved “owl” from place 3 to 1"
    undo_change(change=change, by=manager)
    assert offered(project) == ["cat", "dog", "owl"]


def test_steps_up_the_list_are_one_move_and_back_again_is_none(project, manager) -> None:
    owl = named(project, "owl")
    for _ in range(3):  # the third is at the end already
        move_class(label_class=owl, steps=-1, by=manager)
    assert [change.words for change in project.class_changes.all()] == ["moved “owl” from place 3 to 1"]
    move_class(label_class=owl, to=2, by=manager)
    assert not project.class_changes.exists()


def test_steps_of_two_people_are_two_moves(project, manager, annotator) -> None:
    owl = named(project, "owl")
    move_class(label_class=owl, steps=-1, by=manager)
    move_class(label_class=owl, steps=-1, by=annotator)
    first, second = reversed(project.class_changes.all())
    with pytest.raises(ValidationError, match="from place 2 to 1"):
        undo_change(change=first, by=manager)
    undo_change(change=second, by=manager)
    undo_change(change=first, by=manager)
    assert offered(project) == ["cat", "dog", "owl"]


def test_an_archived_class_has_no_place(project, manager) -> None:
    move_class(label_class=named(project, "owl"), to=0, by=manager)
    change = project.class_changes.get()
    archive_class(label_class=named(project, "owl"), by=manager)
    assert why_not_undone(change) == "“owl” is offered no more, so it has no place."


def test_surgery_since_stands_in_the_way_of_a_step_but_no_step_of_surgery(project, manager) -> None:
    renamed = edit(project, "cat", manager, name="tom")
    merged = merge_class(label_class=named(project, "tom"), into=named(project, "dog"), by=manager)
    assert "merged “tom” into “dog”. Take that back first." in why_not_undone(renamed)
    edit(project, "dog", manager, name="hound")
    assert why_not_undone(merged) == ""
    undo_change(change=merged, by=manager)
    assert why_not_undone(renamed) == ""


def test_what_a_split_or_a_new_project_makes_is_no_step(project, manager) -> None:
    from labeler.services.projects import create_project

    split_class(label_class=named(project, "cat"), names=["tom", "kitten"], by=manager)
    assert [change.kind for change in project.class_changes.all()] == ["split"]
    assert not create_project(name="Other", guidelines="", class_names=["elk"], by=manager).class_changes.exists()


# --- The page ---------------------------------------------------------------------------------------------------------


def test_the_page_has_one_line_that_takes_the_last_change_back(project, manager, client_of) -> None:
    client, page = client_of(manager), reverse("classes", args=URL)
    assert "Take back" not in client.get(page).content.decode()
    client.post(page, {"names": "elk"})
    client.post(reverse("class-move", args=[*URL, named(project, "elk").pk]), {"place": "1"})
    text = client.get(page).content.decode()
    assert "Moved “elk” from place 4 to 1" in text
    assert text.count("classes-last") == 1
    change = project.class_changes.first()
    undo = reverse("class-change-undo", args=[*URL, change.pk])
    reply = client.post(undo, {"back": "classes"})
    assert reply.headers["Location"] == page
    text = client.get(page).content.decode()
    assert "Done. It stands under Changes." in text
    assert "Added “elk”" in text
    assert offered(project) == ["cat", "dog", "owl", "elk"]
    assert client.post(undo, {"back": "classes"}).status_code == 302  # pressed twice
    assert project.class_changes.filter(kind="undo").count() == 1


def test_where_it_cannot_be_taken_back_the_line_says_why(project, manager, client_of) -> None:
    edit(project, "cat", manager, shortcut="9")
    renew_keys(project=project, by=manager)
    text = client_of(manager).get(reverse("classes", args=URL)).content.decode()
    assert "It cannot be taken back: “cat” was changed again since." in text
    assert "Take back: " not in text


def test_changes_show_what_taking_back_would_do(project, manager, client_of) -> None:
    change = edit(project, "cat", manager, name="tom")
    client = client_of(manager)
    assert "Renamed “cat” to “tom”" in client.get(reverse("class-changes", args=URL)).content.decode()
    page = client.get(reverse("class-change-undo", args=[*URL, change.pk])).content.decode()
    assert "Class that is called “cat” again: “tom”" in page
