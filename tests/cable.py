"""A network cable between a process and a server, which a test can pull and plug in again.

While it is pulled nothing passes and nothing is refused, as on a real one: connections hang, new ones are not answered.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit


class Cable:
    """Listens on a port of its own and passes everything on to another."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.whole = threading.Event()
        self.whole.set()
        self.is_open = True
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def pull(self) -> None:
        self.whole.clear()

    def plug_in(self) -> None:
        self.whole.set()

    def close(self) -> None:
        self.is_open = False
        self.whole.set()
        self.listener.close()

    def instead_of(self, url: str) -> str:
        """The address by way of this cable, also where it stands inside of another one."""
        return url.replace(f":{self.target}", f":{self.port}")

    def _accept(self) -> None:
        while self.is_open:
            try:
                here, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=(here,), daemon=True).start()

    def _join(self, here: socket.socket) -> None:
        self.whole.wait()
        try:
            there = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            here.close()
            return
        threading.Thread(target=self._pass, args=(there, here), daemon=True).start()
        self._pass(here, there)

    def _pass(self, source: socket.socket, to: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self.whole.wait()
                to.sendall(data)
        for each in (source, to):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextmanager
def cables(*urls: str) -> Iterator[tuple[list[Cable], list[str]]]:
    """A cable to each of the servers, and their addresses by way of them."""
    made = [Cable(port_of(url)) for url in urls]
    try:
        yield made, [cable.instead_of(url) for cable, url in zip(made, urls, strict=True)]
    finally:
        for cable in made:
            cable.close()


def port_of(url: str) -> int:
    parts = urlsplit(url)
    if parts.scheme == "s3":
        return port_of(parts.query.partition("endpoint=")[2])
    assert parts.port is not None, urlunsplit(parts)
    return parts.port
