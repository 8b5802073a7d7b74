"""A manager's day beside an annotator at work: first steps, pause and resume, a failed round, a target, a copy."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.e2e.conftest import Site
from tests.e2e.labelling import label_page, press, saved


def test_pause_while_somebody_answers(open_as, site: Site) -> None:
    slug = site.project(images=20)
    ann = label_page(open_as, site, slug)
    press(ann, "12")
    mia = open_as("mia", f"/p/{slug}/")
    mia.get_by_text("Pause the project").click()
    mia.get_by_label("Why, for everybody to read").fill("New guidelines come at noon.")
    mia.get_by_role("button", name="Pause", exact=True).click()
    expect(mia.get_by_text("Paused. Nobody is asked")).to_be_visible()
    saved(ann)
    ann.reload()
    expect(ann.get_by_text("They say: New guidelines come at noon.")).to_be_visible()
    assert len(site.answers(slug)) == 2
    mia.get_by_role("button", name="Go on").click()
    expect(mia.get_by_text("Going on: people are asked again")).to_be_visible()
    ann.reload()
    press(ann, "3")
    saved(ann)
    assert len(site.answers(slug)) == 3


def test_a_failed_round_is_told_and_dismissed(open_as, site: Site) -> None:
    slug = site.project(images=20)
    site.ask("fail", slug)
    mia = open_as("mia", f"/p/{slug}/")
    nav = mia.get_by_role("navigation", name="Project")
    expect(nav.get_by_role("link", name="Monitor 1 notice")).to_be_visible()
    mia.get_by_role("navigation", name="Monitor").get_by_role("link", name="Notices").click()
    expect(mia.get_by_text("failed. It broke.")).to_be_visible()
    mia.get_by_role("button", name="I have read this").click()
    expect(mia.get_by_role("button", name="I have read this")).to_have_count(0)
    expect(nav.get_by_role("link", name="Monitor", exact=True)).to_be_visible()


def test_worth_and_a_target(open_as, site: Site) -> None:
    slug = site.project(images=20)
    label_page(open_as, site, slug)
    mia = open_as("mia", f"/p/{slug}/worth/")
    expect(mia.get_by_text("Too early to say").first).to_be_visible()
    mia.get_by_label("Target: right on the holdout, %").fill("97.5")
    mia.get_by_role("button", name="Save").click()
    expect(mia.get_by_text("Saved.")).to_be_visible()
    expect(mia.get_by_label("Target: right on the holdout, %")).to_have_value("97.5")


def test_a_copy_and_its_first_steps(open_as, site: Site) -> None:
    slug = site.project(images=20, guidelines="Look twice.")
    mia = open_as("mia", f"/p/{slug}/settings/")
    mia.get_by_role("link", name="Make a project with these settings").click()
    mia.get_by_label("Name").fill(f"Copy of {slug}")
    mia.get_by_role("button", name="Make it").click()
    expect(mia.get_by_role("heading", name="First steps")).to_be_visible()
    expect(mia.get_by_text("3 classes: cat, dog, owl.")).to_be_visible()
    mia.get_by_role("button", name=re.compile("Later ?: Images")).click()
    expect(mia.locator("[aria-current=step]")).to_contain_text("People")
    mia.get_by_role("button", name="I know my way").click()
    mia.wait_for_url(f"**/p/copy-of-{slug}/")
    expect(mia.get_by_text("First steps:")).to_have_count(0)
