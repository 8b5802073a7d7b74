"""Simulated annotators: they sign in and answer through the real pages, as browsers do, from the known labels.

This module is a client: it talks HTTP and knows nothing of the database.
"""

from __future__ import annotations

import random
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Any

import httpx

TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
LONGEST_PAUSE = 5.0
OK, BAD_REQUEST, SIGNED_OUT = 200, 400, 401


class CannotAnswer(Exception):
    """The server said no in a way that trying again will not change."""


@dataclass
class Tally:
    """What happened, of all annotators together."""

    limit: int = 0  # answers in all; 0: any number
    begun: int = 0
    answers: int = 0
    wrong_on_purpose: int = 0
    unsure: int = 0
    retries: int = 0
    errors: list[str] = field(default_factory=list)
    answer_seconds: list[float] = field(default_factory=list)
    next_seconds: list[float] = field(default_factory=list)
    image_seconds: list[float] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)  # acknowledged
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def begin_answer(self) -> bool:
        """Whether one more may be given: asked right before it, so that all together never exceed the limit."""
        with self.lock:
            if self.limit and self.begun >= self.limit:
                return False
            self.begun += 1
            return True

    def add(self, name: str, value: Any = 1) -> None:
        with self.lock:
            old = getattr(self, name)
            if isinstance(old, list):
                old.append(value)
            else:
                setattr(self, name, old + value)


def percentiles(seconds: list[float]) -> tuple[float, float] | None:
    """The median and the 95th percentile, in milliseconds."""
    if len(seconds) < 2:
        return (seconds[0] * 1000, seconds[0] * 1000) if seconds else None
    cuts = quantiles(seconds, n=100, method="inclusive")
    return cuts[49] * 1000, cuts[94] * 1000


@dataclass
class Oracle:
    """One annotator. `truth` maps image ids to class ids; an image that it does not know is answered with `unsure`."""

    url: str
    slug: str
    username: str
    password: str
    truth: Mapping[int, int]
    class_ids: list[int]
    rate: float  # answers a second; 0: as fast as it can
    error: float  # the share of wrong answers
    seed: int
    tally: Tally
    go_on: Callable[[], bool]
    fetch_images: bool = True
    patience: float = 300.0  # seconds without an answer or a question before it gives up

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)  # noqa: S311 - a simulation
        self.client = httpx.Client(base_url=self.url, timeout=30, follow_redirects=True, headers={"Accept": "*/*"})
        self.held: list[dict[str, Any]] = []

    def run(self) -> None:
        """Answer until `go_on` says no, or nothing is left."""
        with self.client:
            self.sign_in()
            try:
                while self.go_on():
                    item = self._next_item()
                    if item is None or not self._answer(item):
                        return
            finally:
                self._leave()

    def sign_in(self) -> None:
        page = self._patiently(lambda: self.client.get("/login/"))
        form = {"username": self.username, "password": self.password, "csrfmiddlewaretoken": self._token(page.text)}
        reply = self._patiently(lambda: self.client.post("/login/", data=form, headers={"Referer": self.url}))
        if "sessionid" not in self.client.cookies:
            raise CannotAnswer(f"{self.username} could not sign in at {self.url} (status {reply.status_code}).")
        page = self._patiently(lambda: self.client.get(f"/p/{self.slug}/label/"))
        if page.status_code != OK:
            raise CannotAnswer(
                f"{self.username} cannot open the Label page of {self.slug} (status {page.status_code})."
            )

    def _next_item(self) -> dict[str, Any] | None:
        waited = time.monotonic()
        while not self.held and self.go_on():
            reply = self._post("next", {"want": 3, "holding": []}, self.tally.next_seconds)
            self.held = reply["items"]
            empty = reply.get("empty")
            if not self.held:
                if empty and empty["retry_seconds"] is None:
                    return None
                if time.monotonic() - waited > self.patience:
                    raise CannotAnswer(f"Nothing to answer for {self.patience:.0f} s: {empty and empty['words']}")
                time.sleep(min((empty or {}).get("retry_seconds") or 1, 2))
        return self.held.pop(0) if self.held else None

    def _answer(self, item: dict[str, Any]) -> bool:
        """False: it was not to be any more."""
        begin = time.monotonic()
        if self.fetch_images and not item["src"].startswith("data:"):
            seen = self._patiently(lambda: self.client.get(item["url"]))
            self.tally.add("image_seconds", time.monotonic() - begin)
            if seen.status_code != OK:
                self.tally.add("errors", f"image {item['image']}: status {seen.status_code}")
        if self.rate:
            time.sleep(self.random.expovariate(self.rate))
        if not self.go_on() or not self.tally.begin_answer():
            self.held.append(item)
            return False
        outcome, label_class = self._decide(item["image"])
        body = {
            "key": str(uuid.uuid4()),
            "image": item["image"],
            "candidate": item["candidate"],
            "outcome": outcome,
            "label_class": label_class,
            "seconds": round(time.monotonic() - begin, 2),
            "want": 3,
            "holding": [each["candidate"] for each in self.held],
        }
        reply = self._post("answer", body, self.tally.answer_seconds)
        self.tally.add("answers")
        self.tally.add("keys", body["key"])
        self.held += [new for new in reply["items"] if all(new["image"] != old["image"] for old in self.held)]
        return True

    def _leave(self) -> None:
        """As a closing page does: what it holds goes back at once. A server that is away lets the leases run out."""
        ids = [item["candidate"] for item in self.held]
        if ids:
            with suppress(httpx.HTTPError):
                self.client.post(f"/p/{self.slug}/label/leases/", json={"release": ids}, headers=self._headers())

    def _decide(self, image: int) -> tuple[str, int | None]:
        true = self.truth.get(image)
        if true is None:
            self.tally.add("unsure")
            return "unsure", None
        others = [each for each in self.class_ids if each != true]
        if others and self.random.random() < self.error:
            self.tally.add("wrong_on_purpose")
            return "label", self.random.choice(others)
        return "label", true

    def _post(self, what: str, body: dict[str, Any], seconds: list[float]) -> dict[str, Any]:
        """As the page's outbox: the same key again until the server has it."""
        url = f"/p/{self.slug}/label/{what}/"
        while True:
            begin = time.monotonic()
            reply = self._patiently(lambda: self.client.post(url, json=body, headers=self._headers()))
            if reply.status_code == OK:
                with self.tally.lock:
                    seconds.append(time.monotonic() - begin)
                content: dict[str, Any] = reply.json()
                return content
            if reply.status_code != SIGNED_OUT:
                raise CannotAnswer(f"{what}: status {reply.status_code}: {reply.text[:200]}")
            self.sign_in()

    def _patiently(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        """Try again while the server is away, with longer and longer pauses."""
        pause, begin = 0.1, time.monotonic()
        while True:
            try:
                reply = send()
                if reply.status_code < 500:
                    return reply
                words = f"status {reply.status_code}"
            except httpx.HTTPError as error:
                words = f"{type(error).__name__}: {error}"
            self.tally.add("retries")
            if time.monotonic() - begin > self.patience:
                raise CannotAnswer(f"The server at {self.url} does not answer ({words}).")
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _headers(self) -> dict[str, str]:
        return {"X-CSRFToken": self.client.cookies.get("csrftoken") or "", "Referer": self.url}

    @staticmethod
    def _token(html: str) -> str:
        found = TOKEN.search(html)
        if found is None:
            raise CannotAnswer("The login page has no form.")
        return found.group(1)
