"""Where workers come from: a zygote, and another one when it has ended."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Iterable
from typing import Final

from streamsim import processors
from streamsim.sandbox.host.channel import SandboxLost
from streamsim.sandbox.host.worker import Worker
from streamsim.sandbox.host.zygote import SandboxUnavailable, Zygote
from streamsim.sandbox.report import Report
from streamsim.sandbox.zygote.main import Options
from streamsim.waiting import Room

FORKS: Final = 2
"""Asked of a zygote at once, so that it has the next one when it has forked one."""
BACK_OFF_S: Final = (0.05, 5.0)

_log = logging.getLogger(__name__)


class Source:
    """One kind of zygote, and the workers that were forked from it.

    :param plain: NumPy alone, rather than all that user code may import.
    :param allow_degraded: start although a layer is missing.
    :param preload: modules that its workers share beside the common ones.
    :param start_s: the longest wait for a zygote, and :param spawn_s: for a worker.
    """

    def __init__(
        self, *, plain: bool, allow_degraded: bool, preload: Iterable[str], start_s: float, spawn_s: float
    ) -> None:
        self.zygote: Zygote | None = None
        # It forks one after the other; what is asked of it waits here, tenants in turn, but for so many.
        self.forks = Room(FORKS)
        # By number; until the process is known to be gone, so that its uid is not given twice.
        self.workers: dict[int, Worker] = {}
        self._options = Options(
            degraded=allow_degraded, plain=plain, preload=list(preload), processors=list(processors.ALL)
        )
        self._start_s, self._spawn_s = start_s, spawn_s
        self._report: Report | None = None
        self._restarting: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> None:
        """Start a zygote. :raises SandboxUnavailable: naming the missing layer, if one must be there."""
        if self.zygote is not None:
            await self.zygote.stop()
        self.zygote = Zygote(self, self._options)
        report = await self.zygote.ready(self._start_s)
        if report.missing and not self._options.degraded:
            reasons = "; ".join(f"{layer}: {reason}" for layer, reason in report.missing.items())
            raise SandboxUnavailable(f"this machine lacks layers of the sandbox: {reasons}")
        self._report = report

    async def close(self) -> None:
        """End the zygote, and with it its workers."""
        self._closed = True
        if self._restarting is not None:
            self._restarting.cancel()
            await asyncio.wait([self._restarting])
        if self.zygote is not None:
            await self.zygote.stop()

    @property
    def report(self) -> Report:
        """The layers that this machine gives. :raises SandboxUnavailable: it was never started."""
        if self._report is None:
            raise SandboxUnavailable("the sandbox was not started")
        return self._report

    async def living(self) -> Zygote:
        """The zygote, which may be on its way. :raises SandboxUnavailable: it does not come soon."""
        if self._closed or self.zygote is None:
            raise SandboxUnavailable("the sandbox is closed")
        if self._restarting is not None:
            await asyncio.wait([self._restarting], timeout=self._spawn_s)
        if not self.zygote.alive:
            raise SandboxUnavailable("the sandbox is starting again")
        return self.zygote

    # What the zygote says.

    def spawned(self, number: int, pidfd: int) -> None:
        self.workers[number].spawned(pidfd)

    def refused(self, number: int, text: str) -> None:
        self.workers.pop(number).refused(text)

    def exited(self, number: int, status: int) -> None:
        worker = self.workers.pop(number, None)
        if worker is not None:
            worker.exited(status)

    def zygote_died(self) -> None:
        for worker in self.workers.values():
            worker.fail(SandboxLost("ended, because the sandbox did", "process"))
            worker.exited(signal.SIGKILL)
        self.workers.clear()
        if not self._closed and self._report is not None and self._restarting is None:
            _log.error("the sandbox's zygote ended; starting another")
            self._restarting = asyncio.get_running_loop().create_task(self._restart())

    async def _restart(self) -> None:
        pause, longest = BACK_OFF_S
        while True:
            await asyncio.sleep(pause)
            try:
                await self.start()
            except SandboxUnavailable as error:
                pause = min(2 * pause, longest)
                _log.error("the sandbox's zygote did not start: %s", error)
            else:
                self._restarting = None
                return
