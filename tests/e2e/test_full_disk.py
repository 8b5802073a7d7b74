"""A full disk in the browser: it is told as what it is, answers wait, and go on their way when there is room."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Route, expect

from tests.e2e.conftest import Site
from tests.e2e.labelling import label_page, press, saved, sent

pytestmark = pytest.mark.e2e


def test_answers_wait_for_room(open_as, site: Site) -> None:
    """What the server says then is tests/labeler/test_full_disk.py's; here, what the page makes of it."""
    slug = site.project()
    page = label_page(open_as, site, slug)
    press(page, "1")
    saved(page)

    def refuse(route: Route) -> None:
        route.fulfill(status=507, content_type="application/json", body=json.dumps({"error": "The disk is full."}))

    page.route("**/label/*/", refuse)
    press(page, "22")
    expect(page.locator("[data-saved=full]")).to_contain_text("server full (2 kept)", timeout=15_000)
    expect(page.locator("[data-kept]")).to_have_text(
        "The server’s disk is full: your answers are kept here and sent when there is room."
    )
    assert site.answers(slug) == ["cat"]
    page.unroute("**/label/*/")
    saved(page)
    sent(page)
    expect(page.locator("[data-kept]")).to_be_hidden()
    assert site.answers(slug) == ["cat", "dog", "dog"]
