"""Processes of tenants whose calls take long leave processors to the others."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from streamsim.sandbox.host.priority import place, without

if TYPE_CHECKING:
    from streamsim.sandbox.host.worker import Worker

LONG_S: Final = 0.01
"""A call that takes longer is a long one; so often the workers are looked at, while any of them is busy."""
LATELY_S: Final = 1.0
"""A tenant is live for so long after a call of it, and stays off for so long after a long one."""


class Patrol:
    """Looks at workers, and keeps those off some processors that hold up others.

    What becomes ready to run on a processor where something computes waits for the kernel's next tick, up to
    4 ms, unless it has had less than its share of late; where something begins or ends, it waits for the
    kernel's work. That may be the server itself, or what it waits for. So while other tenants are live, one
    whose calls take long has the rest of the processors, and its new processes are forked there.

    :param workers: those that live. :param spare: processors that are left to others, of several.
    """

    def __init__(self, workers: Callable[[], Iterable[Worker]], spare: int) -> None:
        self._workers = workers
        self._spare = spare
        self._timer: asyncio.TimerHandle | None = None
        self._off: set[Worker] = set()
        # When a tenant last had a long call under way, and who was live at the last look.
        self._long: dict[str, float] = {}
        self._live = set[str]()

    def begun(self) -> None:
        """A worker was given something to do."""
        if self._timer is None and self._spare:
            self._timer = asyncio.get_running_loop().call_later(LONG_S, self._look)

    def begins(self, worker: Worker) -> list[int]:
        """The processors on which a worker that has no process yet is to begin; [] if it may on any."""
        now = asyncio.get_running_loop().time()
        long = self._long.get(worker.tenant, -math.inf) > now - LATELY_S
        if not (self._spare and long and self._live > {worker.tenant}):
            return []
        self._off.add(worker)
        return without(self._spare)

    def close(self) -> None:
        """No more looks."""
        self._spare = 0
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now, workers = loop.time(), set(self._workers())
        self._live = {worker.tenant for worker in workers if worker.calling or worker.used > now - LATELY_S}
        long = {worker.tenant: now for worker in workers if worker.calling and worker.used < now - LONG_S}
        self._long = {tenant: at for tenant, at in (self._long | long).items() if at > now - LATELY_S}
        self._off &= workers
        for worker in (one for one in workers if one.pid):
            off = worker.tenant in self._long and self._live > {worker.tenant}
            if off is not (worker in self._off) and (not off or worker.calling):
                self._place(worker, off=off)
        again = self._off or any(worker.calling for worker in workers)
        self._timer = loop.call_later(LONG_S, self._look) if again and self._spare else None

    def _place(self, worker: Worker, *, off: bool) -> None:
        if not place(worker.pid, self._spare if off else 0):
            self._spare = 0  # nor may it another time
        elif off:
            self._off.add(worker)
        else:
            self._off.discard(worker)
