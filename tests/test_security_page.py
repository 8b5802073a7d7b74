"""SECURITY.md names the tests that hold each promise: they are there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_every_promise_names_tests_that_there_are() -> None:
    rows = re.findall(r"^\|.*\| (`.*) \|$", (ROOT / "SECURITY.md").read_text(), re.M)
    assert len(rows) > 10
    for name in {name for row in rows for name in re.findall(r"`([^`]+)`", row)}:
        places = [ROOT / "tests" / name, ROOT / "tests" / "labeler" / name]
        assert any(place.is_dir() or place.with_suffix(".py").is_file() for place in places), name
