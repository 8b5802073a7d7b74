"""The Label page on a phone: the picture keeps its room, whatever else there is to read and to press."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.e2e.conftest import Site
from tests.e2e.labelling import ready

pytestmark = pytest.mark.e2e

CLASSES = " ".join(f"Verkehrszeichen-{number}" for number in range(1, 12))
WORDS = "It is the sign for a narrow road, as on page twelve of the guide, and not the other one."
PHONES = [(360, 640), (390, 844), (844, 390)]
MEASURE = """() => {
  const table = document.querySelector("[data-table]");
  const box = table.getBoundingClientRect();
  const pad = parseFloat(getComputedStyle(table).paddingTop);
  const over = [];
  for (let x = box.left + 2; x < box.right - 1; x += 6) {
    for (let y = box.top + 2; y < box.bottom - 1; y += 6) {
      const element = document.elementFromPoint(x, y);
      if (!table.contains(element)) over.push(element);
    }
  }
  const points = Math.ceil((box.width - 3) / 6) * Math.ceil((box.height - 3) / 6);
  const isOfTools = (element) => element.closest(".label-view");
  const inView = (element) => {
    const {left, right, top, bottom} = element.getBoundingClientRect();
    return left >= 0 && right <= innerWidth && top >= 0 && bottom <= innerHeight;
  };
  const buttons = [".label-undo", "[data-outcomes] button", ".label-propose > summary", ".label-tools button",
    "[data-view-tools]", "[data-take]", ".label-saved"];
  const first = document.querySelector("[data-outcome=label]"), at = first.getBoundingClientRect();
  return {
    first: inView(first) && first.contains(document.elementFromPoint(at.x + at.width / 2, at.bottom - 2)),
    room: (box.height - 2 * pad) / innerHeight,
    strange: [...new Set(over.filter((each) => !isOfTools(each)).map((each) => each.outerHTML.slice(0, 80)))],
    covered: over.length / points,
    outside: buttons.flatMap((each) => [...document.querySelectorAll(each)])
      .filter((each) => each.checkVisibility() && !inView(each)).map((each) => each.outerHTML.slice(0, 80)),
    classes: document.querySelector(".label-classes").clientHeight,
    strip: document.querySelector("[data-strip]").clientWidth,
    page: document.documentElement.scrollWidth,
  };
}"""

CUT = """() => {
  const set = (name, words) => { document.querySelector(`[data-${name}]`).textContent = words; };
  set("labelled", "21.142"); set("total", "102.062"); set("mine", "1.011");
  const counts = document.querySelector(".label-progress"), row = document.querySelector(".label-status");
  const saved = document.querySelector(".label-saved"), words = saved.querySelector("span");
  const cut = () => Math.max(counts.scrollWidth - counts.clientWidth, row.scrollWidth - row.clientWidth,
    counts.scrollHeight - counts.clientHeight, saved.getBoundingClientRect().right - innerWidth);
  const before = [saved.dataset.saved, words.textContent], first = cut();
  saved.dataset.saved = "shut-out";
  words.textContent = "nicht angenommen (12 behalten)";
  const second = cut();
  [saved.dataset.saved, words.textContent] = before;
  return Math.max(first, second);
}"""


def look(page: Page, width: int) -> list[str]:
    found = page.evaluate(MEASURE)
    fine = {
        "first": found["first"],
        "room": found["room"] >= 0.4,
        "strange": not found["strange"],
        "covered": found["covered"] < (0.06 if width > 640 else 0.001),  # a phone has one button for the tools
        "outside": not found["outside"],
        "classes": found["classes"] >= 44,
        "strip": found["strip"] >= 100,
        "page": found["page"] <= width,
    }
    return [f"{name}: {found[name]}" for name, is_fine in fine.items() if not is_fine]


def test_the_picture_has_two_fifths_of_a_phone(site: Site, open_as) -> None:
    """With eleven classes, proposals, a suggestion and two replies to read, in German, the longer of the languages."""
    slug = site.project(classes=CLASSES)
    site.ask("likely", slug)
    site.ask("learning", slug, "suggestions", "before")
    site.ask("take-proposals", slug)
    page = open_as("ann", f"/p/{slug}/label/", viewport={"width": 1280, "height": 800}, has_touch=True)
    page.get_by_role("button", name="Deutsch").click()
    wrong = []
    for replies in (0, 2):
        for _ in range(replies):
            site.ask("reply", slug, "ann", WORDS)
        for width, height in PHONES:
            page.set_viewport_size({"width": width, "height": height})
            page.reload()
            ready(page)
            page.locator("[data-saved=saved]").wait_for()
            wrong += [f"{width} x {height}, {replies} replies: {words}" for words in look(page, width)]
            if cut := page.evaluate(CUT):
                wrong.append(f"{width} x {height}: the counts are cut by {cut} px")
    site.ask("forget-language", "ann")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("width", "height"), [(360, 640), (844, 390)])
def test_on_a_phone_one_button_brings_the_tools_and_puts_them_away(
    site: Site, open_as, width: int, height: int
) -> None:
    slug = site.project()
    page = open_as("ann", f"/p/{slug}/label/", viewport={"width": width, "height": height}, has_touch=True)
    ready(page)
    tools, button = page.get_by_role("group", name="Look closer"), page.get_by_role("button", name="Look closer")
    assert not tools.is_visible()
    button.click()
    sizes = [each.bounding_box() for each in (*tools.locator("button:visible").all(), button)]
    assert len(sizes) == 6 and all(box and min(box["width"], box["height"]) >= 40 for box in sizes)
    whole = tools.get_by_role("button", name="whole")
    assert whole.is_disabled()
    tools.get_by_role("button", name="Zoom in").click()
    assert whole.is_enabled()
    tools.get_by_role("button", name="Zoom out").click()
    tools.get_by_role("button", name="invert").click()
    assert page.locator("[data-table][data-inverted]").count() == 1
    button.click()
    assert not tools.is_visible()


@pytest.mark.parametrize(("width", "height"), [(1280, 600), (1024, 600), (1024, 500), (1024, 700)])
def test_in_a_low_window_the_picture_has_its_room(site: Site, open_as, width: int, height: int) -> None:
    """With a mouse, two replies to read and eleven classes: it was 88 to 196 pixels, or half under the tools."""
    slug = site.project(classes=CLASSES)
    for _ in range(2):
        site.ask("reply", slug, "ann", WORDS)
    page = open_as("ann", f"/p/{slug}/label/", viewport={"width": width, "height": height})
    ready(page)
    found = page.evaluate(MEASURE)
    is_low = height <= 640
    assert found["first"] and not found["strange"] and not found["outside"]
    assert found["room"] >= (0.6 if is_low else 0.3), found["room"]
    assert found["covered"] < (0.001 if is_low else 0.06)
    page.keyboard.press("+")  # keys of tools that are put away work all the same
    assert page.locator("[data-table][data-zoomed]").count() == 1
    news, (first, second) = page.locator("[data-news]").bounding_box(), page.locator("[data-unread] .label-kept").all()
    top = (second.bounding_box() or {})["y"]
    assert news and top + 10 < news["y"] + news["height"] < top + 40  # the half of a line: there is more
    second.get_by_role("button").focus()
    first.locator("span").click(position={"x": 5, "y": 5})
    news, opened = page.locator("[data-news]").bounding_box(), first.bounding_box()
    assert news and opened and opened["y"] + opened["height"] <= news["y"] + news["height"] + 1


def test_on_a_phone_what_is_unread_is_one_line_that_opens_when_it_is_pressed(site: Site, open_as) -> None:
    slug = site.project(classes=CLASSES)
    for _ in range(2):
        site.ask("reply", slug, "ann", WORDS)
    page = open_as("ann", f"/p/{slug}/label/", viewport={"width": 360, "height": 640}, has_touch=True)
    ready(page)
    line = page.locator("[data-unread] .label-kept").first
    rows = """() => {
      const box = document.querySelector(".label-classes").getBoundingClientRect();
      const tops = [...document.querySelectorAll("[data-outcome=label]")].map((each) => each.getBoundingClientRect());
      return new Set(tops.filter((at) => at.bottom <= box.bottom + 1).map((at) => Math.round(at.top))).size;
    }"""
    closed = line.bounding_box()
    assert closed and closed["height"] <= 48
    assert page.evaluate(rows) >= 2
    line.locator("span").click(position={"x": 5, "y": 5})
    opened = line.bounding_box()
    assert opened and opened["height"] > closed["height"] + 10
    place = page.locator("[data-news]").bounding_box()
    assert place and opened["y"] + opened["height"] <= place["y"] + place["height"] + 1  # all of it can be read


@pytest.mark.parametrize(("width", "height"), [(1280, 600), (1024, 500)])
def test_many_classes_fill_their_column_in_a_low_window(site: Site, open_as, width: int, height: int) -> None:
    slug = site.project(classes=" ".join(f"sign-{number}" for number in range(1, 121)))
    page = open_as("ann", f"/p/{slug}/label/", viewport={"width": width, "height": height})
    ready(page)
    classes = page.locator(".label-classes [data-outcome=label]:visible")
    classes.first.wait_for()
    column = page.locator(".label-answers").bounding_box()
    seen = [each.bounding_box() for each in classes.all()]
    field = page.locator(".label-filter").bounding_box()
    inside = [box for box in seen if box["y"] + box["height"] <= column["y"] + column["height"]]
    assert max(box["y"] + box["height"] for box in inside) > column["y"] + column["height"] - 60  # down to its end
    assert seen[0]["y"] < field["y"] + field["height"] + 24  # from the field on
    page.locator(".label-answers").evaluate("(element) => { element.scrollTop = element.scrollHeight; }")
    assert page.locator(".label-filter").bounding_box()["y"] == pytest.approx(column["y"], abs=2)  # it stays in view


@pytest.mark.parametrize("is_touch", [True, False])
def test_a_touch_screen_is_told_of_no_keys_and_a_mouse_is(site: Site, open_as, is_touch: bool) -> None:
    """A tablet, which has room for them; programs that read a page aloud know the keys all the same."""
    slug = site.project(images=60, classes=" ".join(f"sign-{number}" for number in range(1, 36)))
    site.ask("score", slug)
    site.ask("learning", slug, "grid", "everybody")
    site.ask("dispute", slug, "3")
    size: dict[str, object] = {"viewport": {"width": 1024, "height": 768}, "has_touch": is_touch, "is_mobile": is_touch}
    shown = ":is(button, summary, label) kbd:visible"

    ann = open_as("ann", f"/p/{slug}/label/", **size)
    ready(ann)
    before = ann.locator("[data-table] img").get_attribute("data-image")
    ann.get_by_role("button", name="sign-1").first.click()
    ann.wait_for_function(f"document.querySelector('[data-table] img')?.dataset.image !== '{before}'")
    moves = ann.locator("[data-keys]")
    assert not moves.evaluate("(element) => element.hidden")  # there is something that keys could move to
    assert moves.is_visible() is not is_touch
    pages = [
        ann,
        open_as("mia", f"/p/{slug}/grid/?class=", **size),
        open_as("mia", f"/p/{slug}/answers/review/", **size),
    ]
    for page in pages:
        assert bool(page.locator(shown).count()) is not is_touch, page.url
        assert page.locator("[aria-keyshortcuts]:visible").count(), page.url
    assert pages[1].locator("[data-help]").is_visible() is not is_touch
    classes = open_as("mia", f"/p/{slug}/settings/classes/", **size)
    assert classes.locator("td kbd:visible").count()  # a list of keys is one on any screen


SEEN = """(selector) => [...document.querySelectorAll(selector)].filter((one) => one.checkVisibility()).map((each) => {
  const {x, y, right, bottom, width, height} = each.getBoundingClientRect();
  const top = document.elementFromPoint(x + width / 2, y + height / 2);
  return {isWhole: x >= 0 && y >= 0 && right <= innerWidth && bottom <= innerHeight && each.contains(top), height};
})"""


@pytest.mark.parametrize(("width", "height"), [(844, 390), (667, 375), (932, 430)])
@pytest.mark.parametrize("language", ["en", "de"])
def test_on_a_phone_on_its_side_the_image_and_what_decides_are_in_view(
    site: Site, open_as, width: int, height: int, language: str
) -> None:
    """Both, without scrolling: what decides began two windows below."""
    slug = site.project(images=20, classes="cat dog owl")
    site.ask("dispute", slug, "3")
    site.ask("score", slug)
    size = {"viewport": {"width": width, "height": height}, "has_touch": True, "is_mobile": True}
    page = open_as("mia", f"/p/{slug}/answers/review/", locale=language, **size)
    page.locator(".image-stage img").evaluate("(image) => image.decode()")

    def look() -> None:
        (image,) = page.evaluate(SEEN, ".image-stage img")
        assert image["isWhole"] and image["height"] >= 0.4 * height, image
        buttons = page.evaluate(SEEN, ".review-buttons .button, .review-head .button")
        assert len(buttons) >= 9 and all(each["isWhole"] for each in buttons), buttons
        assert page.evaluate("[document.documentElement.scrollWidth - innerWidth, scrollY]") == [0, 0]

    look()
    page.locator(".review-buttons .button").first.click()
    page.locator("[data-hotkey=u]:enabled").wait_for()
    look()
    page.locator("[data-hotkey=u]").click()
    page.locator(".messages").wait_for()  # it takes a line: the last button may have to be scrolled to
    (image,), first = page.evaluate(SEEN, ".image-stage img"), page.evaluate(SEEN, ".review-buttons .button")[0]
    assert image["isWhole"] and first["isWhole"]


def test_many_classes_and_what_was_said_scroll_beside_the_image(site: Site, open_as) -> None:
    slug = site.project(images=20, classes=" ".join(f"Verkehrszeichen-{number}" for number in range(1, 41)))
    site.ask("dispute", slug, "3")
    site.ask("score", slug)
    size = {"viewport": {"width": 844, "height": 390}, "has_touch": True, "is_mobile": True}
    page = open_as("mia", f"/p/{slug}/answers/review/", **size)
    for words in ("bad image", "skip"):
        page.get_by_role("button", name=words).scroll_into_view_if_needed()
        (image,) = page.evaluate(SEEN, ".image-stage img")
        assert image["isWhole"] and page.get_by_role("button", name=words).is_visible()
    assert page.get_by_label("Another class").bounding_box()["y"] > 300
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(("width", "height"), [(360, 640), (844, 390), (1280, 600)])
def test_without_a_script_what_is_unread_can_be_read_to_its_end(site: Site, open_as, width: int, height: int) -> None:
    """There a press opens nothing: lines were cut for good."""
    slug = site.project(classes=CLASSES)
    for _ in range(2):
        site.ask("reply", slug, "ann", WORDS)
    page = open_as("ann", f"/p/{slug}/label/", viewport={"width": width, "height": height}, java_script_enabled=False)
    for line in page.locator("[data-unread] .label-kept").all():
        words, place = line.locator("span"), page.locator("[data-news]")
        assert words.evaluate(
            "(each) => each.scrollWidth <= each.clientWidth && each.scrollHeight <= each.clientHeight"
        )
        end = line.locator("strong")  # of what is said
        end.scroll_into_view_if_needed()
        box, around = end.bounding_box(), place.bounding_box()
        assert box and around and box["height"] > 0
        assert around["y"] - 1 <= box["y"] and box["y"] + box["height"] <= around["y"] + around["height"] + 1
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
