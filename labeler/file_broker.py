"""The broker of one machine, a folder: kombu's own, with messages that appear whole.

kombu opens the file of a message (and that of an exchange) before it writes it. A worker that looks into the folder in
between reads nothing where it expects JSON, and ends.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kombu.exceptions import ChannelError
from kombu.transport import filesystem
from kombu.utils.json import dumps

logger = logging.getLogger(__name__)

PATIENCE_SECONDS, PAUSE_SECONDS = 2.0, 0.02
LONGEST_DRAIN_SECONDS = 0.3


class Channel(filesystem.Channel):  # type: ignore[misc]
    """Reads and writes the folder."""

    def _put(self, queue: str, payload: dict[str, Any], **_kwargs: object) -> None:
        """Under another name first: what does not end in the queue's name is nobody's message."""
        folder, key = Path(self.data_folder_out), uuid.uuid4()
        part = folder / f"{key}.part"
        try:
            part.write_text(dumps(payload))
            part.replace(folder / f"{round(time.monotonic() * 1000)}_{key}.{queue}.msg")
        except OSError as error:
            part.unlink(missing_ok=True)
            raise ChannelError(f"a message could not be written to {folder}: {error}") from error

    def _get(self, queue: str) -> Any:
        """One that is damaged is passed over: the sweep sends it again."""
        while True:
            try:
                return super()._get(queue)
            except ValueError as error:
                logger.warning("A message of the queue %s is damaged and passed over: %s", queue, error)

    def get_table(self, exchange: str) -> Any:
        return _once_whole(lambda: super(Channel, self).get_table(exchange))

    def _queue_bind(self, *args: Any) -> None:
        _once_whole(lambda: super(Channel, self)._queue_bind(*args))


class Transport(filesystem.Transport):  # type: ignore[misc]
    """What `folder://` means in a broker's address; see labeler/celery.py."""

    Channel = Channel

    def drain_events(self, connection: Any, timeout: float | None = None) -> None:
        """Celery asks for two seconds, and sees only afterwards that it is to end."""
        longest = LONGEST_DRAIN_SECONDS if timeout is None else min(timeout, LONGEST_DRAIN_SECONDS)
        super().drain_events(connection, timeout=longest)


def _once_whole(read: Callable[[], Any]) -> Any:
    """Another process may just be writing it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return read()
        except ValueError as error:
            if time.monotonic() > deadline:
                raise ChannelError(f"the broker's folder is damaged: {error}") from error
            time.sleep(PAUSE_SECONDS)
