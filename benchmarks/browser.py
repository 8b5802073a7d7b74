"""The system's Chromium for tests and benchmarks: pages of this machine only, no background traffic."""

from __future__ import annotations

import shutil

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def find_browser() -> str | None:
    """Its path, if it is installed."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)
