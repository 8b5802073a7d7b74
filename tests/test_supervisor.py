"""The supervisor with small programs: what ends is started again, what it left behind goes, all stop together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from labeler.pulse import Pulse
from labeler.supervisor import AlreadyRunning, only_one, read_procfile

ROOT = Path(__file__).resolve().parent.parent
STEADY = (
    "import os, time; open('{mark}', 'a').write(f'{{os.getpid()}}\\n'); print('ready', flush=True); time.sleep(600)"
)
WITH_CHILD = """
import os, time
if os.fork() == 0:
    open('{mark}.child', 'a').write(f'{{os.getpid()}}\\n')
    time.sleep(600)
open('{mark}', 'a').write(f'{{os.getpid()}}\\n')
time.sleep(600)
"""
STUBBORN = """
import os, signal, time
for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
open('{mark}', 'a').write(f'{{os.getpid()}}\\n')
time.sleep(600)
"""
PULSING = """
import os, signal, time
from labeler import pulse
pulse.SECONDS = 0.1
pulse.start_pulse()
open('{mark}', 'a').write(f'{{os.getpid()}}\\n')
if {hangs}:
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGSTOP)
time.sleep(600)
"""
BROKEN = "open('{mark}', 'a').write('1\\n'); raise SystemExit('ERROR cannot start')"


def wait_until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    except OSError:
        return False
    return state != "Z"


class Run:
    def __init__(self, folder: Path, programs: dict[str, str], before: str = "") -> None:
        self.folder = folder
        commands = {name: [sys.executable, "-c", code.format(mark=folder / name)] for name, code in programs.items()}
        code = textwrap.dedent(f"""
            import os, sys
            from pathlib import Path
            from labeler import supervisor
            from labeler.supervisor import Supervisor, only_one
            {before}
            with only_one(Path({str(folder)!r}) / "lock", patience=0.5) as lock:
                Supervisor({commands!r}, folder=Path({str(ROOT)!r}), logs=Path({str(folder)!r}) / "logs",
                    env=os.environ, say=lambda line: print(line, flush=True), lock=lock).run()
        """)
        environment = {**os.environ, "DATA_DIR": str(folder / "data")}
        with (folder / "out").open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=out, stderr=out, start_new_session=True
            )

    def pids(self, name: str) -> list[int]:
        return [int(line) for line in lines(self.folder / name)]

    def output(self) -> str:
        return (self.folder / "out").read_text()

    def all_pids(self) -> list[int]:
        return [
            pid
            for path in self.folder.iterdir()
            if path.is_file() and path.name[0] == "p"
            for pid in self.pids(path.name)
        ]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    started: list[Run] = []

    def start(before: str = "", **programs: str) -> Run:
        started.append(Run(tmp_path, programs, before))
        return started[-1]

    yield start
    for one in started:
        for pid in [one.process.pid, *one.all_pids()]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        one.process.wait()


def test_what_is_killed_is_started_again(run: Callable[..., Run]):
    it = run(p1=STEADY, p2=STEADY)
    wait_until(lambda: bool(it.pids("p1") and it.pids("p2")))
    os.kill(it.pids("p1")[0], signal.SIGKILL)
    wait_until(lambda: len(it.pids("p1")) == 2)
    assert it.pids("p2") == [it.pids("p2")[0]]
    assert is_alive(it.pids("p2")[0])
    assert "p1 was killed by SIGKILL; starting it again" in it.output()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_children_that_a_killed_process_left_behind_go_too(run: Callable[..., Run]):
    it = run(p1=WITH_CHILD)
    wait_until(lambda: bool(it.pids("p1") and it.pids("p1.child")))
    child = it.pids("p1.child")[0]
    os.kill(it.pids("p1")[0], signal.SIGKILL)
    wait_until(lambda: len(it.pids("p1")) == 2)
    wait_until(lambda: not is_alive(child))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_stops_everything_in_order_and_exits_with_0(run: Callable[..., Run], number: int):
    it = run(p1=STEADY, p2=WITH_CHILD)
    wait_until(lambda: bool(it.pids("p1") and it.pids("p2.child")))
    it.process.send_signal(number)
    assert it.process.wait(timeout=60) == 0
    assert not any(is_alive(pid) for pid in it.all_pids())
    assert "Traceback" not in it.output() and "starting it again" not in it.output()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_will_not_stop_is_killed(run: Callable[..., Run]):
    it = run(p1=STUBBORN)
    wait_until(lambda: bool(it.pids("p1")))
    it.process.send_signal(signal.SIGTERM)
    assert it.process.wait(timeout=12) == 0
    assert not is_alive(it.pids("p1")[0])


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel does this on Linux")
def test_when_the_supervisor_itself_is_killed_the_others_end(run: Callable[..., Run]):
    it = run(p1=STEADY)
    wait_until(lambda: bool(it.pids("p1")))
    it.process.kill()
    it.process.wait()
    wait_until(lambda: not is_alive(it.pids("p1")[0]))


def test_what_hangs_is_ended_and_started_again_and_nothing_else(run: Callable[..., Run]):
    """A process that never had a pulse (the web server) is not taken for one that hangs."""
    hangs, works = PULSING.replace("{hangs}", "True"), PULSING.replace("{hangs}", "False")
    it = run(before="supervisor.HUNG_SECONDS = 1", p1=hangs, p2=works, p3=STEADY)
    wait_until(lambda: len(it.pids("p1")) >= 3, 30)
    assert "p1 hangs: no sign of life for 1 s. Ending it" in it.output()
    assert "p1 was killed by SIGKILL; starting it again" in it.output()
    assert (len(it.pids("p2")), len(it.pids("p3"))) == (1, 1)
    assert "p2" not in it.output() and "p3" not in it.output()


def test_a_supervisor_that_was_stopped_itself_holds_that_against_nobody(monkeypatch: pytest.MonkeyPatch):
    """As when a laptop is closed: hours later the first look finds everybody silent."""
    now = [1000.0]
    monkeypatch.setattr("labeler.pulse.time.monotonic", lambda: now[0])
    pulse = Pulse()
    now[0] += 300
    assert pulse.silence() == 0.0  # none was ever shown
    os.write(pulse.pipe, b".")
    assert pulse.silence() == 0.0
    now[0] += 7200
    assert pulse.silence() == 1.0
    for _ in range(10):
        now[0] += 0.2
        pulse.silence()
    assert pulse.silence() == pytest.approx(3.0)
    os.write(pulse.pipe, b"..")
    assert pulse.silence() == 0.0
    pulse.hand_over()
    pulse.close()


def test_nothing_starts_beside_what_a_killed_supervisor_left(run: Callable[..., Run], tmp_path: Path):
    it = run(p1=STUBBORN)
    wait_until(lambda: bool(it.pids("p1")))
    it.process.kill()
    it.process.wait()
    second = run(p1=STEADY)
    assert second.process.wait(timeout=60) != 0
    assert "AlreadyRunning" in second.output()


def test_what_cannot_start_is_tried_less_and_less_often_and_says_why(run: Callable[..., Run]):
    it = run(p1=BROKEN)
    wait_until(lambda: "starting it again in 2 s" in it.output())
    assert 3 <= len(lines(it.folder / "p1")) <= 4
    assert "p1 | ERROR cannot start" in it.output()
    assert "p1 ended with exit code 1" in it.output()


def test_output_is_kept_in_a_file_each(run: Callable[..., Run]):
    it = run(p1=STEADY)
    log = it.folder / "logs" / "p1.log"
    wait_until(lambda: log.exists() and log.read_text() == "ready\n")
    assert "ready" not in it.output()  # the console has what matters only


NOISY = """
import resource, time
print('before', flush=True)
open('{mark}', 'a').write('1\\n')
number = 0
while True:
    number += 1
    print('ERROR line', number, 'x' * 200, flush=True)
    time.sleep(0.01)
"""


def test_logs_that_cannot_be_written_are_said_once_and_go_on_when_there_is_room(tmp_path: Path):
    """The supervisor's files may have 4 KB, until that is lifted from outside."""
    from labeler.supervisor import CALM_SECONDS

    assert CALM_SECONDS >= 10  # a nearly full disk takes a short line now and then
    code = textwrap.dedent(f"""
        import errno, os, sys
        from pathlib import Path
        from labeler import supervisor
        supervisor.CALM_SECONDS = 0.3
        folder = Path({str(tmp_path)!r})
        flush = supervisor.Log.flush
        def full(log):
            if (folder / "full").exists():
                raise OSError(errno.ENOSPC, "No space left on device")
            flush(log)
        supervisor.Log.flush = full
        commands = {{"p1": [sys.executable, "-c", {NOISY.format(mark=tmp_path / "p1")!r}]}}
        supervisor.Supervisor(commands, folder=folder, logs=folder / "logs", env=os.environ,
            say=lambda line: print(line, flush=True)).run()
    """)
    (tmp_path / "full").touch()
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=out, stderr=out)
    output, log = tmp_path / "out", tmp_path / "logs" / "p1.log"
    try:
        wait_until(lambda: "disk is full" in output.read_text())
        time.sleep(0.5)  # some fifty lines
        assert output.read_text().count("\n") == 1
        (tmp_path / "full").unlink()
        wait_until(lambda: "takes data again" in output.read_text())
        wait_until(lambda: "p1 | ERROR line" in output.read_text())
        written = log.read_text()
        wait_until(lambda: len(log.read_text()) > len(written))
        assert "Traceback" not in output.read_text()
    finally:
        process.terminate()
        process.wait(timeout=15)


def test_what_processes_say_of_a_full_disk_is_said_once(run: Callable[..., Run]):
    words = "print('ERROR cannot save'); print('OperationalError: database or disk is full', flush=True)"
    noisy = f"import time\nwhile True:\n    {words}\n    time.sleep(0.02)"
    it = run(p1=noisy, p2=BROKEN)
    wait_until(lambda: "The disk is full" in it.output())
    time.sleep(0.5)
    assert it.output().count("The disk is full") == 1
    assert it.output().count("p1 |") <= 1  # what came before it was known


def test_the_lock_is_held_once(tmp_path: Path):
    lock = tmp_path / "lock"
    with only_one(lock), pytest.raises(AlreadyRunning, match=str(os.getpid())), only_one(lock, patience=0.2):
        pass
    with only_one(tmp_path / "lock", patience=0.2):
        pass


def test_the_procfile_is_read_in_order_and_without_a_shell(tmp_path: Path):
    path = tmp_path / "Procfile"
    path.write_text("# a comment\nweb: gunicorn 'a b'\n\nbeat: celery -A labeler beat\n")
    assert list(read_procfile(path).items()) == [
        ("web", ["gunicorn", "a b"]),
        ("beat", ["celery", "-A", "labeler", "beat"]),
    ]
