"""Text that a row keeps for a worker and that nobody who reads the database can read without the server's key.

The standard library has no cipher. HMAC-SHA-256 as a pseudorandom function over a counter gives one (encrypt, then
authenticate): a nonce a text, a key for each of the two steps, both derived from SECRET_KEY and the purpose.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from binascii import Error as NotBase64

from django.conf import settings

NONCE, TAG = 16, 32


class Unsealable(Exception):
    """It was sealed with another key or for another purpose, or has been changed."""


def seal(text: str, *, purpose: str) -> str:
    nonce = secrets.token_bytes(NONCE)
    data = _mixed(text.encode(), nonce, purpose)
    return base64.b64encode(nonce + data + _tag(nonce + data, purpose)).decode()


def unseal(sealed: str, *, purpose: str) -> str:
    """The text. Raises Unsealable."""
    try:
        raw = base64.b64decode(sealed, validate=True)
    except (NotBase64, ValueError):
        raise Unsealable from None
    body, tag = raw[:-TAG], raw[-TAG:]
    if len(raw) < NONCE + TAG or not hmac.compare_digest(tag, _tag(body, purpose)):
        raise Unsealable
    return _mixed(body[NONCE:], body[:NONCE], purpose).decode()


def _mixed(data: bytes, nonce: bytes, purpose: str) -> bytes:
    key = _key("hide", purpose)
    blocks = range(len(data) // 32 + 1)
    stream = b"".join(hmac.digest(key, nonce + block.to_bytes(8, "big"), "sha256") for block in blocks)
    return bytes(one ^ other for one, other in zip(data, stream, strict=False))


def _tag(body: bytes, purpose: str) -> bytes:
    return hmac.digest(_key("check", purpose), body, "sha256")


def _key(step: str, purpose: str) -> bytes:
    return hmac.digest(settings.SECRET_KEY.encode(), f"labeler.seals {step} {purpose}".encode(), "sha256")
