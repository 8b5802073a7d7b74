"""Classes that the model finds clearly more seldom than the others are named; by chance alone hardly any is."""

from __future__ import annotations

import re

import numpy as np
import pytest
from django.urls import reverse

from labeler.intervals import wilson
from labeler.models import Image, Project, Round, RoundState, Standing, Trigger
from labeler.selectors.weak_classes import MOST, weak_classes
from tests.labeler.monitored import INTERVAL, METRICS
from tests.labeler.queues import fresh

pytestmark = pytest.mark.django_db

CLEAR = [[40, 0, 0], [20, 22, 3], [1, 2, 57]]  # cat, dog, owl: of dogs about half are found


def model_with(project: Project, confusion: list[list[int]], **fields: object) -> Round:
    n = sum(map(sum, confusion))
    round_ = Round.objects.create(
        project=project, number=7, trigger=Trigger.ANSWERS, reason="", state=RoundState.DONE, seed=1,
        classes=list(project.classes.values_list("pk", flat=True)), standing=Standing.ACCEPTED, answers_spent=n,
        metrics={**METRICS, "n": n, "accuracy": INTERVAL, "confusion": confusion, **fields},
    )  # fmt: skip
    Project.objects.filter(pk=project.pk).update(model_round=round_)
    return round_


def named(project: Project, confusion: list[list[int]]) -> list[str]:
    weak = weak_classes(fresh(project), model_with(project, confusion))
    return [row.name for row in weak.rows] if weak else []


def test_a_weak_class_has_its_number_and_what_it_is_taken_for(project) -> None:
    model = model_with(project, CLEAR)
    weak = weak_classes(fresh(project), model)
    assert weak is not None and weak.round == model
    (row,) = weak.rows
    assert (row.name, row.taken_name, row.taken) == ("dog", "cat", 20)
    assert (row.recall, row.others) == (wilson(22, 45), wilson(97, 100))


@pytest.mark.parametrize(
    "confusion",
    [
        [[40, 0, 0], [3, 37, 3], [1, 2, 57]],  # a little worse: luck may do that
        [[40, 0, 0], [3, 1, 0], [1, 2, 57]],  # four images say nothing
        [[20, 10, 10], [10, 20, 10], [10, 10, 20]],  # all alike
        [[0, 0, 0], [20, 22, 3], [0, 0, 0]],  # no others to compare with
        [],
    ],
    ids=["unclear", "few images", "all alike", "one class", "nothing measured"],
)
def test_nothing_is_said_where_nothing_is_clear(project, confusion) -> None:
    assert named(project, confusion) == []


def test_without_a_model_or_with_too_small_a_holdout_nothing_is_said(project) -> None:
    assert weak_classes(project, None) is None
    assert weak_classes(project, model_with(project, CLEAR, n=9)) is None


FEW_OTHERS = [[70, 30, 0], [1, 9, 0], [1, 0, 8]]  # 70 % of 100 and 89 % of 19: the intervals overlap


@pytest.mark.parametrize(
    ("confusion", "target", "weak"),
    [
        (FEW_OTHERS, None, []),
        (FEW_OTHERS, 0.85, ["cat"]),
        ([[60, 30, 30], [30, 60, 30], [30, 30, 60]], 0.9, []),  # what all miss says nothing about one
    ],
)
def test_clearly_below_a_target_that_the_others_meet_is_weak_too(project, confusion, target, weak) -> None:
    project.target_accuracy = target
    project.save()
    assert named(project, confusion) == weak


def test_three_at_most_the_weakest_first(project) -> None:
    for number in range(5):
        project.classes.create(name=f"class {number}", colour="#0072b2", order=10 + number)
    size = project.classes.count()
    confusion = np.diag([400] * 4 + [10, 8, 6, 4]).tolist()
    for at in range(4, size):
        confusion[at][0] = 40
    assert named(project, confusion) == ["class 4", "class 3", "class 2"]
    assert size - 4 > MOST


def test_a_class_that_is_archived_is_nobodys_concern(project) -> None:
    project.classes.filter(name="dog").update(is_archived=True)
    assert named(project, CLEAR) == []
    project.classes.filter(name="dog").update(is_archived=False)
    project.classes.filter(name="cat").update(is_archived=True)
    Round.objects.all().delete()
    weak = weak_classes(fresh(project), model_with(project, CLEAR))
    assert weak is not None and (weak.rows[0].name, weak.rows[0].taken) == ("dog", 0)


def test_by_chance_hardly_ever_one_of_many_is_named(project) -> None:
    """Of 200 simulated models that find nine in ten of each of 40 classes at most one in twenty has a weak one."""
    names = [project.classes.create(name=f"class {n}", colour="#0072b2", order=10 + n) for n in range(37)]
    model, rng, found = model_with(project, CLEAR), np.random.default_rng(0), 0
    assert len(names) + 3 == 40 and len(model.classes) == 40
    for _ in range(200):
        right = rng.binomial(15, 0.9, 40)
        confusion = np.diag(right)
        confusion[np.arange(40), (np.arange(40) + 1) % 40] = 15 - right
        model.metrics = {**model.metrics, "n": 600, "confusion": confusion.tolist()}
        found += weak_classes(project, model) is not None
    assert found <= 10


@pytest.mark.parametrize("where", ["monitor", "worth", "answers"])
def test_it_stands_where_a_manager_looks(project, manager, client_of, make_images, where) -> None:
    client, address = client_of(manager), reverse(where, args=["signs"])
    make_images(project, 3)
    assert 'class="stack weak"' not in client.get(address).content.decode()
    model = model_with(project, CLEAR)
    html = client.get(address).content.decode()
    dog, cat = (project.classes.get(name=name).pk for name in ("dog", "cat"))
    words = re.sub(r"\s+", " ", re.sub("<[^>]*>", "", html))
    assert "A class that the model finds clearly too seldom" in words
    assert (
        "dog: 48.9 % (35.0 to 63.0) of its 45 holdout images, of those of the other classes 97.0 % (91.5 to 99.0)."
        in words
    )
    assert "Most often taken for cat: 20 images." in words
    for link in (
        f"{reverse('images', args=['signs'])}?class={dog}",
        f"{reverse('round-confusion', args=['signs', model.number])}?said={dog}&amp;predicted={cat}",
        reverse("guide", args=["signs"]),
    ):
        assert f'href="{link}' in html
    assert "The target is" not in words
    assert Image.objects.count() == 3
