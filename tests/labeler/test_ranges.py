"""Downloads that go on where they stopped (RFC 9110, section 14)."""

from __future__ import annotations

import io

import pytest
from django.test import RequestFactory

from labeler.ranges import file_reply

DATA = bytes(range(256)) * 8


def ask(*, method: str = "get", digest: str = "abc", **headers: str):
    request = getattr(RequestFactory(), method)("/", headers=headers)
    return file_reply(request, io.BytesIO(DATA), size=len(DATA), name="größe.csv", media_type="text/csv", digest=digest)


def body(reply) -> bytes:
    return b"".join(reply.streaming_content) if reply.streaming else reply.content


def test_the_whole_file():
    reply = ask()
    assert (reply.status_code, body(reply)) == (200, DATA)
    assert reply.headers["Content-Length"] == "2048"
    assert reply.headers["Accept-Ranges"] == "bytes"
    assert reply.headers["ETag"] == '"abc"'
    assert "filename*=utf-8''gr%C3%B6%C3%9Fe.csv" in reply.headers["Content-Disposition"]


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [("bytes=0-0", 0, 0), ("bytes=100-", 100, 2047), ("bytes=-10", 2038, 2047), ("bytes=5-99999", 5, 2047),
     ("bytes=-99999", 0, 2047)],
)  # fmt: skip
def test_a_part(wanted: str, first: int, last: int):
    reply = ask(range=wanted)
    assert reply.status_code == 206
    assert reply.headers["Content-Range"] == f"bytes {first}-{last}/2048"
    assert reply.headers["Content-Length"] == str(last - first + 1)
    assert body(reply) == DATA[first : last + 1]


@pytest.mark.parametrize(
    "wanted", ["bytes=0-1,4-5", "lines=1-2", "bytes=9-5", "bytes=-", "bytes=a-b", "", "bytes=1-1x"]
)
def test_what_is_no_single_range_gets_the_whole_file(wanted: str):
    reply = ask(range=wanted)
    assert (reply.status_code, body(reply)) == (200, DATA)


@pytest.mark.parametrize("wanted", ["bytes=2048-", "bytes=9999-10000", "bytes=-0"])
def test_a_range_past_the_end(wanted: str):
    reply = ask(range=wanted)
    assert (reply.status_code, reply.headers["Content-Range"]) == (416, "bytes */2048")


def test_a_part_of_another_file_is_never_appended():
    assert ask(range="bytes=100-", **{"if-range": '"abc"'}).status_code == 206
    assert ask(range="bytes=100-", **{"if-range": '"other"'}).status_code == 200
