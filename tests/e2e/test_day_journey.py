"""A day's work with real workers: a manager brings images, two people answer at once, rounds run by themselves, and the
labels are taken out. In real browsers."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from sklearn.datasets import load_digits

from benchmarks.servers import wait_until
from tests.e2e.conftest import Site
from tests.e2e.labelling import ready, saved, shown
from tests.labeler.imports import make_zip

pytestmark = pytest.mark.e2e
NAMES = ["zero", "one", "two"]
EACH = 12  # answers of each of the two
PATIENCE = 120_000  # a worker has to load torch first, on a busy machine


@pytest.fixture(scope="module")
def site(working_site: Site) -> Site:
    return working_site


def digits(path: Path) -> dict[str, str]:
    """A zip of digits whose names say nothing; gives the class of each file."""
    data = load_digits(n_class=len(NAMES))
    chosen = np.random.default_rng(0).permutation(len(data.target))[:90]
    files, truth = {}, {}
    for number, index in enumerate(chosen):
        picture = io.BytesIO()
        Image.fromarray((data.images[index] * 15).astype(np.uint8)).resize((24, 24)).save(picture, "PNG")
        files[f"{number:03d}.png"] = picture.getvalue()
        truth[f"{number:03d}.png"] = NAMES[data.target[index]]
    make_zip(path, files)
    return truth


def join(mia: Page, other: Page, slug: str) -> None:
    mia.goto(f"/p/{slug}/people/")
    mia.get_by_role("button", name="Make a link").click()
    other.goto(mia.get_by_label("Invitation link").input_value())
    other.get_by_role("button", name="Join").click()
    other.wait_for_url(re.compile("/label/$"))


def answer(page: Page, truth: dict[str, str]) -> str:
    """Say what is in view by its key. Returns the image's name."""
    ready(page)
    before = shown(page)
    name = page.locator("[data-table] img").get_attribute("alt").removeprefix("Image to label, ").rsplit("/", 1)[-1]
    page.keyboard.press(page.get_by_role("button", name=truth[name]).first.get_attribute("data-hotkey"))
    wait_until(lambda: shown(page) not in {"", before}, 30, "the next image")
    return name


def test_from_a_zip_to_labels_with_two_people_and_workers(site: Site, open_as, tmp_path: Path) -> None:
    truth = digits(tmp_path / "day.zip")
    site.project(images=1)  # mia manages one, so she may make others
    mia = open_as("mia", "/projects/new/")
    mia.get_by_label("Name").fill("Day")
    mia.get_by_label("Classes").fill("\n".join(NAMES))
    mia.get_by_role("button", name="Make it").click()
    expect(mia.get_by_role("heading", name="First steps")).to_be_visible()

    mia.goto("/p/day/imports/new/")
    mia.locator("[data-files]").set_input_files(tmp_path / "day.zip")
    mia.wait_for_url(re.compile(r"/imports/\d+/$"))
    mia.get_by_role("button", name="Import", exact=True).click(timeout=PATIENCE)  # once a worker has looked
    added = mia.locator("dt", has_text="Added").locator("xpath=following-sibling::dd[1]")
    expect(added).to_contain_text("90", timeout=PATIENCE)

    ann, bob = open_as("ann", "/"), open_as("bob", "/")
    for person in (ann, bob):
        join(mia, person, "day")
    said = {person: [] for person in (ann, bob)}
    for _ in range(EACH):
        for person in (ann, bob):
            said[person].append(answer(person, truth))
    for person in (ann, bob):
        saved(person)
        assert len(set(said[person])) == EACH
    assert not set(said[ann]) & set(said[bob])  # no image went to both

    mia.goto("/p/day/rounds/")  # nobody asked for a round
    rows = mia.locator("#rounds tbody tr")
    expect(rows.filter(has_text="done").filter(has_text="answers").first).to_be_visible(timeout=PATIENCE)
    ann.keyboard.press("i")
    expect(ann.locator("[data-why]")).not_to_be_empty()
    mia.goto("/p/day/")
    expect(mia.locator("#state")).to_contain_text("24")

    mia.goto("/p/day/exports/")
    mia.get_by_role("button", name="Export", exact=True).click()
    ready_one = mia.get_by_role("link", name="Download").first
    expect(ready_one).to_be_visible(timeout=PATIENCE)
    with mia.expect_download() as download:
        ready_one.click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    labels = {row["name"].rsplit("/", 1)[-1]: row["class"] for row in rows if row["class"]}
    assert labels == {name: truth[name] for person in said.values() for name in person}
