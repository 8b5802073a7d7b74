"""A small SMTP server on the loopback for tests: it takes mail, refuses it, or falls silent where a test says so."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from enum import Enum


class Mood(Enum):
    TAKES = "takes what it gets"
    NO_SUCH_PERSON = "knows no recipient"
    REFUSES_DATA = "refuses the letter when it has it"
    BUSY = "sends everybody away"
    SILENT = "takes the connection and says nothing"
    SILENT_AFTER_DATA = "takes the letter and says nothing"
    HANGS_UP = "ends the connection in the middle"


class MailServer:
    """`received`: what was taken, in order; `connections`: how often somebody came."""

    def __init__(self) -> None:
        self.mood = Mood.TAKES
        self.received: list[EmailMessage] = []
        self.connections = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mood is Mood.SILENT:
            await reader.read()  # until the other side gives up
            return
        writer.write(b"421 too many connections\r\n" if self.mood is Mood.BUSY else b"220 here\r\n")
        await writer.drain()
        while self.mood is not Mood.BUSY and (line := await reader.readline()):
            command = line.decode().strip().upper()
            answer = self._answer(command)
            writer.write(answer)
            await writer.drain()
            if command == "DATA":
                letter = await reader.readuntil(b"\r\n.\r\n")
                if self.mood is Mood.SILENT_AFTER_DATA:
                    await reader.read()
                    return
                writer.write(self._taken(letter))
                await writer.drain()
            if not answer or command == "QUIT":
                return

    def _answer(self, command: str) -> bytes:
        """Nothing: the connection ends."""
        if command.startswith("MAIL") and self.mood is Mood.HANGS_UP:
            return b""
        if command.startswith("RCPT") and self.mood is Mood.NO_SUCH_PERSON:
            return b"550 no such mailbox here\r\n"
        return {"DATA": b"354 go on\r\n", "QUIT": b"221 bye\r\n"}.get(command, b"250 ok\r\n")

    def _taken(self, letter: bytes) -> bytes:
        if self.mood is Mood.REFUSES_DATA:
            return b"554 it looks like spam\r\n"
        self.received.append(message_from_bytes(letter[: -len(b".\r\n")], policy=policy.default))
        return b"250 taken\r\n"


@contextmanager
def mail_server() -> Iterator[MailServer]:
    server, started, loop = MailServer(), threading.Event(), asyncio.new_event_loop()

    async def run() -> None:
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        server.port = listening.sockets[0].getsockname()[1]
        started.set()

    def forever() -> None:
        loop.create_task(run())
        loop.run_forever()

    thread = threading.Thread(target=forever, daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
