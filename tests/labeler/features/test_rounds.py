"""Rounds that learn from features, and what they do until there are some."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import pytest
from django.urls import reverse

from labeler import learning, storage, tasks
from labeler.choices import DEFAULT_BACKBONE
from labeler.models import (
    ChunkFeatures,
    PoolFeatures,
    PoolGraph,
    RoundState,
    Trigger,
)
from labeler.selectors.compare import estimator_words
from labeler.selectors.rounds import settings_of
from labeler.selectors.scores import predicted_classes, summary_of
from labeler.services import features
from labeler.services.leftovers import forget_unnamed_files
from labeler.services.rounds import request_round, start_cold_round
from tests.labeler.features.conftest import (
    made,
    page,
    run,
)
from tests.labeler.rounds import answer, truth, tune

pytestmark = pytest.mark.django_db


def test_a_round_learns_from_features_and_says_so(pool, annotator, manager, client_of) -> None:
    tune(pool, learns_from="images", retrain_every=0)
    made(pool)
    tasks.make_graph(PoolGraph.objects.first().pk)
    assert answer(pool, annotator, 6) == 6
    round_ = run(pool)
    assert round_.config["features"] == DEFAULT_BACKBONE
    assert round_.chunks.get().features == ChunkFeatures.objects.get().file
    words = {row.words: row.value for row in settings_of(round_)}
    assert words["Learns from"] == f"features of {DEFAULT_BACKBONE}"
    assert words["Network"] == "One hidden layer"
    assert f"one hidden layer of {DEFAULT_BACKBONE}" in estimator_words(round_.config)
    model = json.loads((learning.folder_of(round_) / "model.json").read_text())
    assert "48" in json.dumps(model["saved"]["shape"]) and model["config"]["architecture"] == "head"
    number = {row.pk: index for index, row in enumerate(pool.classes.all())}
    said = [number[pk] for pk in predicted_classes(round_, summary_of(round_)).tolist()]
    assert np.mean([one == truth(position) for position, one in enumerate(said)]) > 0.9
    tune(pool, feature_architecture="mlp", retrain_every=0)
    assert run(pool).config["feature_architecture"] == "mlp"
    client = client_of(manager)
    assert "one hidden layer of" in page(client, "compare") and "mlp of" in page(client, "compare")
    assert client.get(reverse("explore", args=["signs"])).status_code == 200


def test_until_features_are_ready_rounds_learn_from_pixels(pool, annotator) -> None:
    start_cold_round(project=pool)
    answer(pool, annotator, 8)
    round_ = run(pool)
    assert round_.config["features"] is None and round_.chunks.get().features == ""


def test_images_without_features_wait_for_them(pool, bring, annotator) -> None:
    made(pool)
    answer(pool, annotator, 8)
    bring(5)
    round_ = run(pool)
    assert round_.chunks.get().count == 30
    made(pool)
    assert run(pool).chunks.get().count == 35


@pytest.mark.parametrize("content", [None, b"no array", "nan"])
def test_features_that_cannot_be_used_fail_the_round_in_words_and_are_made_again(pool, annotator, content) -> None:
    made(pool)
    answer(pool, annotator, 8)
    file = ChunkFeatures.objects.get().file
    storage.delete(file)
    if content is not None:
        nan = lambda file: np.save(file, np.full((30, 48), np.nan, np.float16), allow_pickle=False)  # noqa: E731
        storage.write_once(file, nan if content == "nan" else content)
    round_ = request_round(project=pool, trigger=Trigger.BUTTON, reason="a test")
    tasks.run_round(round_.pk)
    round_.refresh_from_db()
    assert round_.state == RoundState.FAILED
    assert "vectors of chunk 0 were lost or damaged" in round_.error
    assert features.sweep_features() == 1
    tasks.compute_features(PoolFeatures.objects.first().pk)
    assert run(pool).config["features"] == DEFAULT_BACKBONE


def test_files_that_are_read_are_kept(pool, bring, annotator, monkeypatch) -> None:
    monkeypatch.setattr("labeler.services.leftovers.KEPT", timedelta(days=-1))
    made(pool)
    forget_unnamed_files(pool)
    with storage.local_path(ChunkFeatures.objects.get().file):
        pass
    old = ChunkFeatures.objects.get().file
    bring(3)
    made(pool)
    assert ChunkFeatures.objects.get().file != old
    assert forget_unnamed_files(pool) >= 1
    assert storage.names_in(f"{storage.project_folder(pool)}/features") == [ChunkFeatures.objects.get().file]
