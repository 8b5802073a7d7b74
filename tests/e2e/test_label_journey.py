"""An annotator at work: keys, other outcomes, a look closer, a phone, no JavaScript."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from benchmarks.servers import wait_until
from tests.e2e.conftest import Site
from tests.e2e.labelling import label_page, press, ready, saved, sent, shown

pytestmark = pytest.mark.e2e


def test_thirty_images_with_keys(open_as, site: Site) -> None:
    slug = site.project()
    page = label_page(open_as, site, slug)
    for number in range(30):
        expect(page.locator("[data-table] img")).to_be_visible()
        press(page, "123"[number % 3])
    saved(page)
    assert site.answers(slug) == ["cat", "dog", "owl"] * 10
    expect(page.locator("[data-mine]")).to_have_text("30")


def test_the_counter_takes_in_what_others_answer_meanwhile(open_as, site: Site) -> None:
    slug = site.project()
    other, page = open_as("bob", f"/p/{slug}/label/"), label_page(open_as, site, slug)
    ready(other)
    page.clock.install()
    page.reload()
    ready(page)
    press(other, "123")
    saved(other)
    page.clock.fast_forward(11_000)
    press(page, "1")
    expect(page.locator("[data-labelled]")).to_have_text("4")


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
    wait_until(lambda: site.ask("leases", slug) == "4", 30, "four leases")
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


def test_a_closed_page_gives_its_images_back(open_as, site: Site) -> None:
    slug = site.project()
    page = label_page(open_as, site, slug)
    wait_until(lambda: site.ask("leases", slug) == "4", 30, "four leases")
    page.goto("/")
    wait_until(lambda: site.ask("leases", slug) == "0", 30, "no lease")


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


def who_waited_for_the_last_images(open_as, site: Site, slug: str) -> Page:
    """ann's page, once bob has given back the four that there are."""
    bob = open_as("bob", f"/p/{slug}/label/")
    ready(bob)
    wait_until(lambda: site.ask("leases", slug) == "4", 30, "bob's leases")
    ann = open_as("ann", f"/p/{slug}/label/")
    expect(ann.get_by_text("Others are answering the last images")).to_be_visible()
    bob.goto("/")
    ready(ann)
    return ann


def test_it_goes_on_by_itself_when_others_give_images_back(open_as, site: Site) -> None:
    slug = site.project(images=4)
    ann = who_waited_for_the_last_images(open_as, site, slug)
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


def test_typing_goes_on_while_the_next_image_is_on_its_way(open_as, site: Site) -> None:
    slug = site.project(classes=" ".join(f"species{number}" for number in range(1000)))
    page = label_page(open_as, site, slug)
    wait_until(lambda: site.ask("leases", slug) == "4", 30, "four leases")
    page.route("**/label/*/", lambda _route: None)  # held
    find = page.get_by_label("Find a class")
    for number in range(4):
        find.press_sequentially(f"species{number}")
        find.press("Enter")
    expect(page.get_by_text("Getting the next image")).to_be_visible()
    page.keyboard.type("sus1")  # keys of the page: skip, undo, the first class
    page.keyboard.press("Enter")
    expect(find).to_have_value("sus1")
    page.unroute("**/label/*/")  # what is held goes on, too
    ready(page)
    expect(find).to_be_focused()
    sent(page)
    assert sorted(site.answers(slug)) == [f"species{number}" for number in range(4)]


def test_typing_is_found_again_when_there_are_images_again(open_as, site: Site) -> None:
    slug = site.project(images=4, classes=" ".join(f"species{number}" for number in range(100)))
    ann = who_waited_for_the_last_images(open_as, site, slug)
    expect(ann.get_by_label("Find a class")).to_be_focused()


def test_why_and_guide_open_by_key(open_as, site: Site) -> None:
    page = label_page(open_as, site, site.project())
    page.keyboard.press("i")
    expect(page.get_by_text("drawn at random")).to_be_visible()
    page.keyboard.press("g")
    expect(page.get_by_text("Look at it.")).to_be_visible()


def test_without_javascript(open_as, site: Site) -> None:
    slug = site.project()
    page = open_as("ann", f"/p/{slug}/label/", java_script_enabled=False)
    page.get_by_role("button", name="dog").click()
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


@pytest.mark.parametrize(("width", "height"), [(844, 390), (640, 400)])
def test_in_a_low_window_the_answers_stand_beside_the_image(open_as, site: Site, width: int, height: int) -> None:
    """A phone on its side; a page of 1280 x 800 at 200 %."""
    page = label_page(open_as, site, site.project(), viewport={"width": width, "height": height})
    table = page.locator("[data-table]").bounding_box()
    assert table is not None
    assert table["height"] > height / 2
    for name in ("cat", "dog", "owl", "skip", "unsure", "bad image", "undo"):
        box = page.get_by_role("button", name=name, exact=False).first.bounding_box()
        assert box is not None
        assert box["x"] >= table["x"] + table["width"]
        assert box["x"] + box["width"] <= width
        assert box["y"] + box["height"] <= height


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


def test_a_page_without_classes_waits_for_them(open_as, site: Site) -> None:
    slug = site.project(classes="")
    page = open_as("ann", f"/p/{slug}/label/")
    page.locator("#label[data-ready]").wait_for()
    expect(page.get_by_text("There are no classes yet.")).to_be_visible()
    expect(page.locator("[data-table]")).to_be_hidden()
    site.ask("add-class", slug, "cat")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # as when somebody looks at it again
    expect(page.get_by_role("button", name="cat")).to_be_visible()
    ready(page)
    page.keyboard.press("1")
    saved(page)
    sent(page)
    assert site.answers(slug) == ["cat"]


@pytest.mark.parametrize("width", [1280, 390])
def test_others_of_a_group_stand_beside_its_question_and_go_with_it(open_as, site: Site, width: int) -> None:
    slug = site.project()
    site.ask("alike", slug)
    page = label_page(open_as, site, slug, viewport={"width": width, "height": 800})
    line, pictures = page.locator("[data-group]"), page.locator("[data-members] img")
    expect(line).to_contain_text("Typical of 300 images that look alike")
    expect(pictures).to_have_count(4)
    wait_until(lambda: pictures.evaluate_all("all => all.every(each => each.naturalWidth === 28)"), 10, "the pictures")
    table = page.locator("[data-table]").bounding_box()
    press(page, "1")
    expect(pictures).to_have_count(0)
    expect(line).not_to_contain_text("Typical")
    assert page.locator("[data-table]").bounding_box() == table  # the picture does not jump
    page.keyboard.press("u")
    expect(line).to_contain_text("Typical of 300 images that look alike")
    expect(pictures).to_have_count(4)
