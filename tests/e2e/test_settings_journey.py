"""A manager chooses a posterior, and is shown what belongs to it. In a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.e2e


def test_only_the_fields_of_the_chosen_posterior_are_shown(site, open_as) -> None:
    slug = site.project(images=2)
    page = open_as("mia", f"/p/{slug}/settings/learning/")
    members, prior = (
        page.get_by_label("Networks (members)"),
        page.get_by_label("As wide as makes the answers likeliest"),
    )
    expect(page.get_by_label("MC dropout")).to_be_checked()
    expect(members).to_be_hidden()
    page.get_by_label("Laplace", exact=False).first.check()
    expect(prior).to_be_visible()
    page.get_by_label("Deep ensemble").check()
    expect(prior).to_be_hidden()
    members.fill("7")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_label("Deep ensemble")).to_be_checked()
    expect(members).to_have_value("7")


def test_what_is_said_stands_apart_from_the_page(site, open_as) -> None:
    page = open_as("mia", f"/p/{site.project(images=1)}/settings/")
    page.get_by_role("button", name="Save").click()
    said = page.get_by_text("Saved", exact=False).bounding_box()
    assert page.get_by_role("heading", name="Settings").bounding_box()["y"] >= said["y"] + said["height"] + 16


def test_a_long_name_and_a_narrow_window_leave_the_head_of_the_page_in_order(site, open_as) -> None:
    slug = site.project(images=1)
    mia = open_as("mia", f"/p/{slug}/settings/")
    mia.get_by_label("Name").fill("פרויקט " * 16)
    mia.get_by_role("button", name="Save").click()
    brand, tabs = mia.get_by_role("link", name="PlusMinus"), mia.get_by_role("navigation", name="Project")
    sign_out = mia.get_by_role("button", name="Sign out")
    for width, lines in ((1280, 1), (1000, 2), (800, 2)):
        mia.set_viewport_size({"width": width, "height": 700})
        middles = [box["y"] + box["height"] / 2 for box in (each.bounding_box() for each in (brand, sign_out, tabs))]
        assert abs(middles[0] - middles[1]) < 4
        assert (middles[2] - middles[0] < 4) == (lines == 1)
        assert brand.bounding_box()["y"] >= 0
        assert mia.evaluate("document.documentElement.scrollWidth") <= width
