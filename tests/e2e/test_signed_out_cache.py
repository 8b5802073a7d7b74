"""What a browser keeps: images while somebody works, nothing of them once they have signed out."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.e2e.conftest import Site

pytestmark = pytest.mark.e2e


def kept(page: Page, address: str) -> bool:
    """Whether the browser has it without asking the server."""
    ask = "address => fetch(address, {cache: 'only-if-cached', mode: 'same-origin'}).then(r => r.ok, () => false)"
    return bool(page.evaluate(ask, address))


def test_images_are_kept_for_a_while_and_forgotten_when_one_signs_out(open_as, site: Site) -> None:
    slug = site.project(images=3)
    page = open_as("ann", f"/p/{slug}/label/")
    image = page.evaluate("JSON.parse(document.getElementById('label-items').textContent)[0].url")
    assert page.evaluate("address => fetch(address).then(reply => reply.status)", image) == 200
    assert kept(page, image)  # the next page has it at once
    page.goto("/")
    assert kept(page, image)
    cookies = page.context.cookies()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("heading", name="Sign in").wait_for()
    page.context.add_cookies(cookies)  # what is kept is only shown to who sends the same cookies
    assert not kept(page, image)
