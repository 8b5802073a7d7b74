"""The API as its document describes it, against a real server: schemathesis sends what the document allows and what it
forbids, and holds every reply against it. No server error, no undocumented status, in two to five minutes.

Of a project that has something everywhere: of one that is empty nearly every reply is 404."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.api_site import ROOT, api_site

FREE = {"API_RATE": "100000000", "API_UNKNOWN_TOKENS": "100000000", "LOG_LEVEL": "CRITICAL"}


def test_the_api_does_what_its_document_says(tmp_path: Path):
    with api_site(tmp_path, furnished=True, **FREE) as site:
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            "--config-file", str(ROOT / "tests" / "schemathesis.toml"), "run",
            f"{site.url}/api/v1/openapi.json", "--header", f"Authorization: Bearer {site.manager}",
            "--phases", "coverage,fuzzing", "--checks", "all", "--max-examples", "3",
            # One at a time: two threads that parse at once break Python 3.11 (SystemError: AST constructor recursion
            # depth mismatch), and hypothesis parses where it describes its strategies.
            "--workers", "1", "--no-shrink", "--continue-on-failure", "--generation-deterministic",
            "--no-color", "--warnings", "off", "--report-dir", str(tmp_path / "report"),
        ]  # fmt: skip
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600)
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    assert "Tested: " in run.stdout
