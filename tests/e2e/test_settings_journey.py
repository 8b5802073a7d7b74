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
