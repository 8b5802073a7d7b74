"""The pictures of docs/pages.md: every page of a project in the middle of its work, on the real server.

    python -m tests.e2e.pictures [NAME ...]

Digits that come with scikit-learn, answers of two simulated people, and models whose words are made up
(tests/e2e/furnished.py). Each page at 1280 and 390 pixels, in 128 colours, so that all of them stay small. With names
only those are taken again; the page of text is written anew only with all of them.
"""

from __future__ import annotations

import io
import secrets
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.browser import ARGUMENTS, find_browser
from benchmarks.servers import web_server
from tests.e2e.conftest import ROOT, Site, sign_in
from tests.e2e.pages import PLACES, Pages

FOLDER = ROOT / "docs" / "images" / "pages"
COLOURS = 128
SHOW_WORKERS = {"monitor", "learning-settings", "explore", "replay", "imports", "exports", "predictions"}
SIGNED_OUT = {"login", "joining"}
TALLEST = {"wide": 1500, "narrow": 1900}  # pixels; what is below is more of the same
# Part, and its pages: name of the address, what one does there. "ann": as an annotator sees it.
PARTS: dict[str, dict[str, str]] = {
    "For everybody": {
        "login": "Sign in",
        "joining": "An invitation",
        "password-change": "Your password",
        "home": "Projects, and what needs somebody",
        "label": "Label: one key an answer (ann)",
        "annotator": "Your answers (ann)",
        "guide": "The guide, with examples (ann)",
        "images": "Images",
        "image": "One image: its answers, and what the model says",
        "project-new": "A new project",
        "project-start": "First steps",
        "tokens": "Tokens for programs",
        "api-docs": "The API",
    },
    "How it goes": {
        "monitor": "Monitor",
        "worth": "Is it worth it?",
        "notices": "Notices",
        "rounds": "Rounds",
        "round": "One round",
        "confusion": "What a model takes for what",
        "model-card": "Model card",
    },
    "What the model sees": {
        "explore": "Explore",
        "gallery": "A gallery: what the model is sure of",
        "compare": "Two rounds side by side",
        "replay": "What the order saves",
        "try": "Try an image",
        "predictions": "Predictions for archives",
    },
    "How good the answers are": {
        "answers": "Agreement, and people",
        "review": "Review: where people disagree",
        "gold": "Gold images",
        "comments": "Comments",
    },
    "In and out": {
        "imports": "Imports",
        "import-new": "A new import",
        "import": "One import",
        "exports": "Exports",
    },
    "People and settings": {
        "people": "People",
        "audit": "The record",
        "settings": "Settings",
        "learning-settings": "How the project learns",
        "classes": "Classes",
        "class-edit": "One class",
        "merging": "What merging would change",
        "splitting": "What splitting would change",
        "class-archive": "What archiving would change",
        "class-change-undo": "What taking it back would change",
        "class-changes": "Changes, and taking them back",
        "proposals": "Proposed classes",
        "webhooks": "Webhooks",
        "project-copy": "A copy of the settings",
    },
    "Many at once": {
        "grid": "The grid: whole pages of tiles",
    },
}


def main(wanted: list[str]) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="plusminus-pictures-") as folder, sync_playwright() as driver:
        password = secrets.token_urlsafe(12)
        env = {"DATA_DIR": folder, "PASSWORD": password, "DATABASE_URL": ""}
        site = Site(web_server(env, log=Path(folder) / "web.log"), env, password)
        site.ask("prepare")
        site.server.start()
        browser = driver.chromium.launch(executable_path=find_browser(), args=ARGUMENTS)
        try:
            take_all(browser, site, wanted)
        finally:
            browser.close()
            site.stop()
    if not wanted:
        write_page()


def take_all(browser: Browser, site: Site, wanted: list[str]) -> None:
    pages = Pages.of(site, "Digits")
    people = {name: signed_in(browser, site, name) for name in ("mia", "ann")}
    for part in PARTS.values():
        for name, words in part.items():
            if wanted and name not in wanted:
                continue
            if name == "grid":
                site.ask("open-grid", "digits")
            if name in SHOW_WORKERS:
                site.ask("alive")
            page = people["ann" if "(ann)" in words else "mia"]
            if name in SIGNED_OUT:
                page = browser.new_page(base_url=site.url)
            address = pages.invitation if name == "joining" else pages.every[name]
            sys.stdout.write(f"{name}: {', '.join(take(page, name, address))}\n")


def signed_in(browser: Browser, site: Site, name: str) -> Page:
    page = browser.new_page(base_url=site.url, color_scheme="light", reduced_motion="reduce")
    sign_in(page, name, site.password)
    return page


def take(page: Page, name: str, address: str) -> list[str]:
    """At both widths. Returns the size of each."""
    sizes = []
    for place, size in PLACES.items():
        page.set_viewport_size(size)  # type: ignore[arg-type]
        page.goto(address, wait_until="load")
        page.wait_for_timeout(400)  # pictures that are drawn by a script
        height = min(page.evaluate("document.documentElement.scrollHeight"), TALLEST[place])
        page.set_viewport_size({"width": size["width"], "height": height})  # what sticks to its end is at the end
        page.wait_for_timeout(200)
        shot = page.screenshot(animations="disabled")
        path = picture(name, place)
        fewer_colours(Image.open(io.BytesIO(shot)).convert("RGB")).save(path, optimize=True)
        sizes.append(f"{path.stat().st_size / 1000:.0f} kB")
    return sizes


def fewer_colours(shot: Image.Image) -> Image.Image:
    """The most frequent ones as they are, so that paper stays paper; others for what is small, such as swatches."""
    counted = sorted(shot.getcolors(shot.width * shot.height) or [], reverse=True)
    exact = [colour for _, colour in counted[: COLOURS // 3]]
    covering = shot.quantize(COLOURS - len(exact), Image.Quantize.MAXCOVERAGE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for colour in exact for part in colour] + covering[: 3 * (COLOURS - len(exact))])
    return shot.quantize(palette=palette, dither=Image.Dither.NONE)


def picture(name: str, place: str) -> Path:
    return FOLDER / f"{name}-{PLACES[place]['width']}.png"


def write_page() -> None:
    lines = [
        "# Pages",
        "",
        "Each page on a screen of 1280 pixels and on a phone of 390, cut off where it is much longer. Made by",
        "`python -m tests.e2e.pictures` on the real server: digits of scikit-learn, two simulated annotators, models",
        "whose words are made up.",
    ]
    for part, names in PARTS.items():
        lines += ["", f"## {part}"]
        for name, words in names.items():
            title = words.removesuffix(" (ann)")
            shown = [f'<img src="images/pages/{picture(name, place).name}" alt="{title}, {place}" width="{width}">'
                     for place, width in (("wide", 640), ("narrow", 195))]  # fmt: skip
            lines += ["", f"### {title}", "", " ".join(shown)]
    (ROOT / "docs" / "pages.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
