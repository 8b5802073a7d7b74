"""The Label page in a browser, for the tests that work on it."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from benchmarks.servers import wait_until
from tests.e2e.conftest import Site


def shown(page: Page) -> str:
    """The id of the image in view, once it has loaded: before that a class key does nothing."""
    image = "document.querySelector('[data-table] img')"
    return str(page.evaluate(f"{image}?.complete && {image}.naturalWidth ? {image}.dataset.image ?? '' : ''"))


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
