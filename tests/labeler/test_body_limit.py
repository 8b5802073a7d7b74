"""How much a request may bring is decided by its headers, before a byte of the body is read."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from django.test import Client
from django.urls import reverse

from benchmarks.servers import manage, web_server

MULTIPART = "multipart/form-data; boundary=x"
HUGE = 400 * 2**20


class Unread:
    """A body that must not be touched."""

    def read(self, *_: object) -> bytes:
        raise AssertionError("the body was read")

    readline = read


def announce(client: Client, url: str, size: int, **extra):
    """Say that `size` bytes come, and fail when they are read."""
    environ = {"wsgi.input": Unread(), "CONTENT_LENGTH": str(size), "CONTENT_TYPE": MULTIPART}
    return client.generic("POST", url, **environ, **{"HTTP_ACCEPT": "application/json", **extra})


@pytest.mark.django_db
@pytest.mark.parametrize("url", ["/login/", "/invite/x/", "/admin/login/", "/p/signs/imports/new/", "/health"])
def test_who_is_signed_out_sends_little_anywhere(project, url: str) -> None:
    reply = announce(Client(enforce_csrf_checks=True), url, HUGE)
    assert reply.status_code == 413
    assert "400.0\xa0MB; at most 64.0\xa0KB are taken here from who is not signed in" in reply.json()["error"]


@pytest.mark.django_db
def test_a_browser_gets_a_page(project) -> None:
    reply = Client().post("/login/", "x" * 70_000, content_type=MULTIPART, headers={"accept": "text/html"})
    assert reply.status_code == 413
    assert "<h1>That did not work</h1>" in reply.content.decode()


def test_who_is_signed_in_sends_what_the_view_takes(project, manager, client_of, settings) -> None:
    settings.FORM_UPLOAD_MAX_BYTES = 50 * 2**20
    client = client_of(manager)
    assert announce(client, reverse("project-new"), 3 * 2**20).status_code == 413
    assert announce(client, reverse("import-part", args=["signs", 1]), 11 * 2**20).status_code == 413
    assert announce(client, reverse("import-new", args=["signs"]), 51 * 2**20).status_code == 413
    with pytest.raises(AssertionError, match="the body was read"):
        announce(client, reverse("import-new", args=["signs"]), 49 * 2**20, HTTP_ACCEPT="text/html")


@pytest.mark.django_db
def test_who_does_not_say_how_long_it_is_is_asked_to() -> None:
    reply = announce(Client(), "/login/", 0, HTTP_TRANSFER_ENCODING="chunked")
    assert reply.status_code == 411
    assert "Content-Length" in reply.json()["error"]


def test_the_largest_forms_fit(project, manager, client_of) -> None:
    """A thousand classes of a hundred letters that take nine bytes each in a form."""
    names = "\n".join(f"{number:04}{'語' * 96}" for number in range(1000))
    reply = client_of(manager).post(reverse("project-new"), {"name": "Large", "classes": names, "guidelines": ""})
    assert reply.status_code == 302


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    folder = tmp_path_factory.mktemp("site")
    env = {"DATA_DIR": str(folder), "DATABASE_URL": "", "STATIC_ROOT": str(folder)}
    manage(env, "migrate", "--verbosity", "0")
    server = web_server(env, log=folder / "web.log")
    server.start()
    address = urlsplit(server.url)
    yield str(address.hostname), int(address.port or 0)
    server.stop()


@pytest.mark.parametrize(
    ("header", "status"), [(f"Content-Length: {HUGE}", b"413"), ("Transfer-Encoding: chunked", b"411")]
)
def test_a_real_server_answers_before_the_body_comes(site: tuple[str, int], header: str, status: bytes) -> None:
    with socket.create_connection(site, timeout=20) as connection:
        lines = [
            "POST /login/ HTTP/1.1",
            "Host: 127.0.0.1",
            "Accept: application/json",
            f"Content-Type: {MULTIPART}",
            header,
            "",
            "",
        ]
        connection.sendall("\r\n".join(lines).encode())
        assert connection.recv(200).split()[1] == status
