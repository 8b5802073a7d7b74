"""Rounds that are only looked at: no queue, no trigger, no curve; and the page that puts two side by side."""

from __future__ import annotations

import pytest
from django.urls import reverse
from django.utils.translation import override

from labeler import choices, learning, tasks
from labeler.forms.learning import MODEL, LearningForm
from labeler.models import Annotation, Candidate, ImageState, PoolGraph, Round, RoundState, Trigger
from labeler.selectors.compare import estimator_words
from labeler.selectors.measured import measured_rounds
from labeler.selectors.monitor import monitor_of
from labeler.selectors.next_round import next_round_words
from labeler.selectors.pool import LEAST_HOLDOUT
from labeler.selectors.rounds import settings_of
from labeler.services import claims
from labeler.services.comparisons import repeat_comparison, start_comparison
from labeler.services.rounds import RoundRefused, cancel_round, config_of, newest_round, start_cold_round
from labeler.services.triggers import round_due
from tests.labeler.queues import fresh
from tests.labeler.rounds import answer, paint, tune
from tests.labeler.scored import five, scored_round

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def pool(project, make_images, annotator, sent, settings):
    """Answered until a round is due, which is not run."""
    settings.LEARNER_THREADS = 1
    make_images(project, 70)
    make_images(project, 20, is_holdout=True)
    paint(project)
    tune(project, retrain_every=30, budget=40)
    start_cold_round(project=project)
    answer(project, annotator, 20)
    sent.clear()
    return fresh(project)


def compared(pool, manager, **values: object) -> Round:
    round_ = start_comparison(
        project=pool, values={"posterior_samples": 6, **values}, reason="mia compares", by=manager
    )
    tasks.run_round(round_.pk)
    round_.refresh_from_db()
    assert (round_.state, round_.error) == (RoundState.DONE, "")
    return round_


def test_it_is_scored_and_measured_and_publishes_nothing(pool, manager, sent) -> None:
    queue = pool.queue_round_id
    places = list(Candidate.objects.values_list("pk", "state", "rank"))
    round_ = compared(pool, manager)
    assert round_.config["posterior_samples"] == 6
    assert round_.training_count > 0 and round_.metrics["accuracy"]["n"] > 0
    assert (learning.folder_of(round_) / "scores" / "000000.npz").exists()
    pool.refresh_from_db()
    assert pool.queue_round_id == queue
    assert list(Candidate.objects.values_list("pk", "state", "rank")) == places
    assert pool.learning.posterior_samples == 4


def test_the_answers_that_it_saw_start_the_next_round_all_the_same(pool, manager, annotator, sent) -> None:
    compared(pool, manager)
    sent.clear()
    assert next_round_words(fresh(pool)) == "after 10 more answers"
    answer(pool, annotator, 9)
    assert not sent
    answer(pool, annotator, 1)
    last = Round.objects.get(state=RoundState.QUEUED)
    assert sent == [(claims.RUN, last.pk)] and last.trigger == Trigger.ANSWERS


def test_one_that_failed_or_was_cancelled_changes_nothing_either(pool, manager) -> None:
    before = newest_round(pool)
    round_ = start_comparison(project=pool, values={}, reason="", by=manager)
    assert newest_round(pool) == round_
    assert cancel_round(round_=round_, by=manager)
    round_.refresh_from_db()
    assert round_.last_annotation_id == before.last_annotation_id < Annotation.objects.last().pk
    assert newest_round(pool) == before
    Round.objects.filter(pk=round_.pk).update(state=RoundState.FAILED)
    assert round_due(fresh(pool)) is None
    again = repeat_comparison(round_=round_, by=manager)
    assert (again.trigger, again.config["posterior_samples"]) == (Trigger.COMPARISON, 4)


def test_the_curve_and_the_monitor_leave_it_out(pool, manager) -> None:
    round_ = compared(pool, manager)
    assert round_.metrics["n"] > 0
    assert measured_rounds(pool) == ([], [])
    assert monitor_of(fresh(pool)).model is None


def test_while_a_round_runs_and_without_labels_none_starts(pool, manager) -> None:
    assert start_comparison(project=pool, values={}, reason="", by=manager) is not None
    assert start_comparison(project=pool, values={}, reason="", by=manager) is None
    Round.objects.update(state=RoundState.DONE)
    pool.images.update(state=ImageState.POOL, label=None)
    with pytest.raises(RoundRefused, match="labels of two classes"):
        start_comparison(project=pool, values={}, reason="", by=manager)


def test_the_form_offers_what_the_settings_offer(project, manager, client_of) -> None:
    page = client_of(manager).get(reverse("compare", args=["signs"]))
    form = page.context["form"]
    assert list(form.fields) == list(MODEL)
    assert [name for name, _ in form.fields["estimator"].choices] == [name for name, _ in choices.ESTIMATORS]
    assert form.fields["estimator"].help_text == LearningForm.base_fields["estimator"].help_text
    assert form["posterior_samples"].value() == 100


def test_the_page_starts_one_and_refuses_nonsense(pool, manager, client_of, sent) -> None:
    client, url = client_of(manager), reverse("compare-start", args=["signs"])
    model = {"members": 5, "laplace_prior": "initial_weights"}
    values = {
        "architecture": "mlp",
        "feature_architecture": "head",
        "learns_from": "images",
        "estimator": choices.ESTIMATORS[0][0],
        "posterior_samples": 12,
        **model,
    }
    assert client.post(url, {**values, "estimator": "tea leaves"}).status_code == 400
    assert not Round.objects.filter(trigger=Trigger.COMPARISON).exists()
    reply = client.post(url, values, follow=True).content.decode()
    round_ = Round.objects.get(trigger=Trigger.COMPARISON)
    assert round_.config["posterior_samples"] == 12 and "mia compares" in round_.reason
    assert f"Round {round_.number} scores the pool." in reply and "is running" in reply
    assert sent == [(claims.RUN, round_.pk)]


def test_the_reason_names_what_it_learns_from_and_not_what_the_settings_say_of_pixels(pool, manager, client_of) -> None:
    PoolGraph.objects.create(project=pool, state="done", done=6, total=6, images=6, file="graphs/1", vectors="graphs/2")
    values = {"architecture": "cnn", "feature_architecture": "head", "learns_from": "likeness", "estimator": "laplace"}
    values |= {"posterior_samples": 12, "members": 5, "laplace_prior": "initial_weights"}
    client_of(manager).post(reverse("compare-start", args=["signs"]), values)
    reason = Round.objects.get(trigger=Trigger.COMPARISON).reason
    assert reason.endswith("on one hidden layer of likeness by pixels, K = 12") and "Laplace" in reason


def test_a_round_that_is_not_there_is_not_found(project, make_images, manager, client_of) -> None:
    make_images(project, 5)
    two(project)
    url = reverse("compare", args=["signs"])
    newest = project.rounds.first().number
    assert client_of(manager).get(f"{url}?a={newest}").status_code == 200
    for wrong in ("99", "x"):
        assert client_of(manager).get(f"{url}?b={wrong}").status_code == 404


def two(project) -> None:
    """Two rounds that differ on image 1 and 2, where the first is surer of 2."""
    five(project)
    means = [[0.97, 0.02, 0.01], [0.6, 0.39, 0.01], [0.1, 0.9, 0.0], [0.1, 0.5, 0.4], [0.75, 0.2, 0.05]]
    scored_round(project, means, [[0.1] * 3] * 5, config={"estimator": "other", "posterior_samples": 8})


def test_on_fewer_holdout_answers_than_the_monitor_wants_nothing_is_said_to_be_right(
    project, make_images, manager, client_of
) -> None:
    make_images(project, 5)
    two(project)
    cat = project.classes.first()
    project.images.filter(position__lt=3).update(is_holdout=True, state=ImageState.LABELLED, label=cat)
    page = client_of(manager).get(reverse("compare", args=["signs"]))
    assert {value for row in page.context["comparison"].rows for value in row.values} == {None}
    assert f"with fewer than {LEAST_HOLDOUT} an accuracy says nothing" in page.content.decode()


def test_two_rounds_stand_side_by_side(project, make_images, manager, client_of, monkeypatch) -> None:
    monkeypatch.setattr("labeler.selectors.pool.LEAST_HOLDOUT", 3)
    make_images(project, 5)
    two(project)
    cat, dog, _ = project.classes.all()
    holdout = {0: cat, 1: dog, 2: dog}
    for position, label in holdout.items():
        changes = {"is_holdout": True, "state": ImageState.LABELLED, "label": label}
        project.images.filter(position=position).update(**changes)
    client = client_of(manager)
    page = client.get(reverse("compare", args=["signs"]))
    found = page.context["comparison"]
    assert [side.round.number for side in found.sides] == [1, 2]
    assert (found.images, found.differing) == (5, 2)
    assert {(pair.one, pair.other, pair.count) for pair in found.pairs} == {("dog", "cat", 1), ("cat", "dog", 1)}
    assert [pair.one.image.position for pair in found.tiles] == [1, 2]  # first where both are surest
    accuracy = found.rows[0].values
    assert [round(each["value"], 3) for each in accuracy] == [0.667, 0.667]
    assert [each["n"] for each in accuracy] == [3, 3]
    swapped = client.get(reverse("compare", args=["signs"]), {"a": 2, "b": 1}).context["comparison"]
    assert [side.round.number for side in swapped.sides] == [2, 1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"estimator": "mc_dropout"}, "MC dropout on mlp, K = 100"),
        ({"estimator": "ensemble"}, "Deep ensemble on mlp, K = 5"),
        ({"estimator": "bootstrap", "member_dropout": True}, "Bootstrap on mlp, K = 100, dropout inside"),
        ({"estimator": "ensemble", "temperature_scaling": True}, "Deep ensemble on mlp, K = 5, scaled temperature"),
        ({"estimator": "laplace", "member_dropout": True}, "Laplace on mlp, K = 100"),
        (
            {"estimator": "laplace", "laplace_prior": "marginal_likelihood"},
            "Laplace on mlp, K = 100, prior by marginal likelihood",
        ),
    ],
)
def test_the_words_of_a_round_are_true_and_tell_it_from_others(project, changes, words) -> None:
    config = {**config_of(project.learning), "architecture": "mlp", "members": 5, "posterior_samples": 100, **changes}
    assert estimator_words(config) == words
    shown = {row.words: row.value for row in settings_of(Round(config=config, seed=0))}
    assert shown["Posterior samples"] == words.split("K = ")[1].split(",")[0]


def test_a_network_without_a_name_of_its_own_is_said_in_german(project) -> None:
    """It was "MC-Dropout mit head auf Ähnlichkeit nach Netz 2"."""
    config = {**config_of(project.learning), "features": "network 2", "has_likeness": True, "posterior_samples": 9}
    assert config["feature_architecture"] == "head"
    assert "on one hidden layer of likeness by network 2" in estimator_words(config)
    with override("de"):
        assert "mit einer verborgenen Schicht auf Ähnlichkeit nach Netz 2" in estimator_words(config)


def test_what_only_one_of_them_knows_is_left_out(project, make_images, manager, client_of) -> None:
    make_images(project, 5)
    five(project)
    make_images(project, 2)
    scored_round(project, [[0.1, 0.8, 0.1]] * 7, [[0.1] * 3] * 7)
    owl = project.classes.get(name="owl")
    for position in (0, 6):
        project.images.filter(position=position).update(is_holdout=True, state=ImageState.LABELLED, label=owl)
    found = client_of(manager).get(reverse("compare", args=["signs"])).context["comparison"]
    assert (found.images, found.holdout) == (5, 1)


def test_with_one_round_or_none_the_page_says_what_to_do(project, make_images, manager, client_of) -> None:
    client = client_of(manager)
    assert "No round has scored the pool yet" in client.get(reverse("compare", args=["signs"])).content.decode()
    make_images(project, 5)
    five(project)
    assert "One round has scored the pool so far" in client.get(reverse("compare", args=["signs"])).content.decode()
