import re

import numpy as np
import pytest
from PIL import Image

from learner.__main__ import main
from learner.config import ESTIMATORS


@pytest.fixture
def npz(tmp_path, digits):
    path = tmp_path / "digits.npz"
    np.savez(path, x_train=digits[0][:500, 0], y_train=digits[1][:500])
    return path


def test_a_round_prints_every_number_with_its_uncertainty(npz, tmp_path, capsys):
    out = tmp_path / "round"
    code = main(
        f"round {npz} --labels 60 --posterior-samples 5 --steps 30 --budget 4 --device cpu --show 2 --out {out}".split()
    )
    text = capsys.readouterr().out
    assert code == 0
    assert re.search(r"accuracy  0\.\d{3} ± 0\.\d{3}  \(0\.\d{3} to \d\.\d{3}\)", text)
    assert len(re.findall(r"^  train/\d+ .*\d: \d\.\d\d ± \d\.\d\d", text, re.MULTILINE)) == 6
    assert len(re.findall(r"^ +\d+\. train/\d+ .* nats, above", text, re.MULTILINE)) == 4
    assert (out / "model.json").exists()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_round_of_feature_vectors_with_each_estimator_says_what_it_cost(tmp_path, digits, capsys, estimator):
    path = tmp_path / "features.npz"
    np.savez(path, x_train=digits[0][:300].reshape(300, 64) / 16, y_train=digits[1][:300])
    command = f"round {path} --estimator {estimator} --members 2 --labels 60 --posterior-samples 5 --steps 30 --show 1"
    assert main(f"{command} --device cpu".split()) == 0
    text = capsys.readouterr().out
    assert re.search(rf"^{estimator} of head, 60 labels, 300 images: fit \d", text, re.MULTILINE)
    assert re.search(r"^cost: \d[\d,]* optimiser steps, \d[\d,]* µs an image to score", text, re.MULTILINE)


def test_a_network_for_images_refuses_vectors_in_words(tmp_path, digits, capsys):
    np.savez(tmp_path / "f.npz", x_train=digits[0][:100].reshape(100, 64) / 16, y_train=digits[1][:100])
    assert main(f"round {tmp_path}/f.npz --architecture cnn --device cpu".split()) == 2
    assert "learner: the network 'cnn' does not take vectors of 64 features; head, mlp do" in capsys.readouterr().err


@pytest.mark.parametrize("acquisition", ["batchbald", "softmax_epig"])
def test_candidates_say_how_they_were_chosen(npz, tmp_path, capsys, acquisition):
    out = tmp_path / "round"
    command = f"round {npz} --labels 60 --posterior-samples 5 --steps 5 --budget 4 --device cpu --out {out} --epig"
    assert main([*command.split(), "--acquisition", acquisition]) == 0
    how = "chosen with the others" if acquisition == "batchbald" else r"drawn with probability \d"
    assert len(re.findall(rf"nats, above .* of the pool, {how}", capsys.readouterr().out)) == 4
    assert (out / "targets.npz").exists()


def test_answers_from_a_file(tmp_path, capsys):
    source = tmp_path / "images"
    source.mkdir()
    for i in range(12):
        Image.new("L", (8, 8), 20 * i).save(source / f"{i}.png")
    answers = tmp_path / "answers.csv"
    answers.write_text(
        "name,label\n" + "".join(f"{i}.png,{'dark' if i < 3 else 'light'}\n" for i in (0, 1, 2, 9, 10, 11))
    )
    command = f"round {source} --answers {answers} --steps 5 --posterior-samples 3 --holdout 0 --device cpu"
    assert main(command.split()) == 0
    assert "light: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("round /no/such/folder", "learner: there is no /no/such/folder"),
        ("round {npz} --labels 0 --device cpu", "learner: there are no training labels yet"),
        ("round {npz} --labels 1 --device cpu", "learner: there is one label to learn from"),
        ("round {npz} --posterior-samples 0", "learner: posterior_samples is 0, expected 1 to 10,000"),
    ],
)
def test_a_mistake_is_one_clear_line_and_exit_code_2(npz, capsys, command, message):
    assert main(command.format(npz=npz).split()) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("learner:")]
    assert len(lines) == 1
    assert lines[0].startswith(message)
