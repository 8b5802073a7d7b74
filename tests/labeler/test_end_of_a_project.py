"""All that is asked has its answers, and holdout images are left that nobody is asked about: what people are told."""

from __future__ import annotations

import pytest
from django.urls import reverse

from labeler.models import ImageState, Notice, Project
from labeler.selectors.labelling import why_empty
from labeler.selectors.next_round import next_round_words
from labeler.services.notices import note_dry
from labeler.services.projects import change_learning
from labeler.services.triggers import start_due_rounds
from tests.labeler.queues import fill_queue, fresh


@pytest.fixture
def ended(project, make_images) -> Project:
    """Of the holdout 10 have a label, as many as are wanted; 5 more wait. Elsewhere 2 are disputed, nothing waits."""
    label = project.classes.first()
    change_learning(project=project, values={"holdout_target": 10})
    make_images(project, 12, state=ImageState.LABELLED, label=label)
    make_images(project, 10, is_holdout=True, state=ImageState.LABELLED, label=label)
    make_images(project, 5, is_holdout=True)
    make_images(project, 2, state=ImageState.DISPUTED, is_contested=True)
    fill_queue(project, [])
    return fresh(project)


def test_annotators_are_thanked_and_no_queue_is_promised(ended, annotator, client_of) -> None:
    found = why_empty(ended, annotator)
    assert (found.why, found.words) == ("all_answered", "All that is to be asked has its answers. Thank you.")
    assert found.retry_seconds is not None  # a manager may want more
    page = client_of(annotator).get(reverse("label", args=[ended.slug])).content.decode()
    assert found.words in page and "no worker is running" not in page


def test_a_manager_reads_what_is_left(ended, manager) -> None:
    words = why_empty(ended, manager, is_manager=True).words
    assert "5 images of the holdout are left: they are asked about once the settings want more" in words
    assert next_round_words(ended) == (
        "once there are more images, or more holdout answers are wanted (5 such images were not asked about), "
        "or the 2 disputed ones are settled"
    )


def test_more_holdout_answers_wanted_are_asked_for(ended, annotator) -> None:
    change_learning(project=ended, values={"holdout_target": 12})
    assert why_empty(fresh(ended), annotator).why == "waiting_for_round"


def test_the_notice_counts_what_is_left(ended) -> None:
    assert start_due_rounds() == 0
    words = Notice.objects.get(project=ended).words
    assert words == (
        "Nobody has anything to answer: of 29 images only 5 of the holdout are left, and they have not been asked "
        "about, as the project has the holdout answers that its settings want. Raise them to ask on. 2 disputed images "
        "wait for a decision in the review. Import more, or export the labels."
    )


def test_the_notice_of_one(ended) -> None:
    found = note_dry(project=ended, images=7, holdout=1, disputed=1)
    assert found is not None
    assert "only 1 of the holdout is left, and it has not been asked about" in found.words
    assert "1 disputed image waits for a decision" in found.words
