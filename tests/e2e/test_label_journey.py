"""An annotator at work: keys, undo, corrections, and everything that must not lose an answer."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from benchmarks.servers import wait_until
from tests.e2e.conftest import Site, sign_in

pytestmark = pytest.mark.e2e


def shown(page: Page) -> str:
    """The id of the image in view, once it has loaded: before that a class key does nothing."""
    image = "document.querySelector('[data-table] img')"
    return str(page.evaluate(f"{image}?.naturalWidth ? {image}.dataset.image ?? '' : ''"))


def press(page: Page, keys: str) -> None:
    """Press keys one by one, each after the next image is in view."""
    for key in keys:
        before = shown(page)
        page.keyboard.press(key)
        wait_until(lambda before=before: shown(page) not in {"", before}, 10, "the next image")


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


def test_an_answer_is_one_request(open_as, site: Site) -> None:
    slug = site.project()
    page = label_page(open_as, site, slug)
    wait_until(lambda: site.ask("leases", slug) == "4", 10, "four leases")
    asked: list[str] = []
    page.on(
        "request", lambda request: asked.append(request.url.rsplit("/", 2)[1]) if request.method == "POST" else None
    )
    for key in "123123":
        press(page, key)
        sent(page)
    assert asked == ["answer"] * 6


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


def test_an_open_page_sends_nothing_as_somebody_who_signed_in_since(open_as, site: Site) -> None:
    slug = site.project()
    page = label_page(open_as, site, slug)
    other = page.context.new_page()
    site.ask("sign-out")
    sign_in(other, "bob", site.password)
    press(page, "1")
    expect(page.get_by_text("bob is signed in now")).to_be_visible()
    assert site.answers(slug) == []
    other.goto("/")
    other.get_by_role("button", name="Sign out").click()
    sign_in(other, "ann", site.password)
    page.bring_to_front()
    page.reload()
    ready(page)
    sent(page)
    assert site.answers(slug) == ["cat"]


def test_two_tabs_of_one_person(open_as, site: Site) -> None:
    """They show the same image, and what is answered in one leaves the other."""
    slug = site.project()
    page = label_page(open_as, site, slug)
    other = page.context.new_page()
    other.goto(f"/p/{slug}/label/")
    ready(other)
    assert shown(page) == shown(other)
    for key in "1212":
        now = shown(page)
        press(page, key)
        wait_until(lambda now=now: shown(other) not in {"", now}, 5, "the other tab to move on")
    press(other, "33")
    sent(page)
    saved(other)
    assert site.answers(slug) == ["cat", "dog", "cat", "dog", "owl", "owl"]
    assert site.ask("rows", slug) == "6"
    other.close()
    press(page, "1")
    sent(page)
    assert int(site.ask("leases", slug)) >= 3  # the closed tab gave nothing back that this one shows


def test_a_closed_page_gives_its_images_back(open_as, site: Site) -> None:
    slug = site.project()
    page = label_page(open_as, site, slug)
    wait_until(lambda: site.ask("leases", slug) == "4", 10, "four leases")
    page.goto("/")
    wait_until(lambda: site.ask("leases", slug) == "0", 10, "no lease")


def test_what_the_server_refuses_is_kept_aside_and_said(open_as, site: Site) -> None:
    slug = site.project()
    page = label_page(open_as, site, slug)
    site.ask("archive", slug, "dog")
    press(page, "121")
    sent(page)
    words = page.get_by_text("The class “dog” is archived")
    expect(words).to_be_visible()
    assert site.answers(slug) == ["cat", "cat"]
    page.reload()
    ready(page)
    expect(words).to_be_visible()
    page.get_by_role("button", name="I have read this").click()
    page.reload()
    ready(page)
    expect(words).to_be_hidden()


def test_undo_of_what_has_not_been_sent(open_as, site: Site) -> None:
    slug = site.project()
    page = label_page(open_as, site, slug)
    first = shown(page)
    wait_until(lambda: site.ask("leases", slug) == "4", 10, "four leases")
    page.context.set_offline(True)
    press(page, "12uu")
    assert shown(page) == first
    press(page, "3")
    page.context.set_offline(False)
    sent(page)
    assert site.answers(slug) == ["owl"]
    press(page, "1")
    sent(page)
    assert site.answers(slug) == ["owl", "cat"]


def test_with_the_keyboard_alone(open_as, site: Site) -> None:
    slug = site.project()
    page = label_page(open_as, site, slug)
    for key in ("Control+1", "Alt+1", "Meta+1"):
        page.keyboard.press(key)
    page.get_by_role("button", name="dog 2").focus()
    before = shown(page)
    page.keyboard.down("Enter")
    for _ in range(5):
        page.keyboard.down("Enter")  # held: the browser repeats it
    page.keyboard.up("Enter")
    wait_until(lambda: shown(page) not in {"", before}, 5, "the next image")
    expect(page.get_by_role("button", name="dog 2")).to_be_focused()
    sent(page)
    assert site.answers(slug) == ["dog"]
    page.get_by_role("button", name="Correct dog").focus()
    page.keyboard.press("Enter")
    expect(page.locator("[data-correcting]")).to_have_text(re.compile("Correcting dog"))
    page.keyboard.press("Escape")
    expect(page.locator("[data-correcting]")).to_be_hidden()
    assert site.answers(slug) == ["dog"]


def test_looking_closer_ends_with_the_image(open_as, site: Site) -> None:
    page = label_page(open_as, site, site.project())
    table, image = page.locator("[data-table]"), page.locator("[data-table] img")
    for key in "++,;":
        page.keyboard.press(key)
    assert "scale(2.25)" in (image.get_attribute("style") or "")
    expect(table).to_have_attribute("data-inverted", "")
    expect(table).to_have_attribute("data-contrast", "1")
    press(page, "1")
    assert "scale" not in (image.get_attribute("style") or "")
    expect(table).to_have_attribute("data-inverted", "")


def test_it_goes_on_by_itself_when_others_give_images_back(open_as, site: Site) -> None:
    slug = site.project(images=4)
    bob = open_as("bob", f"/p/{slug}/label/")
    ready(bob)
    wait_until(lambda: site.ask("leases", slug) == "4", 10, "bob's leases")
    ann = open_as("ann", f"/p/{slug}/label/")
    expect(ann.get_by_text("Others are answering the last images")).to_be_visible()
    bob.goto("/")
    ready(ann)
    press(ann, "123")
    ann.keyboard.press("1")
    expect(ann.get_by_text("All 4 images have their answers")).to_be_visible()


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
    page.get_by_label("Find a class").fill("species777")
    page.keyboard.press("Enter")
    sent(page)
    assert site.answers(slug) == ["species777"]
    expect(page.locator("[data-filter]")).to_have_value("")
    expect(page.locator("[data-outcome=label]").first).to_have_attribute("data-name", "species777")
    page.keyboard.type("s1s")  # letters are typed, and press no button
    assert site.ask("rows", slug) == "1"
    page.keyboard.press("Escape")
    press(page, "s")
    page.keyboard.press("/")
    expect(page.locator("[data-filter]")).to_be_focused()


def test_why_and_guide_open_by_key(open_as, site: Site) -> None:
    page = label_page(open_as, site, site.project())
    page.keyboard.press("i")
    expect(page.get_by_text("drawn at random")).to_be_visible()
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
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.get_by_role("button", name="owl").tap()
    saved(page)
    assert site.answers(slug) == ["owl"]


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


def test_every_script_is_asked_for_under_the_name_of_its_content(open_as, site: Site) -> None:
    """So a browser never runs a new page with an old part of it."""
    page = open_as("ann", "/")
    scripts: list[str] = []
    page.on("request", lambda request: scripts.append(request.url) if "/label/" in request.url else None)
    page.goto(f"/p/{site.project()}/label/")
    ready(page)
    own = [url for url in scripts if url.endswith(".js")]
    assert len(own) > 10
    assert all(re.search(r"\.[0-9a-f]{12}\.js$", url) for url in own)
