"""An annotator at work: keys, undo, corrections, and everything that must not lose an answer."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from benchmarks.servers import wait_until
from tests.e2e.conftest import Site, sign_in

pytestmark = pytest.mark.e2e


def shown(page: Page) -> str:
    """The id of the image in view."""
    return str(page.evaluate("document.querySelector('[data-table] img')?.dataset.image ?? ''"))


def press(page: Page, keys: str) -> None:
    """Press keys one by one, each after the next image is in view."""
    for key in keys:
        before = shown(page)
        page.keyboard.press(key)
        wait_until(lambda before=before: shown(page) != before, 10, "the next image")


def ready(page: Page) -> None:
    page.locator("#label[data-ready]").wait_for()
    wait_until(lambda: bool(shown(page)), 10, "the first image")


def saved(page: Page) -> None:
    expect(page.locator("[data-saved=saved]")).to_have_text("saved", timeout=30_000)


def sent(page: Page) -> None:
    """The outbox is empty. (The page's policy forbids eval, so conditions are asked from outside.)"""
    left = "Object.keys(localStorage).filter(name => name.startsWith('plusminus.outbox')).length"
    wait_until(lambda: page.evaluate(left) == 0, 30, "an empty outbox")


def label_page(open_as, site: Site, slug: str, **options) -> Page:
    page = open_as("ann", f"/p/{slug}/label/", **options)
    ready(page)
    return page


def test_thirty_images_with_keys(open_as, site: Site) -> None:
    slug = site.project()
    page = label_page(open_as, site, slug)
    for number in range(30):
        expect(page.locator("[data-table] img")).to_be_visible()
        press(page, "123"[number % 3])
    saved(page)
    assert site.answers(slug) == ["cat", "dog", "owl"] * 10
    expect(page.locator("[data-mine]")).to_have_text("30")


def test_the_next_image_is_decoded_before_it_is_shown(open_as, site: Site) -> None:
    page = label_page(open_as, site, site.project())
    page.wait_for_timeout(500)
    page.context.set_offline(True)
    page.keyboard.press("1")
    assert page.evaluate("document.querySelector('[data-table] img').complete")
    assert page.evaluate("document.querySelector('[data-table] img').naturalWidth") == 28
    page.context.set_offline(False)
    saved(page)


def test_skip_unsure_and_bad_image(open_as, site: Site) -> None:
    slug = site.project()
    page = label_page(open_as, site, slug)
    press(page, "s?x")
    saved(page)
    assert site.answers(slug) == ["skip", "unsure", "bad_image"]


def test_undo_reaches_over_answers_already_sent(open_as, site: Site) -> None:
    slug = site.project()
    page = label_page(open_as, site, slug)
    first = shown(page)
    press(page, "11")
    saved(page)
    press(page, "uu")
    assert shown(page) == first
    press(page, "2")
    saved(page)
    assert site.answers(slug) == ["dog"]
    assert site.ask("rows", slug) == "5"


def test_a_click_in_the_strip_corrects(open_as, site: Site) -> None:
    slug = site.project()
    page = label_page(open_as, site, slug)
    press(page, "11")
    now = shown(page)
    page.get_by_role("button", name="Correct cat").last.click()
    expect(page.get_by_role("button", name="cat 1")).to_have_attribute("aria-pressed", "true")
    press(page, "3")
    saved(page)
    assert shown(page) == now
    assert sorted(site.answers(slug)) == ["cat", "owl"]


def test_a_stopped_server_loses_nothing(open_as, site: Site) -> None:
    slug = site.project()
    page = label_page(open_as, site, slug)
    press(page, "1")
    saved(page)
    site.server.kill()
    try:
        press(page, "22")
        expect(page.locator("[data-saved=offline]")).to_contain_text("2 kept", timeout=15_000)
    finally:
        site.server.start()
    saved(page)
    assert site.answers(slug) == ["cat", "dog", "dog"]


def test_a_closed_tab_loses_nothing(open_as, site: Site) -> None:
    slug = site.project()
    page = label_page(open_as, site, slug)
    page.wait_for_timeout(300)
    page.context.set_offline(True)
    press(page, "12")
    context = page.context
    page.close()
    context.set_offline(False)
    again = context.new_page()
    again.goto(f"/p/{slug}/label/")
    saved(again)
    expect(again.locator("[data-mine]")).to_have_text("2", timeout=15_000)
    assert site.answers(slug) == ["cat", "dog"]


def test_a_session_that_ended_keeps_the_answers_until_the_person_is_back(open_as, site: Site) -> None:
    slug = site.project()
    page = label_page(open_as, site, slug)
    site.ask("sign-out")
    press(page, "1")
    expect(page.get_by_text("You are signed out")).to_be_visible()
    assert site.answers(slug) == []
    page.get_by_role("link", name="Sign in").click()
    sign_in(page, "ann", site.password)
    page.goto(f"/p/{slug}/label/")
    saved(page)
    sent(page)
    assert site.answers(slug) == ["cat"]


def test_somebody_else_on_the_same_browser_does_not_send_them(open_as, site: Site) -> None:
    slug = site.project()
    page = label_page(open_as, site, slug)
    site.ask("sign-out")
    press(page, "1")
    expect(page.get_by_text("You are signed out")).to_be_visible()
    sign_in(page, "bob", site.password)
    page.goto(f"/p/{slug}/label/")
    ready(page)
    press(page, "2")
    saved(page)
    assert site.answers(slug) == ["dog"]


def test_two_tabs_of_one_person(open_as, site: Site) -> None:
    slug = site.project()
    page = label_page(open_as, site, slug)
    other = page.context.new_page()
    other.goto(f"/p/{slug}/label/")
    ready(other)
    press(page, "11")
    press(other, "22")
    saved(page)
    saved(other)
    sent(page)
    live = site.answers(slug)
    assert 2 <= len(live) <= 4
    assert int(site.ask("rows", slug)) == 4


def test_two_people_never_have_the_same_image(open_as, site: Site) -> None:
    slug = site.project()
    ann, bob = label_page(open_as, site, slug), open_as("bob", f"/p/{slug}/label/")
    ready(bob)
    seen: list[str] = []
    for _ in range(8):
        for page in (ann, bob):
            seen.append(shown(page))
            press(page, "1")
    assert len(set(seen)) == 16


def test_all_is_answered(open_as, site: Site) -> None:
    slug = site.project(images=3)
    page = label_page(open_as, site, slug)
    press(page, "12")
    page.keyboard.press("3")
    expect(page.get_by_text("All 3 images have their answers")).to_be_visible()
    assert site.answers(slug) == ["cat", "dog", "owl"]


def test_many_classes_are_typed(open_as, site: Site) -> None:
    slug = site.project(classes=" ".join(f"species{number}" for number in range(1000)))
    page = label_page(open_as, site, slug)
    page.get_by_label("Type a class, Enter answers").fill("species777")
    page.keyboard.press("Enter")
    saved(page)
    assert site.answers(slug) == ["species777"]
    expect(page.locator("[data-filter]")).to_have_value("")


def test_why_and_guide_open_by_key(open_as, site: Site) -> None:
    page = label_page(open_as, site, site.project())
    page.keyboard.press("i")
    expect(page.get_by_text("drawn before the first model")).to_be_visible()
    page.keyboard.press("g")
    expect(page.get_by_text("Look at it.")).to_be_visible()


def test_without_javascript(open_as, site: Site) -> None:
    slug = site.project()
    page = open_as("ann", f"/p/{slug}/label/", java_script_enabled=False)
    page.get_by_role("button", name="dog 2").click()
    page.get_by_role("button", name="bad image").click()
    assert site.answers(slug) == ["dog", "bad_image"]
    page.get_by_role("button", name="undo").click()
    assert site.answers(slug) == ["dog"]


def test_on_a_phone_all_is_in_reach(open_as, site: Site) -> None:
    slug = site.project()
    page = label_page(open_as, site, slug, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    for name in ("cat", "dog", "owl", "skip", "unsure", "bad image", "undo"):
        box = page.get_by_role("button", name=name, exact=False).first.bounding_box()
        assert box is not None
        assert box["height"] >= 44
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    page.get_by_role("button", name="owl").tap()
    saved(page)
    assert site.answers(slug) == ["owl"]
