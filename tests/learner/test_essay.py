import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from learner.__main__ import main
from learner.config import ignore
from learner.errors import ConfigError, DivergedError
from learner.essay import EssayRun, logits_of, run_essay, train_as_the_essay
from learner.folder import Collection, write_chunks
from learner.metrics import separation, separation_interval
from learner.pages import galleries, write_page
from learner.pool import Pool
from learner.uncertainty import std_entropy_of


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory) -> EssayRun:
    pixels, labels = digits[0][:900], digits[1][:900]
    chunks = write_chunks(pixels, tmp_path_factory.mktemp("pool"))
    names = tuple(str(i) for i in range(900))
    classes = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    collection = Collection(chunks, names, labels, classes, np.zeros(900, dtype=np.bool_), ())
    return run_essay(collection, np.arange(700), np.arange(700, 900), posterior_samples=20, seed=0, report=ignore)


def test_both_ways_ask_the_same_weights_and_know_more_than_guessing(run):
    assert [asked.name for asked in run.asked] == ["MC dropout", "Laplace"]
    for asked in run.asked:
        assert asked.metrics.n == 200
        assert asked.metrics.accuracy.value > 0.5
        assert asked.separations["predictive_entropy"].value > 0.6
        assert np.allclose(asked.mean_probs_T_C.sum(1), 1, atol=1e-3)


def test_the_training_is_adam_over_shuffled_epochs(make_chunks, digits, quick, monkeypatch):
    seen = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: (seen.append(self.defaults["lr"]), step(self))[1])
    monkeypatch.setattr("learner.essay.LEAST_STEPS", 0)
    pool, config = Pool(make_chunks(digits[0][:600])), replace(quick, architecture="mlp")
    fitted = train_as_the_essay(pool, np.arange(600), digits[1][:600], config, ignore)
    assert seen == [0.001] * 10  # 5 epochs of 512 and the rest
    assert fitted.steps == 10
    assert [layer.out_features for layer in fitted.network.head.linears] == [64, 10]


def test_a_training_that_diverges_says_so(make_chunks, digits, quick, monkeypatch):
    monkeypatch.setattr("learner.essay.RATE", 1e30)
    pool, config = Pool(make_chunks(digits[0][:600])), replace(quick, architecture="mlp")
    with pytest.raises(DivergedError, match="diverged at step"):
        train_as_the_essay(pool, np.arange(600), digits[1][:600], config, ignore)


def test_the_logits_are_those_that_the_probabilities_come_from(make_chunks, digits, quick):
    from learner.estimators.mc_dropout import MCDropout

    pool, config = Pool(make_chunks(digits[0][:100])), replace(quick, architecture="mlp")
    estimator = MCDropout.fit(pool, np.arange(50), digits[1][:50], config, ignore)
    with torch.inference_mode():
        ours = logits_of(estimator, digits[0][:20]).log_softmax(2)
    assert torch.allclose(ours, estimator.sample_log_probs(digits[0][:20]), atol=1e-5)


def test_over_logits_the_std_entropy_falls_where_they_vary_more():
    """Its largest value is at a deviation of 1/e; beyond, what varies more scores less."""
    deviations = torch.tensor([[1 / np.e], [1.0], [3.0]])
    assert std_entropy_of(deviations).tolist() == sorted(std_entropy_of(deviations).tolist(), reverse=True)
    assert std_entropy_of(torch.tensor([[3.0]])) < 0


def test_the_galleries_show_what_they_say(run):
    for asked in run.asked:
        found, entropy = galleries(run, asked), asked.measures["predictive_entropy"]
        assert entropy[found["most-confident"]].max() <= np.sort(entropy)[7]
        assert entropy[found["least-confident"]].min() >= np.sort(entropy)[-8]
        wrong = found["confident-but-wrong"]
        assert (asked.mean_probs_T_C[wrong].argmax(1) != run.labels_T[wrong]).all()
        assert (np.diff(entropy[wrong]) >= 0).all()


def test_the_page_has_every_number_with_its_uncertainty_and_needs_nothing_else(run, tmp_path):
    page, *pictures = write_page(run, tmp_path / "out")
    text = page.read_text()
    assert len(pictures) == 14
    assert len(re.findall(r"\d\.\d\d ± \d\.\d\d", text)) >= 2 * (2 * 10 + 2 * 8)
    assert len(re.findall(r"<td>\d\.\d{3} \(\d\.\d{3} to \d\.\d{3}\)</td>", text)) == 2 * (9 + 1)  # and calibration
    assert not re.findall(r"<td>\d\.\d+</td>", text)
    assert "four" in text
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert all(picture.read_text().startswith("<svg") for picture in pictures)


def test_long_names_of_classes_stand_beside_the_pictures(run, tmp_path):
    long = replace(run, class_names=("a very long name of a class, such as people give", *run.class_names[1:]))
    write_page(long, tmp_path)
    bars, gallery = ((tmp_path / f"mc-dropout-{kind}.svg").read_text() for kind in ("sure", "most-confident"))
    ends = re.findall(r'<text x="(\d+)" y="\d+" text-anchor="end"[^>]*>(?:<title>[^<]*</title>)?([^<]+)<', bars)
    assert len(ends) == 10 and ends[0][1] == "a very long name of a c…"
    assert all(int(x) - 7 * len(name) > 96 for x, name in ends)  # the image is 96 wide
    assert f"<title>{long.class_names[0]}</title>" in bars
    at = [int(x) for x in re.findall(r"translate\((\d+) 0\)", gallery)]
    captions = re.findall(r'<text x="(\d+)" y="1(?:14|30)"[^>]*>(?:<title>[^<]*</title>)?([^<]+)<', gallery)
    assert len(captions) == 16
    assert all(int(x) in at and 6 * len(words) < at[1] - at[0] for x, words in captions)
    with_short = (tmp_path / "short").mkdir() or write_page(
        replace(run, class_names=tuple("0123456789")), tmp_path / "short"
    )
    assert 'x="180"' in next(path for path in with_short if path.name == "mc-dropout-sure.svg").read_text()


@pytest.mark.parametrize(("highest", "is_said"), [(0.7, 1), (0.99, 0)])
def test_the_page_says_why_laplace_is_sure_of_nothing_only_where_it_is_so(run, tmp_path, highest, is_said):
    unsure, laplace = (replace(asked, mean_probs_T_C=np.full((200, 10), highest, np.float32)) for asked in run.asked)
    text = write_page(replace(run, asked=(unsure, laplace)), tmp_path)[0].read_text()
    assert text.count("Not even the surest image") == is_said


def test_the_command_writes_the_page_and_prints_class_mean_and_deviation(tmp_path, capsys):
    assert main(f"essay digits --out {tmp_path / 'out'} --posterior-samples 5".split()) == 0
    text = capsys.readouterr().out
    assert len(re.findall(r"^    \d: \d\.\d\d ± \d\.\d\d$", text, re.MULTILINE)) == 40
    assert len(re.findall(r"AUROC \d\.\d{3} \(\d\.\d{3} to \d\.\d{3}\)$", text, re.MULTILINE)) == 6
    assert (tmp_path / "out" / "index.html").exists()


def test_separation_is_the_share_of_pairs_in_the_right_order():
    rng = np.random.default_rng(0)
    scores, positive = rng.integers(0, 5, 60), rng.random(60) < 0.4
    pairs = [np.sign(a - b) / 2 + 0.5 for a in scores[positive] for b in scores[~positive]]
    assert separation(scores, positive) == pytest.approx(np.mean(pairs))
    assert separation([1, 2], [True, True]) is None


@pytest.mark.parametrize(
    ("shift", "n_positive", "n_negative"), [(0.0, 8, 60), (1.5, 8, 60), (1.5, 60, 8), (2.5, 15, 200)]
)
def test_the_interval_of_a_separation_holds_the_true_one(shift, n_positive, n_negative):
    rng, true = np.random.default_rng(0), 0.5 * (1 + math.erf(shift / 2))
    positive, hits = np.arange(n_positive + n_negative) < n_positive, 0
    for _ in range(1000):
        found = separation_interval(rng.normal(size=len(positive)) + shift * positive, positive)
        assert 0 <= found.low <= found.value <= found.high <= 1
        hits += found.low <= true <= found.high
    assert 930 <= hits <= 990, hits


def test_a_separation_without_an_error_is_not_certain():
    found = separation_interval([1, 2, 3, 4, 5, 6], [False, False, False, False, True, True])
    assert (found.value, found.high) == (1, 1)
    assert 0.2 < found.low < 0.8
    assert separation_interval([1, 2], [True, True]) is None


def test_the_cross_entropy_is_that_of_the_network(make_chunks, digits, quick):
    """With dropout the loss of the training is above that of the network without."""
    pool, config = Pool(make_chunks(digits[0][:600])), replace(quick, architecture="mlp")
    fitted = train_as_the_essay(pool, np.arange(600), digits[1][:600], config, ignore)
    with torch.inference_mode():
        plain = functional.cross_entropy(
            fitted.network(torch.from_numpy(digits[0][:600])), torch.from_numpy(digits[1][:600])
        )
    assert float(plain) < fitted.loss


def test_vectors_are_refused_before_anything_is_trained(make_chunks):
    chunks = make_chunks(np.zeros((30, 7), np.float32))
    names = tuple(str(i) for i in range(30))
    collection = Collection(chunks, names, np.arange(30) % 2, ("a", "b"), np.zeros(30, np.bool_), ())
    with pytest.raises(ConfigError, match="the essay shows images, and these are vectors of 7 features"):
        run_essay(collection, np.arange(20), np.arange(20, 30), posterior_samples=2, seed=0, report=ignore)


def test_a_network_of_too_many_weights_says_that_only_its_last_layer_is_asked(run, tmp_path, make_chunks):
    assert [asked.notes for asked in run.asked] == [(), ()]
    pixels = np.random.default_rng(0).integers(0, 256, (40, 3, 24, 24), dtype=np.uint8)
    names = tuple(str(i) for i in range(40))
    collection = Collection(make_chunks(pixels), names, np.arange(40) % 2, ("a", "b"), np.zeros(40, np.bool_), ())
    large = run_essay(collection, np.arange(30), np.arange(30, 40), posterior_samples=2, seed=0, report=ignore)
    assert "only the last layer has a distribution" in large.asked[1].notes[0]
    assert "Only the last layer has a distribution" in write_page(large, tmp_path)[0].read_text()
