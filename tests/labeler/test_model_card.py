"""A model card says what was measured, and no name becomes markup."""

from __future__ import annotations

import json

import numpy as np
import pytest
from django.urls import reverse

from labeler.models import LabelClass
from labeler.selectors.model_card import as_json, as_markdown, model_card
from labeler.selectors.reruns import TRAINING
from labeler.storage import round_folder
from tests.labeler.scored import scored_round

pytestmark = pytest.mark.django_db


@pytest.fixture
def round_(project, make_images):
    make_images(project, 30)
    first, second, third = list(project.classes.all())
    half = {"value": 0.5, "low": 0.25, "high": 0.75, "n": 12, "method": "wilson"}
    metrics = {
        "n": 12, "accuracy": half, "nll": {**half, "value": 0.7}, "brier": half, "ece": half,
        "recall": [half, None, half], "confusion": [[3, 3, 0], [0, 0, 0], [3, 0, 3]],
        "fit": {"model_digest": "f" * 64, "notes": ["approximate: 3 labels act through 2"]},
    }  # fmt: skip
    made = scored_round(project, [[0.6, 0.2, 0.2]] * 30, [[0.1] * 3] * 30, metrics=metrics, training_digest="e" * 64)
    folder = round_folder(made)
    folder.mkdir(parents=True, exist_ok=True)
    labels = np.array([first.pk] * 14 + [second.pk] * 3, np.int64)
    np.savez(folder / TRAINING, positions=np.arange(17), labels=labels, open=np.zeros(1, np.uint8))
    assert third.pk in made.classes
    return made


def test_it_says_what_was_measured_and_what_was_not(round_) -> None:
    card = model_card(round_)
    assert [(each.name, each.learned, each.measured) for each in card.classes] == [
        ("cat", 14, 6), ("dog", 3, 0), ("owl", 0, 6)
    ]  # fmt: skip
    limits = "\n".join(card.limits)
    assert "of 12 images" in limits
    assert "50.0 points wide" in limits
    assert "for no holdout image is of them: dog." in limits
    assert "fewer than 10 labels: dog (3)" in limits
    assert "Never seen with a label: owl" in limits
    text = as_markdown(card)
    assert "| Accuracy | 50.0 [25.0, 75.0] % |" in text
    assert "| cat | 14 | 50.0 [25.0, 75.0] % of 6 |" in text
    assert "| dog | 3 | not measured |" in text
    assert "approximate: 3 labels act through 2" in text
    assert "## Licence" in text
    assert "Brier score | 0.500 [0.250, 0.750] |" in text
    assert "not measured yet: " in text and "not measured: not" not in text
    assert "e" * 64 in text
    assert json.loads(json.dumps(as_json(card)))["classes"][0]["recall"]["low"] == 0.25


def test_without_enough_holdout_it_gives_no_number(round_) -> None:
    round_.metrics = {**round_.metrics, "n": 4}
    card = model_card(round_)
    assert (card.measures, card.measured_on) == ([], 0)
    assert "was not measured: 4 holdout images had an answer, and 10 are the least" in card.limits[0]
    assert "Not measured." in as_markdown(card)


def test_no_name_becomes_markup(round_) -> None:
    evil = "<img src=x onerror=alert(1)>|[a](javascript:b)\n# c`"
    LabelClass.objects.filter(name="cat").update(name=evil)
    text = as_markdown(model_card(round_))
    assert "<img" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;\\|\\[a\\](javascript:b) \\# c\\`" in text


def test_the_page(round_, manager, annotator, client_of, django_assert_max_num_queries) -> None:
    url = reverse("model-card", args=["signs", round_.number])
    client = client_of(manager)
    with django_assert_max_num_queries(20):
        page = client.get(url).content.decode()
    assert "Never seen with a label: owl" in page
    assert "50.0 %" in page
    assert client_of(annotator).get(url).status_code == 403
    assert client.get(reverse("model-card", args=["signs", 99])).status_code == 404
    assert client.post(url).status_code == 405
