"""What a graphics card must do as the CPU does. Skipped where there is none (CI has none)."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from learner.config import ESTIMATORS, Recipe, RoundConfig, ignore
from learner.estimators import estimator_class
from learner.model import load_model, save_model
from learner.pool import Pool
from learner.scoring import score_inputs

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")


@pytest.fixture(params=["cnn", "mlp", "head"])
def architecture(request) -> str:
    return request.param


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_model_from_one_device_says_the_same_on_the_other(make_chunks, digits, tmp_path, name, architecture):
    """Fitted on either, read on both: the samples agree, not only their mean."""
    pixels = digits[0][:400]
    inputs = pixels if architecture != "head" else pixels.reshape(400, 64).astype(np.float16)
    for made_on in ("cpu", "cuda"):
        config = RoundConfig(
            n_classes=10, architecture=architecture, estimator=name, posterior_samples=9, members=3, device=made_on,
            recipe=Recipe(steps=60),
        )  # fmt: skip
        folder = tmp_path / made_on
        folder.mkdir()
        fitted = estimator_class(name).fit(Pool(make_chunks(inputs)), np.arange(100), digits[1][:100], config, ignore)
        save_model(folder, fitted, config, "")
        on_cpu, on_cuda = (load_model(folder, device)[0].sample_log_probs(inputs[100:]) for device in ("cpu", "cuda"))
        assert on_cuda.is_cuda
        assert not on_cpu.is_cuda
        assert torch.allclose(on_cpu.exp(), on_cuda.cpu().exp(), atol=2e-3), made_on
        right = on_cuda.exp().mean(1).argmax(1).cpu().numpy() == digits[1][100:400]
        assert right.mean() > 0.5, made_on


def test_scores_of_a_chunk_are_the_same(make_chunks, digits, quick, tmp_path):
    config = replace(quick, posterior_samples=20)
    fitted = estimator_class("mc_dropout").fit(
        Pool(make_chunks(digits[0][:400])), np.arange(100), digits[1][:100], config, ignore
    )
    save_model(tmp_path, fitted, config, "")
    on_cpu, on_cuda = (
        score_inputs(load_model(tmp_path, device)[0], digits[0][:400], 10, ignore) for device in ("cpu", "cuda")
    )
    for column, values in on_cpu.items():
        assert np.allclose(values, on_cuda[column], atol=5e-3), column
