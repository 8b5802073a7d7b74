"""`python -m learner simulate`: kept runs, going on, and mistakes in words."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from learner.__main__ import main
from learner.config import ESTIMATORS
from learner.simulation import study

QUICK = "--steps 5 --posterior-samples 3 --device cpu --holdout 80 --threads 1"


@pytest.fixture
def npz(tmp_path, digits):
    path = tmp_path / "digits.npz"
    np.savez(path, x_train=digits[0][:400, 0], y_train=digits[1][:400])
    return path


def run(text: str) -> int:
    return main(f"simulate {text} {QUICK}".split())


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "curves.csv").open() as file:
        return list(csv.DictReader(file))


def test_it_writes_curves_a_drawing_and_a_table_and_goes_on_where_it_was(npz, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    command = f"{npz} --strategies groups random --budgets 10 20 --target 0.1 0.9 --out {out}"
    assert run(command) == 0
    assert [(row["strategy"], row["seed"], row["answers"]) for row in rows_of(out)] == [
        (name, "0", answers) for name in ("groups", "random") for answers in ("10", "20")
    ]
    assert all(0 <= float(row["class_accuracy"]) <= 1 and float(row["seconds"]) > 0 for row in rows_of(out))
    text = capsys.readouterr().out
    assert "answers until 90%" in text and text.strip() in (out / "table.txt").read_text()
    assert (out / "curve.svg").read_text().startswith("<svg")

    made = []
    keep = study.Study.run
    monkeypatch.setattr(study.Study, "run", lambda self, cell, report: (made.append(cell), keep(self, cell, report)))
    assert run(f"{command} --seeds 2 --strategies groups random top_margin") == 0
    assert {(cell.strategy, cell.seed) for cell in made} == {
        ("top_margin", 0), ("top_margin", 1), ("groups", 1), ("random", 1),
    }  # fmt: skip
    assert len(rows_of(out)) == 12


def test_figures_of_others_are_drawn_beside_and_read_before_anything_runs(npz, tmp_path, capsys):
    (tmp_path / "others.csv").write_text("name,answers,accuracy\nBALD (2019),10,.7\n")
    out = tmp_path / "out"
    command = f"{npz} --strategies random --budgets 10 20 --out {out}"
    assert run(f"{command} --beside {tmp_path / 'others.csv'}") == 0
    assert "BALD (2019)" in (out / "curve.svg").read_text()
    assert run(f"{npz} --strategies random --budgets 10 --out {tmp_path / 'new'} --beside {tmp_path / 'none.csv'}") == 2
    assert "none.csv cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_folder_of_other_settings_is_refused_and_left_alone(npz, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(f"{npz} --strategies random --budgets 10 --out {out}") == 0
    before = (out / "curves.csv").read_text()
    assert run(f"{npz} --strategies random --budgets 10 20 --coldness 3 --out {out}") == 2
    assert "keeps runs of other settings (different: budgets, coldness)" in capsys.readouterr().err
    assert (out / "curves.csv").read_text() == before


def test_a_run_that_broke_in_writing_is_made_again(npz, tmp_path):
    out = tmp_path / "out"
    command = f"{npz} --strategies random --budgets 10 --out {out}"
    assert run(command) == 0
    first, path = rows_of(out), out / "runs" / "random-0.json"
    path.write_text(path.read_text()[:20])
    assert run(command) == 0
    assert [row["accuracy"] for row in rows_of(out)] == [row["accuracy"] for row in first]


def test_processes_give_what_one_process_gives(npz, tmp_path):
    for jobs in (1, 2):
        assert run(f"{npz} --strategies random top_margin --budgets 10 20 --jobs {jobs} --out {tmp_path}/{jobs}") == 0
    one, two = ([{**row, "seconds": ""} for row in rows_of(tmp_path / str(jobs))] for jobs in (1, 2))
    assert one == two


def is_gone(group: int, seconds: float = 20) -> bool:
    """Whether all processes of a group end; what Python itself started beside ours takes a moment."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def hear_interrupts() -> None:
    """Whoever runs the tests in the background of a shell ignores them, and so would what the tests start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interruption_keeps_what_is_done_and_leaves_no_process(npz, tmp_path):
    out = tmp_path / "out"
    command = f"-m learner simulate {npz} --strategies random --seeds 200 --budgets 10 --jobs 2 --out {out} {QUICK}"
    process = subprocess.Popen(
        [sys.executable, *command.split()],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        preexec_fn=hear_interrupts,  # noqa: PLW1509  (it takes no lock)
    )
    try:
        until = time.monotonic() + 120
        while not list(out.glob("runs/*.json")) and time.monotonic() < until:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
        assert is_gone(process.pid)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    done = list(out.glob("runs/*.json"))
    assert done and all(json.loads(path.read_text())["points"] for path in done)
    assert len(rows_of(out)) == len(done)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_with_each_estimator(npz, capsys, estimator):
    assert run(f"{npz} --strategies random --architecture mlp --estimator {estimator} --members 2 --budgets 20 30") == 0
    assert "    30   random 0." in capsys.readouterr().out


def test_the_test_part_of_an_npz_is_what_is_measured(tmp_path, digits, capsys):
    path = tmp_path / "parts.npz"
    x, y = digits[0][:, 0], digits[1]
    np.savez(path, x_train=x[:300], y_train=y[:300], x_test=x[300:350], y_test=y[300:350])
    assert run(f"{path} --strategies groups --budgets 10") == 0
    assert "measured on 50 held-out images" in capsys.readouterr().out


def one_class(folder: Path) -> Path:
    (folder / "same").mkdir(parents=True)
    for index in range(4):
        Image.new("L", (8, 8), 60 * index).save(folder / "same" / f"{index}.png")
    return folder


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("/no/such/folder", "there is no /no/such/folder"),
        ("{tmp}/text.txt", "is neither a folder nor a zip of images nor an npz"),
        ("{tmp}/one", "has images of 1 classes, at least two are needed"),
        ("{npz} --strategies best", "unknown strategy 'best'; known: groups, networks, random,"),
        ("{npz} --until 1000", "5 to 1000 answers of 320 images that may be asked about"),
        ("{npz} --budgets 0 5", "0 to 5 answers of 320"),
        ("{npz} --jobs 0", "--jobs is 0, expected 1 or more"),
        ("{npz} --random-share 1", "--random-share is 1.0, expected from 0 to below 1"),
    ],
)
def test_a_mistake_is_one_clear_line_and_exit_code_2(npz, tmp_path, capsys, command, message):
    (tmp_path / "text.txt").write_text("no images")
    one_class(tmp_path / "one")
    assert run(command.format(npz=npz, tmp=tmp_path)) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("learner:")]
    assert len(lines) == 1
    assert message in lines[0]


def test_without_a_holdout_there_is_nothing_to_measure(npz, capsys):
    assert main(f"simulate {npz} --holdout 0 --device cpu".split()) == 2
    assert "learner: a simulation needs known labels for a holdout" in capsys.readouterr().err


def test_networks_need_pixels_and_likeness(npz, tmp_path, capsys):
    features = tmp_path / "features.npz"
    np.savez(features, x_train=np.random.default_rng(0).random((40, 5), np.float32), y_train=np.arange(40) % 2)
    assert run(f"{features} --strategies networks --budgets 5") == 2
    assert "the strategy networks needs images" in capsys.readouterr().err
    assert run(f"{features} --backbone efficientnet_lite0 --budgets 5") == 2
    assert "--backbone needs images" in capsys.readouterr().err
    assert run(f"{npz} --strategies networks --learns-from images --budgets 5") == 2
    assert "goes by likeness" in capsys.readouterr().err


def test_images_are_compared_by_a_backbone_where_that_is_asked_for(tmp_path, digits, capsys):
    npz, out = tmp_path / "few.npz", tmp_path / "out"
    np.savez(npz, x_train=digits[0][:120, 0], y_train=digits[1][:120])  # 80 of them are the holdout
    command = f"{npz} --strategies groups --budgets 10 --out {out} --backbone"
    assert run(f"{command} efficientnet_lite0") == 0
    (path,) = (out / "features").iterdir()
    assert len(np.load(path)) == 120
    assert run(f"{npz} --strategies groups --budgets 10 --out {tmp_path / 'other'} --backbone no_such_backbone") == 2
    assert "no_such_backbone" in capsys.readouterr().err
