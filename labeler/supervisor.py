"""Runs the processes of the Procfile as one: starts them, starts again what ends, stops all of them together.

Not PyPI's supervisor or honcho, because of what must hold after any single process is killed:

- A dead gunicorn or celery leaves forked workers behind, which hold the port or go on with a task. Each process leads a
  group of its own here, and what is left of the group is killed before the next start. (supervisor restarts beside it;
  honcho does not restart.)
- If this process itself is killed, the others are told to end (Linux), and wherever some live on, the lock that they
  inherited keeps a second set from starting beside them. (supervisor's orphans go on unseen.)
- A process that hangs has not ended. One that has shown a pulse (labeler/pulse.py) and shows none for HUNG_SECONDS is
  killed, and so started again.

One thread: output is read, and deaths are noticed, in one loop.
"""

from __future__ import annotations

import ctypes
import fcntl
import logging
import os
import re
import selectors
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO

from labeler.disk import is_of_full_disk
from labeler.pulse import VARIABLE, Pulse

STEADY_SECONDS = 10.0  # a process that lived this long is started again at once
LONGEST_PAUSE = 10.0
HUNG_SECONDS = 120.0
STOP_SIGNALS = ((0.0, signal.SIGTERM), (2.0, signal.SIGQUIT), (5.0, signal.SIGKILL))  # celery drops its task at SIGQUIT
LOG_BYTES = 5 * 1024**2
IMPORTANT = re.compile(r"\b(ERROR|CRITICAL)\b")
FULL = re.compile(r"disk is full|No space left on device")  # the words of SQLite and of the system
CALM_SECONDS = 30.0  # nothing failed for want of room for so long: there is some again
FULL_WORDS = (
    "The disk is full: nothing is saved, answers wait in people's browsers. Make room; the rest goes on by itself."
)
ROOM_WORDS = "The disk takes data again."


class AlreadyRunning(Exception):
    """Another supervisor, or a process that one left behind, works on this data folder."""


def read_procfile(path: Path) -> dict[str, list[str]]:
    """Name to command, in the file's order. The commands need no shell."""
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.partition(":") for line in lines if line and not line.startswith("#"))
    return {name.strip(): shlex.split(command) for name, _, command in pairs}


@contextmanager
def only_one(lock: Path, *, patience: float = 5.0) -> Iterator[int]:
    """Hold `lock` and yield its descriptor, for children to inherit. AlreadyRunning if it is held after `patience`."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+") as file:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    file.seek(0)
                    raise AlreadyRunning(file.read().strip()) from error
                time.sleep(0.1)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield file.fileno()


class Log(RotatingFileHandler):
    """A file that starts anew at LOG_BYTES. What could not be written is lost, and `problem` says why."""

    problem: BaseException | None = None

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802  (logging's name)
        self.problem = sys.exception()
        stream, self.stream = self.stream, None  # opened anew at the next line: this one may be closed by half
        if stream is not None:
            with suppress(OSError, ValueError):
                stream.close()

    def write(self, text: str) -> BaseException | None:
        self.problem = None
        self.emit(logging.makeLogRecord({"msg": text}))
        return self.problem


@dataclass
class Program:
    """One line of the Procfile, and the process that runs it just now."""

    name: str
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    pulse: Pulse | None = None
    started_at: float = 0.0
    start_at: float = 0.0  # due then; by the monotonic clock
    failures: int = 0
    partial: bytes = field(default=b"", repr=False)


class Supervisor:
    """`run` starts the programs and returns once `stop` was called, or a signal came, and all of them have ended."""

    def __init__(
        self,
        commands: Mapping[str, list[str]],
        *,
        folder: Path,
        logs: Path,
        env: Mapping[str, str],
        say: Callable[[str], None],
        lock: int | None = None,
        apart: float = 0.0,
    ) -> None:
        """`apart`: seconds between the first start of one program and that of the next, so that the first, for which
        people wait, does not share the processor with all."""
        now = time.monotonic()
        self.programs = [
            Program(name, command, start_at=now + apart * index)
            for index, (name, command) in enumerate(commands.items())
        ]
        self.folder = folder
        self.env = {**env, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', '')}"}
        self.say = say
        self.lock = lock
        self.is_stopping = False
        self.why = ""
        self.trouble = ""  # what has been said once of a disk that takes nothing, until it takes something again
        self.troubled_at = 0.0
        self.selector = selectors.DefaultSelector()
        logs.mkdir(parents=True, exist_ok=True)
        self.logs = {name: Log(logs / f"{name}.log", maxBytes=LOG_BYTES, backupCount=3) for name in commands}

    def run(self, tick: Callable[[], None] = lambda: None) -> None:
        """Blocks. `tick` is called about five times a second."""
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._on_signal) for number in signals}
        try:
            while not self.is_stopping:
                for program in self.programs:
                    self._keep_alive(program)
                self._read(0.2)
                self._see_room()
                if not self.is_stopping:
                    tick()
        finally:
            self.say(f"Stopping{self.why} …")
            self._end_all()
            for number, handler in before.items():
                signal.signal(number, handler)

    def stop(self) -> None:
        self.is_stopping = True

    def _on_signal(self, number: int, _frame: object) -> None:
        if number != signal.SIGINT:  # Ctrl+C needs no explanation
            self.why = f" ({signal.Signals(number).name} came)"
        self.stop()

    def _keep_alive(self, program: Program) -> None:
        now = time.monotonic()
        if program.process is not None and program.process.poll() is not None:
            lived = now - program.started_at
            program.failures = 0 if lived > STEADY_SECONDS else program.failures + 1
            pause = 0.0 if program.failures < 2 else min(2.0 ** (program.failures - 2), LONGEST_PAUSE)
            program.start_at = now + pause
            words = f"starting it again{f' in {pause:.0f} s' if pause else ''}"
            ended = how_it_ended(program.process.returncode)
            self._say_unless_troubled(f"{program.name} {ended}; {words}. See {self._log(program)}")
            self._forget(program)
        if program.process is not None and program.pulse is not None and program.pulse.silence() > HUNG_SECONDS:
            self.say(f"{program.name} hangs: no sign of life for {HUNG_SECONDS:.0f} s. Ending it")
            program.process.kill()
            with suppress(subprocess.TimeoutExpired):
                program.process.wait(LONGEST_PAUSE)
        if program.process is None and now >= program.start_at and not self.is_stopping:
            self._start(program)

    def _start(self, program: Program) -> None:
        program.pulse = Pulse()
        program.process = subprocess.Popen(  # noqa: S603  (the Procfile's commands)
            program.command,
            cwd=self.folder,
            env={**self.env, VARIABLE: str(program.pulse.pipe)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl+C reaches this process alone, and it stops the others in order
            pass_fds=(program.pulse.pipe, *(() if self.lock is None else (self.lock,))),
            preexec_fn=end_with_parent,  # noqa: PLW1509  (one thread, and it only makes a system call)
        )
        program.pulse.hand_over()
        program.started_at = time.monotonic()
        output = output_of(program)
        os.set_blocking(output.fileno(), False)
        self.selector.register(output, selectors.EVENT_READ, program)

    def _forget(self, program: Program) -> None:
        """Kill what the process left of its group, keep its last words, and close its output."""
        assert program.process is not None and program.pulse is not None
        with suppress(ProcessLookupError, PermissionError):  # macOS says EPERM for a group of zombies
            os.killpg(program.process.pid, signal.SIGKILL)
        self._take(program)
        if program.partial:
            self._write(program, program.partial)
            program.partial = b""
        self.selector.unregister(output_of(program))
        output_of(program).close()
        program.pulse.close()
        program.process = program.pulse = None

    def _end_all(self) -> None:
        """Ask politely, then less so (STOP_SIGNALS). Each is asked by its main process; the last signal is for all."""
        begin = time.monotonic()
        steps = list(STOP_SIGNALS)
        while running := [program for program in self.programs if program.process is not None]:
            if steps and time.monotonic() - begin >= steps[0][0]:
                _, number = steps.pop(0)
                for program in running:
                    with suppress(ProcessLookupError):
                        program.process.send_signal(number)  # type: ignore[union-attr]
            self._read(0.05)
            for program in running:
                if program.process is not None and program.process.poll() is not None:
                    self._forget(program)
        self.selector.close()
        for handler in self.logs.values():
            handler.close()

    def _read(self, seconds: float) -> None:
        if not self.selector.get_map():
            time.sleep(seconds)
            return
        for key, _ in self.selector.select(seconds):
            if not self._take(key.data):
                time.sleep(seconds)  # its end of the pipe is closed: the next poll sees why

    def _take(self, program: Program) -> bool:
        """Log what the process has written; False at the end of its output."""
        try:
            data = os.read(output_of(program).fileno(), 65536)
        except BlockingIOError:
            return True
        *lines, program.partial = (program.partial + data).split(b"\n")
        for line in lines:
            self._write(program, line)
        return bool(data)

    def _write(self, program: Program, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        problem = self.logs[program.name].write(text) if text else None
        if FULL.search(text) or is_of_full_disk(problem):
            self._note_trouble(FULL_WORDS)
        elif problem is not None:
            self._note_trouble(f"The logs cannot be written: {problem}")
        elif IMPORTANT.search(text):
            self._say_unless_troubled(f"{program.name} | {text}")

    def _note_trouble(self, words: str) -> None:
        if words != self.trouble and not self.is_stopping:
            self.say(words)
        self.trouble, self.troubled_at = words, time.monotonic()

    def _see_room(self) -> None:
        if self.trouble and time.monotonic() - self.troubled_at > CALM_SECONDS:
            self.say(ROOM_WORDS)
            self.trouble = ""

    def _say_unless_troubled(self, words: str) -> None:
        """Of a full disk every process complains every few seconds: it has been said."""
        if not self.trouble and not self.is_stopping:
            self.say(words)

    def _log(self, program: Program) -> str:
        return self.logs[program.name].baseFilename


def output_of(program: Program) -> IO[bytes]:
    assert program.process is not None and program.process.stdout is not None
    return program.process.stdout


def how_it_ended(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """In the child, before exec: the kernel sends it SIGTERM when its parent is gone."""
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
