"""The grid: pages accepted at once, checked by a random share, kept out of training until they are measured."""

from __future__ import annotations

import threading
import uuid

import pytest
from django.db import connection
from django.urls import reverse

from labeler.learning import measure_answers
from labeler.learning.requests import read_training_set
from labeler.models import (
    Annotation,
    AuditEntry,
    Candidate,
    CandidateState,
    GridCheck,
    GridPage,
    Image,
    ImageState,
    Outcome,
    Project,
    Reason,
    User,
)
from labeler.selectors.answers import person_of
from labeler.selectors.grid import (
    TILES,
    GridMeasure,
    checks_wanted,
    grid_of,
    learned_classes,
    measure_grid,
    training_images,
)
from labeler.selectors.spent import answers_spent
from labeler.selectors.worth import costs_of
from labeler.services.annotate import record_answer
from labeler.services.decide import decide_image
from labeler.services.gold import mark_gold
from labeler.services.grid import GridRefused, accept_page, undo_page
from labeler.services.lease import lease_next
from labeler.services.quality import run_quality
from labeler.services.rounds import start_cold_round
from labeler.services.triggers import answers_since
from tests.labeler.queues import fill_queue, fresh
from tests.labeler.scored import scored_round


@pytest.fixture
def cat(project):
    return project.classes.get(name="cat")


@pytest.fixture
def pool(project, make_images) -> list[Image]:
    """Forty images of which the model takes the first thirty for cats, less and less surely; a queue of all."""
    images = make_images(project, 40)
    fill_queue(project, images)
    sure = [[0.99 - 0.01 * n, 0.005, 0.005 + 0.01 * n] if n < 30 else [0.1, 0.8, 0.1] for n in range(40)]
    round_ = scored_round(project, sure, [[0.01, 0.01, 0.01]] * 40)
    Project.objects.filter(pk=project.pk).update(model_round=round_)
    return images


def accept(project, by, images, *, corrected=None, left_out=(), key=None, label="cat"):
    return accept_page(
        project=fresh(project),
        by=by,
        class_id=project.classes.get(name=label).pk,
        round_id=fresh(project).model_round_id,
        accepted=[image.pk for image in images],
        corrected=corrected or {},
        left_out=[image.pk for image in left_out],
        key=key or uuid.uuid4(),
    )


def look(project, person, image, label: str = "cat", outcome: str = Outcome.LABEL) -> Annotation:
    """The single look that a check asks for."""
    place = Candidate.objects.get(image=image, reason=Reason.GRID_CHECK, state=CandidateState.OPEN)
    Candidate.objects.filter(pk=place.pk).update(rank=-99)
    held = lease_next(project=fresh(project), annotator=person)
    assert [each.pk for each in held] == [place.pk]
    return record_answer(
        project=fresh(project),
        annotator=person,
        image_id=image.pk,
        candidate_id=place.pk,
        outcome=outcome,
        label_class_id=project.classes.get(name=label).pk if outcome == Outcome.LABEL else None,
        key=uuid.uuid4(),
    )


def test_tiles_are_the_surest_that_wait_and_are_nobodys(project, pool, annotator, manager, cat) -> None:
    Image.objects.filter(pk=pool[0].pk).update(is_holdout=True)
    mark_gold(project=project, image_id=pool[1].pk, label_class=cat, by=manager)
    (held,) = lease_next(project=fresh(project), annotator=manager)
    assert held.image_id == pool[0].pk  # the holdout's; the next is on the screen, too
    (_, other) = lease_next(project=fresh(project), annotator=manager, want=2)
    assert other.image_id == pool[2].pk
    found = grid_of(fresh(project), annotator, None)
    assert found.chosen == cat
    assert [tile.image.pk for tile in found.tiles] == [image.pk for image in pool[3 : 3 + TILES]]
    assert found.tiles[0].words == "0.96 ± 0.01"
    assert {row.label_class.name: row.waiting for row in found.classes} == {"cat": 28, "dog": 10, "owl": 0}


def test_accepting_labels_all_but_what_is_taken_out_and_marks_the_answers(project, pool, annotator, cat) -> None:
    dog = project.classes.get(name="dog")
    done = accept(project, annotator, pool[:8], corrected={pool[8].pk: dog.pk}, left_out=[pool[9]])
    assert (done.accepted, done.corrected, done.missed, done.checks) == (8, 1, 0, 2)
    states = list(Image.objects.order_by("position").values_list("state", "label__name")[:10])
    assert states == [("labelled", "cat")] * 8 + [("labelled", "dog"), ("pool", None)]
    marked = Annotation.objects.filter(grid_page=done.page).order_by("image_id")
    assert [row.is_grid for row in marked] == [True] * 8 + [False]
    assert {row.suggestion for row in marked} == {"before"}
    assert not Candidate.objects.filter(image__in=pool[:9], state="open").exclude(reason=Reason.GRID_CHECK).exists()
    assert "8 tiles accepted as “cat”" in AuditEntry.objects.latest("pk").words
    shown = [tile.image.pk for tile in grid_of(fresh(project), annotator, cat.pk).tiles]
    assert pool[9].pk not in shown  # not shown again to who took it out
    assert pool[10].pk in shown


def test_a_page_that_is_sent_twice_is_one_page(project, pool, annotator) -> None:
    key = uuid.uuid4()
    first, second = (accept(project, annotator, pool[:5], left_out=[pool[6]], key=key) for _ in range(2))
    assert (first.page, first.words) == (second.page, second.words)
    assert Annotation.objects.count() == 5
    assert GridCheck.objects.count() == 2


def test_what_somebody_holds_or_has_answered_or_measures_is_left_out(project, pool, annotator, manager, cat) -> None:
    lease_next(project=fresh(project), annotator=manager)
    Image.objects.filter(pk=pool[1].pk).update(is_holdout=True)
    mark_gold(project=project, image_id=pool[2].pk, label_class=cat, by=manager)
    values = {"project": fresh(project), "annotator": manager, "candidate_id": None, "label_class_id": None}
    record_answer(image_id=pool[3].pk, outcome=Outcome.UNSURE, key=uuid.uuid4(), **values)
    done = accept(project, annotator, pool[:6])
    assert (done.accepted, done.missed) == (2, 4)
    assert "4 tiles left out" in done.words
    assert set(Annotation.objects.filter(is_grid=True).values_list("image", flat=True)) == {pool[4].pk, pool[5].pk}


def test_nonsense_is_refused_in_words(project, pool, annotator, cat) -> None:
    with pytest.raises(GridRefused, match="1 to 24 tiles"):
        accept(project, annotator, [])
    with pytest.raises(GridRefused, match="1 to 24 tiles"):
        accept(project, annotator, pool[:25])
    with pytest.raises(GridRefused, match="each once"):
        accept(project, annotator, [pool[0]], left_out=[pool[0]])
    cat.is_archived = True
    cat.save()
    with pytest.raises(GridRefused, match="not offered any more"):
        accept(project, annotator, pool[:2])
    project.learning.overlap = 2
    project.learning.save()
    with pytest.raises(GridRefused, match="2 people answer"):
        accept(project, annotator, pool[:2], label="dog")
    assert not Annotation.objects.exists()


def test_its_labels_train_only_once_looked_at_or_measured(project, pool, annotator, manager, monkeypatch) -> None:
    done = accept(project, annotator, pool[:8])
    assert len(read_training_set(project).positions) == 0
    assert answers_spent(project) == 0
    assert [(cost.name, cost.answers) for cost in costs_of(project).kinds] == [("grid", 8)]
    assert answers_since(project, 0).count() == 0
    image = done.page.checks.first().image
    look(project, manager, image)
    assert read_training_set(project).positions.tolist() == [image.position]
    trusted = GridMeasure(accepted=8, checked=200, wrong=0, waiting=0)
    assert trusted.is_trusted
    monkeypatch.setattr("labeler.selectors.grid.measure_grid", lambda _project: trusted)
    assert len(read_training_set(project).positions) == 8


def test_the_books_count_classes_that_train(project, pool, annotator, manager, monkeypatch) -> None:
    """Labels of two classes that rest on the grid alone are labels, and no model can be made of them."""
    from labeler.selectors.replays import why_no_replay
    from labeler.services.rounds import why_not_trainable

    cats = accept(project, annotator, pool[:5])
    assert learned_classes(project, most=2) == 0
    assert why_not_trainable(project).startswith("No image has a label yet that may be learned from")
    dogs = accept(project, annotator, pool[10:15], label="dog")
    assert learned_classes(project, most=2) == 0
    look(project, manager, cats.page.checks.first().image)
    assert learned_classes(project, most=2) == 1
    assert why_not_trainable(project).startswith("All labels that may be learned from are of one class")
    assert "1 of at least" in why_no_replay(fresh(project))
    look(project, manager, dogs.page.checks.first().image, "dog")
    assert (learned_classes(project, most=2), why_not_trainable(project)) == (2, "")


def test_a_skip_is_no_look_and_gold_and_trust_are_enough(project, pool, annotator, manager, cat, monkeypatch) -> None:
    page = accept(project, annotator, pool[:5]).page
    image = page.checks.first().image
    values = {"project": fresh(project), "annotator": manager, "candidate_id": None, "label_class_id": None}
    record_answer(image_id=image.pk, outcome=Outcome.SKIP, key=uuid.uuid4(), **values)
    assert learned_classes(project, most=2) == 0
    with monkeypatch.context() as patch:
        trusted = GridMeasure(accepted=5, checked=200, wrong=0, waiting=0)
        patch.setattr("labeler.selectors.grid.measure_grid", lambda _project: trusted)
        assert learned_classes(project, most=2) == 1
    mark_gold(project=project, image_id=image.pk, label_class=cat, by=manager)
    assert learned_classes(project, most=2) == 1
    assert learned_classes(project, most=2) == training_images(project).values("label").distinct().count()


def test_without_the_grid_they_are_counted_by_one_statement(
    project, pool, annotator, cat, django_assert_num_queries
) -> None:
    values = {"project": fresh(project), "annotator": annotator, "candidate_id": None, "outcome": "label"}
    record_answer(image_id=pool[0].pk, label_class_id=cat.pk, key=uuid.uuid4(), **values)
    with django_assert_num_queries(1):
        assert learned_classes(project, most=2) == 1


def test_a_single_look_is_believed_and_measures_the_grid(project, pool, annotator, manager) -> None:
    done = accept(project, annotator, pool[:20])
    right, wrong = (check.image for check in done.page.checks.all())
    assert (measure_grid(project).checked, measure_grid(project).waiting) == (0, 2)
    look(project, manager, right)
    look(project, annotator, wrong, "dog")  # who accepted it may look at it singly, too
    wrong.refresh_from_db()
    assert (wrong.state, wrong.label.name, wrong.is_contested) == (ImageState.LABELLED, "dog", False)
    assert measure_grid(project) == GridMeasure(accepted=19, checked=2, wrong=1, waiting=0)
    decide_image(
        project=fresh(project), by=manager, image_id=wrong.pk, outcome=Outcome.LABEL,
        label_class_id=project.classes.get(name="cat").pk, key=uuid.uuid4(), seen=10**9,
    )  # fmt: skip
    assert measure_grid(project).wrong == 0


def test_unsure_does_not_confirm_and_a_skip_is_no_look(project, pool, annotator, manager) -> None:
    done = accept(project, annotator, pool[:10])
    first, second = (check.image for check in done.page.checks.all())
    look(project, manager, first, outcome=Outcome.UNSURE)
    look(project, manager, second, outcome=Outcome.SKIP)
    assert (measure_grid(project).checked, measure_grid(project).wrong) == (1, 1)


@pytest.mark.parametrize(("wrong", "wanted"), [(0, 189), (1, 280), (5, 581)])
def test_the_rule_by_hand(wrong, wanted) -> None:
    """At its end a Wilson interval meets the score test: 0.02 n − wrong = z √(0.02 · 0.98 n), a quadratic in √n."""
    half = 1.959963984540054 * (0.02 * 0.98) ** 0.5
    root = (half + (half * half + 4 * 0.02 * wrong) ** 0.5) / (2 * 0.02)
    assert checks_wanted(wrong) == wanted == int(root * root) + 1
    assert GridMeasure(0, wanted, wrong, 0).is_trusted
    assert not GridMeasure(0, wanted - 1, wrong, 0).is_trusted


def test_what_is_not_measured_says_what_is_missing() -> None:
    assert GridMeasure(40, 7, 0, 1).missing_words == "not measured yet: 3 more checks"
    assert GridMeasure(40, 7, 0, 1).error is None


def test_checks_that_wait_stand_in_the_next_queue(project, pool, annotator, manager) -> None:
    done = accept(project, annotator, pool[:10])
    drawn = {check.image_id for check in done.page.checks.all()}
    round_ = start_cold_round(project=fresh(project), reason="for a test")
    places = Candidate.objects.filter(reason=Reason.GRID_CHECK, state="open")
    assert set(places.values_list("image", "round")) == {(pk, round_.pk) for pk in drawn}
    look(project, manager, Image.objects.get(pk=min(drawn)))
    round_ = start_cold_round(project=fresh(project), reason="for a test")
    assert list(places.filter(round=round_).values_list("image", flat=True)) == [max(drawn)]


def test_undo_takes_back_what_nobody_has_touched(project, pool, annotator, manager) -> None:
    done = accept(project, annotator, pool[:10], corrected={pool[10].pk: project.classes.get(name="dog").pk})
    checked, waiting = (check.image for check in done.page.checks.all())
    look(project, manager, checked)
    assert undo_page(project=fresh(project), by=annotator, page_id=done.page.pk) == 10
    assert undo_page(project=fresh(project), by=annotator, page_id=done.page.pk) == 0
    assert list(Image.objects.filter(state=ImageState.LABELLED)) == [checked]
    assert GridCheck.objects.count() == 1
    assert not Candidate.objects.filter(image=waiting, reason=Reason.GRID_CHECK, state="open").exists()
    with pytest.raises(GridRefused, match="no such page of yours"):
        undo_page(project=fresh(project), by=manager, page_id=done.page.pk)


def test_of_two_who_accept_the_same_page_each_image_has_one_answer(transactional_project) -> None:
    project, people, images = transactional_project
    start, results, problems = threading.Barrier(len(people) * 2), [], []
    keys = {person.pk: uuid.uuid4() for person in people}

    def work(person: User) -> None:
        try:
            start.wait(timeout=20)
            results.append(accept(project, person, images, key=keys[person.pk]))
        except Exception as error:  # noqa: BLE001 (whatever it is, the test looks at it)
            problems.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=[person]) for person in people * 2]  # each sends it twice
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert problems == []
    assert len(results) == len(threads)
    live = Annotation.objects.filter(retracted_at__isnull=True)
    assert sorted(live.values_list("image", flat=True)) == [image.pk for image in images]
    assert GridPage.objects.count() == len(people)


def test_amid_people_who_answer_nothing_is_answered_twice_or_taken_from_a_screen(transactional_project) -> None:
    project, people, images = transactional_project
    is_over, problems, held_at_accept = threading.Event(), [], []

    def answer(person: User) -> None:
        try:
            while not is_over.is_set():
                places = lease_next(project=fresh(project), annotator=person, want=2)
                for place in places:
                    if (
                        place.reason != Reason.GRID_CHECK
                        and Annotation.objects.filter(
                            image=place.image_id, is_grid=True, created_at__gt=place.leased_at
                        ).exists()
                    ):
                        held_at_accept.append(place.image_id)
                    record_answer(
                        project=fresh(project), annotator=person, image_id=place.image_id, candidate_id=place.pk,
                        outcome=Outcome.LABEL, label_class_id=project.classes.get(name="dog").pk, key=uuid.uuid4(),
                    )  # fmt: skip
                if not places:
                    return
        except Exception as error:  # noqa: BLE001 (whatever it is, the test looks at it)
            problems.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=answer, args=[person]) for person in people[1:]]
    for thread in threads:
        thread.start()
    for start in range(len(images) - 4, -1, -4):
        accept(project, people[0], images[start : start + 4])
    is_over.set()
    for thread in threads:
        thread.join(timeout=60)
    assert problems == held_at_accept == []
    live = Annotation.objects.filter(retracted_at__isnull=True, is_grid=True)
    for row in live:
        others = Annotation.objects.filter(image=row.image_id, is_grid=False, retracted_at__isnull=True)
        assert not others.exclude(candidate__reason=Reason.GRID_CHECK).exists()
    assert Image.objects.filter(state=ImageState.DISPUTED).count() == 0


@pytest.fixture
def transactional_project(transactional_db, make_user, make_images):
    from labeler.services.projects import create_project

    people = [make_user(name) for name in ("ana", "ben", "cem")]
    project = create_project(name="Grid", guidelines="", class_names=["cat", "dog"], by=people[0])
    images = make_images(project, 24)
    fill_queue(project, images)
    return project, people, images


def test_a_persons_labels_are_those_of_the_grid_too(project, pool, manager, client_of) -> None:
    accept(project, manager, pool[:10])
    run_quality(project_id=project.pk, measure=measure_answers)
    person = person_of(fresh(project), manager.pk)
    assert (person.answers, person.labels, person.grid) == (10, 10, 10)
    html = client_of(manager).get(reverse("annotator", args=[project.slug, manager.pk])).content.decode()
    assert "of which 10 labels (10 accepted in the grid)" in html
