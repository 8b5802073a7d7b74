"""A model is refused, put in charge all the same, rolled back, and a round is run again: with real workers at work."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Site
from tests.e2e.labelling import label_page, press, ready, saved

pytestmark = pytest.mark.e2e
GOOD, BAD, REMADE = 3, 4, 5  # rounds
PATIENCE = 120_000  # a worker has to load torch first, on a busy machine


@pytest.fixture(scope="module")
def site(working_site: Site) -> Site:
    return working_site


def run_a_round(page: Page, slug: str, number: int) -> None:
    page.goto(f"/p/{slug}/")
    page.get_by_role("button", name="Start a round now").click()
    page.goto(f"/p/{slug}/rounds/{number}/")
    expect(page.get_by_role("heading", level=1)).to_contain_text("done", timeout=PATIENCE)


def test_from_a_refused_model_to_a_rollback_and_a_rerun(site: Site, open_as) -> None:
    slug = "bands"
    site.ask("make-bands", slug)
    mia = open_as("mia", f"/p/{slug}/")
    alike = mia.locator("dt", has_text="Groups that look alike").locator("xpath=following-sibling::dd[1]")
    expect(alike).to_contain_text("about", timeout=PATIENCE)  # they have ordered the first queue: that was round 2
    run_a_round(mia, slug, GOOD)
    expect(mia.get_by_role("heading", name="In charge", exact=True)).to_be_visible()
    expect(mia.get_by_text("It took charge: there was no model before it.")).to_be_visible()

    ann = label_page(open_as, site, slug)
    press(ann, "12")
    saved(ann)
    site.ask("mislead", slug)
    run_a_round(mia, slug, BAD)
    why = rf"Refused: it finds \d of 12 images of low, the model of round {GOOD} finds 1[0-2]"
    expect(mia.locator("#charge")).to_contain_text(re.compile(why))
    expect(mia.locator("#charge")).to_contain_text(f"The model of round {GOOD} stays in charge")
    mia.goto(f"/p/{slug}/")
    expect(mia.locator("#verdict")).to_contain_text("Refused: it finds")
    expect(mia.locator("#state")).to_contain_text(f"The model of round {GOOD} is in charge")
    mia.goto(f"/p/{slug}/explore/")
    expect(mia.get_by_label("As seen by")).to_have_value(str(GOOD))

    ann.reload()  # the queue goes on, by the model in charge
    ready(ann)
    press(ann, "11111")  # past those that were on the screen already
    saved(ann)
    ann.keyboard.press("i")
    why = ann.locator("[data-why]")
    for _ in range(10):  # some are drawn at random
        if "drawn at random" not in why.inner_text():
            break
        press(ann, "1")
    expect(why).to_contain_text(f"the model of round {GOOD}")
    ann.keyboard.press("i")

    mia.goto(f"/p/{slug}/rounds/{BAD}/")
    mia.get_by_role("button", name="Put this model in charge").click()
    expect(mia.get_by_text("and keeps it there")).to_be_visible()
    mia.goto(f"/p/{slug}/rounds/{REMADE}/")
    expect(mia.get_by_role("heading", level=1)).to_contain_text("done", timeout=PATIENCE)
    expect(mia.get_by_text(f"mia put the model of round {BAD} in charge")).to_be_visible()
    ann.reload()
    ready(ann)
    press(ann, "1")
    saved(ann)

    mia.goto(f"/p/{slug}/rounds/{GOOD}/")
    expect(mia.get_by_text("1 later round will be rolled back")).to_be_visible()
    mia.get_by_role("button", name="Put this model in charge").click()
    expect(mia.get_by_text("and keeps it there")).to_be_visible()
    mia.get_by_role("button", name="Release it").click()
    expect(mia.get_by_text("until a later one is accepted")).to_be_visible()
    mia.goto(f"/p/{slug}/rounds/{BAD}/")
    expect(mia.locator("#charge")).to_contain_text("Rolled back")
    look_behind_a_number(mia, slug)
    run_again(mia, slug)


def look_behind_a_number(page: Page, slug: str) -> None:
    """The images of a cell of the matrix, and the model's files."""
    page.goto(f"/p/{slug}/rounds/{BAD}/")
    page.locator("#confusion .confusion-wrong a").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("low, taken for")
    expect(page.locator(".image-tile").first).to_be_visible()
    page.get_by_role("link", name=f"Round {BAD}", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the model").click()
    assert download.value.suggested_filename == f"{slug}-round-{BAD}-model.zip"


def run_again(page: Page, slug: str) -> None:
    """After answers have changed and other rounds have come and gone."""
    page.goto(f"/p/{slug}/rounds/{GOOD}/")
    page.get_by_role("button", name="Run again and compare").click()
    expect(page.locator("#rerun")).to_contain_text("Equal, bit for bit", timeout=PATIENCE)
    expect(page.locator("#rerun")).to_contain_text("mia had it run again")
