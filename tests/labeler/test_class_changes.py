"""Classes are merged, split and archived: what answers mean, what is asked again, and how it is taken back."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError

from labeler import clock, tasks
from labeler.models import (
    Annotation,
    AuditEntry,
    Candidate,
    CandidateState,
    ClassChange,
    Fate,
    Image,
    ImageState,
    JobState,
    LabelClass,
    Outcome,
    Reason,
    Round,
    RoundState,
    Trigger,
)
from labeler.selectors.labelling import item_of, progress_of, recent_answers
from labeler.services import class_changes, triggers
from labeler.services.annotate import correct_answer, record_answer, retract_answer
from labeler.services.class_changes import archive_class, merge_class, split_class, undo_change
from labeler.services.classes import add_classes, restore_class
from labeler.services.lease import lease_next
from labeler.services.rounds import start_cold_round
from tests.labeler.queues import answer_place, fill_queue, fresh


def named(project, name: str) -> LabelClass:
    return project.classes.get(name=name)


def answer(project, person, image: Image, label: str, **fields) -> Annotation:
    """As from a page that was opened before: the class is named by its id, whatever has become of it."""
    values = {"candidate_id": None, "outcome": Outcome.LABEL, "key": uuid.uuid4(), **fields}
    return record_answer(
        project=fresh(project), annotator=person, image_id=image.pk, label_class_id=named(project, label).pk, **values
    )


def label_of(image: Image) -> tuple[str, str | None]:
    image = Image.objects.select_related("label").get(pk=image.pk)
    return image.state, image.label.name if image.label else None


@pytest.fixture
def images(project, make_images) -> list[Image]:
    images = make_images(project, 6)
    fill_queue(project, images)
    return images


# --- Merging ----------------------------------------------------------------------------------------------------------


def test_a_merge_moves_labels_and_leaves_answers_as_they_were_given(project, manager, annotator, images) -> None:
    given = [
        answer(project, annotator, image, label) for image, label in zip(images, ["cat", "dog", "cat"], strict=False)
    ]
    before = Image.objects.get(pk=images[0].pk).labelled_at
    change = merge_class(label_class=named(project, "cat"), into=named(project, "dog"), by=manager)
    assert [label_of(image) for image in images[:4]] == [("labelled", "dog")] * 3 + [("pool", None)]
    assert [Annotation.objects.get(pk=row.pk).label_class.name for row in given] == ["cat", "dog", "cat"]
    assert Image.objects.get(pk=images[0].pk).labelled_at == before
    cat = named(project, "cat")
    assert (cat.fate, cat.is_archived, cat.shortcut, cat.merged_into.name) == (Fate.MERGED, True, "", "dog")
    assert (change.state, change.total, change.words) == (JobState.DONE, 2, "merged “cat” into “dog”")
    assert AuditEntry.objects.filter(by=manager, kind="classes", words=change.words).exists()


def test_a_merge_ends_a_dispute_between_the_two(project, manager, annotator, make_images, make_user) -> None:
    (image,) = make_images(project, 1)
    fill_queue(project, [image], overlap=2)
    answer(project, annotator, image, "cat")
    answer(project, manager, image, "dog")
    assert label_of(image) == ("disputed", None)
    merge_class(label_class=named(project, "cat"), into=named(project, "dog"), by=manager)
    assert label_of(image) == ("labelled", "dog")
    assert Image.objects.get(pk=image.pk).labelled_at is not None


def test_a_late_answer_means_the_class_that_its_own_was_merged_into(project, manager, annotator, images) -> None:
    (place,) = lease_next(project=fresh(project), annotator=annotator)
    merge_class(label_class=named(project, "cat"), into=named(project, "dog"), by=manager)
    late = answer_place(project, annotator, place, label="cat")
    assert label_of(images[0]) == ("labelled", "dog")
    assert late.label_class.name == "cat"
    assert Candidate.objects.get(pk=place.pk).state == CandidateState.ANSWERED
    (shown,) = recent_answers(project, annotator)
    assert (shown["words"], shown["label_class"]) == ("dog", named(project, "dog").pk)
    correct_answer(
        project=fresh(project), annotator=annotator, target_key=late.key, outcome=Outcome.LABEL,
        label_class_id=named(project, "owl").pk, key=uuid.uuid4(),
    )  # fmt: skip
    assert label_of(images[0]) == ("labelled", "owl")


def test_merges_follow_each_other_and_are_taken_back_in_turn(project, manager, annotator, images) -> None:
    answer(project, annotator, images[0], "cat")
    answer(project, annotator, images[1], "dog")
    first = merge_class(label_class=named(project, "cat"), into=named(project, "dog"), by=manager)
    second = merge_class(label_class=named(project, "dog"), into=named(project, "owl"), by=manager)
    assert [label_of(image)[1] for image in images[:2]] == ["owl", "owl"]
    assert named(project, "cat").merged_into == named(project, "owl")
    with pytest.raises(ValidationError, match="Take that back first"):
        undo_change(change=first, by=manager)
    answer(project, annotator, images[2], "cat")  # late: it means owl now, and cat again in the end
    undo_change(change=second, by=manager)
    assert [label_of(image)[1] for image in images[:3]] == ["dog", "dog", "dog"]
    undo_change(change=first, by=manager)
    assert [label_of(image)[1] for image in images[:3]] == ["cat", "dog", "cat"]
    cat = named(project, "cat")
    assert (cat.fate, cat.is_archived, cat.shortcut, cat.merged_into) == ("", False, "1", None)


def test_the_same_click_twice_is_one_change(project, manager, annotator, images) -> None:
    answer(project, annotator, images[0], "cat")
    cat, dog = named(project, "cat"), named(project, "dog")
    one = merge_class(label_class=cat, into=dog, by=manager)
    assert merge_class(label_class=cat, into=dog, by=manager).pk == one.pk
    undone = undo_change(change=one, by=manager)
    assert undo_change(change=one, by=manager).pk == undone.pk
    split = split_class(label_class=cat, names=["lion", "tiger"], by=manager)
    assert split_class(label_class=cat, names=["lion", "tiger"], by=manager).pk == split.pk
    assert ClassChange.objects.count() == 3


def test_nonsense_is_refused_in_words(project, manager) -> None:
    cat, dog, owl = (named(project, name) for name in ("cat", "dog", "owl"))
    with pytest.raises(ValidationError, match="into itself"):
        merge_class(label_class=cat, into=cat, by=manager)
    archive_class(label_class=owl, by=manager)
    with pytest.raises(ValidationError, match="offered no more"):
        merge_class(label_class=cat, into=owl, by=manager)
    for names, words in (
        (["lion"], "two or more"),
        (["lion", "Cat"], "is what is split"),
        (["lion", "owl"], "archived"),
    ):
        with pytest.raises(ValidationError, match=words):
            split_class(label_class=cat, names=names, by=manager)
    merge_class(label_class=cat, into=dog, by=manager)
    with pytest.raises(ValidationError, match="merged already"):
        split_class(label_class=cat, names=["a", "b"], by=manager)
    assert not restore_class(label_class=cat)
    assert not project.classes.filter(name="lion").exists()


# --- Splitting --------------------------------------------------------------------------------------------------------


def test_a_split_asks_all_of_its_images_again_first_of_all_and_the_same_person_too(
    project, manager, annotator, images
) -> None:
    for image, label in zip(images[:3], ["dog", "cat", "dog"], strict=True):
        (place,) = lease_next(project=fresh(project), annotator=annotator)
        assert place.image_id == image.pk
        answer_place(project, annotator, place, label=label)
    change = split_class(label_class=named(project, "dog"), names=["hound", "wolf", "cat"], by=manager)
    assert [label_of(image) for image in images[:3]] == [("pool", None), ("labelled", "cat"), ("pool", None)]
    assert [row.name for row in project.classes.filter(is_archived=False)] == ["cat", "owl", "hound", "wolf"]
    places = lease_next(project=fresh(project), annotator=annotator, want=5)
    assert [place.image_id for place in places][:3] == [images[0].pk, images[2].pk, images[3].pk]
    assert [place.reason for place in places[:2]] == [Reason.CLASS_GONE] * 2
    item = item_of(project, places[0], {})
    assert item["question"] == "It was “dog”, which has been split: is it hound, wolf or cat?"
    answer_place(project, annotator, places[0], label="wolf")
    assert label_of(images[0]) == ("labelled", "wolf")
    former = Annotation.objects.get(image=images[0], label_class__name="dog")
    assert (former.voided_by, former.retracted_at is None) == (change, False)


def test_a_late_answer_with_a_class_that_was_split_is_kept_and_its_image_asked_again(
    project, manager, annotator, images
) -> None:
    (place,) = lease_next(project=fresh(project), annotator=annotator)
    change = split_class(label_class=named(project, "dog"), names=["hound", "wolf"], by=manager)
    late = answer_place(project, annotator, place, label="dog")
    again = record_answer(
        project=fresh(project), annotator=annotator, image_id=place.image_id, candidate_id=place.pk,
        outcome=Outcome.LABEL, label_class_id=named(project, "dog").pk, key=late.key,
    )  # fmt: skip
    assert again.pk == late.pk
    assert (late.voided_by, label_of(images[0])) == (change, ("pool", None))
    (asked,) = lease_next(project=fresh(project), annotator=annotator)
    assert asked.image_id == images[0].pk
    answer_place(project, annotator, asked, label="hound")
    assert label_of(images[0]) == ("labelled", "hound")


def test_with_several_answers_an_image_only_those_that_are_missing_are_asked(
    project, manager, annotator, make_images
) -> None:
    first, second = make_images(project, 2)
    fill_queue(project, [first, second], overlap=2)
    for person, labels in ((annotator, ("dog", "dog")), (manager, ("cat", "dog"))):
        for image, label in zip((first, second), labels, strict=True):
            answer(project, person, image, label)
    split_class(label_class=named(project, "dog"), names=["hound", "wolf"], by=manager)
    places = Candidate.objects.filter(reason=Reason.CLASS_GONE, state=CandidateState.OPEN)
    assert sorted(places.values_list("image", "slot")) == [(first.pk, 2), (second.pk, 2), (second.pk, 3)]
    assert [place.image_id for place in lease_next(project=fresh(project), annotator=manager, want=5)] == [second.pk]
    assert len(lease_next(project=fresh(project), annotator=annotator, want=5)) == 2


def test_what_is_to_be_asked_again_stays_first_in_the_next_queue(project, manager, annotator, make_images) -> None:
    images = make_images(project, 30)
    fill_queue(project, images[:5])
    answer(project, annotator, images[4], "dog")
    split_class(label_class=named(project, "dog"), names=["hound", "wolf"], by=manager)
    assert start_cold_round(project=fresh(project)) is not None
    (place,) = lease_next(project=fresh(project), annotator=annotator)
    assert (place.image_id, place.reason) == (images[4].pk, Reason.CLASS_GONE)
    assert place.details["question"].startswith("It was “dog”")


def test_a_split_is_taken_back_but_for_what_was_answered_since(project, manager, annotator, images) -> None:
    for image in images[:3]:
        answer(project, annotator, image, "dog")
    change = split_class(label_class=named(project, "dog"), names=["hound", "wolf"], by=manager)
    answer(project, manager, images[0], "wolf")
    late = answer(project, annotator, images[3], "dog")  # counts for nothing, until it is taken back
    undo_change(change=change, by=manager)
    assert [label_of(image) for image in images[:4]] == [
        ("labelled", "wolf"), ("labelled", "dog"), ("labelled", "dog"), ("labelled", "dog"),
    ]  # fmt: skip
    late.refresh_from_db()
    assert (late.voided_by, late.retracted_at) == (None, None)
    assert [row.name for row in project.classes.filter(is_archived=False)] == ["cat", "dog", "owl"]
    assert not Candidate.objects.filter(reason=Reason.CLASS_GONE, state=CandidateState.OPEN).exists()


def test_an_answer_that_was_voided_twice_counts_once_when_it_is_taken_back(project, manager, annotator, images) -> None:
    answer(project, annotator, images[0], "dog")
    change = split_class(label_class=named(project, "dog"), names=["hound", "wolf"], by=manager)
    answer(project, annotator, images[0], "dog")
    undo_change(change=change, by=manager)
    live = Annotation.objects.filter(image=images[0], retracted_at__isnull=True)
    assert (live.count(), label_of(images[0])) == (1, ("labelled", "dog"))


def test_undo_of_an_answer_that_a_split_took_out_of_force_is_harmless(project, manager, annotator, images) -> None:
    given = answer(project, annotator, images[0], "dog")
    split_class(label_class=named(project, "dog"), names=["hound", "wolf"], by=manager)
    retract_answer(project=fresh(project), annotator=annotator, target_key=given.key, key=uuid.uuid4())
    assert Annotation.objects.count() == 1
    correct_answer(
        project=fresh(project), annotator=annotator, target_key=given.key, outcome=Outcome.LABEL,
        label_class_id=named(project, "wolf").pk, key=uuid.uuid4(),
    )  # fmt: skip
    assert label_of(images[0]) == ("labelled", "wolf")


# --- Archiving --------------------------------------------------------------------------------------------------------


def test_answers_that_name_an_archived_class_are_kept_and_count(project, manager, annotator, images) -> None:
    change = archive_class(label_class=named(project, "owl"), by=manager)
    assert change is not None
    assert archive_class(label_class=named(project, "owl"), by=manager) is None
    answer(project, annotator, images[0], "owl")
    assert label_of(images[0]) == ("labelled", "owl")
    undo_change(change=change, by=manager)
    assert (named(project, "owl").is_archived, named(project, "owl").shortcut) == (False, "3")


def test_a_key_that_went_to_another_class_is_not_taken_back(project, manager) -> None:
    change = archive_class(label_class=named(project, "owl"), by=manager)
    assert change is not None
    add_classes(project=project, names=["elk"])
    undo_change(change=change, by=manager)
    assert [named(project, name).shortcut for name in ("elk", "owl")] == ["3", "4"]
    with pytest.raises(ValidationError, match="took back another change"):
        undo_change(change=ClassChange.objects.get(kind="undo"), by=manager)


# --- Many answers are a worker's --------------------------------------------------------------------------------------


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_changes, "IN_REQUEST", 3)
    monkeypatch.setattr(class_changes, "BATCH", 2)


def test_many_answers_are_gone_over_by_a_worker_and_late_ones_land_right_meanwhile(
    project, manager, annotator, images, sent, few_at_once, django_capture_on_commit_callbacks
) -> None:
    for image in images[:5]:
        answer(project, annotator, image, "dog")
    with django_capture_on_commit_callbacks(execute=True):
        change = merge_class(label_class=named(project, "dog"), into=named(project, "cat"), by=manager)
    assert (change.state, sent[-1]) == (JobState.QUEUED, (class_changes.RUN, change.pk))
    assert label_of(images[0]) == ("labelled", "dog")
    answer(project, annotator, images[5], "dog")
    assert label_of(images[5]) == ("labelled", "cat")
    with pytest.raises(ValidationError, match="still going over"):
        undo_change(change=change, by=manager)
    tasks.run_class_change(change.pk)
    tasks.run_class_change(change.pk)  # a message that comes twice
    change.refresh_from_db()
    assert (change.state, change.done, change.total) == (JobState.DONE, 5, 5)
    assert {label_of(image) for image in images} == {("labelled", "cat")}
    assert change.finished_at is not None


def test_a_worker_that_dies_in_the_middle_of_a_split_loses_and_doubles_nothing(
    project, manager, annotator, images, few_at_once, monkeypatch
) -> None:
    for image in images[:5]:
        answer(project, annotator, image, "dog")
    change = split_class(label_class=named(project, "dog"), names=["hound", "wolf"], by=manager)
    ask, calls = class_changes.ask_again, []

    def die_at_the_second(**values):
        calls.append(values)
        if len(calls) == 2:
            raise MemoryError
        return ask(**values)

    monkeypatch.setattr(class_changes, "ask_again", die_at_the_second)
    with pytest.raises(MemoryError):
        tasks.run_class_change(change.pk)
    ClassChange.objects.filter(pk=change.pk).update(heartbeat_at=clock.now() - timedelta(hours=1))
    assert class_changes.sweep_class_changes() == 1
    tasks.run_class_change(change.pk)
    change.refresh_from_db()
    assert (change.state, change.done) == (JobState.DONE, 5)
    assert {label_of(image) for image in images} == {("pool", None)}
    places = Candidate.objects.filter(reason=Reason.CLASS_GONE, state=CandidateState.OPEN)
    assert sorted(places.values_list("image", flat=True)) == [image.pk for image in images[:5]]


def test_the_statements_of_a_change_do_not_grow_with_its_images(
    project, manager, annotator, make_images, django_assert_max_num_queries
) -> None:
    images = make_images(project, 300)
    dog, cat = named(project, "dog"), named(project, "cat")
    fill_queue(project, images)
    Annotation.objects.bulk_create(
        Annotation(
            project=project, image=image, annotator=annotator, outcome="label", label_class=dog, key=uuid.uuid4()
        )
        for image in images
    )
    Image.objects.update(state=ImageState.LABELLED, label=dog)
    with django_assert_max_num_queries(40):
        merge_class(label_class=dog, into=cat, by=manager)
    assert Image.objects.filter(label=cat).count() == 300
    with django_assert_max_num_queries(50):
        split_class(label_class=cat, names=["a", "b"], by=manager)
    assert Candidate.objects.filter(reason=Reason.CLASS_GONE).count() == 300


# --- The next round ---------------------------------------------------------------------------------------------------


def test_a_change_of_labels_counts_as_an_edit_and_a_round_follows(project, manager, annotator, images) -> None:
    for image, label in zip(images, ["cat", "dog", "owl", "cat"], strict=False):
        answer(project, annotator, image, label)
    last = Annotation.objects.order_by("-pk").first().pk
    Round.objects.update(last_annotation_id=last, training_count=4, started_at=clock.now(), state=RoundState.DONE)
    assert triggers.start_due_rounds() == 0
    change = merge_class(label_class=named(project, "cat"), into=named(project, "dog"), by=manager)
    assert triggers.start_due_rounds() == 0  # perhaps more changes follow
    past = clock.now() - timedelta(seconds=triggers.EDIT_QUIET_SECONDS + 1)
    Round.objects.update(started_at=past - timedelta(seconds=60))
    ClassChange.objects.filter(pk=change.pk).update(finished_at=past)
    assert triggers.start_due_rounds() == 1
    newest = Round.objects.order_by("-number").first()
    assert (newest.trigger, newest.reason) == (Trigger.EDITS, "the classes changed: merged “cat” into “dog”")


def test_archiving_starts_no_round(project, manager, annotator, images) -> None:
    answer(project, annotator, images[0], "owl")
    change = archive_class(label_class=named(project, "owl"), by=manager)
    assert change is not None
    assert not change.changes_labels


def test_a_split_takes_nothing_from_what_a_person_has_done_today(project, manager, annotator, images) -> None:
    for image in images[:3]:
        answer(project, annotator, image, "cat")
    last = answer(project, annotator, images[3], "dog")
    retract_answer(project=fresh(project), annotator=annotator, target_key=last.key, key=uuid.uuid4())
    assert progress_of(fresh(project), annotator).mine_today == 3  # what a person takes back counts no more
    split_class(label_class=named(project, "cat"), names=["tabby", "tom"], by=manager)
    assert progress_of(fresh(project), annotator).mine_today == 3
