"""Holdout images without a label are never silently missing: every page with a number says how many there are."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from django.urls import reverse
from django.utils.translation import override

from labeler.models import Annotation, Candidate, Image, ImageState, Membership, Notice, Outcome, Reason, Role, Round
from labeler.selectors.left_out import LeftOut, LeftOutNow, bounds, left_out_of
from labeler.selectors.model_card import as_json, as_markdown, model_card
from labeler.selectors.verdicts import verdict_of
from labeler.selectors.worth import auto_labels
from labeler.services.notices import note_target
from tests.labeler.judged import judged, measured_pool
from tests.labeler.queues import fresh

pytestmark = pytest.mark.django_db


@pytest.fixture
def round_(project, make_images, manager) -> Round:
    """Judged against one before it; of 30 holdout images 5 are disputed, 1 is set aside, and one is bad."""
    measured_pool(project, make_images)
    project.refresh_from_db()
    rows = list(project.images.filter(is_holdout=True).order_by("position"))
    for number, row in enumerate(rows[:7]):
        state = ImageState.DISPUTED if number < 5 else ImageState.SET_ASIDE if number == 5 else ImageState.BAD
        Image.objects.filter(pk=row.pk).update(state=state, label=None, is_contested=number < 5)
    judged(project)
    return judged(project, lambda position: position in (10, 11))


def disagree(project, make_user, count: int) -> None:
    """Ann and Bob have answered; a third, Carl, has answered too, but `count` of the disputed ones not."""
    people = [make_user(name) for name in ("ann2", "bob2", "carl2")]
    for person in people:
        Membership.objects.create(project=project, user=person, role=Role.ANNOTATOR)
    disputed = Image.objects.filter(project=project, state=ImageState.DISPUTED).order_by("pk")
    classes = list(project.classes.all())
    for number, image in enumerate(disputed):
        for at, person in enumerate(people if number >= count else people[:2]):
            Annotation.objects.create(
                project=project, image=image, annotator=person, outcome=Outcome.LABEL, label_class=classes[at],
                key=uuid.uuid4(),
            )  # fmt: skip
    Annotation.objects.create(
        project=project, image=project.images.filter(state=ImageState.POOL).first(), annotator=people[2],
        outcome=Outcome.LABEL, label_class=classes[0], key=uuid.uuid4(),
    )  # fmt: skip


def test_a_round_keeps_what_it_left_out(round_) -> None:
    assert round_.metrics["n"] == 23
    assert round_.metrics["left_out"] == {"disputed": 5, "set_aside": 1}
    found = left_out_of(round_.metrics)
    assert (found.disputed, found.set_aside, found.images) == (5, 1, 6)
    then = "Not counted are 6 holdout images that were disputed or set aside when this was measured; with them "
    assert found.words.startswith(then)


def test_the_bounds_are_those_of_the_worst_and_the_best_that_they_can_be() -> None:
    """Wilson's interval by its own equation: |p - x/n| = z sqrt(p (1 - p) / n) at both ends."""
    low, high = bounds(21, 23, 6)
    for share, right in ((low, 21), (high, 27)):
        assert abs(share - right / 29) == pytest.approx(1.959964 * np.sqrt(share * (1 - share) / 29), rel=1e-4)
    assert low < 21 / 29 < 21 / 23 < 27 / 29 < high


@pytest.mark.parametrize("truth", [0.6, 0.85, 0.97])
def test_the_bounds_hold_however_the_left_out_ones_differ(truth) -> None:
    """Simulated: the model is right about hard images less often, and hard ones are disputed."""
    rng, missed, trials = np.random.default_rng(3), 0, 2000
    for _ in range(trials):
        is_right = rng.random(100) < truth
        is_disputed = rng.random(100) < np.where(is_right, 0.1, 0.7)
        low, high = bounds(int((is_right & ~is_disputed).sum()), int((~is_disputed).sum()), int(is_disputed.sum()))
        missed += not low <= truth <= high
    assert missed / trials < 0.05


def test_nothing_left_out_says_nothing() -> None:
    assert left_out_of({"n": 20, "accuracy": {"value": 0.9}, "left_out": {"disputed": 0, "set_aside": 0}}).words == ""
    assert left_out_of({}).words == left_out_of(None).words == ""
    assert LeftOut(1, 0).words == "Not counted is 1 holdout image that is disputed or set aside."


def test_the_pages_say_how_many_and_where_to_settle_them(round_, project, make_user, client_of, manager) -> None:
    disagree(project, make_user, 3)
    Candidate.objects.filter(reason=Reason.RELABEL).delete()  # asked of who has never answered
    client, review = client_of(manager), reverse("review", args=[project.slug])
    then = "Not counted are 6 holdout images that were disputed or set aside"
    now = "5 holdout images are disputed and not counted: 3 are asked of another person first of all, 2 wait for a"
    for name in ("monitor", "monitor-state", "worth"):
        page = client.get(reverse(name, args=[project.slug])).content.decode()
        assert now in page and then in page
        assert f'href="{review}"' in page and "1 holdout image is set aside and not counted." in page
        assert "state=set_aside&amp;holdout=yes" in page
    page = client.get(reverse("round", args=[project.slug, round_.number])).content.decode()
    assert then in page and f'href="{review}">Settle them' in page
    looked = client.get(reverse("images", args=[project.slug]) + "?state=set_aside&holdout=yes").content.decode()
    shown = [pk for pk in project.images.values_list("pk", flat=True) if reverse("image", args=["signs", pk]) in looked]
    assert shown == [project.images.get(state=ImageState.SET_ASIDE).pk]


def test_without_any_the_pages_say_nothing(project, make_images, manager, client_of) -> None:
    measured_pool(project, make_images)
    project.refresh_from_db()
    judged(project)
    client = client_of(manager)
    for name in ("monitor", "worth"):
        page = client.get(reverse(name, args=[project.slug])).content.decode()
        assert "not counted" not in page and "Not counted" not in page
    assert "They are a random sample." in page


def test_only_where_none_is_missing_it_is_called_a_random_sample(round_, project, client_of, manager) -> None:
    for name in ("monitor", "worth"):
        page = client_of(manager).get(reverse(name, args=[project.slug])).content.decode()
        assert "a random sample" not in page and "random holdout" not in page
    assert "They are no random sample: 6 that were answered have no label" in page


def test_the_models_own_labels_at_their_worst(round_, project) -> None:
    """The model is 0.9 sure of everything, six of which have no label."""
    project.target_accuracy = 0.5
    auto = auto_labels(fresh(project))
    assert (auto.measured, auto.left_out) == (23, 6)
    assert all(row.worst is not None and row.worst < row.right.low for row in auto.rows if row.measured)


def test_the_gate_says_what_it_left_out(round_) -> None:
    assert round_.verdict["n"] == 23
    words = " ".join(verdict_of(round_, {}).sentences)
    assert "6 holdout images were disputed or set aside, and were left out." in words


def test_the_card_says_it(round_) -> None:
    card = model_card(round_)
    assert "Not counted are 6 holdout images" in card.left_out
    assert "Not counted are 6 holdout images" in as_markdown(card)
    assert "no random sample" in "\n".join(card.limits)
    assert as_json(card)["left_out"] == card.left_out
    with override("de"):
        assert model_card(round_).left_out.startswith("Nicht gezählt sind 6 Testbilder")


def test_the_notice_that_the_target_is_met_says_it(round_, project) -> None:
    project.target_accuracy = 0.5
    with override("de"):
        note_target(project=project, round_=round_)
    assert "Not counted are 6 holdout images" in Notice.objects.get(kind="target_met").words


def test_who_is_asked_in_words() -> None:
    assert "1 holdout image is disputed and not counted: another person" in LeftOutNow(1, 1, 0).disputed_words
    assert "nobody is left to be asked" in LeftOutNow(2, 0, 0).disputed_words


@pytest.mark.parametrize(
    ("disputed", "asked", "english", "german"),
    [
        (2, 1, "1 is asked of another person first of all, 1 waits for a manager.", "1 wartet auf die Projektleitung."),
        (5, 2, "2 are asked of another person first of all, 3 wait for a manager.", "3 warten auf die Projektleitung."),
    ],
)
def test_one_waits_and_several_wait(disputed, asked, english, german) -> None:
    now = LeftOutNow(disputed, asked, 0)
    assert now.disputed_words.endswith(english)
    with override("de"):
        assert now.disputed_words.endswith(german)
