"""Requests to the API: the token, retries, pages, and refusals in the server's words."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

AGAIN = (429, 502, 503, 504)  # what may go better in a moment
LONGEST_PAUSE = 30.0
Json = dict[str, Any]


class CannotReach(Exception):
    """The server did not answer within the time that was given to it."""


class Refused(Exception):
    """The server said no; the message is its words. `errors` has the words of each field."""

    def __init__(self, status: int, problem: Json) -> None:
        self.status = status
        self.detail = str(problem.get("detail", f"status {status}"))
        self.errors: dict[str, str] = {each["field"]: each["detail"] for each in problem.get("errors", [])}
        self.problem = problem
        super().__init__(self.detail)


class Connection:
    """One server and one token. A request that may be sent again is sent again while the server is away.

    Args:
        url: The server, such as `https://label.example.org`.
        token: Of a person, `pm_…`.
        patience: Seconds for which a request is tried.
        transport: Of httpx, for tests.
    """

    def __init__(
        self, url: str, token: str, *, patience: float = 60.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.patience = patience
        self._client = httpx.Client(
            base_url=f"{url.rstrip('/')}/api/v1",
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            timeout=60.0,
            transport=transport,
        )

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, **params: Any) -> Any:
        return self._send("GET", path, params=params).json()

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """With a key of its own, so that it is done once however often it has to be sent."""
        reply = self._send("POST", path, json=dict(body or {}), headers={"Idempotency-Key": str(uuid.uuid4())})
        return reply.json()

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._send("PATCH", path, json=dict(body)).json()

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._send("PUT", path, json=dict(body)).json()

    def put_bytes(self, path: str, data: bytes, **params: Any) -> Any:
        headers = {"Content-Type": "application/octet-stream"}
        return self._send("PUT", path, params=params, content=data, headers=headers).json()

    def post_bytes(self, path: str, data: bytes) -> Any:
        """A file that is asked about: nothing is changed, so it needs no key."""
        headers = {"Content-Type": "application/octet-stream"}
        return self._send("POST", path, content=data, headers=headers).json()

    def post_form(self, path: str, fields: Mapping[str, str], **files: tuple[str, bytes]) -> Any:
        """A form with files, each with its name; done once, as `post`."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        return self._send("POST", path, data=dict(fields), files=files, headers=headers).json()

    def delete(self, path: str) -> None:
        self._send("DELETE", path)

    def pages(self, path: str, **params: Any) -> Iterator[Json]:
        """The items of all pages of a list."""
        cursor = ""
        while cursor is not None:
            page = self.get(path, **params, **({"cursor": cursor} if cursor else {}))
            yield from page["items"]
            cursor = page["next"]

    def bytes_of(self, path: str) -> bytes:
        return self._send("GET", path).content

    @contextmanager
    def download(self, path: str) -> Iterator[httpx.Response]:
        """A file, as it comes."""
        with self._client.stream("GET", path) as reply:
            if reply.is_error:
                reply.read()
                raise _refusal(reply)
            yield reply

    def _send(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        begin, pause = time.monotonic(), 0.2
        while True:
            wait, reply = pause, None
            try:
                reply = self._client.request(method, path, **kwargs)
                if reply.status_code not in AGAIN:
                    if reply.is_error:
                        raise _refusal(reply)
                    return reply
                words = f"status {reply.status_code}"
                wait = float(reply.headers.get("Retry-After", pause))
            except httpx.TransportError as error:
                words = str(error) or type(error).__name__
            if time.monotonic() - begin + wait > self.patience:
                if reply is not None and reply.status_code == 429:
                    raise _refusal(reply)
                raise CannotReach(f"{self._client.base_url} does not answer: {words}.")
            time.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE)


def _refusal(reply: httpx.Response) -> Refused:
    try:
        problem = reply.json()
    except ValueError:
        problem = {}
    return Refused(reply.status_code, problem if isinstance(problem, dict) else {})
