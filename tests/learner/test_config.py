import json

import numpy as np
import pytest

from learner.config import ACQUISITIONS, Recipe, RoundConfig, RoundRequest
from learner.errors import ConfigError, LabelError, LearnerError, UnknownNameError


def test_it_survives_json():
    config = RoundConfig(n_classes=3, acquisition="top_margin", seed=9, recipe=Recipe(steps=7, shear=0.0))
    assert RoundConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize("key", ["architecture", "estimator", "acquisition", "device"])
def test_an_unknown_name_lists_the_known_ones(key):
    with pytest.raises(UnknownNameError, match=f"unknown {key} 'resnet'; known: ") as error:
        RoundConfig(n_classes=2, **{key: "resnet"})
    assert getattr(RoundConfig(n_classes=2), key) in str(error.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("n_classes", 1),
        ("coldness", -1.0),
        ("coldness", float("nan")),
        ("coldness", float("inf")),
        ("posterior_samples", 0),
        ("budget", 0),
        ("seed", -1),
        ("threads", 0),
    ],
)
def test_numbers_out_of_range(key, value):
    with pytest.raises(ConfigError, match=key):
        RoundConfig(**{"n_classes": 2, key: value})


@pytest.mark.parametrize(
    ("key", "value"), [("steps", 0), ("batch", 0), ("learning_rate", 0.0), ("scale", 1.0), ("balance", 2.0)]
)
def test_recipe_numbers_out_of_range(key, value):
    with pytest.raises(ConfigError, match=key):
        Recipe(**{key: value})


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"n_classes": 2, "colour": "red"}',
        '{"n_classes": 2, "recipe": 3}',
        '{"n_classes": 2, "recipe": {"x": 1}}',
        '{"n_classes": "two"}',
    ],
)
def test_bad_json_is_a_clear_error(text):
    with pytest.raises(ConfigError):
        RoundConfig.from_json(text)


def test_json_holds_plain_values_only():
    content = json.loads(RoundConfig(n_classes=2).to_json())
    assert content["recipe"]["batch"] == 64
    assert len(ACQUISITIONS) == len(set(ACQUISITIONS)) == 45


def test_epig_of_too_many_classes_is_refused_with_the_way_out():
    RoundConfig(n_classes=327, acquisition="top_epig")
    RoundConfig(n_classes=1000, acquisition="top_margin")
    RoundConfig(n_classes=1000, acquisition="top_epig", epig_targets=10)
    with pytest.raises(ConfigError, match=r"multiplications an image.*fewer samples or targets, or another measure"):
        RoundConfig(n_classes=1000, acquisition="top_epig")


@pytest.mark.parametrize(
    ("positions", "labels", "message"),
    [
        ([], [], "no training labels yet"),
        ([1, 2, 3], [1, 1, 1], r"all 3 .* of one class: .*; answer images of another class \(mc_dropout of cnn\)$"),
        ([1, 2], [0, 2], "expected 0 to 1"),
        ([1, 2], [-1, 0], "expected 0 to 1"),
        ([1, 1], [0, 1], "twice"),
        ([1], [0, 1], "differ"),
    ],
)
def test_labels_that_cannot_train(tmp_path, positions, labels, message):
    with pytest.raises(LabelError, match=message):
        RoundRequest((), np.array(positions), np.array(labels), RoundConfig(n_classes=2), tmp_path)


def test_every_error_is_a_value_error():
    assert issubclass(LearnerError, ValueError)
