"""The grid, comments, the guide and suggestions in a browser, with a second person at work."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from benchmarks.servers import wait_until
from tests.e2e.conftest import Site
from tests.e2e.labelling import label_page, press, saved, sent, shown


def grid_page(open_as, site: Site, slug: str, who: str = "mia", **options) -> Page:
    site.ask("score", slug)
    site.ask("learning", slug, "grid", "everybody")
    return open_as(who, f"/p/{slug}/grid/?class=", **options)


def tiles(page: Page) -> int:
    return page.locator("[data-tile]").count()


def test_a_page_by_keyboard_while_an_annotator_answers(open_as, site: Site) -> None:
    slug = site.project(images=90)
    mia = grid_page(open_as, site, slug)
    before = tiles(mia)
    assert before == 24
    ann = label_page(open_as, site, slug)  # holds some of the images that the page shows
    press(ann, "2")
    saved(ann)
    mia.keyboard.press("ArrowRight")
    mia.keyboard.press("Space")
    expect(mia.get_by_role("button", name="Accept 23 of 24")).to_be_visible()
    mia.keyboard.press("ArrowRight")
    mia.keyboard.press("3")
    mia.keyboard.press("Enter")
    expect(mia.get_by_text("1 tile taken out")).to_be_visible()
    live = site.answers(slug)
    assert live.count("owl") <= 1  # none, if ann has that tile on her screen
    assert 18 <= live.count("cat") + live.count("owl") <= 23  # so for the others
    press(ann, "2")
    saved(ann)
    assert site.answers(slug).count("dog") == 2
    mia.keyboard.press("u")
    expect(mia.get_by_text("answers taken back")).to_be_visible()
    wait_until(lambda: site.answers(slug) == ["dog", "dog"], 10, "only ann's answers")


def test_what_was_accepted_is_looked_at_singly(open_as, site: Site) -> None:
    slug = site.project(images=90)
    mia = grid_page(open_as, site, slug)
    mia.keyboard.press("Enter")
    expect(mia.get_by_text("3 of them will be looked at singly.")).to_be_visible()
    site.ask("check_first", slug)
    ann = label_page(open_as, site, slug)
    press(ann, "121")
    saved(ann)
    mia.reload()
    expect(mia.get_by_text("not measured yet: 7 more checks")).to_be_visible()


def test_the_grid_by_touch_and_without_javascript(open_as, site: Site) -> None:
    slug = site.project(images=30)
    mia = grid_page(open_as, site, slug, java_script_enabled=False)
    mia.locator(".grid-picture").nth(2).click()
    mia.get_by_label("Class of tile 4").select_option(label="owl")
    mia.get_by_role("button", name="Accept").click()
    expect(mia.get_by_text("1 tile given another class. 1 tile taken out")).to_be_visible()
    mia.get_by_role("button", name="undo the last page").click()
    expect(mia.get_by_text("answers taken back")).to_be_visible()
    assert site.answers(slug) == []


def test_with_many_classes_a_part_of_the_name_corrects(open_as, site: Site) -> None:
    slug = site.project(images=30)
    site.ask("add-class", slug, *(f"sea-bird {number}" for number in range(31)))
    mia = grid_page(open_as, site, slug)
    mia.keyboard.press("ArrowRight")
    mia.keyboard.press("ArrowRight")
    mia.keyboard.type("/bird 17")
    mia.keyboard.press("Enter")
    second = mia.get_by_label("Class of tile 2")
    expect(second).to_have_value("sea-bird 17")
    expect(mia.get_by_label("Take out tile 2")).to_be_focused()
    mia.keyboard.press("ArrowRight")
    mia.keyboard.type("/lynx")
    mia.keyboard.press("Enter")
    third = mia.get_by_label("Class of tile 3")
    expect(third).to_be_focused()  # there is no such class: nothing is sent
    assert third.evaluate("field => field.validationMessage") == "No class has this in its name."
    mia.keyboard.press("Escape")
    expect(third).to_have_value("")
    mia.keyboard.press("Enter")
    expect(mia.get_by_text("1 tile given another class")).to_be_visible()
    assert site.answers(slug).count("sea-bird") == 1


def test_a_comment_and_its_reply(open_as, site: Site) -> None:
    slug = site.project()
    ann = label_page(open_as, site, slug)
    before = shown(ann)
    ann.keyboard.type("cIs this 1 a lynx? s")  # at once: no letter of it is a key of the page
    assert shown(ann) == before
    expect(ann.locator("#why")).to_be_hidden()
    ann.keyboard.press("Enter")
    sent(ann)
    press(ann, "1")
    saved(ann)
    mia = open_as("mia", f"/p/{slug}/answers/comments/")
    expect(mia.get_by_text("Is this 1 a lynx? s", exact=True)).to_be_visible()
    mia.get_by_label("Reply to ann").fill("No, a cat.")
    mia.get_by_role("button", name="Reply and close").click()
    expect(mia.get_by_text("No comments wait.")).to_be_visible()
    ann.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # the page asks for the queue
    expect(ann.get_by_text("Reply: No, a cat.")).to_be_visible()
    expect(ann.locator("[data-announce]")).to_have_text("There is something new to read.")
    press(ann, "2")
    saved(ann)
    expect(ann.get_by_text("Reply: No, a cat.")).to_have_count(1)
    ann.get_by_role("button", name="I have read this").click()
    expect(ann.get_by_text("Reply: No, a cat.")).to_be_hidden()


def test_a_comment_waits_for_the_server(open_as, site: Site) -> None:
    slug = site.project()
    ann = label_page(open_as, site, slug)
    ann.context.set_offline(True)
    ann.keyboard.press("c")
    ann.keyboard.type("Blurred")
    ann.keyboard.press("Enter")
    press(ann, "1")
    ann.context.set_offline(False)
    sent(ann)
    assert site.answers(slug) == ["cat"]
    mia = open_as("mia", f"/p/{slug}/answers/comments/")
    expect(mia.get_by_text("Blurred")).to_be_visible()


def test_a_guide_that_is_first_written_meanwhile_comes_to_the_open_page(open_as, site: Site) -> None:
    slug = site.project(guidelines="")
    ann = label_page(open_as, site, slug)
    button = ann.get_by_role("button", name="guide")
    expect(button).to_be_hidden()
    mia = open_as("mia", f"/p/{slug}/settings/")
    mia.get_by_label("Guidelines").fill("Mind the tail.")
    mia.get_by_role("button", name="Save").first.click()
    ann.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # the page asks for the queue
    expect(button).to_be_visible()
    ann.keyboard.press("g")
    expect(ann.locator("#guide")).to_contain_text("Mind the tail.")
    mia.get_by_label("Guidelines").fill("")
    mia.get_by_role("button", name="Save").first.click()
    ann.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    ann.keyboard.press("g")  # who reads it may still close it
    expect(ann.locator("#guide")).to_be_hidden()
    ann.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(button).to_be_hidden()


def test_examples_in_the_guide(open_as, site: Site) -> None:
    slug = site.project()
    ann = label_page(open_as, site, slug)
    press(ann, "12")
    saved(ann)
    mia = open_as("mia", f"/p/{slug}/images/?state=labelled")
    mia.locator("main a[href*='/images/']").filter(has=mia.locator("img")).first.click()
    mia.get_by_role("button", name="Show in the guide as").click()
    expect(mia.get_by_text("The guide shows it as an example")).to_be_visible()
    ann.reload()
    ann.locator("#label[data-ready]").wait_for()
    ann.keyboard.press("g")
    expect(ann.locator("#guide img")).to_have_count(1)
    expect(ann.locator("#guide")).to_contain_text("Look at it.")
    mia.goto(f"/p/{slug}/images/?state=labelled")
    mia.locator("main a[href*='/images/']").filter(has=mia.locator("img")).nth(1).click()
    mia.get_by_role("button", name="Show in the guide as").click()
    expect(mia.get_by_text("The guide shows it as an example")).to_be_visible()
    ann.keyboard.press("g")
    ann.keyboard.press("g")  # opened again, not reloaded
    expect(ann.locator("#guide img")).to_have_count(2)


def test_suggestions_before_and_after(open_as, site: Site) -> None:
    slug = site.project()
    site.ask("likely", slug)
    site.ask("learning", slug, "suggestions", "before")
    ann = label_page(open_as, site, slug)
    expect(ann.get_by_role("button", name="the model says cat: 0.93 ± 0.04")).to_be_visible()
    before = ann.locator("[data-mine]").text_content()
    ann.keyboard.press("Enter")
    expect(ann.locator("[data-mine]")).not_to_have_text(before or "")
    press(ann, "2")
    saved(ann)
    site.ask("learning", slug, "suggestions", "after")
    bob = open_as("bob", f"/p/{slug}/label/")
    bob.locator("#label[data-ready]").wait_for()
    press(bob, "3")
    expect(bob.get_by_text("You: owl. The model: cat: 0.93 ± 0.04")).to_be_visible()
    saved(bob)
    wait_until(lambda: site.ask("suggested", slug) == "cat:before dog:before owl:after", 10, "what was shown")


@pytest.mark.parametrize("when", ["hidden", "after"])
def test_why_this_image_names_no_class_before_the_answer(open_as, site: Site, when: str) -> None:
    slug = site.project()
    site.ask("likely", slug)
    site.ask("learning", slug, "suggestions", when)
    ann = label_page(open_as, site, slug)
    ann.keyboard.press("i")
    expect(ann.locator("#why")).to_contain_text("chosen by the model")
    for word in ("0.93", "the model says"):
        expect(ann.locator("#why")).not_to_contain_text(word)
    press(ann, "2")
    saved(ann)
    wait_until(lambda: site.ask("suggested", slug) == f"dog:{when}", 10, "what was shown")
    expect(ann.get_by_text("The model: cat: 0.93 ± 0.04")).to_be_visible(visible=when == "after")
    ann.locator("[data-strip] button").first.click()
    press_correction(ann)
    seen = {"hidden": "dog:hidden owl:hidden", "after": "dog:after owl:before"}[when]
    wait_until(lambda: site.ask("suggested", slug) == seen, 10, "what was shown when it was corrected")


def press_correction(page) -> None:
    expect(page.locator("[data-correcting]")).to_be_visible()
    page.keyboard.press("3")
    expect(page.locator("[data-correcting]")).to_be_hidden()


def test_enter_on_a_button_with_the_focus_is_its_own(open_as, site: Site) -> None:
    slug = site.project()
    site.ask("likely", slug)
    site.ask("learning", slug, "suggestions", "before")
    ann = label_page(open_as, site, slug)
    ann.locator("button[data-name=owl]").focus()
    ann.keyboard.press("Enter")
    saved(ann)
    wait_until(lambda: site.answers(slug) == ["owl"], 10, "the answer of the button")
