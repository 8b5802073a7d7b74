"""A manager makes a project and invites somebody, who opens the link on a phone and joins. In a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

pytestmark = pytest.mark.e2e

PHONE = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def test_from_a_new_project_to_a_new_member(site, open_as, browser: Browser) -> None:
    site.project(images=3)  # mia manages one, so she may make others
    mia = open_as("mia", "/", permissions=["clipboard-read", "clipboard-write"])
    mia.get_by_role("link", name="New project").click()
    mia.get_by_label("Name").fill("Owls & <b>others</b>")
    mia.get_by_label("Classes").fill("barn owl\nsnowy owl")
    mia.get_by_role("button", name="Make it").click()
    expect(mia.get_by_role("heading", name="First steps")).to_be_visible()
    expect(mia.get_by_text("2 classes: barn owl, snowy owl.")).to_be_visible()

    mia.get_by_role("link", name="Invite people").click()
    mia.get_by_label("Note").fill("for Nora")
    mia.get_by_role("button", name="Make a link").click()
    link = mia.get_by_label("Invitation link").input_value()
    mia.get_by_role("button", name="Copy").click()
    expect(mia.get_by_role("button", name="Copied")).to_be_visible()
    assert mia.evaluate("navigator.clipboard.readText()") == link

    context = browser.new_context(**PHONE)
    nora = context.new_page()
    nora.goto(link)
    expect(nora.get_by_role("heading", name="Join “Owls & <b>others</b>”")).to_be_visible()
    nora.get_by_label("Username").fill("mia")
    nora.get_by_label("Password", exact=True).fill("a walk in the park 7")
    nora.get_by_label("Password confirmation").fill("a walk in the park 7")
    nora.get_by_role("button", name="Make the account and join").click()
    expect(nora.get_by_text("already exists")).to_be_visible()
    assert fits(nora)
    nora.get_by_label("Username").fill("nora")
    nora.get_by_label("Password", exact=True).fill("a walk in the park 7")
    nora.get_by_label("Password confirmation").fill("a walk in the park 7")
    nora.get_by_role("button", name="Make the account and join").click()
    nora.wait_for_url(re.compile("/label/$"))
    context.close()

    mia.reload()  # opens the list anew: it neither shows the link again nor makes another
    expect(mia.get_by_label("Invitation link")).to_have_count(0)
    expect(mia.get_by_role("rowheader", name="nora")).to_be_visible()
    expect(mia.get_by_text("for Nora")).to_have_count(0)
    mia.get_by_label("Remove nora").click()
    mia.get_by_role("button", name="Remove", exact=True).click()
    expect(mia.get_by_text("nora has left the project. Their answers stay.")).to_be_visible()


def test_a_managers_pages_fit_a_phone_and_show_where_one_is(site, open_as) -> None:
    slug = site.project(images=3, classes=" ".join(f"class{number}" for number in range(12)))
    page = open_as("mia", "/", **PHONE)
    for path in ("/", "/projects/new/", "/password/", f"/p/{slug}/start/", f"/p/{slug}/people/"):
        page.goto(path)
        assert fits(page), path
    for path in ("", "classes/", "learning/"):
        page.goto(f"/p/{slug}/settings/{path}")
        assert fits(page), path
    current = page.get_by_role("navigation", name="Project").get_by_role("link", name="Settings")
    expect(current).to_be_in_viewport(ratio=1)


def test_settings_are_changed_and_nonsense_is_refused_beside_the_field(site, open_as) -> None:
    slug = site.project(images=3)
    page = open_as("mia", f"/p/{slug}/settings/classes/")
    page.get_by_label("Move owl up").click()
    expect(page.get_by_role("rowheader")).to_have_text(["cat", "owl", "dog"])
    expect(page.get_by_label("Move owl up")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("rowheader")).to_have_text(["owl", "cat", "dog"])
    expect(page.get_by_label("Move owl down")).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_label("Change dog").click()
    page.get_by_role("link", name="See what archiving changes").click()
    page.get_by_role("button", name="Archive").click()
    expect(page.get_by_role("rowheader", name="Archived “dog”")).to_be_visible()
    page.get_by_role("link", name="Back to the classes").click()
    page.get_by_role("button", name="Offer dog again").click()
    expect(page.get_by_text("“dog” is offered again, at the end of the list.")).to_be_visible()

    page.get_by_role("link", name="Learning").click()
    page.get_by_label("And at a time of day").fill("02:00")
    page.get_by_label("Saturday").uncheck()
    page.get_by_label("Sunday").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Scheduled: Monday to Friday at 02:00 UTC.")).to_be_visible()
    page.get_by_label("People an image").fill("99")
    page.locator("form.learning").evaluate("form => { form.noValidate = true }")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("20 or less.")).to_be_visible()
    expect(page.get_by_label("People an image")).to_have_value("99")
