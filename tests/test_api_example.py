"""The example of docs/api.md, as it stands there, against a real server with its workers; and the client alone."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.servers import worker
from tests.api_site import ROOT, ApiSite, api_site

BLOCK = re.compile(r"^```python\n(.*?)^```", re.M | re.S)


@pytest.fixture(scope="module")
def working_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiSite]:
    folder = tmp_path_factory.mktemp("api")
    with api_site(folder, LEARNER_DEVICE="cpu") as site, contextlib.ExitStack() as stack:
        for kind in ("worker", "importer", "messenger", "learner", "background", "beat"):
            server = worker(kind, site.env, log=folder / f"{kind}.log")
            server.start()
            stack.callback(server.stop)
        yield site


def test_the_example_of_the_documents(working_site, tmp_path, capsys):
    blocks = BLOCK.findall((ROOT / "docs" / "api.md").read_text())
    assert len(blocks) >= 7
    names = {"SITE": working_site.url, "TOKEN": working_site.manager, "FOLDER": tmp_path}
    exec(compile("\n".join(blocks), "docs/api.md", "exec"), names)
    said = capsys.readouterr().out
    assert "manager manages shapes" in said and "60 images" in said and " ± " in said
    assert (tmp_path / "labels.csv").read_text().count("\n") >= 30
    assert (tmp_path / "model.zip").stat().st_size > 1000
    run_the_commands(working_site, tmp_path)


def run_the_commands(site: ApiSite, folder: Path) -> None:
    env = {**os.environ, "PLUSMINUS_URL": site.url, "PLUSMINUS_TOKEN": site.manager}

    def client(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "labeler.client", *arguments]
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)

    again = client("import", "shapes", str(folder / "shapes.zip"))
    assert again.returncode == 0 and "0 added, 60 known, 1 refused" in again.stdout, again
    assert "notes.txt" in again.stdout
    assert "4 answers" in client("oracle", "shapes", "--answers", "4").stdout
    watched = client("watch", "shapes")
    assert "round" in watched.stdout
    assert client("export", "shapes", str(folder / "all.jsonl"), "--format", "jsonl", "--unlabelled").returncode == 0
    assert (folder / "all.jsonl").read_text().count("\n") == 60
    assert client("predict", "shapes", "--out", str(folder / "predictions.csv"), "--top", "2").returncode == 0
    assert (folder / "predictions.csv").read_text().count("\n") == 121
    new, words = str(folder / "new.png"), str(folder / "words.png")
    Path(words).write_text("no image")
    asked = client("predict", "shapes", "--prepare", new, words, "--top", "1")
    assert asked.returncode == 1 and "new.png: " in asked.stdout and " ± " in asked.stdout, asked
    assert "words.png: " in asked.stderr
    table = str(folder / "of-archive.jsonl")
    of_archive = client("predict", "shapes", "--archive", str(folder / "shapes.zip"), "--out", table)
    assert of_archive.returncode == 0 and "60 images, 1 refused" in of_archive.stdout, of_archive
    assert Path(table).read_text().count("\n") == 61
    assert client("predict", "shapes").returncode == 2
    nobody = client("watch", "nothing")
    assert nobody.returncode == 1 and "not shared with you" in nobody.stderr


def test_each_command_of_the_documents_is_one_that_the_client_takes():
    from labeler.client.__main__ import _options

    documents = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]
    lines = [line for document in documents for line in document.read_text().splitlines()]
    commands = [shlex.split(line)[3:] for line in lines if line.startswith("python -m labeler.client ")]
    assert {command[0] for command in commands} == {"import", "oracle", "watch", "export", "predict"}
    taken = {" ".join(command): _options(command) for command in commands}
    new = taken["predict digits --prepare photo.jpg other.png"]
    assert new.prepare and new.files == ["photo.jpg", "other.png"]


@pytest.mark.parametrize(
    ("line", "files"),
    [
        ("predict digits --top 2 a.png", ["a.png"]),
        ("predict digits a.png --prepare b.png", ["a.png", "b.png"]),
        ("predict --prepare digits a.png b.png", ["a.png", "b.png"]),
        ("import digits a.zip --classes b.zip", ["a.zip", "b.zip"]),
        ("predict digits --out all.csv", []),
    ],
)
def test_files_stand_on_both_sides_of_options(line, files):
    from labeler.client.__main__ import _options

    assert _options(line.split()).files == files


@pytest.mark.parametrize("line", ["predict digits --prepaer a.png", "watch digits 7", "predict digits --tpo 1 a.png"])
def test_what_is_no_option_is_refused(line, capsys):
    from labeler.client.__main__ import _options

    with pytest.raises(SystemExit):
        _options(line.split())
    assert "unrecognized arguments" in capsys.readouterr().err


def test_the_client_works_alone(tmp_path):
    """One folder, copied; neither Django nor anything else of PlusMinus is loaded."""
    shutil.copytree(ROOT / "labeler" / "client", tmp_path / "plusminus_client")
    program = (
        "import sys; sys.modules.update(dict.fromkeys(('django', 'celery', 'labeler', 'learner')));"
        f"sys.path.insert(0, {str(tmp_path)!r}); import plusminus_client, plusminus_client.__main__;"
        "print(sorted(plusminus_client.__all__))"
    )
    alone = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    assert "PlusMinus" in alone.stdout


def test_the_clients_table_holds_no_formula(tmp_path):
    from argparse import Namespace
    from types import SimpleNamespace

    from labeler.client import __main__ as commands

    classes = [('=HYPERLINK("http://a","b")', 0.5, 0.1), ("＝1+1", 0.3, 0.1), ("dog", 0.2, 0.1)]
    found = SimpleNamespace(image="=7.png", classes=classes, round=1, in_charge=1)
    out = str(tmp_path / "p.csv")
    project = SimpleNamespace(predictions=lambda *_: iter([found]), predict=lambda _: found)
    options = Namespace(files=[], archive="", out=out, round=None, top=3, prepare=False)
    for files in ([], ["=7.png"]):
        options.files = files
        predicted = commands._predict_files if files else commands._predict_pool
        assert predicted(project, options) == 0  # type: ignore[arg-type]
        with (tmp_path / "p.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        assert [row[1] for row in rows] == ["class", '\'=HYPERLINK("http://a","b")', "'＝1+1", "dog"]
        assert [row[0] for row in rows[1:]] == ["'=7.png"] * 3
