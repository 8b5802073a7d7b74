"""A byte in a pipe now and then: by this a supervisor tells a process that works for long from one that hangs.

It is a thread of its own that touches neither database nor disk, so that nothing but a process that gets no time at all
(stopped, or deadlocked as a whole) falls silent.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress

VARIABLE = "PULSE_PIPE"  # set by the supervisor for each of its processes
SECONDS = 5.0
LONGEST_STEP = 1.0


def start_pulse() -> None:
    """In a process of the supervisor. Started otherwise, nobody listens, and nothing happens."""
    if pipe := os.environ.get(VARIABLE):
        threading.Thread(target=_beat, args=(int(pipe),), name="pulse", daemon=True).start()


def _beat(pipe: int) -> None:
    while True:
        with suppress(BlockingIOError):  # nobody has read for days
            os.write(pipe, b".")
        time.sleep(SECONDS)


class Pulse:
    """The supervisor's end of the pipe. `pipe` is for the process to inherit."""

    def __init__(self) -> None:
        self.felt, self.pipe = os.pipe()
        for end in (self.felt, self.pipe):
            os.set_blocking(end, False)
        self._silent: float | None = None
        self._asked_at = time.monotonic()

    def hand_over(self) -> None:
        """The process has its end: this one lets go of it."""
        os.close(self.pipe)

    def silence(self) -> float:
        """Seconds since the last beat; 0 for a process that has never shown one.

        Only time is counted in which the caller itself went on asking. Where all of a machine slept or was stopped,
        nobody's silence means anything.
        """
        now = time.monotonic()
        step, self._asked_at = min(now - self._asked_at, LONGEST_STEP), now
        try:
            is_felt = bool(os.read(self.felt, 4096))
        except BlockingIOError:
            is_felt = False
        if is_felt:
            self._silent = 0.0
        elif self._silent is not None:
            self._silent += step
        return self._silent or 0.0

    def close(self) -> None:
        os.close(self.felt)
