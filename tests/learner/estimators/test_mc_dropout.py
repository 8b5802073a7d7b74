from dataclasses import replace

import numpy as np
import pytest
import torch

from learner.config import IMAGE_ARCHITECTURES, Recipe, ignore
from learner.errors import UnknownNameError
from learner.estimators import estimator_class
from learner.estimators.mc_dropout import FoldedHead, MCDropout
from learner.network import Head
from learner.pool import Pool


def plain_loop(network, masks, pixels):
    """K whole passes, each with its mask: what the fast way must equal."""
    with torch.inference_mode():
        samples = [
            network(torch.from_numpy(pixels), [mask[k : k + 1] for mask in masks]).log_softmax(-1)
            for k in range(len(masks[0]))
        ]
    return torch.stack(samples, dim=1)


@pytest.fixture
def fitted(make_chunks, digits, quick):
    pool = Pool(make_chunks(digits[0][:300]))
    return MCDropout.fit(pool, np.arange(20), digits[1][:20], quick, ignore)


@pytest.mark.parametrize("architecture", IMAGE_ARCHITECTURES)
@pytest.mark.parametrize("n_samples", [1, 7])
def test_it_equals_the_plain_loop_of_masked_passes(make_chunks, digits, quick, architecture, n_samples):
    config = replace(quick, architecture=architecture, posterior_samples=n_samples, recipe=Recipe(steps=3))
    pixels = digits[0][:50]
    estimator = MCDropout.fit(Pool(make_chunks(pixels)), np.arange(20), digits[1][:20], config, ignore)
    fast = estimator.sample_log_probs(pixels)
    assert fast.shape == (50, n_samples, 10)
    assert torch.allclose(fast, plain_loop(estimator.network, estimator.masks, pixels), atol=1e-4)


def test_folding_in_groups_equals_folding_at_once():
    head = Head([40, 30, 20, 5], [0.5, 0.25, 0.5])
    masks = head.draw_masks(11, torch.Generator().manual_seed(0))
    features, whole, grouped = torch.randn(6, 40), FoldedHead(head, masks), FoldedHead(head, masks)
    grouped.group, grouped._whole = 3, None
    with torch.inference_mode():
        assert torch.allclose(whole.log_probs(features), grouped.log_probs(features), atol=1e-5)


def test_a_head_of_one_layer():
    head = Head([8, 3], [0.5])
    masks = head.draw_masks(4, torch.Generator().manual_seed(0))
    features = torch.randn(5, 8)
    with torch.inference_mode():
        slow = torch.stack([head(features, [masks[0][k : k + 1]]).log_softmax(-1) for k in range(4)], 1)
        assert torch.allclose(FoldedHead(head, masks).log_probs(features), slow, atol=1e-5)


def test_samples_are_distributions_and_differ(fitted, digits):
    log_probs = fitted.sample_log_probs(digits[0][:9])
    assert torch.allclose(log_probs.exp().sum(-1), torch.ones(9, 7), atol=1e-5)
    assert log_probs.std(1).max() > 0.01


def test_samples_are_consistent_whatever_the_minibatch(fitted, digits):
    whole = fitted.sample_log_probs(digits[0][:40])
    parts = torch.cat([fitted.sample_log_probs(digits[0][i : i + 1]) for i in range(40)])
    assert torch.allclose(whole, parts, atol=1e-4)


def test_it_comes_back_from_disk_the_same(fitted, digits, quick, tmp_path):
    saved = fitted.save(tmp_path / "round")
    again = MCDropout.load(tmp_path / "round", saved, quick)
    assert torch.equal(fitted.sample_log_probs(digits[0][:30]), again.sample_log_probs(digits[0][:30]))
    assert sorted(each.name for each in (tmp_path / "round").iterdir()) == ["masks.safetensors", "model.safetensors"]


def test_masks_depend_on_the_seed_and_not_on_the_fit(make_chunks, digits, quick):
    pool = Pool(make_chunks(digits[0][:20]))
    short = MCDropout.fit(pool, np.arange(20), digits[1][:20], replace(quick, recipe=Recipe(steps=1)), ignore)
    long = MCDropout.fit(pool, np.arange(20), digits[1][:20], replace(quick, recipe=Recipe(steps=3)), ignore)
    other = MCDropout.fit(pool, np.arange(20), digits[1][:20], replace(quick, seed=1, recipe=Recipe(steps=1)), ignore)
    assert all(torch.equal(a, b) for a, b in zip(short.masks, long.masks, strict=True))
    assert not torch.equal(short.masks[0], other.masks[0])


def test_the_minibatch_shrinks_with_samples_and_classes(make_chunks, digits, quick):
    pool = Pool(make_chunks(digits[0][:20]))

    def minibatch(**changes):
        config = replace(quick, recipe=Recipe(steps=1), **changes)
        return MCDropout.fit(pool, np.arange(20), digits[1][:20], config, ignore).minibatch

    assert minibatch(posterior_samples=10_000) < minibatch(n_classes=1000, posterior_samples=100) < minibatch() <= 256
    assert minibatch(posterior_samples=10_000, n_classes=1000) == 1


def test_an_unknown_estimator():
    with pytest.raises(UnknownNameError, match=r"known: bootstrap, ensemble, .*mc_dropout"):
        estimator_class("mc_dropuot")


def test_masks_that_drop_whole_groups_cost_no_product_for_each_sample_and_change_nothing():
    head = Head([36, 10, 4], [0.5, 0.25], group=9)
    masks = head.draw_masks(20, torch.Generator().manual_seed(0))
    by_group = masks[0].view(20, 4, 9)
    assert bool((by_group == by_group[:, :, :1]).all())
    assert by_group.float().mean() == pytest.approx(0.5, abs=0.15)
    features, folded = torch.randn(6, 36), FoldedHead(head, masks)
    with torch.inference_mode():
        slow = torch.stack([head(features, [m[k : k + 1] for m in masks]).log_softmax(-1) for k in range(20)], 1)
        assert torch.allclose(folded.log_probs(features), slow, atol=1e-5)
        folded.group, folded._whole = 3, None
        assert torch.allclose(folded.log_probs(features), slow, atol=1e-5)
    assert folded._fold(slice(None))[0].shape == (20, 4)


def test_groups_must_fit_the_features():
    with pytest.raises(ValueError, match="37 features cannot be dropped in groups of 9"):
        Head([37, 4], [0.5], group=9)
