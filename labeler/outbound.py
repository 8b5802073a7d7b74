"""Requests to addresses that somebody has typed: the one guard against reaching what only the server can reach.

The check stands where the connection is made: a name is resolved here, each of its addresses is judged, and the
connection goes to the very address that was judged, so that a name which says something else a moment later gains
nothing. Redirects are followed here, too, one by one, each judged anew; cookies are never kept, proxies of the
environment never used. `OUTBOUND_NETWORKS` names networks that an operator allows nevertheless.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from urllib.parse import quote, urljoin, urlsplit

import httpcore
from django.conf import settings

from labeler.told import amount, told

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
SECONDS, MAX_BYTES, REDIRECTS = 30.0, 2**20, 3
CONNECT_SECONDS = 10.0
PORTS_BELOW_1024 = (80, 443)
MOVED = (301, 302, 303, 307, 308)
MAX_LENGTH = 2000
UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2000-\u200f\u2028-\u202f\u3000\ufeff]")
SAFE = "%/:?#[]@!$&'()*+,;=~"  # what an address may hold as it is
NUMBER = re.compile(r"^(0x[0-9a-f]*|[0-9]+)$")
HOST = re.compile(r"^(\[[0-9a-f:.]+\]|[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?)$")
METADATA = {ipaddress.ip_address(text) for text in ("169.254.169.254", "169.254.170.2", "100.100.100.200",
            "192.0.0.192", "fd00:ec2::254")}  # fmt: skip
# IPv6 networks whose addresses carry one of IPv4, and how many bits it stands from the right.
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
CARRIERS = [(ipaddress.IPv6Network(network), shift) for network, shift in (
    ("::/96", 0), ("::ffff:0:0/96", 0), ("::ffff:0:0:0/96", 0), ("64:ff9b::/96", 0), ("64:ff9b:1::/48", 0),
    ("2002::/16", 80))]  # fmt: skip


class OutboundError(Exception):
    """A request came to nothing; the message is for people and names the host at most."""


class OutboundRefused(OutboundError):
    """The guard says no, and would say so again."""


class OutboundFailed(OutboundError):
    """The other side was not reached, broke off or was too slow: another try may work."""


@dataclass(frozen=True)
class Reply:
    """`address` is where it came from in the end. Names of headers are in small letters."""

    address: str
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Stream:
    """A reply whose body is read piece by piece."""

    address: str
    status: int
    headers: Mapping[str, str]
    pieces: Iterator[bytes]


@dataclass(frozen=True)
class _Place:
    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port


@dataclass
class _Deadline:
    at: float = field(default_factory=lambda: time.monotonic() + SECONDS)

    def left(self, timeout: float | None = None) -> float:
        seconds = self.at - time.monotonic()
        if seconds <= 0:
            raise httpcore.ReadTimeout("out of time")
        return min(seconds, timeout) if timeout else seconds


def check_address(address: str) -> None:
    """Raises OutboundRefused for what can be said without asking anybody: for forms, before it is kept."""
    place = _place(address)
    literal = _literal(place.host)
    if literal is not None:
        _judge([literal], place.host, place.port)


def send(
    address: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    max_bytes: int = MAX_BYTES,
    seconds: float = SECONDS,
    redirects: int = 0,
) -> Reply:
    """A request and the whole reply, whatever its status. Raises OutboundRefused, OutboundFailed.

    A redirect past `redirects` comes back as it is. On the way to another host no header of the caller goes along.
    """
    with stream(
        address, method=method, headers=headers, body=body, max_bytes=max_bytes, seconds=seconds, redirects=redirects
    ) as reply:
        return Reply(reply.address, reply.status, reply.headers, b"".join(reply.pieces))


@contextmanager
def stream(
    address: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    max_bytes: int = MAX_BYTES,
    seconds: float = SECONDS,
    redirects: int = 0,
) -> Iterator[Stream]:
    """As `send`, with a body that is read as it comes; `seconds` are for all of it."""
    deadline = _Deadline(time.monotonic() + seconds)
    sent = {name.lower(): value for name, value in (headers or {}).items()}
    while True:
        place = _place(address)
        words = partial(_words, place.host, seconds)
        with ExitStack() as stack:
            with words():
                pool = stack.enter_context(_pool(deadline))
                answer = stack.enter_context(
                    pool.stream(
                        method, _url(place), headers=_headers(place, sent), content=body or None,
                        extensions=_timeouts(deadline),
                    )
                )  # fmt: skip
            found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
            if not (redirects and answer.status in MOVED and found.get("location") and method in ("GET", "HEAD")):
                pieces = _pieces(answer.iter_stream(), found, max_bytes, deadline, words)
                yield Stream(address, answer.status, found, pieces)
                return
        address = _next(address, found["location"])
        redirects -= 1
        if _place(address).origin != place.origin:
            sent = {}


def _place(address: str) -> _Place:
    """The parts of an address that is written as addresses are. Raises OutboundRefused."""
    if len(address) > MAX_LENGTH or UNPRINTABLE.search(address):
        words = told("An address has at most %(most)s characters, no spaces and no backslashes.", most=MAX_LENGTH)
        raise OutboundRefused(words)
    try:
        parts = urlsplit(address)
        host = (parts.hostname or "").encode("idna").decode("ascii").lower()
        port = parts.port or {"https": 443}.get(parts.scheme, 80)
        target = quote(parts._replace(scheme="", netloc="", fragment="").geturl(), safe=SAFE) or "/"
    except (ValueError, UnicodeError):
        raise OutboundRefused(told("This is no address as browsers know them: https://host/path.")) from None
    if parts.scheme not in ("http", "https"):
        raise OutboundRefused(told("Only addresses that begin with https:// or http:// are asked."))
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise OutboundRefused(told("The address holds a name or password (before the “@”); leave it out."))
    bare = f"[{host}]" if ":" in host else host
    if not HOST.match(bare):
        raise OutboundRefused(told("The address names no host."))
    return _Place(parts.scheme, host, port, target if target.startswith("/") else f"/{target}")


def _literal(host: str) -> Address | None:
    """The address that a host is written as; None for a name. Other ways to write numbers are refused."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    if NUMBER.match(host.rstrip(".").rpartition(".")[2]):
        raise OutboundRefused(told("%(host)s is a number in disguise; write the address as 203.0.113.7.", host=host))
    return None


def _judge(addresses: Iterable[Address], host: str, port: int) -> None:
    """All addresses of a name have to be public: one that is not is a trap. Raises OutboundRefused."""
    is_allowed = True
    for address in addresses:
        meant = {address, *_carried(address)}
        if meant & METADATA:
            raise OutboundRefused(told("%(host)s is where clouds keep the secrets of their machines.", host=host))
        if any(any(one in network for network in _allowed()) for one in meant):
            continue
        is_allowed = False
        for one in meant:
            is_local = not one.is_global or getattr(one, "is_site_local", False)
            if is_local or one.is_multicast or (one.is_reserved and one not in NAT64):
                words = told(
                    "%(host)s is in a network of the server's own (%(kind)s). "
                    "An operator may allow it by OUTBOUND_NETWORKS.",
                    host=host,
                    kind=_kind(one),
                )
                raise OutboundRefused(words)
    if not is_allowed and port < 1024 and port not in PORTS_BELOW_1024:
        words = told("Port %(port)s is not for web pages; 80, 443 and those from 1024 on are asked.", port=str(port))
        raise OutboundRefused(words)


def _kind(address: Address) -> str:
    for name in ("unspecified", "loopback", "link_local", "multicast", "private"):
        if getattr(address, f"is_{name}"):
            return name.replace("_", "-")
    return "not public"


def _carried(address: Address) -> list[Address]:
    """Addresses of IPv4 inside one of IPv6: mapped, compatible, translated, NAT64, 6to4."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    number = int(address)
    carried: list[Address] = [
        ipaddress.IPv4Address(number >> shift & 0xFFFFFFFF)
        for network, shift in CARRIERS
        if address in network and number > 1
    ]
    if address.teredo:
        carried += address.teredo
    return carried


@cache
def _networks(texts: tuple[str, ...]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return [ipaddress.ip_network(text.strip()) for text in texts if text.strip()]


def _allowed() -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return _networks(tuple(settings.OUTBOUND_NETWORKS))


def _addresses(host: str, port: int) -> list[Address]:
    literal = _literal(host)
    if literal is not None:
        return [literal]
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise OutboundFailed(told("There is no host named %(host)s.", host=host.rstrip("."))) from None
    return list(dict.fromkeys(ipaddress.ip_address(str(entry[4][0])) for entry in found))


class _Backend(httpcore.SyncBackend):
    """Resolves, judges and connects, in one place and to one address."""

    def __init__(self, deadline: _Deadline) -> None:
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = _addresses(host, port)
        _judge(addresses, host, port)
        for address in addresses[:-1]:
            try:
                return self._connect(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._connect(addresses[-1], port, timeout, local_address, socket_options)

    def _connect(
        self,
        address: Address,
        port: int,
        timeout: float | None,
        local_address: str | None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None,
    ) -> httpcore.NetworkStream:
        left = self._deadline.left(timeout)
        raw = super().connect_tcp(str(address), port, left, local_address, socket_options)
        return _InTime(raw, self._deadline)

    def connect_unix_socket(self, *_: object, **__: object) -> httpcore.NetworkStream:
        raise OutboundRefused(told("Sockets of this machine are not asked."))


class _InTime(httpcore.NetworkStream):
    """Ends at the deadline, however slowly the other side drips."""

    def __init__(self, raw: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._raw, self._deadline = raw, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._raw.read(max_bytes, self._deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._raw.write(buffer, self._deadline.left(timeout))

    def close(self) -> None:
        self._raw.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _InTime(self._raw.start_tls(ssl_context, server_hostname, self._deadline.left(timeout)), self._deadline)

    def get_extra_info(self, info: str) -> object:
        return self._raw.get_extra_info(info)


@cache
def _certificates() -> ssl.SSLContext:
    return ssl.create_default_context()


def _pool(deadline: _Deadline) -> httpcore.ConnectionPool:
    return httpcore.ConnectionPool(
        ssl_context=_certificates(), max_connections=1, max_keepalive_connections=0, network_backend=_Backend(deadline)
    )


def _url(place: _Place) -> httpcore.URL:
    return httpcore.URL(scheme=place.scheme, host=place.host, port=place.port, target=place.target)


def _timeouts(deadline: _Deadline) -> dict[str, dict[str, float]]:
    left = deadline.left()
    return {"timeout": {"connect": min(CONNECT_SECONDS, left), "read": left, "write": left, "pool": left}}


def _headers(place: _Place, sent: Mapping[str, str]) -> list[tuple[str, str]]:
    host = f"[{place.host}]" if ":" in place.host else place.host
    if place.port != {"https": 443}.get(place.scheme, 80):
        host = f"{host}:{place.port}"
    own = {"host": host, "accept-encoding": "identity", "user-agent": "PlusMinus", "connection": "close"}
    return [*(own | {name: value for name, value in sent.items() if name not in ("host", "cookie")}).items()]


def _pieces(
    pieces: Iterator[bytes],
    headers: Mapping[str, str],
    max_bytes: int,
    deadline: _Deadline,
    words: Callable[[], AbstractContextManager[None]],
) -> Iterator[bytes]:
    too_large = told("The reply is larger than %(most)s MiB.", most=amount(max_bytes / 2**20, 1))
    length = headers.get("content-length", "")
    if length.isdecimal() and len(length) < 19 and int(length) > max_bytes:
        raise OutboundRefused(too_large)
    if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise OutboundRefused(told("The reply is packed, though it was asked for as it is."))
    total = 0
    while True:
        with words():
            deadline.left()
            piece = next(pieces, b"")
        if not piece:
            return
        total += len(piece)
        if total > max_bytes:
            raise OutboundRefused(too_large)
        yield piece


def _next(address: str, location: str) -> str:
    following = urljoin(address, location)
    if address.startswith("https:") and following.startswith("http:"):
        raise OutboundRefused(told("The address leads from https:// to http://, where anybody may listen."))
    return following


@contextmanager
def _words(host: str, seconds: float) -> Iterator[None]:
    try:
        yield
    except httpcore.TimeoutException:
        words = told("%(host)s did not answer within %(seconds)s seconds.", host=host, seconds=f"{seconds:g}")
        raise OutboundFailed(words) from None
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ConnectionNotAvailable, OSError) as error:
        untrusted = told("%(host)s has no certificate that this server trusts, or broke off.", host=host)
        away = told("%(host)s was not reached, or broke off.", host=host)
        raise OutboundFailed(untrusted if "CERTIFICATE" in str(error) else away) from None
