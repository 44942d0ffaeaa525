"""Tenants whose calls take long have processors of their own, apart from the server and the other tenants."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from streamsim import processors
from streamsim.sandbox.host.priority import place

if TYPE_CHECKING:
    from streamsim.sandbox.host.worker import Worker

LONG_S: Final = 0.01
"""A call, or a start, that takes longer is a long one; so often workers are looked at, while one is busy."""
LATELY_S: Final = 1.0
"""A tenant is live for so long after a call of it, and stays apart for so long after a long one."""

log = logging.getLogger(__name__)

Processors = tuple[int, ...]


class Patrol:
    """Looks at workers, and parts those that hold up others from whom they hold up.

    What becomes ready to run on a processor where something computes waits for the kernel's next tick, up to
    4 ms, unless it has had less than its share of late; where something begins or ends, it waits for the
    kernel's work. That may be the server itself, or what it waits for. So while other tenants are live, those
    whose calls take long have as many processors as they have workers, and everybody else has the rest. Their
    new processes are forked there too.

    :param spare: processors that are left to the others at least, of several; 0 parts nobody.
    """

    def __init__(self, spare: int = 0) -> None:
        self._sandboxes: list[Callable[[], Iterable[Worker]]] = []
        # Most that tenants whose calls take long may have.
        self._most = max(len(processors.ALL) - spare, 1) if spare and len(processors.ALL) > 1 else 0
        self._timer: asyncio.TimerHandle | None = None
        # How many they have now, and where workers are that are not on all.
        self._apart = 0
        self._placed: dict[Worker, Processors] = {}
        # When a tenant last had a long call under way, and who was live at the last look.
        self._long: dict[str, float] = {}
        self._live = set[str]()
        # Whether this process may move those of workers.
        self._moves = True

    def watch(self, workers: Callable[[], Iterable[Worker]]) -> None:
        """Look at the workers of a sandbox too: those that it gives, which live."""
        self._sandboxes.append(workers)

    def begun(self) -> None:
        """A worker was given something to do."""
        if self._timer is None and self._most:
            self._timer = asyncio.get_running_loop().call_later(LONG_S, self._look)

    def begins(self, worker: Worker) -> Processors:
        """The processors on which a worker that has no process yet is to begin."""
        where = self._where(worker.tenant, asyncio.get_running_loop().time())
        if where != processors.ALL:
            self._placed[worker] = where
        return where

    def close(self) -> None:
        """No more looks."""
        self._most = 0
        if self._timer is not None:
            self._timer.cancel()
        self._part(0)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now, workers = loop.time(), [worker for living in self._sandboxes for worker in living()]
        calling = [worker for worker in workers if worker.calling]
        long = {worker.tenant: now for worker in calling if worker.used < now - LONG_S}
        if long or self._long or self._placed:
            self._long = {tenant: at for tenant, at in (self._long | long).items() if at > now - LATELY_S}
            self._live = {worker.tenant for worker in workers if worker.used > now - LATELY_S}
            self._live.update(worker.tenant for worker in calling)
            many = sum(self._is_apart(worker.tenant, now) for worker in workers)
            # Never fewer while there are any: workers come and go.
            self._part(max(self._apart, min(many, self._most)) if many else 0)
            self._move(workers, now)
        again = self._most and (calling or self._long or self._placed)
        self._timer = loop.call_later(LONG_S, self._look) if again else None

    def _move(self, workers: list[Worker], now: float) -> None:
        for worker in workers:
            where = self._where(worker.tenant, now)
            # One that has no process yet begins where it was to.
            if not worker.pid or where == self._placed.get(worker, processors.ALL):
                continue
            self._moves = self._moves and place(worker.pid, where)
            if self._moves:
                self._placed[worker] = where
            elif worker in self._placed and not worker.busy:
                worker.kill()  # it would stay there for good; the next one has every processor
        living, every = set(workers), processors.ALL
        self._placed = {one: at for one, at in self._placed.items() if one in living and at != every}

    def _is_apart(self, tenant: str, now: float) -> bool:
        long = self._long.get(tenant, -math.inf) > now - LATELY_S
        return long and len(self._live) > (tenant in self._live)

    def _where(self, tenant: str, now: float) -> Processors:
        if not self._apart:
            return processors.ALL
        theirs = processors.last(self._apart)
        if self._is_apart(tenant, now):
            return theirs
        # From where they cannot be moved again, others' would stay there for good.
        return processors.ALL[: -len(theirs)] if self._moves else processors.ALL

    def _part(self, count: int) -> None:
        if count == self._apart:
            return
        self._apart = count
        try:
            processors.stay_on(processors.ALL[: len(processors.ALL) - count])
        except OSError as error:
            log.warning("the server shares its processors with long calls: %s", error.strerror)
            self._most = self._apart = 0
