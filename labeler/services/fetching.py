"""Images by address, through the guard of labeler/outbound.py."""

from __future__ import annotations

from collections import Counter
from urllib.parse import unquote, urlsplit

from labeler.imaging.decode import DecodedImage, Limits, Refused, decode
from labeler.imaging.names import NAME_LENGTH, printable
from labeler.outbound import OutboundError, OutboundFailed, send
from labeler.told import told

SECONDS = 30.0
REDIRECTS = 3
GIVEN_UP = 20  # times that a host did not answer, one after another, before it is not asked any more
EXPECTED_BYTES = 2**18  # of one image, for the size of batches


class Fetcher:
    """Loads images by address. Threads share it; a host that is down costs some seconds and not hours."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._silent: Counter[str] = Counter()

    def load(self, address: str) -> DecodedImage | Refused:
        host = urlsplit(address).netloc
        if self._silent[host] >= GIVEN_UP:
            return Refused(
                told(
                    "%(host)s did not answer %(count)s times; the rest of it was not asked for.",
                    host=host_of(address),
                    count=GIVEN_UP,
                )
            )
        try:
            reply = send(address, max_bytes=self._limits.max_bytes, seconds=SECONDS, redirects=REDIRECTS)
        except OutboundFailed as error:
            self._silent[host] += 1
            return Refused(str(error))
        except OutboundError as error:
            return Refused(str(error))
        self._silent[host] = 0
        if reply.status != 200:
            return Refused(
                told(
                    "%(host)s answered %(status)s instead of sending it.",
                    host=host_of(address),
                    status=str(reply.status),
                )
            )
        return decode(reply.body, self._limits)


def host_of(address: str) -> str:
    try:
        return urlsplit(address).hostname or "the host"
    except ValueError:
        return "the host"


def without_secrets(address: str) -> str:
    """Host, port and path of an address: a query may hold a signature, and a name before the host a password."""
    try:
        parts = urlsplit(address)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    except ValueError:
        return ""


def name_of_address(address: str) -> str:
    """The name that an image gets from its address."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return printable(address)[:NAME_LENGTH]
    path = unquote(parts.path).strip("/")
    return printable(f"{parts.hostname or parts.scheme}/{path}")[-NAME_LENGTH:].replace("\\", "/")
