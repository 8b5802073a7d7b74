"""A manager settles by keyboard what people disagree about, while an annotator goes on answering."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from benchmarks.servers import wait_until
from tests.e2e.conftest import Site
from tests.e2e.labelling import label_page, press, saved

COUNT = 3


def image_of(page: Page) -> str:
    return page.locator("#review").get_attribute("data-image") or ""


def press_key(page: Page, key: str) -> None:
    """Press, and wait for the next image (or the end)."""
    before = image_of(page)
    page.keyboard.press(key)
    wait_until(lambda: image_of(page) != before, 10, f"another image after {key}")


def test_disagreements_by_keyboard_with_an_annotator_at_work(open_as, site: Site) -> None:
    slug = site.project(images=20)
    site.ask("dispute", slug, str(COUNT))
    site.ask("score", slug)
    ann = label_page(open_as, site, slug)
    mia = open_as("mia", f"/p/{slug}/answers/review/")
    expect(mia.get_by_role("status").filter(has_text="3 to review")).to_be_visible()
    said = mia.get_by_role("region", name="People said")
    expect(said.get_by_role("listitem")).to_have_count(2)

    press(ann, "12")
    press_key(mia, "2")
    press(ann, "3")
    press_key(mia, "s")
    press_key(mia, "x")
    expect(mia.get_by_text("People disagree about no image that you have not skipped.")).to_be_visible()
    assert site.ask("states", slug).split()[:COUNT] == ["dog", "disputed", "bad"]

    mia.keyboard.press("u")
    expect(mia.get_by_text("Undone.")).to_be_visible()
    assert site.ask("states", slug).split()[:COUNT] == ["dog", "disputed", "disputed"]
    press_key(mia, "1")
    expect(mia.get_by_text("Undone.")).to_have_count(0)
    mia.get_by_role("button", name="Show the 1 skipped again").click()
    press_key(mia, "3")
    expect(mia.get_by_text("People disagree about no image.")).to_be_visible()
    assert site.ask("states", slug).split()[:COUNT] == ["dog", "owl", "cat"]
    saved(ann)
    live = site.answers(slug)
    assert [live.count(name) for name in ("cat", "dog", "owl")] == [11, 5, 2]  # 9 + 1 + 1, 3 + 1 + 1, 1 + 1


def test_what_the_model_doubts_is_accepted_by_enter(open_as, site: Site) -> None:
    """Both say cat of images 3 to 5; the model takes 4 for a dog and 5 for an owl."""
    slug = site.project(images=20)
    site.ask("dispute", slug, str(COUNT))
    site.ask("score", slug)
    mia = open_as("mia", f"/p/{slug}/answers/review/?kind=doubt")
    expect(mia.get_by_role("status").filter(has_text="2 to review")).to_be_visible()
    mia.keyboard.press("g")
    expect(mia.get_by_role("checkbox", name="and make it gold")).to_be_checked()
    press_key(mia, "Enter")
    expect(mia.get_by_text("gold from now on: cat")).to_be_visible()
    press_key(mia, "Enter")
    expect(mia.get_by_text("The model says the same as every label")).to_be_visible()
    assert site.ask("states", slug).split()[COUNT : 2 * COUNT] == ["cat"] * COUNT
    mia.get_by_role("navigation", name="Answers").get_by_role("link", name="Gold").click()
    expect(mia.get_by_text("nobody asked yet")).to_have_count(1)


def test_enter_on_a_link_follows_it_and_decides_nothing(open_as, site: Site) -> None:
    slug = site.project(images=20)
    site.ask("dispute", slug, str(COUNT))
    site.ask("score", slug)
    mia = open_as("mia", f"/p/{slug}/answers/review/?kind=doubt")
    mia.get_by_role("link", name="People disagree").focus()
    mia.keyboard.press("Enter")
    mia.wait_for_url("**kind=disagree")
    assert site.ask("states", slug).split()[COUNT : 2 * COUNT] == ["cat"] * COUNT
    assert len(site.answers(slug)) == 4 * COUNT


def test_it_works_without_javascript(open_as, site: Site) -> None:
    slug = site.project(images=20)
    site.ask("dispute", slug, str(COUNT))
    mia = open_as("mia", f"/p/{slug}/answers/review/", java_script_enabled=False)
    mia.get_by_role("button", name="dog").click()
    expect(mia.get_by_text("2 to review")).to_be_visible()
    assert site.ask("states", slug).split()[0] == "dog"


def test_quality_and_own_page(open_as, site: Site) -> None:
    slug = site.project(images=30)
    site.ask("dispute", slug, "6")
    site.ask("judge", slug)
    mia = open_as("mia", f"/p/{slug}/answers/")
    expect(mia.get_by_text("Krippendorff’s alpha of 12 images")).to_be_visible()
    mia.get_by_role("link", name="ann", exact=True).click()
    expect(mia.get_by_role("heading", name="Answers of ann")).to_be_visible()
    ann = label_page(open_as, site, slug)
    ann.get_by_title("Your answers").click()
    expect(ann.get_by_role("heading", name="Your answers")).to_be_visible()
