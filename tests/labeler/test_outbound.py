"""The guard of requests to addresses that somebody typed."""

from __future__ import annotations

import http.server
import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import unquote

import pytest

from labeler import outbound
from labeler.outbound import OutboundFailed, OutboundRefused, check_address, send, stream

INSIDE = [
    "http://127.0.0.1/", "http://127.8.9.1/", "http://[::1]/", "http://0.0.0.0/", "http://[::]/",
    "http://10.0.0.8/", "http://172.16.3.4/", "http://192.168.1.1/", "http://100.64.0.1/", "http://169.254.1.1/",
    "http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://[fe80::1]/", "http://[fc00::7]/",
    "http://224.0.0.1/", "http://[ff02::1]/", "http://255.255.255.255/", "http://240.0.0.1/", "http://198.18.0.1/",
    "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[::127.0.0.1]/", "http://[::ffff:0:10.0.0.1]/",
    "http://[64:ff9b::127.0.0.1]/", "http://[64:ff9b::a9fe:a9fe]/", "http://[64:ff9b:1::10.0.0.1]/",
    "http://[2002:7f00:1::]/", "http://[2002:a00:1::1]/", "http://[2001:0:7f00:1::1]/", "http://[fec0::1]/",
]  # fmt: skip
DISGUISED = [
    "http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/", "http://0x7f.0.0.1/", "http://127.1/",
    "http://127.0.1/", "http://017700000001/", "http://0/", "http://127.0.0.1./", "http://１２７.０.０.１/",
    "http://①②⑦.0.0.1/", "http://0x/", "http://1.2.3.4.5/",
]  # fmt: skip
MISSHAPEN = [
    "file:///etc/passwd", "ftp://example.org/", "gopher://example.org/", "javascript:alert(1)", "//example.org/",
    "example.org", "", "http://", "http:///path", "http://user:hunter2@example.org/", "http://user@example.org/",
    "http://example.org\\@127.0.0.1/", "http://exa mple.org/", "http://example.org/\r\nHost: inside", "http://[::1",
    "http://example.org:99999/", "http://example.org:x/", "http://exam<ple.org/", "http://" + "a" * 3000 + ".org/",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE + DISGUISED + MISSHAPEN)
def test_what_can_be_said_without_asking_is_refused(address):
    with pytest.raises(OutboundRefused) as refusal:
        check_address(address)
    assert "hunter2" not in str(refusal.value)
    with pytest.raises(OutboundRefused):
        send(address)


@pytest.mark.parametrize("port", [22, 25, 53, 445, 993])
def test_ports_of_other_services_are_refused(port):
    with pytest.raises(OutboundRefused, match=f"Port {port}"):
        check_address(f"http://93.184.216.34:{port}/")


@pytest.mark.parametrize(
    "address",
    ["https://example.org/a.jpg?x=1#part", "http://93.184.216.34:8080/", "http://[2606:4700::1111]/",
     "https://bücher.example/ü.png", "http://[64:ff9b::93.184.216.34]/"],
)  # fmt: skip
def test_public_addresses_are_fine(address):
    check_address(address)


def resolves(monkeypatch, *answers: list[str]) -> list[str]:
    """Names resolve to one list of addresses after another, the last for ever; connections are noted."""
    left, connected = list(answers), []

    real_lookup = socket.getaddrinfo

    def getaddrinfo(host, port, *rest, **more):
        if not host.endswith(".example"):
            return real_lookup(host, port, *rest, **more)
        found = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, port)) for text in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    real = outbound._Backend._connect

    def connect(self, address, *rest):
        connected.append(str(address))
        return real(self, ipaddress.ip_address("127.0.0.1"), *rest)

    monkeypatch.setattr(outbound._Backend, "_connect", connect)
    return connected


@pytest.mark.parametrize("answer", [["10.0.0.1"], ["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["::1"],
                                    ["::ffff:192.168.0.1"], ["169.254.169.254"]])  # fmt: skip
def test_a_name_that_leads_inside_is_refused(monkeypatch, answer):
    connected = resolves(monkeypatch, answer)
    with pytest.raises(OutboundRefused):
        send("http://innocent.example/")
    assert connected == []


def test_the_connection_goes_to_the_address_that_was_judged(monkeypatch, site):
    """A name that means something else from one moment to the next (rebinding) is resolved once a connection."""
    connected = resolves(monkeypatch, ["93.184.216.34"], ["127.0.0.1"])
    address = f"http://rebinding.example:{site.server_port}/plain"
    assert send(address).body == b"plain"
    assert connected == ["93.184.216.34"]
    with pytest.raises(OutboundRefused):
        send(address)
    assert connected == ["93.184.216.34"]


class Site(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.seen.append((self.path, dict(self.headers)))
        act = self.path.strip("/").partition("/")
        if act[0] == "to":
            self._reply(302, b"", {"Location": unquote(act[2]).replace("|", "/")})
        elif act[0] == "loop":
            self._reply(302, b"", {"Location": "/loop"})
        elif act[0] == "big":
            self._reply(200, b"x" * 5000, {})
        elif act[0] == "endless":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self._drip(b"400\r\n" + b"x" * 1024 + b"\r\n", 0)
        elif act[0] == "slow":
            self._drip(b"HTTP/1.1 200 OK\r\nX-Drip: ", 0.05)
        elif act[0] == "packed":
            self._reply(200, b"x", {"Content-Encoding": "gzip"})
        elif act[0] == "cookie":
            self._reply(302, b"", {"Set-Cookie": "a=b", "Location": "/plain"})
        else:
            self._reply(200, b"plain", {"X-Kind": "text"})

    do_POST = do_GET  # noqa: N815

    def _drip(self, data: bytes, pause: float):
        try:
            for _ in range(5000):
                self.wfile.write(data if not pause else data[:1])
                time.sleep(pause)
        except OSError:
            self.close_connection = True

    def _reply(self, status, body, headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve() -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.seen = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def site() -> Iterator[http.server.ThreadingHTTPServer]:
    yield from serve()


@pytest.fixture
def other_site() -> Iterator[http.server.ThreadingHTTPServer]:
    yield from serve()


@pytest.fixture
def at(site, settings) -> str:
    """The site's address, in a network that an operator has allowed."""
    settings.OUTBOUND_NETWORKS = ["127.0.0.0/8"]
    return f"http://127.0.0.1:{site.server_port}"


def test_an_operator_may_allow_a_network(site, at, settings):
    reply = send(f"{at}/plain")
    assert (reply.status, reply.body, reply.headers["x-kind"]) == (200, b"plain", "text")
    settings.OUTBOUND_NETWORKS = ["10.0.0.0/8"]
    with pytest.raises(OutboundRefused, match="OUTBOUND_NETWORKS"):
        send(f"{at}/plain")


def test_metadata_addresses_stay_refused(settings):
    settings.OUTBOUND_NETWORKS = ["0.0.0.0/0", "::/0"]
    with pytest.raises(OutboundRefused, match="secrets"):
        send("http://169.254.169.254/latest/")


@pytest.mark.parametrize(
    "target",
    ["http:||10.0.0.1|", "file:|||etc|passwd", "http:||169.254.169.254|", "http:||[::1]|", "http:||a:b@example.org|"],
)
def test_every_redirect_is_judged(at, target):
    with pytest.raises(OutboundRefused):
        send(f"{at}/to/{target}", redirects=3)


def test_redirects_are_followed_as_often_as_was_said(site, at):
    assert send(f"{at}/to/|plain", redirects=1).body == b"plain"
    assert send(f"{at}/to/|plain").status == 302
    assert send(f"{at}/loop", redirects=4).status == 302
    assert len([path for path, _ in site.seen if path == "/loop"]) == 5


def test_nothing_is_passed_on_to_another_host(site, other_site, at):
    elsewhere = f"http:||127.0.0.1:{other_site.server_port}|plain"
    send(f"{at}/to/{elsewhere}", headers={"Authorization": "secret", "Cookie": "c"}, redirects=2)
    ((_, first),), ((_, second),) = site.seen, other_site.seen
    first, second = ({name.lower(): value for name, value in headers.items()} for headers in (first, second))
    assert first["authorization"] == "secret"
    assert "authorization" not in second
    assert "cookie" not in first
    assert second["host"] == f"127.0.0.1:{other_site.server_port}"


def test_cookies_are_not_kept(site, at):
    send(f"{at}/cookie", redirects=1)
    send(f"{at}/plain")
    assert all("cookie" not in {name.lower() for name in headers} for _, headers in site.seen)


@pytest.mark.parametrize("path", ["big", "endless"])
def test_a_reply_ends_at_its_limit(at, path):
    with pytest.raises(OutboundRefused, match="larger"):
        send(f"{at}/{path}", max_bytes=2000)


def test_a_reply_that_drips_ends_in_time(at):
    since = time.monotonic()
    with pytest.raises(OutboundFailed, match="did not answer"):
        send(f"{at}/slow", seconds=0.6)
    assert time.monotonic() - since < 5


def test_a_packed_reply_is_refused(at):
    with pytest.raises(OutboundRefused, match="packed"):
        send(f"{at}/packed")


def test_a_body_is_sent_and_whoever_is_not_there_is_named(site, at):
    assert send(f"{at}/plain", method="POST", body=b"{}", headers={"Content-Type": "application/json"}).status == 200
    assert site.seen[0][1]["Content-Length"] == "2"
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))
    with pytest.raises(OutboundFailed, match=r"127\.0\.0\.1 was not reached"):
        send(f"http://127.0.0.1:{closed.getsockname()[1]}/")


def test_what_goes_wrong_with_whoever_reads_is_theirs(at):
    with pytest.raises(OSError, match="full"), stream(f"{at}/plain") as reply:
        for _ in reply.pieces:
            raise OSError("disk full")


def test_proxies_of_the_environment_are_not_asked(at, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert send(f"{at}/plain").body == b"plain"
