"""What a model of some answers says of some images, and of no others."""

from dataclasses import replace

import numpy as np

from learner.config import Recipe, RoundRequest
from learner.scores import read_scores
from learner.trial import predict_classes


def test_it_predicts_the_images_that_are_asked_about_in_their_order(make_chunks, digits, quick, tmp_path):
    config = replace(quick, architecture="mlp", recipe=Recipe(steps=150))
    request = RoundRequest(make_chunks(digits[0][:400]), np.arange(150), digits[1][:150], config, tmp_path / "round")
    where = np.random.default_rng(0).permutation(np.arange(150, 400))[:200]
    found = predict_classes(request, where)
    assert (found == digits[1][where]).mean() > 0.7
    scored = read_scores(request.directory, [0], "predictive_entropy")
    assert np.isfinite(scored).sum() == 200


def test_of_no_image_nothing_is_fitted(make_chunks, digits, quick, tmp_path):
    request = RoundRequest(make_chunks(digits[0][:20]), np.arange(20), digits[1][:20], quick, tmp_path / "round")
    assert not len(predict_classes(request, np.empty(0, np.int64)))
    assert not request.directory.exists()
