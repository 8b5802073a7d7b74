"""What counts as an answer that was given since a split, when the split is taken back."""

from __future__ import annotations

import pytest
from django.urls import reverse

from labeler.models import Annotation, Image, Membership, Outcome, Role
from labeler.selectors.class_changes import undo_preview
from labeler.services.class_changes import merge_class, split_class, undo_change
from labeler.services.lease import lease_next
from tests.labeler.queues import answer_place, fill_queue, fresh
from tests.labeler.test_class_changes import answer, label_of, named


@pytest.fixture
def images(project, make_images) -> list[Image]:
    images = make_images(project, 6)
    fill_queue(project, images)
    return images


def test_a_skip_is_no_answer_since_and_a_split_taken_back_loses_no_label(
    project, manager, annotator, images, make_user
) -> None:
    """Two people only press skip on what is asked again: the preview counts nothing as answered, all labels return."""
    bob = make_user("bob")
    Membership.objects.create(project=project, user=bob, role=Role.ANNOTATOR)
    for image in images[:3]:
        answer(project, annotator, image, "dog")
    change = split_class(label_class=named(project, "dog"), names=["hound", "wolf"], by=manager)
    for person in (annotator, bob):
        for place in lease_next(project=fresh(project), annotator=person, want=3):
            answer_place(project, person, place, outcome=Outcome.SKIP)
    assert {label_of(image) for image in images[:3]} == {("set_aside", None)}
    answer(project, manager, images[2], "wolf")
    effects = {effect.words: effect.number for effect in undo_preview(change).effects}
    assert effects["Images at most that have the label “dog” again, and are asked no more"] == 2
    assert effects["Images that were answered since: they keep their new answers"] == 1
    undo_change(change=change, by=manager)
    assert [label_of(image) for image in images[:3]] == [("labelled", "dog")] * 2 + [("labelled", "wolf")]
    live = Annotation.objects.filter(image=images[0], retracted_at__isnull=True)
    assert sorted(live.values_list("annotator__username", "outcome")) == [("ann", "label"), ("bob", "skip")]


def test_who_has_an_image_on_the_screen_is_not_asked_for_classes_that_are_gone(
    project, manager, annotator, images, client_of
) -> None:
    answer(project, manager, images[0], "dog")
    change = split_class(label_class=named(project, "dog"), names=["hound", "wolf"], by=manager)
    person, address = client_of(annotator), reverse("label", args=[project.slug])
    assert "which has been split: is it" in person.get(address).content.decode()
    undo_change(change=change, by=manager)
    page = person.get(address).content.decode()
    assert f'data-image="{images[0].pk}"' in page or str(images[0].pk) in page  # it stays on the screen
    assert "which has been split" not in page


def test_labels_that_stay_with_a_class_that_the_split_made_are_named(
    project, manager, annotator, images, client_of
) -> None:
    """Such a class is archived then, and rounds would go on learning it: its page merges it."""
    for image in images[:3]:
        answer(project, annotator, image, "dog")
    change = split_class(label_class=named(project, "dog"), names=["hound", "wolf"], by=manager)
    answer(project, annotator, images[0], "wolf")
    answer(project, annotator, images[1], "hound")
    words = "Images that keep a label that the split made: merge that class into “dog” afterwards"
    assert {effect.number for effect in undo_preview(change).effects if effect.words.startswith(words)} == {2}
    page = client_of(manager).post(reverse("class-change-undo", args=[project.slug, change.pk]), follow=True)
    assert (
        "2 images were answered since the split and keep their new labels (hound, wolf). Merge those into “dog” to "
        "have it back."
    ) in page.content.decode()
    for name in ("hound", "wolf"):
        merge_class(label_class=named(project, name), into=named(project, "dog"), by=manager)
    assert [label_of(image) for image in images[:3]] == [("labelled", "dog")] * 3


def test_unsure_is_an_answer_since(project, manager, annotator, images) -> None:
    answer(project, annotator, images[0], "dog")
    change = split_class(label_class=named(project, "dog"), names=["hound", "wolf"], by=manager)
    (place,) = lease_next(project=fresh(project), annotator=annotator)
    answer_place(project, annotator, place, outcome=Outcome.UNSURE)
    undo_change(change=change, by=manager)
    assert label_of(images[0]) == ("set_aside", None)
