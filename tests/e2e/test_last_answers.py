"""Undo and the strip of last answers."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from benchmarks.servers import wait_until
from tests.e2e.conftest import Site
from tests.e2e.labelling import label_page, press, ready, saved, sent, shown

pytestmark = pytest.mark.e2e


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


def test_undo_takes_back_the_correction_whether_the_page_was_reloaded_or_not(open_as, site: Site) -> None:
    slug = site.project()
    page = label_page(open_as, site, slug)
    words = page.locator("[data-strip] button span")
    corrected = shown(page)
    press(page, "112")
    page.get_by_role("button", name="Correct cat").last.click()
    press(page, "3")
    expect(words).to_have_text(["owl", "dog", "cat"])
    saved(page)
    page.reload()
    ready(page)
    expect(words).to_have_text(["owl", "dog", "cat"])
    page.get_by_role("button", name="Correct cat").click()
    press(page, "2")
    expect(words).to_have_text(["dog", "owl", "dog"])
    press(page, "u")
    expect(words).to_have_text(["owl", "dog"])
    press(page, "u")
    assert shown(page) == corrected
    saved(page)
    assert site.answers(slug) == ["dog"]


def test_a_swipe_to_the_left_undoes(open_as, site: Site) -> None:
    slug = site.project()
    page = label_page(open_as, site, slug, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    first = shown(page)
    press(page, "1")
    finger = page.context.new_cdp_session(page)
    for kind, x in (("touchStart", 300), ("touchMove", 200), ("touchMove", 120)):
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": 300}]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    wait_until(lambda: shown(page) == first, 5, "the former image")
    sent(page)
    assert site.answers(slug) == []


def test_undo_reaches_past_what_the_strip_shows_and_the_strip_fills_up_again(open_as, site: Site) -> None:
    slug = site.project()
    page = label_page(open_as, site, slug)
    entries = page.locator("[data-strip] button")
    press(page, "1" * 16)
    expect(entries).to_have_count(12)
    press(page, "u" * 3)
    expect(entries).to_have_count(12)
    saved(page)
    page.reload()
    ready(page)
    press(page, "u" * 13)
    expect(entries).to_have_count(0)
    saved(page)
    assert site.answers(slug) == []


@pytest.mark.parametrize("width", [1280, 390])
def test_the_first_answer_moves_nothing(open_as, site: Site, width) -> None:
    page = label_page(open_as, site, site.project(), viewport={"width": width, "height": 800})
    parts = "document.querySelectorAll('.label-stage, .label-classes, .label-outcomes')"
    places = f"[...{parts}].map(part => part.getBoundingClientRect().toJSON())"
    before = page.evaluate(places)
    press(page, "1")
    expect(page.locator("[data-strip] button")).to_have_count(1)
    assert page.evaluate(places) == before


def test_where_nothing_is_left_nothing_is_said_of_the_last_image(open_as, site: Site) -> None:
    page = label_page(open_as, site, site.project(images=2))
    page.keyboard.press("i")
    expect(page.get_by_role("heading", name="Why this image")).to_be_visible()
    press(page, "1")
    page.keyboard.press("1")
    expect(page.locator("[data-empty]")).to_be_visible()
    expect(page.get_by_role("heading", name="Why this image")).to_be_hidden()
    expect(page.locator("[data-why] dt")).to_have_count(0)


def test_what_one_has_answered_today_leaves_out_other_days(open_as, site: Site) -> None:
    slug = site.project()
    page = label_page(open_as, site, slug)
    today = page.locator("[data-mine]")
    press(page, "11")
    sent(page)
    site.ask("age", slug)
    page.goto("/")
    page.goto(f"/p/{slug}/label/")
    ready(page)
    expect(today).to_have_text("0")
    press(page, "u")
    expect(today).to_have_text("0")
    press(page, "2")
    expect(today).to_have_text("1")
    press(page, "u")
    expect(today).to_have_text("0")
    page.get_by_role("button", name="Correct cat").click()
    press(page, "3")
    expect(today).to_have_text("1")  # a correction is an answer of its own day
    sent(page)
    page.reload()
    expect(today).to_have_text("1")


def test_while_correcting_nothing_lies_over_the_way_out(open_as, site: Site) -> None:
    """On a phone the buttons of the panels stand on the picture; beside an open panel the line keeps to the picture."""
    slug = site.project()
    phone = label_page(open_as, site, slug, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    press(phone, "1")
    phone.get_by_role("button", name="Correct cat").tap()
    tools, way_out = phone.locator(".label-tools").bounding_box(), phone.locator("[data-correcting]").bounding_box()
    assert tools is not None and way_out is not None
    assert tools["y"] + tools["height"] <= way_out["y"]
    phone.get_by_role("button", name="leave it").tap()
    expect(phone.locator("[data-correcting]")).to_be_hidden()
    site.ask("add-class", slug, "elk")
    phone.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(phone.locator("[data-changed]")).to_be_visible()
    news, tools = phone.locator("[data-changed]").bounding_box(), phone.locator(".label-tools").bounding_box()
    assert tools is not None and news is not None
    assert news["y"] + news["height"] <= tools["y"]

    wide = label_page(open_as, site, slug)
    wide.get_by_role("button", name="Correct cat").first.click()
    wide.keyboard.press("i")
    line, picture = wide.locator("[data-correcting]").bounding_box(), wide.locator("[data-table] img").bounding_box()
    assert line is not None and picture is not None
    assert abs(line["x"] + line["width"] / 2 - picture["x"] - picture["width"] / 2) < 2
