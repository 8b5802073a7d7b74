"""Is it worth it: what was spent, where it leads, what the order saved, and how right the model's labels would be."""

from __future__ import annotations

import math
import uuid
from dataclasses import replace

import numpy as np
import pytest
from django.urls import reverse

from labeler import clock
from labeler.intervals import exact_share, wilson
from labeler.models import (
    Annotation,
    AuditEntry,
    Candidate,
    Image,
    ImageState,
    JobState,
    Project,
    Reason,
    Replay,
    Round,
    RoundState,
    Standing,
    Trigger,
)
from labeler.selectors.forecast import advice_of, forecast_of
from labeler.selectors.measured import Point
from labeler.selectors.worth import THRESHOLDS, auto_labels, costs_of, saved_by_order
from labeler.services.annotate import retract_answer
from labeler.services.projects import set_target
from tests.labeler.monitored import METRICS
from tests.labeler.queues import fill_queue, fresh
from tests.labeler.scored import scored_round

pytestmark = pytest.mark.django_db


def points(*rows: tuple[int, float], n: int = 400) -> list[Point]:
    found = []
    for number, (answers, accuracy) in enumerate(rows, 1):
        share = wilson(round(accuracy * n), n)
        assert share is not None
        span, is_last = (share.value, share.low, share.high), number == len(rows)
        found.append(Point(number, answers, *span, n, Standing.ACCEPTED, is_last, "pixels"))
    return found


STEEP = [(20, 0.55), (40, 0.68), (80, 0.78), (160, 0.85)]
FLAT = [(20, 0.55), (40, 0.72), (80, 0.795), (160, 0.8), (320, 0.8), (640, 0.8), (1280, 0.8), (2560, 0.8)]


# --- Advice -----------------------------------------------------------------------------------------------------------


def test_steep_curves_are_worth_going_on_with(project) -> None:
    advice = advice_of(project, points(*STEEP))
    assert advice.kind == "worth"
    assert advice.gain is not None and advice.gain.value > 0.01
    assert "The next 100 answers are worth +" in advice.reason and "95 % interval" in advice.reason


def test_flat_curves_are_not(project) -> None:
    advice = advice_of(project, points(*FLAT, n=20_000))
    assert advice.kind in {"not_worth", "open"}
    assert advice.gain is not None and advice.gain.value < 0.003


def test_a_target_above_where_it_levels_off(project) -> None:
    project.target_accuracy = 0.95
    advice = advice_of(project, points(*FLAT, n=4000))
    assert advice.kind == "not_worth"
    assert "levels off below the target of 95 %" in advice.reason


def test_a_target_that_is_met_or_nearly(project) -> None:
    project.target_accuracy = 0.8
    assert advice_of(project, points(*STEEP)).kind == "met"
    project.target_accuracy = 0.84
    near = advice_of(project, points(*STEEP))
    assert near.kind == "open" and "more holdout answers would make sure" in near.reason


def test_answers_to_a_target_are_an_interval(project) -> None:
    project.target_accuracy = 0.88
    reach = advice_of(project, points(*STEEP, (320, 0.895 - 0.03))).reach
    assert reach is not None
    assert reach.value is not None and reach.low <= reach.value
    assert reach.high is None or reach.high >= reach.value
    assert reach.target == "88 %"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (points(*STEEP[:3]), "Still needed: 1 more measured round."),
        (points(*STEEP[:3], n=12), "rounds that are measured on 30 holdout images: 18 more holdout answers."),
        (points((20, 0.5), (21, 0.5)), "Still needed: 2 more measured rounds and 19 more answers, which makes twice"),
        (points((20, 0.5), (25, 0.5), (30, 0.6), (39, 0.6)), "Still needed: 1 more answer, which makes twice"),
        ([], "30 more holdout answers"),
    ],
)
def test_too_early(project, make_images, rows, words) -> None:
    make_images(project, 30, is_holdout=True)
    advice = advice_of(project, rows)
    assert (advice.kind, advice.gain) == ("early", None)
    assert words in advice.reason


def test_a_network_that_took_over_is_believed_at_once(project, monkeypatch) -> None:
    """Before, the curve went on from where the rounds of the old way of seeing stood."""
    monkeypatch.setattr("labeler.selectors.forecast.why_to_wait", lambda *_: "")  # for the network, which is made up
    project.target_accuracy = 0.97
    before = points((40, 0.7), (60, 0.74), (90, 0.78), (130, 0.8), (180, 0.82), n=200)
    after = [*before, *(replace(row, sees="network 1") for row in points((200, 0.985), (210, 0.985), n=200))]
    far, near = advice_of(project, before).reach, advice_of(project, after).reach
    assert far is not None and far.low > 100
    assert near is not None and near.low == 0 and near.value is not None and near.value < 100
    fitted = forecast_of(after)
    assert fitted is not None and fitted.error_at(210).value < 0.03


def test_while_a_model_is_kept_in_charge_no_number_is_promised(project) -> None:
    """Rounds are made aside meanwhile, so that what is missing would never come nearer."""
    early, later = points((20, 0.5), (25, 0.5), (30, 0.6), (35, 0.6)), points(*STEEP)
    assert "Still needed: 5 more answers" in advice_of(project, early).reason
    assert "kept" not in advice_of(project, later).reason
    project.model_kept_since = clock.now()
    advice = advice_of(project, early)
    assert (advice.kind, "Still needed" in advice.reason) == ("early", False)
    assert "This stands at round 4, after 35 answers: its model is kept in charge" in advice.reason
    advice = advice_of(project, later)
    assert advice.reason.startswith("This stands at round 4, after 160 answers")  # what is fitted would not move, too
    assert (advice.title, advice.gain) == ("A model is kept in charge", None)
    assert "A person keeps a model in charge." in advice_of(project, []).reason


def test_answers_that_can_never_be_given_are_not_asked_for(project, make_images) -> None:
    """Of a project whose whole holdout is too small: more images are what it takes."""
    few = points(*STEEP, n=7)
    make_images(project, 29, is_holdout=True)
    make_images(project, 1, is_holdout=True, state=ImageState.BAD)
    make_images(project, 50)
    assert advice_of(project, few).reason == (
        "It takes rounds that are measured on 30 holdout images, and there are only 29 here: import more images."
    )
    make_images(project, 1, is_holdout=True)
    assert "23 more holdout answers" in advice_of(project, few).reason


def test_models_that_were_refused_do_not_count(project) -> None:
    rows = points(*STEEP)
    refused = [Point(9, 200, 0.1, 0.05, 0.15, 400, Standing.REFUSED)]
    assert advice_of(project, [*rows, *refused]).reason == advice_of(project, rows).reason


# --- What answers were spent on ---------------------------------------------------------------------------------------


def test_costs_against_a_table_by_hand(project, make_images, annotator, manager) -> None:
    images = make_images(project, 7)
    fill_queue(project, images)
    reasons = [Reason.ACQUIRED, Reason.GROUP, Reason.HOLDOUT, Reason.GOLD, Reason.RELABEL, Reason.RANDOM]
    places = list(Candidate.objects.order_by("rank"))
    for place, reason, seconds in zip(places, reasons, [2.0, 4.0, 3.0, None, 500.0, 1.0], strict=False):
        Candidate.objects.filter(pk=place.pk).update(reason=reason)
        _answer(project, annotator, place.image, place, seconds=seconds)
    _answer(project, manager, images[6], None, is_decision=True, seconds=6.0)
    gone = _answer(project, manager, images[0], None, seconds=9.0)
    retract_answer(project=fresh(project), annotator=manager, target_key=gone.key, key=uuid.uuid4())
    costs = costs_of(project)
    table = {cost.name: (cost.answers, cost.timed, cost.seconds) for cost in costs.kinds}
    assert table == {
        "train": (2, 2, 6.0), "random": (1, 1, 1.0), "holdout": (1, 1, 3.0), "gold": (1, 0, 0.0),
        "relabel": (1, 0, 0.0), "decision": (1, 1, 6.0),
    }  # fmt: skip
    assert (costs.answers, costs.seconds) == (7, 16.0)
    train = costs.kinds[0]
    assert train.each is not None and train.each.value == 3.0
    assert train.each.high - 3.0 == pytest.approx(1.959964 * 1.0)  # deviation 1, two values
    assert train.estimated == 6.0


def _answer(project, person, image, place, *, seconds, is_decision=False) -> Annotation:
    return Annotation.objects.create(
        project=project, image=image, annotator=person, candidate=place, outcome="label",
        label_class=project.classes.first(), key=uuid.uuid4(), seconds=seconds, is_decision=is_decision,
    )  # fmt: skip


# --- Against random ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("saved", "words"),
    [
        ([140.2, 90.4, 210.1], "The ordering has saved 140 answers (95 % interval 90 to 210) against random."),
        ([-20, -40, -10], "The ordering has cost 20 more answers (95 % interval 10 to 40) than random would have."),
        ([5, -10, 20], "Whether the ordering has saved answers is too early to say: −10 to 20 against random."),
    ],
)
def test_what_the_newest_replay_says(project, manager, client_of, saved, words) -> None:
    for result in ([1, 1, 1], saved):
        Replay.objects.create(
            project=project, seed=0, config={}, labels={}, images=9, state=JobState.DONE,
            result={"saved": result, "answers": [20, 300]},
        )  # fmt: skip
    assert saved_by_order(project).words == words
    html = client_of(manager).get(reverse("worth", args=["signs"])).content.decode()
    assert words in html and reverse("replay", args=["signs"]) in html


def test_a_replay_that_is_being_played_is_said(project) -> None:
    job = Replay.objects.create(project=project, state=JobState.QUEUED, labels={}, config={}, seed=1, images=20)
    assert "a replay is waiting for a worker" in saved_by_order(project).words
    Replay.objects.filter(pk=job.pk).update(state=JobState.RUNNING, done=49, total=104)
    assert "is being found out: 49 of 104 models" in saved_by_order(project).words


def test_without_a_replay(project) -> None:
    assert not saved_by_order(project).is_known


# --- The model's own labels -------------------------------------------------------------------------------------------


def test_the_exact_interval_against_tables() -> None:
    """Clopper and Pearson, 95 %: of 10 images 0, 5 and 10 right; the ends solved by hand where there is a formula."""
    none, half, every = (exact_share(k, 10) for k in (0, 5, 10))
    assert none is not None and half is not None and every is not None
    assert (none.low, none.high) == (0.0, pytest.approx(1 - 0.025**0.1))
    assert (half.low, half.high) == (pytest.approx(0.1871, abs=1e-4), pytest.approx(0.8129, abs=1e-4))
    assert (every.low, every.high) == (pytest.approx(0.025**0.1), 1.0)
    assert exact_share(0, 0) is None


@pytest.mark.parametrize(("k", "n"), [(3, 40), (37, 40), (180, 181), (995, 1000)])
def test_the_exact_interval_against_sums_of_the_binomial(k, n) -> None:
    found = exact_share(k, n, confidence=0.99)
    assert found is not None

    def tail(share: float, which: range) -> float:
        return math.fsum(math.comb(n, i) * share**i * (1 - share) ** (n - i) for i in which)

    assert tail(found.low, range(k, n + 1)) == pytest.approx(0.005, rel=1e-3)
    assert tail(found.high, range(k + 1)) == pytest.approx(0.005, rel=1e-3)


def modelled(project: Project, make_images, wrong: int = 0, holdout: int = 60, pool: int = 40) -> Round:
    """The model is 0.97 sure of even images and 0.6 of odd ones; of the holdout it gets some odd ones wrong."""
    make_images(project, holdout, is_holdout=True)
    make_images(project, pool)
    classes = list(project.classes.all())
    for image in project.images.filter(is_holdout=True):
        is_wrong = image.position % 2 == 1 and image.position < 2 * wrong
        image.state, image.label = ImageState.LABELLED, classes[1 if is_wrong else 0]
        image.save()
    sure = [0.97 if position % 2 == 0 else 0.6 for position in range(holdout + pool)]
    means = [[share, (1 - share) / 2, (1 - share) / 2] for share in sure]
    round_ = scored_round(project, means, np.full((len(means), 3), 0.05).tolist(), standing=Standing.ACCEPTED)
    Project.objects.filter(pk=project.pk).update(model_round=round_)
    return round_


def test_thresholds_against_counts_by_hand(project, make_images) -> None:
    modelled(project, make_images, wrong=10)
    auto = auto_labels(fresh(project))
    assert (auto.waiting, auto.measured, auto.problem) == (40, 60, "")
    assert [(row.probability, row.images, row.measured) for row in auto.rows] == [
        (0.5, 40, 60), (0.8, 20, 30), (0.9, 20, 30), (0.95, 20, 30),
    ]  # fmt: skip
    all_, sure = auto.rows[0].right, auto.rows[1].right
    assert all_ is not None and sure is not None
    assert (all_.value, sure.value) == (pytest.approx(50 / 60), 1.0)
    assert sure.low == pytest.approx(
        (0.025 / len(THRESHOLDS)) ** (1 / 30)
    )  # all right: the formula, for all rows at once
    assert auto.best is None  # 30 images cannot show 99 %


def test_the_lowest_threshold_that_keeps_the_goal(project, make_images, manager) -> None:
    modelled(project, make_images, wrong=10)
    set_target(project=project, target=0.8, by=manager)
    auto = auto_labels(fresh(project))
    assert auto.best is not None and (auto.best.probability, auto.best.images) == (0.8, 20)


def test_simultaneous_intervals_hold_after_choosing(project) -> None:
    """Of 300 simulated holdouts the chosen row's lower end is above its true share in at most one of twenty."""
    rng, errors, chosen = np.random.default_rng(0), 0, 0
    for _ in range(300):
        sure = rng.uniform(0.3, 1.0, 400)
        right = rng.random(400) < sure
        for level in THRESHOLDS:
            kept = sure >= level
            found = exact_share(int(right[kept].sum()), int(kept.sum()), confidence=1 - 0.05 / len(THRESHOLDS))
            if found is not None and found.low >= 0.75:
                chosen += 1
                errors += found.low > (1 + level) / 2  # the mean of a uniform probability above it
                break
    assert chosen > 100
    assert errors <= 0.05 * chosen + 3


def test_what_is_missing_is_said(project, make_images) -> None:
    assert "No model is in charge" in auto_labels(fresh(project)).problem
    round_ = modelled(project, make_images, holdout=6)
    assert "6 so far, 10 are the least" in auto_labels(fresh(project)).problem
    Round.objects.filter(pk=round_.pk).update(folder="rounds/gone")
    assert "cannot be read" in auto_labels(fresh(project)).problem


# --- The page ---------------------------------------------------------------------------------------------------------


def measured_rounds(project: Project, rows=STEEP) -> None:
    for point in points(*rows):
        interval = {"value": point.value, "low": point.low, "high": point.high, "n": point.n, "method": "wilson"}
        Round.objects.create(
            project=project, number=100 + point.number, trigger=Trigger.ANSWERS, reason="", state=RoundState.DONE,
            seed=1, answers_spent=point.answers, metrics={**METRICS, "n": point.n, "accuracy": interval},
            standing=Standing.ACCEPTED,
        )  # fmt: skip


def test_the_page_says_it_all(project, make_images, manager, client_of) -> None:
    modelled(project, make_images)
    measured_rounds(project)
    set_target(project=project, target=0.9, by=manager)
    html = client_of(manager).get(reverse("worth", args=["signs"])).content.decode()
    for words in (
        "Worth going on",
        "Further answers to 90 %",
        "If the model labelled the rest",
        'class="curve-target"',
    ):
        assert words in html
    assert 'class="curve-ahead"' in html
    monitor = client_of(manager).get(reverse("monitor", args=["signs"])).content.decode()
    assert "Worth going on." in monitor and 'class="curve-target"' in monitor


def test_an_empty_project_says_what_to_do(project, manager, client_of) -> None:
    html = client_of(manager).get(reverse("worth", args=["signs"])).content.decode()
    for words in (
        "Too early to say",
        "Nobody has answered yet",
        "no replay has been played",
        "No model is in charge yet",
    ):
        assert words in html


def test_the_target_is_set_and_taken_back(project, manager, client_of) -> None:
    client, page = client_of(manager), reverse("worth", args=["signs"])
    for _ in range(2):
        assert client.post(page, {"target": "97.5"}).status_code == 302
    assert fresh(project).target_accuracy == 0.975
    assert 'value="97.5"' in client.get(page).content.decode()
    assert AuditEntry.objects.filter(words__contains="target accuracy").count() == 1
    client.post(page, {"target": ""})
    assert fresh(project).target_accuracy is None


@pytest.mark.parametrize(
    ("value", "words"), [("101", "99.99 or less."), ("0", "1 or more."), ("much", "A number."), ("nan", "A number.")]
)
def test_a_target_that_is_none(project, manager, client_of, value, words) -> None:
    html = client_of(manager).post(reverse("worth", args=["signs"]), {"target": value}).content.decode()
    assert words in html
    assert fresh(project).target_accuracy is None


def test_its_queries_do_not_grow(project, make_images, manager, client_of, django_assert_max_num_queries) -> None:
    modelled(project, make_images)
    measured_rounds(project, FLAT)
    client = client_of(manager)
    client.get(reverse("worth", args=["signs"]))
    with django_assert_max_num_queries(26):
        client.get(reverse("worth", args=["signs"]))


def test_where_nothing_waits_it_does_not_speak_of_thresholds(project, make_images, manager, client_of) -> None:
    """It was "At no threshold is it sure" above rows that are sure, with nothing that waits."""
    modelled(project, make_images)
    Image.objects.filter(is_holdout=False).update(state=ImageState.LABELLED, label=project.classes.first())
    client, page = client_of(manager), reverse("worth", args=["signs"])
    html = client.get(page).content.decode()
    assert "No image outside the holdout waits: there is nothing left for the model to label." in html
    assert "At no threshold" not in html
    make_images(project, 3)
    assert "The 3 images that wait came after the model in charge" in client.get(page).content.decode()
    make_images(project, 2, is_holdout=True)
    assert "2 holdout images wait; people answer them" in client.get(page).content.decode()
