"""`manage.py import_images`."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command

from labeler.models import ImportJob
from tests.labeler.imports import make_zip, png

pytestmark = pytest.mark.django_db


def run(*words) -> str:
    out = io.StringIO()
    call_command("import_images", *words, stdout=out)
    return out.getvalue()


def test_it_imports_and_says_what_was_left_out(project, manager, tmp_path):
    entries = {"1.png": png(1), "2.png": png(1), "x.txt": b"text", "t.csv": b"path,label\n1.png,cat\n9.png,cat\n"}
    path = make_zip(tmp_path / "a.zip", entries)
    said = run("signs", str(path), "--by", "mia")
    assert "1 added, 1 in the project already, 2 refused." in said
    assert "9.png: A table names it" in said
    assert ImportJob.objects.get().created_by == manager
    assert "No image was added" in run("signs", str(path))


def test_what_is_not_there_is_told(project, annotator, tmp_path):
    path = make_zip(tmp_path / "a.zip", {"1.png": png(1)})
    cases = [
        (("none", str(path)), "no project"),
        (("signs", "/none"), "nothing at"),
        (("signs", str(path), "--by", "ann"), "no manager"),
        (("signs", str(path), "--by", "x"), "no manager"),
    ]
    for words, why in cases:
        with pytest.raises(CommandError, match=why):
            run(*words)
    assert not ImportJob.objects.exists()
