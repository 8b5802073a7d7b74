import threading

import pytest

from learner import background
from learner.background import in_background


@pytest.fixture(autouse=True)
def quick_ticks(monkeypatch):
    monkeypatch.setattr(background, "TICK_SECONDS", 0.01)


def test_it_ticks_while_it_works():
    third, ticks = threading.Event(), []

    def tick():
        ticks.append(threading.current_thread())
        if len(ticks) == 3:
            third.set()

    assert in_background(lambda: third.wait(10), tick) is True
    assert len(ticks) >= 3 and set(ticks) == {threading.current_thread()}


def test_a_tick_that_raises_gives_up_at_once():
    end, ticks = threading.Event(), []

    def tick():
        ticks.append(None)
        if len(ticks) == 2:
            raise KeyError("cancelled")

    try:
        with pytest.raises(KeyError, match="cancelled"):
            in_background(lambda: end.wait(60), tick)
    finally:
        end.set()


@pytest.mark.parametrize("error", [ValueError, TimeoutError])
def test_what_the_work_raises_reaches_the_caller(error):
    def fail():
        raise error("broken")

    with pytest.raises(error, match="broken"):
        in_background(fail, lambda: None)
