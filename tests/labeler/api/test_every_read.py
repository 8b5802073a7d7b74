"""Everything that can be read, of rounds that measured little or nothing: an empty bin, a class without a holdout
image, no holdout at all, a round that failed. What was not measured is null, and never a broken reply."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest
from django.core.cache import cache

from labeler import learning
from labeler.models import Image, ImageState, LabelClass, Project, Round, RoundState, Trigger
from labeler.services.rounds import config_of
from tests.labeler.api.conftest import ApiClient
from tests.labeler.api.test_matrix import OPERATIONS, QUERIES
from tests.labeler.judged import measured_pool, round_to_judge, sure
from tests.labeler.queues import fresh

READS = sorted(name for name, (method, *_) in OPERATIONS.items() if method == "GET" and name != "read_picture")
OF_ROUNDS = [name for name in READS if "{number}" in OPERATIONS[name][1]]


def unsure(n: int) -> Any:
    """A model that is sure of nothing: nine of ten bins of its confidence are empty."""
    means = sure(n)
    means[:] = 0.31
    means[:, 0] = 0.38
    return means


def finished(project, means, **fields) -> Round:
    round_ = round_to_judge(fresh(project), means, **fields)
    learning.choose(round_=Round.objects.select_related("project__learning").get(pk=round_.pk))
    round_.refresh_from_db()
    return round_


@pytest.fixture
def rounds(project, make_images) -> dict[str, Round]:
    """Each without something that others have."""
    cache.clear()
    measured_pool(project, make_images)
    n = project.images.count()
    owl = LabelClass.objects.get(project=project, name="owl")
    labels = dict(project.images.filter(is_holdout=True).values_list("pk", "label"))
    holdout = Image.objects.filter(pk__in=labels)
    holdout.update(state=ImageState.POOL, label=None)
    found = {"no holdout": finished(project, sure(n))}
    for pk in list(labels)[:1]:
        Image.objects.filter(pk=pk).update(state=ImageState.LABELLED, label=labels[pk])
    found["one holdout image"] = finished(project, sure(n))
    for pk, label in labels.items():
        if label != owl.pk:
            Image.objects.filter(pk=pk).update(state=ImageState.LABELLED, label=label)
    found["no holdout image of a class"] = finished(project, sure(n))
    found["empty bins"] = finished(project, unsure(n))
    found["compared"] = finished(project, sure(n), trigger=Trigger.COMPARISON)
    for state in (RoundState.FAILED, RoundState.CANCELLED, RoundState.QUEUED):
        found[str(state)] = Round.objects.create(
            project=project, number=project.rounds.count() + 1, trigger=Trigger.BUTTON, reason="test", seed=0,
            state=state, config=config_of(project.learning),
        )  # fmt: skip
    return found


def read(api: ApiClient, name: str, **values: object) -> Any:
    path = OPERATIONS[name][1]
    path = re.sub(r"{(\w+)}", lambda found: str({"slug": "signs", "gallery": "sure", **values}.get(found[1], 1)), path)
    return api.get(path + QUERIES.get(name, ""))


def check(reply: Any, name: str) -> None:
    """Answered, or refused in words; numbers are numbers."""

    def no_number(text: str) -> None:
        raise AssertionError(f"{name}: {text} is no JSON")

    assert reply.status_code in (200, 404, 409), (name, reply.content)
    if "json" in reply["Content-Type"]:
        body = json.loads(reply.content, parse_constant=no_number)
        assert reply.status_code == 200 or body["detail"], name


def test_what_is_said_of_each_round(as_manager, rounds):
    for name, round_ in itertools.product(OF_ROUNDS, rounds.values()):
        check(read(as_manager, name, number=round_.number), name)


def test_what_is_said_of_a_project(as_manager, rounds, project):
    """With each of the rounds in charge in turn, and with none."""
    image = project.images.first()
    for round_ in [None, *(each for each in rounds.values() if each.folder)]:
        Project.objects.filter(pk=project.pk).update(model_round=round_)
        for name in sorted(set(READS) - set(OF_ROUNDS)):
            check(read(as_manager, name, image_id=image.pk), name)


def test_an_empty_bin_has_neither_confidence_nor_accuracy(as_manager, rounds):
    found = read(as_manager, "read_round", number=rounds["empty bins"].number).json()
    empty = [each for each in found["reliability"] if each["n"] == 0]
    assert len(empty) == 9
    assert {(each["confidence"], each["accuracy"]) for each in empty} == {(None, None)}
    assert found["accuracy"]["n"] == 20
    unmeasured = read(as_manager, "read_round", number=rounds["no holdout"].number).json()
    assert (unmeasured["holdout"], unmeasured["accuracy"], unmeasured["reliability"]) == (0, None, [])
    without = read(as_manager, "read_round", number=rounds["no holdout image of a class"].number).json()
    assert [each["recall"] is None for each in without["classes"]] == [False, False, True]
