"""Every posterior that the settings offer runs in a round, and the names of both sides agree."""

from __future__ import annotations

import pytest

from labeler import choices, tasks
from labeler.models import Round, RoundState, Trigger
from labeler.selectors.labelling import measure_of
from labeler.services.rounds import request_round, start_cold_round
from learner import config as learner
from tests.labeler.rounds import answer, paint, tune


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (choices.ARCHITECTURES, learner.IMAGE_ARCHITECTURES),
        (choices.FEATURE_ARCHITECTURES, learner.FEATURE_ARCHITECTURES),
        (choices.ESTIMATORS, learner.ESTIMATORS),
        (choices.LAPLACE_PRIORS, learner.LAPLACE_PRIORS),
        (choices.ACQUISITIONS, learner.ACQUISITIONS),
    ],
)
def test_the_settings_offer_what_the_learner_knows(ours, theirs) -> None:
    assert sorted(name for name, _ in ours) == sorted(theirs)


def test_every_posterior_says_what_it_costs() -> None:
    assert set(choices.ESTIMATOR_COSTS) == set(learner.ESTIMATORS)


def test_swag_takes_nearly_two_fits_with_few_answers_as_its_cost_says(monkeypatch) -> None:
    from learner.estimators.swag import LEAST_STEPS

    monkeypatch.undo()  # with as many steps as there are outside of tests
    assert "two fits with few answers" in choices.ESTIMATOR_COSTS["swag"]
    assert 0.75 <= LEAST_STEPS / learner.Recipe().steps_for(100) <= 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("estimator", learner.ESTIMATORS)
def test_a_round_with_each_posterior(project, make_images, annotator, manager, client_of, settings, estimator) -> None:
    settings.LEARNER_THREADS = 1
    make_images(project, 40)
    make_images(project, 20, is_holdout=True)
    paint(project)
    values = {"estimator": estimator, "members": 2, "posterior_samples": 5, "architecture": "mlp"}
    values["temperature_scaling"] = True  # of members; the others have none
    tune(project, retrain_every=0, **values)
    start_cold_round(project=project)
    answer(project, annotator, 25)
    round_ = request_round(project=project, trigger=Trigger.BUTTON, reason="test")
    tasks.run_round(round_.pk)
    round_.refresh_from_db()
    assert (round_.state, round_.error) == (RoundState.DONE, "")
    assert {name: round_.config[name] for name in values} == values
    assert Round.objects.get(pk=round_.pk).candidates.filter(reason="acquired").exists()
    text = client_of(manager).get(f"/p/signs/rounds/{round_.number}/").content.decode()
    assert str(dict(choices.ESTIMATORS)[estimator]) in text
    temperature = round_.metrics["fit"]["temperature"]
    has_members = estimator in ("bootstrap", "ensemble")
    assert (temperature is not None) is has_members
    assert (f"<dt>Temperature</dt><dd>{temperature or 0:.2f}: measured" in text) is has_members


@pytest.mark.django_db
def test_the_settings_say_what_holds_of_every_network_and_where_k_does_nothing(project, manager, client_of) -> None:
    fields = client_of(manager).get("/p/signs/settings/learning/").context["form"].fields
    assert "shift" in fields["architecture"].help_text
    assert not any("shift" in words for _, words in choices.ARCHITECTURES)
    assert "each member is one sample" in fields["posterior_samples"].help_text


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "acquisition", [*learner.BATCH_ACQUISITIONS, "herding_margin", "softmax_epig", "soft_rank_margin"]
)
def test_a_round_with_each_kind_of_acquisition(project, make_images, annotator, settings, acquisition) -> None:
    settings.LEARNER_THREADS = 1
    make_images(project, 40)
    paint(project)
    tune(project, retrain_every=0, acquisition=acquisition, posterior_samples=5, architecture="mlp", random_share=0)
    start_cold_round(project=project)
    answer(project, annotator, 25)
    round_ = request_round(project=project, trigger=Trigger.BUTTON, reason="test")
    tasks.run_round(round_.pk)
    round_.refresh_from_db()
    assert (round_.state, round_.error) == (RoundState.DONE, "")
    chosen = round_.candidates.filter(reason="acquired")
    assert chosen.exists()
    is_known = not learner.is_of_a_whole(acquisition)
    assert not chosen.filter(selection_probability__isnull=is_known).exists()
    assert not chosen.filter(score__isnull=True).exists()


def test_every_acquisition_function_is_shown_with_its_measure() -> None:
    for name, _ in choices.ACQUISITIONS:
        assert measure_of(name) == learner.split_acquisition(name)[1]


def test_every_measure_of_the_learner_has_a_name_for_people() -> None:
    assert set(choices.MEASURE_WORDS) == set(learner.MEASURES)


def test_an_acquisition_that_goes_by_smallness_says_so() -> None:
    words = dict(choices.ACQUISITIONS)
    assert words["top_margin"] == "Smallest margin"
    assert words["top_least_confidence"] == "Lowest confidence"
    assert words["top_predictive_entropy"] == "Highest predictive entropy"
    for way in ("herding", "power", "softmax", "soft_rank"):
        assert words[f"{way}_margin"].endswith("small margin")
        assert words[f"{way}_least_confidence"].endswith("low confidence")


@pytest.mark.django_db
def test_the_settings_keep_what_is_chosen(project, manager, client_of) -> None:
    client = client_of(manager)
    page = client.get("/p/signs/settings/learning/")
    form = {name: "" if value is None else value for name, value in page.context["form"].initial.items()}
    form |= {"estimator": "ensemble", "members": 7, "member_dropout": "on", "laplace_prior": "marginal_likelihood"}
    form.pop("temperature_scaling")
    form["made_from"] = page.context["form"].made_from
    shares = ("random_share", "holdout_questions", "holdout_share")
    form |= {name: form[name] * 100 for name in shares}
    assert client.post("/p/signs/settings/learning/", form).status_code == 302
    project.learning.refresh_from_db()
    learning = project.learning
    assert (learning.estimator, learning.members, learning.member_dropout) == ("ensemble", 7, True)
    assert (learning.temperature_scaling, learning.laplace_prior) == (False, "marginal_likelihood")
