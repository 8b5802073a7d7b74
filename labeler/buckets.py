"""Reads buckets of S3 and what speaks like it, by the guard of labeler/outbound.py: lists page by page, objects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from labeler.outbound import OutboundError, Reply, check_address, send, stream
from labeler.told import told

LIST_BYTES = 16 * 2**20
LIST_SECONDS, OBJECT_SECONDS, TABLE_SECONDS = 60.0, 60.0, 900.0
PAGE = 1000  # keys of one page, the most that servers give


class BucketError(Exception):
    """Why the bucket cannot be read; in words, without any secret. `field` is what of its place is wrong."""

    def __init__(self, words: str, field: str = "") -> None:
        super().__init__(words)
        self.field = field


@dataclass(frozen=True)
class Bucket:
    """Where a bucket is, and the key to it; without a key it is asked as anybody may."""

    endpoint: str
    name: str
    prefix: str = ""
    region: str = "us-east-1"
    key_id: str = ""
    secret: str = field(default="", repr=False)

    def address(self, key: str = "") -> str:
        path = quote(f"/{self.name}" + (f"/{key}" if key else ""), safe="/~")
        return self.endpoint.rstrip("/") + path


@dataclass(frozen=True)
class Object:
    key: str
    size: int


def check_bucket(bucket: Bucket) -> None:
    """Raises BucketError for what can be said without asking."""
    parts = urlsplit(bucket.endpoint)
    if parts.query or parts.fragment or parts.path not in ("", "/"):
        raise BucketError(
            told("The endpoint is the address of the server alone, such as https://s3.example.org."), "endpoint"
        )
    if not (3 <= len(bucket.name) <= 63 and all(one.isalnum() or one in ".-_" for one in bucket.name)):
        raise BucketError(told("The name of a bucket has 3 to 63 letters, digits, dots and hyphens."), "name")
    if bool(bucket.key_id) != bool(bucket.secret):
        raise BucketError(
            told("Give key and secret, or neither for a bucket that anybody may read."),
            "key_id" if bucket.secret else "secret",
        )
    try:
        check_address(bucket.address())
    except OutboundError as error:
        raise BucketError(str(error), "endpoint") from None


def objects(bucket: Bucket, *, after: str = "", pages: int | None = None) -> Iterator[list[Object]]:
    """Its objects in the order of their keys, those behind `after`, page by page. Raises BucketError."""
    done = 0
    while pages is None or done < pages:
        query = {"list-type": "2", "max-keys": str(PAGE), "prefix": bucket.prefix, "start-after": after}
        reply = _asked(bucket, "", {name: value for name, value in query.items() if value})
        found = _parsed(reply.body)
        page = [_object(one) for one in found if _tag(one) == "Contents"]
        if page and page[0].key <= after:
            raise BucketError(told("The bucket's list goes in circles."))
        yield page
        done += 1
        if not page or all(_tag(one) != "IsTruncated" or one.text != "true" for one in found):
            return
        after = page[-1].key


def read_object(bucket: Bucket, key: str, max_bytes: int) -> bytes:
    """Raises BucketError, OutboundError."""
    address = bucket.address(key)
    reply = send(address, headers=_signed(bucket, address), max_bytes=max_bytes, seconds=OBJECT_SECONDS)
    if reply.status != 200:
        raise BucketError(_why(bucket, reply))
    return reply.body


def object_pieces(bucket: Bucket, key: str, max_bytes: int) -> Iterator[bytes]:
    address = bucket.address(key)
    with stream(address, headers=_signed(bucket, address), max_bytes=max_bytes, seconds=TABLE_SECONDS) as reply:
        if reply.status != 200:
            raise BucketError(told("The bucket answered %(status)s.", status=str(reply.status)))
        yield from reply.pieces


def _asked(bucket: Bucket, key: str, query: dict[str, str]) -> Reply:
    text = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in sorted(query.items()))
    address = f"{bucket.address(key)}?{text}"
    try:
        reply = send(address, headers=_signed(bucket, address), max_bytes=LIST_BYTES, seconds=LIST_SECONDS)
    except OutboundError as error:
        raise BucketError(str(error)) from None
    if reply.status != 200:
        raise BucketError(_why(bucket, reply))
    return reply


def _signed(bucket: Bucket, address: str) -> dict[str, str]:
    if not bucket.key_id:
        return {}
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest(method="GET", url=address)
    S3SigV4Auth(Credentials(bucket.key_id, bucket.secret), "s3", bucket.region).add_auth(request)
    return {str(name): str(value) for name, value in request.headers.items()}


def _why(bucket: Bucket, reply: Reply) -> str:
    region = reply.headers.get("x-amz-bucket-region", "")
    if region and region != bucket.region:
        return told("The bucket is in the region %(region)s; give that one.", region=region[:40])
    code = ""
    with suppress(BucketError):
        code = next((one.text or "" for one in _parsed(reply.body) if _tag(one) == "Code"), "")
    if code == "NoSuchBucket":
        return told("There is no bucket named %(name)s at this endpoint.", name=bucket.name)
    if reply.status in (401, 403):
        return told("The bucket refuses to be read with this key (%(code)s).", code=_word(code) or str(reply.status))
    said = f"{reply.status} ({_word(code)})" if code else str(reply.status)
    return told("The bucket answered %(status)s.", status=said)


def _word(code: str) -> str:
    return code[:60] if code.isalnum() else ""


def _parsed(body: bytes) -> list[ElementTree.Element]:
    plain = body.replace(b"\0", b"")  # of two bytes a letter, as XML may be written
    if b"<!DOCTYPE" in plain or b"<!ENTITY" in plain:
        raise BucketError(told("The endpoint does not answer as S3 does."))
    try:
        return list(ElementTree.fromstring(body))  # noqa: S314 - no entities, see above, and few bytes
    except ElementTree.ParseError:
        raise BucketError(told("The endpoint does not answer as S3 does.")) from None


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _object(element: ElementTree.Element) -> Object:
    values = {_tag(one): one.text or "" for one in element}
    size = values.get("Size", "")
    return Object(values.get("Key", ""), int(size) if size.isdecimal() and len(size) < 19 else 0)
