"""Gold images whose class is split, merged or archived: nobody is asked what cannot be answered, or judged by it."""

from __future__ import annotations

import pytest

from labeler import tasks
from labeler.learning import measure_answers
from labeler.models import AnnotatorQuality, Candidate, CandidateState, GoldImage, Image, Membership, Reason, Role
from labeler.selectors.answers import gold_rows
from labeler.selectors.class_changes import archive_preview, merge_preview, split_preview, undo_preview
from labeler.services import class_changes
from labeler.services.class_changes import archive_class, merge_class, split_class, undo_change
from labeler.services.classes import restore_class
from labeler.services.gold import GoldRefused, mark_gold
from labeler.services.lease import lease_next
from labeler.services.projects import change_learning
from labeler.services.quality import run_quality
from labeler.services.rounds import start_cold_round
from tests.labeler.queues import answer_place, fill_queue, fresh
from tests.labeler.test_class_changes import answer, label_of, named


@pytest.fixture
def images(project, make_images, manager, annotator) -> list[Image]:
    """0: gold dog, which ann knows; 1: gold dog, which ann took for an owl; 2: gold dog, unanswered; the rest wait."""
    images = make_images(project, 6)
    for image in images[:3]:
        mark_gold(project=project, image_id=image.pk, label_class=named(project, "dog"), by=manager)
    round_ = fill_queue(project, images[3:])
    for rank, image in enumerate(images[:3], start=-3):
        Candidate.objects.create(project=project, round=round_, image=image, rank=rank, reason=Reason.GOLD)
    for label in ("dog", "owl"):
        (place,) = lease_next(project=fresh(project), annotator=annotator)
        answer_place(project, annotator, place, label=label)
    return images


def gold_of_ann(project, annotator) -> tuple[int, float | None]:
    run_quality(project_id=project.pk, measure=measure_answers)
    row = AnnotatorQuality.objects.filter(project=project, annotator=annotator).first()
    gold = row.stats["gold"] if row else None
    return (gold["n"], gold["value"]) if gold else (0, None)


def effects(preview) -> dict[str, int]:
    return {effect.words: effect.number for effect in preview.effects}


def split(project, manager):
    return split_class(label_class=named(project, "dog"), names=["hound", "wolf"], by=manager)


class TestSplit:
    def test_they_are_gold_no_more_and_asked_again(self, project, images, manager, annotator) -> None:
        assert gold_of_ann(project, annotator) == (2, 0.5)
        found = effects(split_preview(named(project, "dog"), 1))
        words = "Gold images: they are gold no more, what was said of them counts no more, and they are asked again"
        assert found[words] == 3
        assert next(number for each, number in found.items() if each.startswith("Places at most that come")) == 3
        split(project, manager)
        assert not GoldImage.objects.filter(project=project).exists()
        assert [label_of(image) for image in images[:3]] == [("pool", None)] * 3
        assert gold_of_ann(project, annotator) == (0, None)
        places = lease_next(project=fresh(project), annotator=annotator, want=3)
        assert {place.image_id for place in places} == {image.pk for image in images[:3]}
        assert {place.reason for place in places} == {Reason.CLASS_GONE}

    @pytest.mark.usefixtures("images")
    def test_nobody_is_asked_by_an_old_place(self, project, manager) -> None:
        split(project, manager)
        assert not Candidate.objects.filter(reason=Reason.GOLD, state=CandidateState.OPEN).exists()

    def test_taken_back_all_is_as_before(self, project, images, manager, annotator) -> None:
        change = split(project, manager)
        assert effects(undo_preview(change))["Images that are gold again, known to be “dog”"] == 3
        undo_change(change=change, by=manager)
        assert [label_of(image) for image in images[:3]] == [("labelled", "dog")] * 3
        assert GoldImage.objects.get(image=images[0]).created_by == manager
        assert gold_of_ann(project, annotator) == (2, 0.5)
        assert not Candidate.objects.filter(reason=Reason.CLASS_GONE, state=CandidateState.OPEN).exists()

    def test_what_was_said_meanwhile_is_no_mistake(self, project, images, manager, make_user) -> None:
        bob = make_user("bob")
        Membership.objects.create(project=project, user=bob, role=Role.ANNOTATOR)
        change = split(project, manager)
        answer(project, bob, images[0], "wolf")
        undo_change(change=change, by=manager)
        assert [label_of(image) for image in images[:3]] == [("labelled", "dog")] * 3
        run_quality(project_id=project.pk, measure=measure_answers)
        assert AnnotatorQuality.objects.get(project=project, annotator=bob).stats["gold"] is None
        rows = {row.gold.image_id: (row.right, row.wrong) for row in gold_rows(project, 1)[0]}
        assert rows == {images[0].pk: (0, 0), images[1].pk: (0, 1), images[2].pk: (0, 0)}

    def test_what_was_marked_anew_stays(self, project, images, manager) -> None:
        change = split(project, manager)
        mark_gold(project=project, image_id=images[0].pk, label_class=named(project, "wolf"), by=manager)
        assert effects(undo_preview(change))["Images that are gold again, known to be “dog”"] == 2
        undo_change(change=change, by=manager)
        assert GoldImage.objects.get(image=images[0]).label_class == named(project, "wolf")

    def test_a_worker_does_it_for_many(self, project, images, manager, monkeypatch) -> None:
        monkeypatch.setattr(class_changes, "IN_REQUEST", 0)
        change = split(project, manager)
        tasks.run_class_change(change.pk)
        assert [label_of(image) for image in images[:3]] == [("pool", None)] * 3
        change.refresh_from_db()
        back = undo_change(change=change, by=manager)
        tasks.run_class_change(back.pk)
        assert [label_of(image) for image in images[:3]] == [("labelled", "dog")] * 3


class TestMerge:
    def test_they_are_known_to_be_the_other_class(self, project, images, manager, annotator) -> None:
        dog, cat = named(project, "dog"), named(project, "cat")
        assert effects(merge_preview(dog, cat))["Gold images: they are known to be “cat” from now on"] == 3
        change = merge_class(label_class=dog, into=cat, by=manager)
        assert [label_of(image) for image in images[:3]] == [("labelled", "cat")] * 3  # unanswered ones, too
        assert gold_of_ann(project, annotator) == (2, 0.5)
        undo_change(change=change, by=manager)
        assert [label_of(image) for image in images[:3]] == [("labelled", "dog")] * 3


class TestArchive:
    def test_nobody_is_asked_until_it_is_offered_again(self, project, images, manager, client_of) -> None:
        change_learning(project=project, values={"gold_share": 0.5})
        dog = named(project, "dog")
        words = "Gold images: nobody is asked about them until the class is offered again"
        assert effects(archive_preview(dog))[words] == 3
        archive_class(label_class=dog, by=manager)
        gold = Candidate.objects.filter(reason=Reason.GOLD, state=CandidateState.OPEN)
        assert not gold.exists()
        start_cold_round(project=fresh(project))
        assert not gold.exists()
        page = client_of(manager).get(f"/p/{project.slug}/answers/gold/").content.decode()
        assert page.count("archived: nobody is asked") == 3
        restore_class(label_class=named(project, "dog"), by=manager)
        start_cold_round(project=fresh(project))
        assert gold.exists()
        assert label_of(images[2]) == ("labelled", "dog")


def test_none_is_marked_of_a_class_that_has_just_been_archived(project, images, manager) -> None:
    seen = named(project, "cat")
    archive_class(label_class=named(project, "cat"), by=manager)
    with pytest.raises(GoldRefused):
        mark_gold(project=project, image_id=images[4].pk, label_class=seen, by=manager)
