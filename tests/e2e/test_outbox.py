"""What must not lose an answer: servers that stop, tabs that close, sessions that end, people who share a browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from benchmarks.servers import wait_until
from tests.e2e.conftest import Site, sign_in
from tests.e2e.labelling import label_page, press, ready, saved, sent, shown

pytestmark = pytest.mark.e2e


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


@pytest.mark.parametrize("lost", ["csrftoken", None])
def test_a_page_whose_cookies_are_gone_says_so_and_a_reload_sends_what_it_kept(open_as, site: Site, lost) -> None:
    slug = site.project()
    page = label_page(open_as, site, slug)
    page.context.clear_cookies(name=lost) if lost else page.context.clear_cookies()
    press(page, "1")
    expect(page.get_by_text("its cookies are gone. 1 answer is kept on this machine")).to_be_visible()
    page.get_by_role("button", name="Reload the page").click()
    if not lost:
        page.get_by_label("Username").fill("ann")
        page.get_by_label("Password").fill(site.password)
        page.get_by_role("main").get_by_role("button", name="Sign in").click()
    ready(page)
    sent(page)
    assert site.answers(slug) == ["cat"]


def test_an_old_page_signs_out_in_two_steps(open_as, site: Site) -> None:
    page = open_as("ann", "/")
    other = page.context.new_page()
    site.ask("sign-out")
    sign_in(other, "bob", site.password)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign out bob?")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


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
    page.get_by_role("link", name="Sign in").click()
    page.get_by_label("Username").fill("ann")
    page.get_by_label("Password").fill(site.password)
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    ready(page)
    sent(page)
    assert site.answers(slug) == ["cat"]


def test_two_tabs_of_one_person(open_as, site: Site) -> None:
    """They show the same image and the same last answers: what is done in one is seen in the other."""
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
    strips = [each.locator("[data-strip]") for each in (page, other)]
    for strip in strips:
        expect(strip.locator("li")).to_have_text(["owl", "owl", "dog", "cat", "dog", "cat"])
    page.get_by_role("button", name="Correct dog").first.click()
    press(page, "1")
    page.keyboard.press("u")
    for strip in strips:
        expect(strip.locator("li")).to_have_text(
            ["owl", "owl", "cat", "dog", "cat"]
        )  # the correction was the last answer
    sent(page)
    for each in (page, other):
        expect(each.locator("[data-mine]")).to_have_text("5")
        expect(each.locator("[data-labelled]")).to_have_text("5")
    ready(page)
    other.close()
    press(page, "1")
    sent(page)
    assert int(site.ask("leases", slug)) >= 3  # the closed tab gave nothing back that this one shows


def test_what_the_server_refuses_is_kept_aside_and_said(open_as, site: Site) -> None:
    slug = site.project()
    page = label_page(open_as, site, slug)
    site.ask("delete-class", slug, "dog")
    press(page, "121")
    sent(page)
    words = page.get_by_text("There is no such class in this project.")
    expect(words).to_be_visible()
    assert site.answers(slug) == ["cat", "cat"]
    page.reload()
    ready(page)
    expect(words).to_be_visible()
    page.get_by_role("button", name="I have read this").click()
    page.reload()
    ready(page)
    expect(words).to_be_hidden()


def test_an_image_whose_answer_was_refused_comes_back_after_those_that_are_shown(open_as, site: Site) -> None:
    """At once and by itself: the server, asked anew, names it only as far as it looks into a person's leases."""
    slug = site.project()
    page = label_page(open_as, site, slug)
    wait_until(lambda: site.ask("leases", slug) == "4", 30, "four leases")
    page.route("**/label/next/", lambda route: route.abort())
    site.ask("delete-class", slug, "dog")
    refused = shown(page)
    press(page, "2")
    expect(page.get_by_text("There is no such class in this project.")).to_be_visible()
    press(page, "111")
    assert shown(page) == refused
    press(page, "3")
    sent(page)
    assert site.answers(slug) == ["cat", "cat", "cat", "owl"]


def test_an_image_that_was_answered_anew_does_not_come_back(open_as, site: Site) -> None:
    slug = site.project()
    page = label_page(open_as, site, slug)
    wait_until(lambda: site.ask("leases", slug) == "4", 30, "four leases")
    site.ask("delete-class", slug, "dog")
    image = shown(page)
    page.context.set_offline(True)
    press(page, "2u1")
    page.context.set_offline(False)
    expect(page.get_by_text("There is no such class in this project.")).to_be_visible(timeout=20_000)
    sent(page)
    for _ in range(5):
        assert shown(page) != image
        press(page, "3")
    sent(page)
    assert site.answers(slug) == ["cat", *["owl"] * 5]


def test_a_correction_that_was_refused_leaves_the_former_answer(open_as, site: Site) -> None:
    slug = site.project()
    page = label_page(open_as, site, slug)
    corrected = shown(page)
    press(page, "1")
    sent(page)
    site.ask("delete-class", slug, "dog")
    page.get_by_role("button", name="Correct cat").click()
    press(page, "2")
    expect(page.get_by_text("There is no such class in this project.")).to_be_visible()
    for _ in range(6):
        assert shown(page) != corrected
        press(page, "3")
    sent(page)
    assert site.answers(slug) == ["cat", *["owl"] * 6]


def test_an_open_page_learns_that_the_classes_have_changed(open_as, site: Site) -> None:
    """It says so by itself when it next asks, and what was answered before the reload is kept."""
    slug = site.project()
    page = label_page(open_as, site, slug)
    notice = page.get_by_text("The classes have changed. This page shows the former ones.")
    press(page, "2")
    sent(page)
    expect(notice).to_be_hidden()
    site.ask("archive", slug, "dog")
    site.ask("add-class", slug, "elk")
    press(page, "2")
    expect(notice).to_be_visible()
    page.context.set_offline(True)
    press(page, "1")
    page.context.set_offline(False)
    page.get_by_role("button", name="Show the new ones").click()
    expect(page.get_by_role("button", name="elk")).to_be_visible()
    expect(page.get_by_role("button", name="dog", exact=False).and_(page.locator("[data-outcome]"))).to_have_count(0)
    expect(notice).to_be_hidden()
    ready(page)
    sent(page)
    assert site.answers(slug) == ["dog", "dog", "cat"]  # the second from the page that showed it still


def test_undo_of_what_has_not_been_sent(open_as, site: Site) -> None:
    slug = site.project()
    page = label_page(open_as, site, slug)
    first = shown(page)
    wait_until(lambda: site.ask("leases", slug) == "4", 30, "four leases")
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
