"""All pages that there are, for tests that hold of every one: from the list of addresses, so that none is forgotten."""

from __future__ import annotations

import json
from dataclasses import dataclass

from playwright.sync_api import Page

from tests.e2e.conftest import Site

PLACES = {
    "wide": {"width": 1280, "height": 900},
    "narrow": {"width": 390, "height": 844},
}
SIGNS_OUT = {"logout"}


@dataclass(frozen=True)
class Pages:
    """Addresses by name. `own` are the pages of who is signed in, found by asking for every address."""

    every: dict[str, str]
    invitation: str

    @classmethod
    def of(cls, site: Site, name: str = "Digits") -> Pages:
        told = json.loads(site.ask("furnish", name))
        return cls(told["addresses"], told["invitation"])

    def own(self, page: Page) -> dict[str, str]:
        """Those that answer with a page of their own: no file, no fragment, no other address."""
        found = {}
        for name, address in self.every.items():
            if name in SIGNS_OUT:
                continue
            reply = page.request.get(address, max_redirects=0)
            assert reply.status < 500, (name, reply.status)
            is_page = reply.status == 200 and "text/html" in reply.headers.get("content-type", "")
            if is_page and "<html" in reply.text():
                found[name] = address
        return found

    def signed_out(self) -> dict[str, str]:
        return {"login": self.every["login"], "invitation": self.invitation, "gone": self.every["invitation"]}

    def refused(self) -> dict[str, str]:
        """As an annotator sees them: a page of managers, and one that is not there."""
        return {"403": self.every["settings"], "404": "/p/nowhere/"}
