"""What the graph is not sure of, the network in use is asked about before the next one is taught."""

from __future__ import annotations

import numpy as np
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from labeler import tasks
from labeler.learning.students import load_student
from labeler.models import Fate, Image, JobState, LabelClass, LearningConfig
from learner import distillation, lessons
from tests.labeler.networks.conftest import N, asked, trained
from tests.labeler.queues import fresh

pytestmark = pytest.mark.django_db

SOME = np.arange(0, N, 7)


@pytest.fixture
def opinions(monkeypatch) -> list:
    """What each lesson heard about some images; None where nobody was there to ask."""
    heard, lesson_of = [], lessons.lesson_of

    def hear(*of, opinion, **rest):
        heard.append(None if opinion is None else opinion.of(SOME).tolist())
        return lesson_of(*of, opinion=opinion, **rest)

    monkeypatch.setattr(lessons, "lesson_of", hear)
    return heard


def of_the_network(pool, network) -> list[int]:
    """Its likeliest classes, by the numbers that they had when it was trained."""
    from contextlib import ExitStack

    from labeler.learning.files import opened
    from labeler.selectors.features import chunk_inputs

    with ExitStack() as stack:
        chunks = [opened(each, stack) for each in chunk_inputs(pool, None)]
        of_all = np.concatenate([load_student(network).look_at(chunk)[1] for chunk in chunks])
    return of_all[SOME].argmax(1).tolist()


def test_the_first_one_asks_nobody_and_the_next_one_the_one_in_use(pool, opinions) -> None:
    first = trained(pool)
    assert first.is_accepted and opinions == [None]
    assert trained(fresh(pool)).state == JobState.DONE
    assert opinions[1] == of_the_network(pool, first)
    assert len(set(opinions[1])) > 1


def test_classes_go_by_the_numbers_that_they_have_now_and_those_that_are_gone_by_none(pool, opinions) -> None:
    first = trained(pool)
    before = of_the_network(pool, first)
    classes = first.labels["classes"]
    first.labels["classes"] = [0, *classes[1:][::-1]]  # as if they had been these
    first.save(update_fields=["labels"])
    trained(fresh(pool))
    number = {0: -1} | {index: len(classes) - index for index in range(1, len(classes))}
    assert opinions[1] == [number[each] for each in before]


def test_a_class_that_was_merged_goes_by_the_number_of_the_other(pool, opinions) -> None:
    first = trained(pool)
    before, (one, other, *_) = of_the_network(pool, first), first.labels["classes"]
    LabelClass.objects.filter(pk=other).update(fate=Fate.MERGED, merged_into=one, is_archived=True)
    Image.objects.filter(project=pool, label=other).update(label=one)
    trained(fresh(pool))
    assert opinions[1] == [{0: 0, 1: 0}.get(each, each - 1) for each in before] and 1 in before


def test_it_decides_what_is_taught_where_the_graph_is_not_sure(pool, opinions, monkeypatch) -> None:
    """Nothing is sure, so that all that is taught is what both say: of the network that was in use when it was asked
    for, whatever is in use by the time that a worker comes to it."""
    first = trained(pool)
    monkeypatch.setattr(lessons, "SURE", 1.1)
    taught, job = [], asked(fresh(pool))
    distil = distillation.distil
    monkeypatch.setattr(distillation, "distil", lambda *of, **how: (taught.append(of[1]), distil(*of, **how))[1])
    LearningConfig.objects.update(network=None)
    tasks.train_network(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error) == (JobState.DONE, "")
    assert opinions[1] == of_the_network(pool, first)
    said = dict(zip(SOME.tolist(), opinions[1], strict=True))
    (lesson,) = taught
    both = {*zip(lesson.positions.tolist(), lesson.labels.tolist(), strict=True)} - {
        *zip(job.labels["positions"], job.labels["labels"], strict=True)
    }
    assert both and all(said[position] == label for position, label in both if position in said)
    assert {position for position, _ in both} & {*said}


@pytest.mark.parametrize("is_lost", [True, False])
def test_one_whose_file_was_lost_or_is_damaged_is_not_asked(pool, opinions, is_lost) -> None:
    first = trained(pool)
    default_storage.delete(first.file)
    if not is_lost:
        default_storage.save(first.file, ContentFile(b"nothing of the kind"))
    job = asked(fresh(pool))
    tasks.train_network(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error, opinions) == (JobState.DONE, "", [None, None])


def test_one_that_knows_images_of_another_size_is_not_asked(pool, opinions, monkeypatch) -> None:
    trained(pool)
    load = load_student

    def of_another_size(network):
        student = load(network)
        student.facts["shape"] = [1, 64, 64]
        return student

    monkeypatch.setattr("labeler.learning.students.load_student", of_another_size)
    trained(fresh(pool))
    assert opinions == [None, None]
