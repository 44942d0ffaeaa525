"""The soft limit, on this process's own SIGALRM and CPU time."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from streamsim.sandbox.limits import Limits
from streamsim.sandbox.worker.clock import Clock, SoftTimeout

CPU_S, WALL_S = 0.1, 0.5


@pytest.fixture
def clock() -> Iterator[Clock]:
    before = signal.getsignal(signal.SIGALRM)
    clock = Clock()
    clock.install(Limits(cpu_ms=int(CPU_S * 1000), wall_ms=int(WALL_S * 1000)))
    yield clock
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def burn(cpu_s: float) -> None:
    end = time.process_time() + cpu_s
    while time.process_time() < end:
        pass


def raised(function: Callable[[], object]) -> type[BaseException] | None:
    try:
        function()
    except BaseException as error:
        return type(error)
    return None


def test_code_that_burns_its_cpu_time_is_stopped(clock: Clock) -> None:
    clock.start()
    with pytest.raises(SoftTimeout, match="100 ms of CPU time or 500 ms"):
        burn(60)
    clock.stop()


def test_code_that_only_waits_has_the_longer_wall_limit(clock: Clock) -> None:
    began = time.monotonic()
    clock.start()
    assert raised(lambda: time.sleep(60)) is SoftTimeout
    clock.stop()
    # The kernel's timer counts in steps of its own.
    assert time.monotonic() - began >= WALL_S - 0.001


def test_except_exception_does_not_hold_it_up(clock: Clock) -> None:
    def stubborn() -> None:
        try:
            burn(60)
        except Exception:
            burn(60)

    clock.start()
    assert raised(stubborn) is SoftTimeout
    clock.stop()


def test_code_that_catches_it_gets_it_again(clock: Clock) -> None:
    times = 0
    clock.start()
    while times < 3:
        try:
            burn(60)
        except SoftTimeout:
            times += 1
    clock.stop()


def test_a_call_is_not_charged_for_those_before_it(clock: Clock) -> None:
    """Together they use several times the limit."""
    for _ in range(6):
        clock.start()
        burn(CPU_S / 2)
        clock.stop()


def test_a_call_is_charged_for_itself_after_those_before_it(clock: Clock) -> None:
    for _ in range(3):
        clock.start()
        burn(CPU_S / 2)
        clock.stop()
    clock.start()
    with pytest.raises(SoftTimeout):
        burn(60)
    clock.stop()


def test_between_calls_nothing_is_raised(clock: Clock) -> None:
    clock.start()
    clock.stop()
    burn(3 * CPU_S)
    clock.start()
    with pytest.raises(SoftTimeout):
        burn(60)
    clock.stop()


def test_waiting_for_the_host_does_not_count(clock: Clock) -> None:
    clock.start()
    paused = clock.pause()
    time.sleep(1.5 * WALL_S)
    clock.resume(paused)
    assert raised(lambda: burn(CPU_S / 2)) is None
    assert raised(lambda: burn(60)) is SoftTimeout
    clock.stop()


def test_run_tells_a_result_from_an_error(clock: Clock) -> None:
    assert clock.run(len, "abc") == (3, None)
    result, error = clock.run(int, "x")
    assert result is None
    assert isinstance(error, ValueError)
    result, error = clock.run(burn, 60)
    assert result is None
    assert isinstance(error, SoftTimeout)
    assert not clock.active


def test_one_alarm_serves_many_calls(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The timer is not set for each call: that would cost a system call."""
    settings = 0
    original = signal.setitimer

    def counted(which: int, seconds: float, interval: float = 0.0) -> tuple[float, float]:
        nonlocal settings
        settings += 1
        return original(which, seconds, interval)

    monkeypatch.setattr("streamsim.sandbox.worker.clock.setitimer", counted)
    for _ in range(1000):
        clock.start()
        clock.stop()
    assert settings <= 1


def test_a_clock_that_was_not_installed_leaves_signals_alone() -> None:
    def unexpected(_signal: int, _frame: FrameType | None) -> None:
        raise AssertionError

    before = signal.signal(signal.SIGALRM, unexpected)
    try:
        clock = Clock()
        assert clock.run(len, "abc") == (3, None)
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    finally:
        signal.signal(signal.SIGALRM, before)
