"""When advice to stop is held back: something better is on its way, stands aside, or too little is known."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
from django.urls import reverse

from labeler import clock
from labeler.models import (
    Annotation,
    Image,
    JobState,
    PoolFeatures,
    PoolGraph,
    PoolNetwork,
    Round,
    RoundState,
    Standing,
    Trigger,
)
from labeler.selectors.curve import Curve, learning_curve
from labeler.selectors.forecast import LEAST_GAIN, SMALL, advice_of, curve_ahead
from labeler.selectors.measured import Point
from labeler.selectors.pool import answers_to_ask, pool_counts
from tests.labeler.queues import fresh
from tests.labeler.test_worth import FLAT, STEEP, measured_rounds, points

pytestmark = pytest.mark.django_db


@pytest.fixture
def flat() -> list[Point]:
    """Nobody would go on with these."""
    return points(*FLAT, n=400)


def choose_features(project) -> None:
    project.learning.representation = "default"
    project.learning.save()


def test_flat_for_long_is_not_worth_it_whatever_a_single_round_may_measure(project, flat) -> None:
    advice = advice_of(project, flat)
    assert (advice.kind, advice.title) == ("not_worth", "Not worth going on")
    assert advice.gain is not None and 0 <= advice.gain.low <= advice.gain.high < LEAST_GAIN


def test_hardly_worth_it_only_where_the_upper_end_is_small_too(project) -> None:
    """It was said of a gain that might as well have been seven points."""
    advice = advice_of(project, points((100, 0.6), (200, 0.62), (300, 0.61), (500, 0.6), (758, 0.61), n=30))
    assert advice.title == "Hardly worth it, perhaps"
    assert advice.gain is not None and LEAST_GAIN <= advice.gain.high < SMALL
    advice = advice_of(project, points((20, 0.6), (30, 0.62), (40, 0.61), (60, 0.62), n=200))
    assert advice.gain is not None and advice.gain.value < LEAST_GAIN < SMALL < advice.gain.high
    assert (advice.kind, advice.title) == ("early", "Too early to say")
    assert "Its upper end leaves open whether they are worth it" in advice.reason
    assert "-" not in advice.reason  # a minus is none of a word


def test_slow_on_the_way_to_a_target_is_no_reason_to_stop(project) -> None:
    project.target_accuracy = 0.801
    advice = advice_of(project, points(*FLAT, n=100))
    assert advice.gain is not None and advice.gain.high < LEAST_GAIN
    assert (advice.kind, advice.reach is not None and advice.reach.value is not None) == ("open", True)


def test_features_that_are_being_computed_are_waited_for(project, flat) -> None:
    choose_features(project)
    job = PoolFeatures.objects.create(project=project, backbone="efficientnet_lite0", state=JobState.RUNNING)
    advice = advice_of(fresh(project), flat)
    assert (advice.kind, advice.title, advice.gain) == ("early", "Too early to say", None)
    assert advice.reason == (
        "Features of efficientnet_lite0 are being computed: wait for the round after them before you judge."
    )
    PoolFeatures.objects.filter(pk=job.pk).update(state=JobState.DONE, images=9)
    advice = advice_of(fresh(project), flat)
    assert advice.reason.startswith("The next round sees the images in another way (features of efficientnet_lite0)")
    new = replace(flat[-1], number=99, answers=2600, sees="features of efficientnet_lite0")
    assert "sees the images" not in advice_of(fresh(project), [*flat, new]).reason


def test_features_of_new_images_alone_change_nothing(project, flat) -> None:
    choose_features(project)
    seen = [replace(row, sees="features of efficientnet_lite0") for row in flat]
    values = {"project": project, "backbone": "efficientnet_lite0"}
    PoolFeatures.objects.create(**values, state=JobState.DONE, images=9)
    PoolFeatures.objects.create(**values, state=JobState.RUNNING)
    assert advice_of(fresh(project), seen).kind == "not_worth"


def test_a_network_that_is_being_trained_is_waited_for(project, flat) -> None:
    job = PoolNetwork.objects.create(project=project, seed=1, labels={}, answers=40, state=JobState.QUEUED)
    advice = advice_of(fresh(project), flat)
    assert (advice.kind, advice.title) == ("early", "Too early to say")
    assert advice.reason.startswith(f"Network {job.pk} is being trained: wait until it is accepted or refused")
    PoolNetwork.objects.update(state=JobState.DONE, is_accepted=False)
    assert advice_of(fresh(project), flat).kind == "not_worth"
    PoolNetwork.objects.create(project=project, seed=2, labels={}, answers=60, state=JobState.RUNNING)
    assert advice_of(fresh(project), flat).kind == "not_worth"  # else it would never be said: one follows the other


def test_likeness_that_the_last_round_did_not_know_is_waited_for(project, flat) -> None:
    PoolGraph.objects.create(project=project, state=JobState.DONE, vectors="graphs/1.npy")
    assert "(likeness by pixels)" in advice_of(fresh(project), flat).reason
    alike = [replace(row, sees="likeness by pixels") for row in flat]
    assert advice_of(fresh(project), alike).kind == "not_worth"


def test_a_graph_that_is_made_again_of_new_images_is_no_other_way_of_seeing(project, flat) -> None:
    """Features of new images take the place of the older ones, of which the graph was made."""
    choose_features(project)
    PoolFeatures.objects.create(project=project, backbone="efficientnet_lite0", state=JobState.DONE, images=9)
    PoolGraph.objects.create(project=project, state=JobState.DONE, vectors="graphs/1.npy")
    alike = [replace(row, sees="likeness by features of efficientnet_lite0") for row in flat]
    assert advice_of(fresh(project), alike).kind == "not_worth"
    assert "(likeness by features of efficientnet_lite0)" in advice_of(fresh(project), flat).reason


def test_what_is_worth_going_on_with_waits_for_nothing(project) -> None:
    PoolNetwork.objects.create(project=project, seed=1, labels={}, answers=40, state=JobState.QUEUED)
    assert advice_of(fresh(project), points(*STEEP)).kind == "worth"


def made_aside(project, low: float) -> Round:
    verdict = {"difference": {"value": 0.3, "low": low, "high": 0.35, "n": 200}}
    return Round.objects.create(
        project=project, number=115, trigger=Trigger.ANSWERS, reason="", state=RoundState.DONE, seed=1,
        standing=Standing.ASIDE, verdict=verdict,
    )  # fmt: skip


def test_a_better_model_that_stands_aside_is_named(project, manager, client_of) -> None:
    measured_rounds(project)
    project.model_round = project.rounds.get(number=104)
    project.model_kept_since, project.model_kept_by = clock.now(), manager
    project.save()
    made_aside(project, 0.25)
    words = (
        "The model of round 115, made aside, is better by +30.0 points (95 % interval +25.0 to +35.0): released, round "
        "104 gives way to the next."
    )
    advice = advice_of(project, learning_curve(project).points)
    assert (advice.title, advice.gain) == ("A model is kept in charge", None)
    assert advice.reason.endswith(words)
    assert words in client_of(manager).get(reverse("worth", args=["signs"])).content.decode()
    Round.objects.filter(number=115).delete()
    made_aside(project, -0.01)
    assert "made aside, is better" not in advice_of(project, learning_curve(project).points).reason


def test_nothing_is_foretold_while_a_model_is_kept(project) -> None:
    """What was expected of it was drawn across what had been measured since."""
    measured_rounds(project)
    assert curve_ahead(project, learning_curve(project)).ahead
    project.model_kept_since = clock.now()
    assert not curve_ahead(project, learning_curve(project)).ahead


def test_where_no_image_waits_that_is_said_and_nothing_foretold(project, make_images, manager, client_of) -> None:
    """Pages said that it was too early to say, and drew answers that no image takes."""
    measured_rounds(project)
    images = make_images(project, 4)
    address = reverse("worth", args=[project.slug])
    page = client_of(manager).get(address).content.decode()
    assert "Nothing is left to ask" not in page and 'class="curve-ahead"' in page
    Image.objects.filter(pk__in=[row.pk for row in images]).update(state="set_aside")
    page = client_of(manager).get(address).content.decode()
    assert "Nothing is left to ask" in page and 'class="curve-ahead"' not in page
    Image.objects.filter(pk=images[0].pk).update(state="disputed")
    advice = advice_of(project, learning_curve(project).points, pool_counts(project))
    assert advice.title == "Nothing new is left to ask"
    assert "people disagree about 1. Settle it, or have it asked again" in advice.reason
    assert (advice.kind, advice.gain, advice.is_to_stop) == ("over", None, False)


def test_no_answers_are_foretold_that_no_image_takes(project, make_images, manager, client_of) -> None:
    """Beside three images pages spoke of the next 100 answers, and drew the curve 80 answers on."""
    measured_rounds(project)  # up to 160 answers
    make_images(project, 3)
    project.target_accuracy = 0.9
    project.save()
    counts, curve = pool_counts(project), learning_curve(project)
    advice = advice_of(project, curve.points, counts)
    assert advice.gain is not None and advice.gain.n == 3
    assert advice.reason.startswith("The 3 answers that can still be asked are worth +")
    assert advice.reach is not None and advice.reach.left == 3 < advice.reach.low
    page = client_of(manager).get(reverse("worth", args=[project.slug])).content.decode()
    assert "Only 3 answers can still be asked: import more images." in page and "next 100 answers" not in page
    everything, few = curve_ahead(project, curve), curve_ahead(project, curve, counts)
    assert last_of(everything) > last_of(few) > last_mark(few)
    assert answers_at(few, last_of(few)) == pytest.approx(163, abs=0.5)
    assert answers_at(everything, last_of(everything)) == pytest.approx(240, abs=0.5)


def last_of(curve: Curve) -> float:
    return float(curve.ahead.split()[-1].split(",")[0])


def last_mark(curve: Curve) -> float:
    return curve.marks[-1].x


def answers_at(curve: Curve, x: float) -> float:
    """By the curve's own first and last mark."""
    first, last = curve.marks[0], curve.marks[-1]
    each = (last.point.answers - first.point.answers) / (last.x - first.x)
    return last.point.answers + (x - last.x) * each


def test_enough_images_change_nothing(project, make_images) -> None:
    measured_rounds(project)
    make_images(project, 100)
    curve, counts = learning_curve(project), pool_counts(project)
    assert advice_of(project, curve.points, counts) == advice_of(project, curve.points)
    assert curve_ahead(project, curve, counts) == curve_ahead(project, curve)


def test_answers_to_ask_are_those_that_images_lack(project, make_images, annotator) -> None:
    """Of the holdout as many as its target lacks, and all once no other image waits."""
    project.learning.holdout_target = 1
    images, holdout = make_images(project, 3), make_images(project, 2, is_holdout=True)
    assert answers_to_ask(project, pool_counts(project)) == 4
    project.learning.overlap = 3
    for image, outcome in ((images[0], "unsure"), (images[1], "skip"), (holdout[0], "bad_image")):
        Annotation.objects.create(project=project, image=image, annotator=annotator, outcome=outcome, key=uuid.uuid4())
    assert answers_to_ask(project, pool_counts(project)) == 2 + 3 + 3 + 2
    Image.objects.filter(pk__in=[row.pk for row in images]).update(state="bad")
    assert answers_to_ask(project, pool_counts(project)) == 2 + 3
