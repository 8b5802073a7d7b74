"""Some of the processes on a machine of their own: which, how many, and what is said where that cannot be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from labeler.parts import UnknownPart, chosen
from labeler.supervisor import read_procfile

PROCFILE = read_procfile(Path(settings.BASE_DIR) / "Procfile")


def test_several_of_a_kind_have_names_of_their_own():
    found = chosen(PROCFILE, ["background", "learner=3"])
    assert list(found) == ["background", "learner", "learner2", "learner3"]
    assert found["background"] == PROCFILE["background"] and found["learner"] == PROCFILE["learner"]
    names = [command[command.index("--hostname") + 1] for name, command in found.items() if "learner" in name]
    assert names == ["learner@%h", "learner2@%h", "learner3@%h"]
    assert chosen(PROCFILE, list(PROCFILE)) == PROCFILE


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["postgres"], "is none of web, learner, worker, importer, messenger, background, beat"),
        (["learner=0"], "is none of"),
        (["learner=x"], "is none of"),
        (["--learner"], "is none of"),
        (["learner", "learner"], "named twice"),
        (["web=2"], "WEB_WORKERS"),
        (["beat=2"], "one for all machines"),
    ],
)
def test_what_cannot_be_is_said(words, told):
    with pytest.raises(UnknownPart, match=told):
        chosen(PROCFILE, words)


def supervise(tmp_path: Path, *parts: str, **extra: str) -> subprocess.CompletedProcess[str]:
    names = ("DATABASE_URL", "REDIS_URL", "STORAGE_URL", "SECRET_KEY")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    return subprocess.run(
        [sys.executable, "manage.py", "supervise", *parts], cwd=settings.BASE_DIR, text=True, capture_output=True,
        env={**kept, "DATA_DIR": str(tmp_path / "data"), **extra}, check=False,
    )  # fmt: skip


def test_it_names_what_is_missing(tmp_path):
    assert "is none of" in supervise(tmp_path, "lerner").stderr
    said = supervise(tmp_path, "learner")
    assert said.returncode == 1 and "set DATABASE_URL, REDIS_URL, STORAGE_URL" in said.stderr
    away = {
        "DATABASE_URL": "postgres://nobody@127.0.0.1:9/none", "REDIS_URL": "redis://127.0.0.1:9/0",
        "SECRET_KEY": "k3y0-of-a-test/abcdefghijklmnopqrstuvwxyz" * 2,
    }  # fmt: skip
    said = supervise(tmp_path, "learner", **away)
    assert said.returncode == 1 and "The database does not answer" in said.stderr and "Traceback" not in said.stderr
