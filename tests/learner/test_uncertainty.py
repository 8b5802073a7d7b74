import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from learner.config import OWN_MEASURES
from learner.errors import LearnerError
from learner.uncertainty import Targets, epig, measure, summarise

shapes = st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(2, 12))
facts = settings(max_examples=40, deadline=None)


def samples(shape, seed, scale):
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale
    return logits.log_softmax(-1)


def scores(log_probs):
    return measure(summarise(log_probs))


@facts
@given(shapes, st.integers(0, 10_000), st.sampled_from([0.1, 1.0, 10.0, 100.0]))
def test_every_measure_stays_in_its_range(shape, seed, scale):
    n_classes, tiny = shape[2], 1e-9
    got = scores(samples(shape, seed, scale))
    assert tuple(got) == OWN_MEASURES
    assert all(values.isfinite().all() and (values >= 0).all() for values in got.values())
    assert (got["mutual_information"] <= got["predictive_entropy"] + tiny).all()
    assert (got["expected_entropy"] <= got["predictive_entropy"] + tiny).all()
    assert (got["predictive_entropy"] <= math.log(n_classes) + tiny).all()
    assert (got["variation_ratio"] <= 1 - 1 / n_classes + tiny).all()
    assert (got["least_confidence"] <= 1 - 1 / n_classes + tiny).all()
    assert (got["margin"] <= 1 + tiny).all()
    assert (got["mean_std"] <= 0.5 + tiny).all()
    assert (got["std_entropy"] <= n_classes / math.e + tiny).all()


@facts
@given(shapes, st.integers(0, 10_000))
def test_total_uncertainty_is_the_sum_of_its_kinds(shape, seed):
    got = scores(samples(shape, seed, 2.0))
    assert torch.allclose(got["predictive_entropy"], got["expected_entropy"] + got["mutual_information"], atol=1e-9)


@facts
@given(shapes, st.integers(0, 10_000))
def test_nothing_is_epistemic_where_all_samples_agree(shape, seed):
    log_probs = samples((shape[0], 1, shape[2]), seed, 2.0).expand(shape)
    got = scores(log_probs)
    for name in ("mutual_information", "variation_ratio", "mean_std", "std_entropy"):
        assert torch.allclose(got[name], torch.zeros(shape[0], dtype=torch.float64), atol=1e-6), name


@facts
@given(shapes, st.integers(0, 10_000))
def test_the_order_of_images_samples_and_classes_does_not_matter(shape, seed):
    log_probs, generator = samples(shape, seed, 3.0), torch.Generator().manual_seed(seed)
    images, ks, classes = (torch.randperm(n, generator=generator) for n in shape)
    whole, shuffled = scores(log_probs), scores(log_probs[images][:, ks][:, :, classes])
    for name in OWN_MEASURES:
        assert torch.allclose(whole[name][images], shuffled[name], atol=1e-9), name


def test_float32_is_precise_enough_where_samples_agree():
    log_probs = samples((20, 1, 10), 0, 5.0).float().expand(20, 100, 10)
    got = scores(log_probs)
    assert got["mutual_information"].max() < 1e-5
    assert got["mean_std"].max() < 1e-6


def test_the_measures_equal_their_formulas():
    p = torch.tensor([[[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]]], dtype=torch.float64)
    got = {name: float(values) for name, values in scores(p.log()).items()}
    mean, std = p.mean(1)[0], p.std(1, correction=0)[0]
    entropy = float(-(mean * mean.log()).sum())
    expected = float(-(p * p.log()).sum(-1).mean())
    assert got == pytest.approx(
        {
            "predictive_entropy": entropy,
            "expected_entropy": expected,
            "mutual_information": entropy - expected,
            "variation_ratio": 0.5,
            "mean_std": float(std.mean()),
            "margin": 1.0,
            "least_confidence": 0.6,
            "std_entropy": float(-(std * std.log()).sum()),
        }
    )


def test_certainty_and_total_disagreement():
    sure = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]).log()
    torn = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]).log()
    noisy = torch.tensor([[[0.5, 0.5], [0.5, 0.5]]]).log()
    got = scores(torch.cat([sure, torn, noisy]))
    assert got["predictive_entropy"].tolist() == pytest.approx([0, math.log(2), math.log(2)])
    assert got["mutual_information"].tolist() == pytest.approx([0, math.log(2), 0])
    assert got["expected_entropy"].tolist() == pytest.approx([0, 0, math.log(2)])
    assert got["variation_ratio"].tolist() == pytest.approx([0, 0.5, 0.5])  # a tie shares its vote


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 3.0])
def test_what_is_no_distribution_is_refused(bad):
    log_probs = samples((3, 4, 5), 0, 1.0)
    log_probs[1, 2, 3] = bad
    with pytest.raises(LearnerError, match=r"not finite .* no predictive_entropy"):
        summarise(log_probs)
    with pytest.raises(LearnerError, match=r"epig: .* not finite"):
        epig(log_probs, Targets.of(samples((2, 4, 5), 0, 1.0)))
    with pytest.raises(LearnerError, match=r"epig: .* not finite"):
        Targets.of(log_probs)


def test_what_does_not_sum_to_one_is_refused():
    """An image with -inf in all classes would be the surest of all."""
    good = samples((3, 100, 5), 0, 1.0)
    of_all, of_one_sample, above = good.clone(), good.clone(), good.clone()
    of_all[1], of_one_sample[1, 2], above[1, 2, 3] = -math.inf, -math.inf, 0.5
    for bad in (of_all, of_one_sample, above, good - 3):
        with pytest.raises(LearnerError, match="not finite log-probabilities"):
            summarise(bad)
    for bad in (of_all, of_one_sample, above):
        with pytest.raises(LearnerError, match=r"epig: .* not finite log-probabilities"):
            Targets.of(bad)


@pytest.mark.parametrize("shape", [(3, 4), (3, 0, 4), (3, 4, 0)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(LearnerError, match="expected log-probabilities"):
        summarise(torch.zeros(shape))


def epig_by_brute_force(log_probs_N_K_C, log_probs_T_K_C):
    """The mean over targets of the mutual information of each joint distribution, entry by entry."""
    p, q = log_probs_N_K_C.exp(), log_probs_T_K_C.exp()
    joint = torch.einsum("nkc,tkd->ntcd", p, q) / p.shape[1]
    apart = p.mean(1)[:, None, :, None] * q.mean(1)[None, :, None, :]
    return (joint.xlogy(joint) - torch.special.xlogy(joint, apart)).sum((2, 3)).mean(1)


@facts
@given(shapes, st.integers(1, 6), st.integers(0, 10_000), st.sampled_from([0.1, 1.0, 10.0]))
def test_epig_equals_brute_force_and_is_at_most_the_mutual_information(shape, n_targets, seed, scale):
    log_probs, targets = samples(shape, seed, scale), samples((n_targets, *shape[1:]), seed + 1, scale)
    got = epig(log_probs, Targets.of(targets))
    assert torch.allclose(got, epig_by_brute_force(log_probs, targets), atol=1e-9)
    assert (got >= 0).all()
    assert (got <= scores(log_probs)["mutual_information"] + 1e-9).all()


@facts
@given(shapes, st.integers(0, 10_000))
def test_epig_is_nothing_where_the_samples_of_one_side_agree(shape, seed):
    some, agreeing = samples(shape, seed, 2.0), samples((shape[0], 1, shape[2]), seed + 1, 2.0).expand(shape)
    for log_probs, targets in ((some, agreeing), (agreeing, some), (some[:, :1], some[:, :1])):
        assert epig(log_probs, Targets.of(targets)).abs().max() < 1e-12


@facts
@given(shapes, st.integers(0, 10_000))
def test_epig_does_not_depend_on_any_order(shape, seed):
    log_probs, targets = samples(shape, seed, 3.0), samples((4, *shape[1:]), seed + 1, 3.0)
    generator = torch.Generator().manual_seed(seed)
    images, ks, classes = (torch.randperm(n, generator=generator) for n in shape)
    shuffled = epig(log_probs[images][:, ks][:, :, classes], Targets.of(targets.flip(0)[:, ks][:, :, classes]))
    assert torch.allclose(epig(log_probs, Targets.of(targets))[images], shuffled, atol=1e-9)


def test_epig_of_an_image_about_itself_is_what_it_tells_of_a_second_look():
    torn = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]).log()
    sure = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]).log()
    assert epig(torn, Targets.of(torn)).tolist() == pytest.approx([math.log(2)], abs=1e-4)
    assert epig(torn, Targets.of(torch.cat([torn, sure]))).tolist() == pytest.approx([math.log(2) / 2], abs=1e-4)


def test_small_epig_is_not_lost_in_single_precision():
    base = samples((50, 1, 10), 0, 2.0)
    log_probs = (base + 0.01 * samples((50, 40, 10), 1, 1.0)).log_softmax(-1)
    exact = epig_by_brute_force(log_probs, log_probs[:20])
    assert exact.max() < 1e-6
    got = epig(log_probs.float(), Targets.of(log_probs[:20].float()))
    assert torch.allclose(got.double(), exact, rtol=0.05, atol=1e-10)


@pytest.mark.parametrize("shape", [(3, 1, 2), (2, 3, 1000), (300, 20, 30)])
def test_epig_in_blocks(shape):
    log_probs, targets = samples(shape, 0, 2.0), samples((3, *shape[1:]), 1, 2.0)
    if shape[2] < 1000:
        assert torch.allclose(epig(log_probs, Targets.of(targets)), epig_by_brute_force(log_probs, targets), atol=1e-9)
    some = torch.cat([epig(part, Targets.of(targets)) for part in log_probs.split(2)])
    assert torch.allclose(epig(log_probs, Targets.of(targets)), some, atol=1e-12)


def test_targets_of_other_samples_or_classes_are_refused():
    for other in ((2, 5, 5), (2, 4, 6)):
        with pytest.raises(LearnerError, match="epig: 4 samples of 5 classes, the targets have"):
            epig(samples((3, 4, 5), 0, 1.0), Targets.of(samples(other, 0, 1.0)))


def test_a_thousand_classes_one_sample_and_two_classes():
    for shape in ((2, 3, 1000), (4, 1, 2)):
        got = scores(samples(shape, 0, 3.0).float())
        assert (got["mutual_information"] <= got["predictive_entropy"]).all()
        assert (got["predictive_entropy"] <= math.log(shape[2]) + 1e-6).all()
