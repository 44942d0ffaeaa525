"""Tenants whose calls take long, and evaluations, have processors of their own, apart from the server and the
other tenants."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from streamsim import processors
from streamsim.sandbox.host.priority import place

if TYPE_CHECKING:
    from streamsim.sandbox.host.worker import Worker

LONG_S: Final = 0.01
"""A call that computes for longer is a long one; so often workers are looked at, while one is busy."""
LATELY_S: Final = 1.0
"""A tenant is live for so long after a call of it, and stays apart for so long after a long one."""
START_CPU_S: Final = 0.05
"""CPU time of a process's start that is no long call yet."""
STARTS: Final = 4
"""So many starts of one tenant, lately, are as a long call."""
FEW: Final = 4
"""So many short calls at once are done as soon without the processors that evaluations have."""

log = logging.getLogger(__name__)

Processors = tuple[int, ...]


class Patrol:
    """Looks at workers, and parts those that hold up others from whom they hold up.

    What becomes ready to run on a processor where something computes waits for the kernel's next tick, up to
    4 ms, unless it has had less than its share of late; where something begins or ends, it waits for the
    kernel's work. That may be the server itself, or what it waits for. So while other tenants are live, those
    whose calls compute for long, or whose processes begin again and again, have as many processors as they
    have workers, and everybody else has the rest. Their new processes are forked there too.

    Where evaluations keep to some processors (`Priority`), everybody else leaves them these while few calls
    are under way at once: those need no more, and none of them waits for an evaluation that begins or ends.

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
        # When a tenant's last processes began, and the CPU time of busy ones at the last look.
        self._begun: dict[str, list[float]] = {}
        self._clocks: dict[Worker, float] = {}
        self._evaluating: Callable[[], bool] = lambda: False
        # When there were last more than few short calls at once.
        self._crowded = -math.inf

    def part_from(self, evaluating: Callable[[], bool]) -> None:
        """Have everybody leave evaluations their processors.

        :param evaluating: whether there are any, on all processors but those that are spared.
        """
        self._evaluating = evaluating

    def watch(self, workers: Callable[[], Iterable[Worker]]) -> None:
        """Look at the workers of a sandbox too: those that it gives, which live."""
        self._sandboxes.append(workers)

    def begun(self) -> None:
        """A worker was given something to do."""
        if self._timer is None and self._most:
            self._timer = asyncio.get_running_loop().call_later(LONG_S, self._look)

    def begins(self, worker: Worker) -> Processors:
        """The processors on which a worker that has no process yet is to begin."""
        if not self._most:
            return processors.ALL
        now = asyncio.get_running_loop().time()
        before = [at for at in self._begun.get(worker.tenant, ()) if at > now - LATELY_S]
        self._begun[worker.tenant] = began = [*before, now][-STARTS:]
        if len(began) == STARTS:
            self._long[worker.tenant] = now
        where = self._where(worker.tenant, now)
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
        long = dict.fromkeys(self._computing(calling, now), now)
        self._begun = {one: began for one, began in self._begun.items() if began[-1] > now - LATELY_S}
        evaluating = self._leaves_to_evaluations(calling, now)
        if long or self._long or self._apart or evaluating:
            self._long = {tenant: at for tenant, at in (self._long | long).items() if at > now - LATELY_S}
            self._live = {worker.tenant for worker in workers if worker.used > now - LATELY_S}
            self._live.update(worker.tenant for worker in calling)
            held = Counter(worker.tenant for worker in workers)
            apart = sum(count for tenant, count in held.items() if self._is_apart(tenant, now))
            many = self._most if evaluating else min(apart, self._most)
            # Never fewer while there are any: workers come and go.
            self._part(max(self._apart, many) if many else 0)
            self._move(workers, now)
        again = self._most and (calling or self._long or self._apart)
        self._timer = loop.call_later(LONG_S, self._look) if again else None

    def _leaves_to_evaluations(self, calling: Iterable[Worker], now: float) -> bool:
        if sum(worker.calls for worker in calling if not self._is_apart(worker.tenant, now)) > FEW:
            self._crowded = now
        return self._evaluating() and self._crowded < now - LATELY_S

    def _computing(self, calling: Iterable[Worker], now: float) -> list[str]:
        """The tenants whose calls take long because they compute: others only wait, perhaps for these."""
        before, self._clocks = self._clocks, {worker: worker.cpu_s for worker in calling}
        spent = dict[str, float]()
        for worker, clock in self._clocks.items():
            if worker.began < now - LONG_S:
                since = before.get(worker, clock) if worker.loaded else START_CPU_S
                spent[worker.tenant] = spent.get(worker.tenant, 0.0) + max(clock - since, 0.0)
        # Where several share processors, each has a part.
        return [one for one, cpu_s in spent.items() if cpu_s > LONG_S / (10 if one in self._long else 2)]

    def _move(self, workers: list[Worker], now: float) -> None:
        wheres = {tenant: self._where(tenant, now) for tenant in {worker.tenant for worker in workers}}
        for worker in workers:
            where = wheres[worker.tenant]
            # One that has no process yet begins where it was to.
            if not worker.pid or where == self._placed.get(worker, processors.ALL):
                continue
            if not place(worker.pid, where):
                self.close()  # nobody is parted where it cannot be taken back
                return
            self._placed[worker] = where
        living, every = set(workers), processors.ALL
        self._placed = {one: at for one, at in self._placed.items() if one in living and at != every}

    def _is_apart(self, tenant: str, now: float) -> bool:
        long = self._long.get(tenant, -math.inf) > now - LATELY_S
        return long and len(self._live) > (tenant in self._live)

    def _where(self, tenant: str, now: float) -> Processors:
        if not self._apart:
            return processors.ALL
        theirs = processors.last(self._apart)
        return theirs if self._is_apart(tenant, now) else processors.ALL[: -len(theirs)]

    def _part(self, count: int) -> None:
        if count == self._apart:
            return
        self._apart = count
        try:
            processors.stay_on(processors.ALL[: len(processors.ALL) - count])
        except OSError as error:
            log.warning("the server shares its processors with long calls: %s", error.strerror)
            self._most = self._apart = 0
