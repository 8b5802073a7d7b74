"""A day without a mouse: everything by Tab, Enter, Space, arrows and the keys of the page. In a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from benchmarks.servers import wait_until
from tests.e2e.conftest import Site
from tests.e2e.labelling import press, ready, sent, shown
from tests.labeler.imports import make_zip, png

pytestmark = pytest.mark.e2e
PATIENCE = 500  # presses of Tab: the first page lists all the projects that other tests have made


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until it has the focus, as somebody does who has no mouse; and it is seen that it has."""
    for _ in range(PATIENCE):
        if wanted.evaluate("element => element === document.activeElement"):
            width = wanted.evaluate("element => getComputedStyle(element).outlineStyle")
            assert width != "none"
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never comes to {wanted}")


def sign_in_by_keys(page: Page, username: str, password: str) -> None:
    page.goto("/login/")
    tab_to(page, page.get_by_label("Username"))
    page.keyboard.type(username)
    page.keyboard.press("Tab")
    page.keyboard.type(password)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "/login/" not in url)


@pytest.fixture
def page_of(browser, site: Site):
    """Somebody who has just sat down."""
    contexts = []

    def open_page(username: str) -> Page:
        context = browser.new_context(base_url=site.url)
        contexts.append(context)
        page = context.new_page()
        sign_in_by_keys(page, username, site.password)
        return page

    yield open_page
    for context in contexts:
        context.close()


def test_an_annotator_signs_in_labels_undoes_corrects_and_reads_the_guide(page_of, site: Site) -> None:
    slug = site.project(guidelines="An owl has no beak here.")
    page = page_of("ann")
    tab_to(page, page.locator(f"a[href='/p/{slug}/label/']").first)
    page.keyboard.press("Enter")
    ready(page)
    spoken = page.locator("[aria-live]")
    expect(spoken).to_have_count(1)

    press(page, "12")
    expect(spoken).to_have_text("dog")
    before = shown(page)
    page.keyboard.press("u")
    wait_until(lambda: shown(page) not in {"", before}, 10, "the former image")
    expect(spoken).to_have_text("Undone: dog")
    press(page, "3")
    tab_to(page, page.get_by_role("button", name="Correct cat"))
    page.keyboard.press("Enter")
    expect(spoken).to_have_text("Correcting cat")
    page.keyboard.press("2")
    expect(page.get_by_role("button", name="Correct cat")).to_have_count(0)
    sent(page)
    assert sorted(site.answers(slug)) == ["dog", "owl"]

    guide = page.get_by_role("button", name=re.compile("^guide"))
    page.keyboard.press("g")
    expect(page.get_by_role("complementary", name="Guide")).to_contain_text("no beak")
    expect(guide).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("g")
    tab_to(page, guide)
    page.keyboard.press("Space")
    expect(page.get_by_role("complementary", name="Guide")).to_be_visible()


def test_the_skip_link_leads_past_the_head_of_the_page(page_of, site: Site) -> None:
    page = page_of("mia")
    page.goto(f"/p/{site.project(images=2)}/settings/")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")


def test_a_manager_changes_settings_and_reviews(page_of, site: Site) -> None:
    slug = site.project(images=20)
    site.ask("dispute", slug, "2")
    page = page_of("mia")
    tab_to(page, page.locator(f"a[href='/p/{slug}/']").first)
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("navigation", name="Project").get_by_role("link", name="Settings"))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_label("Guidelines"))
    page.keyboard.press("Control+End")
    page.keyboard.type(" Then look again.")
    tab_to(page, page.get_by_role("button", name="Save"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="Saved")).to_be_visible()
    expect(page.get_by_label("Guidelines")).to_have_value("Look at it. Then look again.")

    page.goto(f"/p/{slug}/answers/review/")
    page.keyboard.press("2")
    expect(page.get_by_role("status").filter(has_text="1 to review")).to_be_visible()
    tab_to(page, page.get_by_role("button", name=re.compile("^owl")))
    page.keyboard.press("Enter")
    expect(page.get_by_text("People disagree about no image.")).to_be_visible()
    assert site.ask("states", slug).split()[:2] == ["dog", "owl"]


def test_a_manager_imports_files(page_of, site: Site, tmp_path: Path) -> None:
    slug = site.project(images=2)
    archive = make_zip(tmp_path / "more.zip", {"a.png": png(1), "b.png": png(2)})
    page = page_of("mia")
    page.goto(f"/p/{slug}/imports/new/")
    with page.expect_file_chooser() as chooser:  # before the keys: that the browser heard of it is not awaited
        tab_to(page, page.get_by_role("button", name="Choose files"))
        page.keyboard.press("Enter")
    chooser.value.set_files(archive)
    page.wait_for_url(re.compile(r"/imports/\d+/$"))


def test_a_manager_selects_on_the_picture_and_in_a_list(page_of, site: Site) -> None:
    slug = site.project(images=40)
    site.ask("score", slug)
    page = page_of("mia")
    page.goto(f"/p/{slug}/explore/")
    expect(page.get_by_role("list", name="Colours").get_by_role("listitem").first).to_be_visible()
    plot = page.locator("#scatter")
    tab_to(page, plot)
    page.keyboard.press("Enter")
    expect(page.get_by_text("40 images, 40 waiting for an answer")).to_be_visible()
    for key in ["+"] * 3 + ["ArrowLeft"] * 10 + ["ArrowUp"] * 12:  # towards the lower right, what is sure
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    expect(page.locator("#selection-count")).not_to_have_text("40 images, 40 waiting for an answer")
    expect(page.locator("#selection-count")).to_contain_text("waiting for an answer")
    page.keyboard.press("Escape")
    expect(page.get_by_text("none yet")).to_be_visible()

    lost = page.get_by_role("button", name=re.compile("^Lost"))
    lost.focus()
    page.keyboard.press("Space")
    send = page.get_by_role("button", name="Send 5 to the queue")
    tab_to(page, send)
    page.keyboard.press("Enter")
    expect(page.get_by_text("5 images will be asked next.")).to_be_visible()
    assert set(site.ask("queue", slug).split()[:5]) == {"35", "36", "37", "38", "39"}

    page.goto(f"/p/{slug}/explore/gallery/sure/")
    tab_to(page, page.get_by_role("checkbox", name="ask next").first)
    page.keyboard.press("Space")
    tab_to(page, page.get_by_role("button", name="Send what is ticked to the queue"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 image will be asked next.")).to_be_visible()


def test_nothing_moves_for_who_has_asked_for_that(browser, site: Site) -> None:
    page = browser.new_page(base_url=site.url, reduced_motion="reduce")
    page.goto("/login/")
    button = page.get_by_role("button", name="Sign in")
    assert button.evaluate("element => getComputedStyle(element).transitionDuration") == "0s"
    page.emulate_media(reduced_motion="no-preference")
    assert button.evaluate("element => getComputedStyle(element).transitionDuration") != "0s"
    page.close()
