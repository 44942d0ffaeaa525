"""The soft time limit inside a worker: an exception in the code, so that its author sees the line.

It is a courtesy. Code can switch it off, and then meets the hard limit, which the host keeps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from signal import ITIMER_REAL, SIGALRM, setitimer, signal
from types import FrameType
from typing import Any, Final

from streamsim.sandbox.limits import Limits

AGAIN_S: Final = 0.05
"""Code that caught the exception gets the next one this much later."""


class SoftTimeout(BaseException):
    """The code of a call used its time. No `Exception`, so that `except Exception` does not hold it up."""


class Clock:
    """Times one call after the other: `start`, code, `stop`.

    One alarm serves many calls: `start` only notes the time, and an alarm that comes too early is set again
    for what is left of the present call. CPU time costs a system call, so it is read at an alarm and after
    calls that took long: a call is charged at most its wall time, and at most the CPU time since the last
    reading.
    """

    def __init__(self) -> None:
        self.active = False
        self._installed = False
        self._armed = False
        self._began = 0.0
        self._cpu_began = 0.0
        self._cpu_s = self._wall_s = 0.0
        self._message = ""

    def install(self, limits: Limits) -> None:
        """Take SIGALRM and ITIMER_REAL of this process."""
        self._cpu_s, self._wall_s = limits.cpu_ms / 1000, limits.wall_ms / 1000
        self._message = f"stopped after {limits.cpu_ms} ms of CPU time or {limits.wall_ms} ms in all"
        signal(SIGALRM, self._alarm)
        self._installed = True
        self._cpu_began = time.process_time()
        self._arm(min(self._cpu_s, self._wall_s))

    def start(self) -> None:
        """A call begins now."""
        self._began = time.monotonic()
        self.active = True
        if not self._armed and self._installed:
            self._arm(min(self._cpu_s, self._wall_s))

    def stop(self) -> None:
        """The call is over: no exception from here on."""
        self.active = False
        if time.monotonic() - self._began > 0.001:
            self._cpu_began = time.process_time()

    def pause(self) -> float:
        """The code waits for the host from now on; hand the result to `resume`."""
        if not self.active:
            return -1.0
        self.active = False
        return time.monotonic()

    def resume(self, paused: float) -> None:
        """The wait is over, and does not count."""
        if paused >= 0.0:
            self._began += time.monotonic() - paused
            self.active = True
            if not self._armed and self._installed:
                self._arm(min(self._cpu_s, self._wall_s))

    def run(self, function: Callable[..., Any], *arguments: Any) -> tuple[Any, BaseException | None]:
        """What a function returns or raises, under the limit: (result, None) or (None, exception)."""
        try:
            try:
                self.start()
                return function(*arguments), None
            finally:
                self.active = False
        except BaseException as error:
            return None, error
        finally:
            self.stop()

    def _arm(self, seconds: float) -> None:
        self._armed = True
        setitimer(ITIMER_REAL, max(seconds, 0.001))

    def _alarm(self, _signal: int, _frame: FrameType | None) -> None:
        self._armed = False
        if not self.active:
            return
        wall = time.monotonic() - self._began
        cpu = min(wall, time.process_time() - self._cpu_began)
        left = min(self._cpu_s - cpu, self._wall_s - wall)
        if left > 0.0005:
            self._arm(left)
            return
        self._arm(AGAIN_S)
        raise SoftTimeout(self._message)


clock: Final = Clock()
"""The clock of this process."""
