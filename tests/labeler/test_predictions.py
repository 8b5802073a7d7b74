"""One image: bars of means with deviations, measures with percentiles, its history; for managers alone."""

from __future__ import annotations

import shutil

import pytest
from django.urls import reverse

from labeler.models import Candidate, ImageState, Round, Trigger
from labeler.storage import round_folder
from tests.labeler.scored import five, scored_round

pytestmark = pytest.mark.django_db


@pytest.fixture
def pool(project, make_images):
    make_images(project, 5)
    return project


def page_of(client, pool, position: int):
    return client.get(reverse("image", args=["signs", pool.images.get(position=position).pk]))


def test_each_class_has_its_mean_and_deviation(pool, manager, client_of) -> None:
    five(pool)
    page = page_of(client_of(manager), pool, 3)
    assert [bar.words for bar in page.context["prediction"].bars] == [
        "cat: 0.10 ± 0.10",
        "dog: 0.50 ± 0.45",
        "owl: 0.40 ± 0.40",
    ]
    dog = page.context["prediction"].bars[1]
    assert dog.width == pytest.approx(50, abs=0.1) and dog.to == pytest.approx(95, abs=0.1)
    assert dog.from_ == pytest.approx(5, abs=0.1)
    assert page.context["prediction"].bars[0].from_ == pytest.approx(0, abs=0.1)


def test_each_measure_has_its_unit_and_its_percentile_among_all_images(pool, manager, client_of) -> None:
    five(pool)
    page = page_of(client_of(manager), pool, 3)
    assert "of all images that the round scored" in page.content.decode()  # the queue counts among those that wait
    measures = {row.name: row for row in page.context["prediction"].measures}
    entropy = measures["predictive entropy"]
    assert entropy.unit == "nats" and entropy.value == pytest.approx(0.943, abs=1e-3)
    assert entropy.percentile == pytest.approx(80)  # the most unsure of five
    assert measures["1 − margin"].unit == ""


@pytest.mark.parametrize(
    ("acquisition", "reason", "score", "shown"),
    [
        ("power_margin", "acquired", 0.93, "0.930 "),
        ("top_predictive_entropy", "acquired", 1.4234, "1.423 nats"),
        ("top_epig", "acquired", 0.00269, "0.00269 nats"),
        ("top_epig", "random", None, ""),
        ("power_margin", "group", 12.5, ""),  # what the question was expected to bring is no measure
    ],
)
def test_why_it_was_asked_has_its_unit_and_digits_that_say_something(
    pool, manager, client_of, acquisition, reason, score, shown
) -> None:
    five(pool)
    round_ = pool.rounds.first()
    round_.config["acquisition"] = acquisition
    round_.save(update_fields=["config"])
    image = pool.images.get(position=3)
    Candidate.objects.create(project=pool, round=round_, image=image, rank=900, reason=reason, score=score)
    text = page_of(client_of(manager), pool, 3).content.decode()
    assert f'<td class="numeric">{shown}</td>' in text


def test_annotators_see_nothing_of_it(pool, annotator, client_of) -> None:
    five(pool)
    page = page_of(client_of(annotator), pool, 3)
    assert page.status_code == 200
    assert "prediction" not in page.context and "What the model thinks" not in page.content.decode()


def test_its_way_over_the_rounds(pool, manager, client_of) -> None:
    five(pool)
    pool.images.filter(position=0).update(state=ImageState.LABELLED, label=pool.classes.get(name="owl"))
    five(pool, trigger=Trigger.COMPARISON)
    scored_round(pool, [[0.3, 0.5, 0.2]] * 5, [[0.2, 0.1, 0.1]] * 5)
    history = page_of(client_of(manager), pool, 0).context["prediction"].history
    assert [row.number for row in history.rounds] == [1, 3]
    lines = {line.name: line.values for line in history.lines}
    assert lines == {
        "owl": ["0.01 ± 0.01", "0.20 ± 0.10"],
        "dog": ["0.02 ± 0.02", "0.50 ± 0.10"],
        "cat": ["0.97 ± 0.02", "0.30 ± 0.20"],
    }
    assert next(iter(lines)) == "owl"  # what people said comes first


def test_any_round_can_be_asked_a_comparison_too(pool, manager, client_of) -> None:
    five(pool)
    scored_round(pool, [[0.3, 0.5, 0.2]] * 5, [[0.2, 0.1, 0.1]] * 5, trigger=Trigger.COMPARISON)
    client, address = client_of(manager), reverse("image", args=["signs", pool.images.get(position=0).pk])
    words = {
        number: (prediction.round.number, prediction.bars[0].words)
        for number in ("", "1", "2")
        for prediction in [client.get(address, {"round": number}).context["prediction"]]
    }
    assert words.pop("2") == (2, "cat: 0.30 ± 0.20")
    assert set(words.values()) == {(1, "cat: 0.97 ± 0.02")}
    for number in ("99", "x"):
        assert (
            f"There is no round {number} that has scored images."
            in client.get(address, {"round": number}).content.decode()
        )
    asked = {"round": 2, "at": "0"}
    assert f'href="{address}?round=2"' in client.get(reverse("explore-tiles", args=["signs"]), asked).content.decode()
    gallery = client.get(reverse("gallery", args=["signs", "unsure"]), {"round": 2}).content.decode()
    assert f'href="{address}?round=2"' in gallery
    assert "round 2 (comparison)" in client.get(address).content.decode()


def test_more_rounds_cost_no_more_statements(pool, manager, client_of, django_assert_max_num_queries) -> None:
    for _ in range(6):
        five(pool)
    client = client_of(manager)
    with django_assert_max_num_queries(16):
        page = page_of(client, pool, 3)
    assert len(page.context["prediction"].history.rounds) == 6


def test_rounds_whose_files_are_gone_are_left_out_of_it(pool, manager, client_of) -> None:
    rounds = [five(pool) for _ in range(3)]
    shutil.rmtree(round_folder(rounds[1]))
    history = page_of(client_of(manager), pool, 0).context["prediction"].history
    assert [row.number for row in history.rounds] == [1, 3]
    shutil.rmtree(round_folder(rounds[2]))
    page = page_of(client_of(manager), pool, 0).content.decode()
    assert "score files of round 3 cannot be read" in page


def test_before_any_model_and_for_newer_images_it_says_so(pool, make_images, manager, client_of) -> None:
    client = client_of(manager)
    assert "No model has seen it yet" in page_of(client, pool, 0).content.decode()
    five(pool)
    make_images(pool, 1)
    assert "It came after round 1" in page_of(client, pool, 5).content.decode()


def test_of_many_classes_the_likeliest_are_shown(pool, manager, client_of) -> None:
    for number in range(30):
        pool.classes.create(name=f"kind {number}", colour="#0072b2", order=number + 9)
    means = [[0.5, 0.2, 0.1, *[0.2 / 30] * 30]] * 5
    scored_round(pool, means, [[0.1] * 33] * 5)
    prediction = page_of(client_of(manager), pool, 0).context["prediction"]
    assert [bar.name for bar in prediction.bars[:3]] == ["cat", "dog", "owl"]
    assert (len(prediction.bars), prediction.left_out) == (12, 21)


def test_a_deleted_class_has_words(pool, manager, client_of) -> None:
    round_ = five(pool)
    Round.objects.filter(pk=round_.pk).update(classes=[*round_.classes[:2], 999_999])
    bars = page_of(client_of(manager), pool, 0).context["prediction"].bars
    assert bars[2].name == "a deleted class"
