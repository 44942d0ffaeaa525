"""All workers of a server process: spawned by the zygote, and at most so many."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from streamsim.sandbox.host import vitals
from streamsim.sandbox.host.channel import (
    AskRefused,
    ProgramFailed,
    ProtocolViolation,
    RequestTooLarge,
    SandboxLost,
    Words,
    WorkerCrashed,
    WorkerDied,
    WorkerMemory,
    WorkerTimeout,
)
from streamsim.sandbox.host.patrol import Patrol
from streamsim.sandbox.host.source import Source
from streamsim.sandbox.host.worker import Worker
from streamsim.sandbox.host.zygote import SandboxUnavailable
from streamsim.sandbox.limits import Limits
from streamsim.sandbox.registry import PLAIN
from streamsim.sandbox.report import Report
from streamsim.waiting import Turns

__all__ = [
    "AskRefused",
    "Limits",
    "ProgramFailed",
    "ProtocolViolation",
    "RequestTooLarge",
    "Sandbox",
    "SandboxLost",
    "SandboxUnavailable",
    "Words",
    "Worker",
    "WorkerCrashed",
    "WorkerDied",
    "WorkerMemory",
    "WorkerTimeout",
]

SAMPLE_S: Final = 1.0
KEPT_S: Final = 10.0
"""So long after its last use, an idle worker does not go for a tenant that has more than its own."""
SLOW_S: Final = 0.1
"""A worker that was asked for longer than this, and is asked again at once, goes for another one of its
tenant only in turn."""
TURN_S: Final = 0.125
"""One of a tenant in so long: the end of one and the start of another stop others for milliseconds, and bring
a tenant whose calls take long nothing to speak of."""
UNWANTED_S: Final = 0.01
"""One that is not asked again in this time goes at once."""


def nothing(_pid: int) -> None:
    """What most do with a process id."""


class Sandbox:
    """All workers of this server process, and the zygotes that they come from."""

    def __init__(
        self,
        *,
        workers: int = 32,
        share: int | None = None,
        patrol: Patrol | None = None,
        begins: Callable[[str], Sequence[int]] | None = None,
        plain: bool = True,
        allow_degraded: bool = False,
        preload: Iterable[str] = (),
        start_s: float = 60.0,
        spawn_s: float = 10.0,
    ) -> None:
        """:param workers: most that live at once. :param share: most of one tenant; by default all.
        :param patrol: looks at its workers, perhaps with those of other sandboxes; by default nobody does.
        :param begins: the processors on which a tenant's worker begins; by default as the patrol says.
        :param plain: whether there is a second zygote with NumPy alone, for code that needs no more: its
            workers start in half the time.
        :param allow_degraded: start although a layer is missing.
        :param preload: modules that workers share beside the common ones.
        :param start_s: the longest wait for the zygote, and :param spawn_s: for a worker.
        """
        self.turns = Turns()
        self.started = 0  # workers, in all
        self._most = workers
        self._share = workers if share is None else max(share, 1)
        self._spawn_s = spawn_s
        source = partial(Source, allow_degraded=allow_degraded, start_s=start_s, spawn_s=spawn_s)
        self._full = source(plain=False, preload=preload)
        self._plain = source(plain=True, preload=()) if plain else None
        self._sources = [self._full] if self._plain is None else [self._plain, self._full]
        self._numbers = itertools.count(1)
        self._alive: set[Worker] = set()
        self.patrol = patrol or Patrol()
        self.patrol.watch(lambda: self._alive)
        self._begins = begins
        self._sampler: asyncio.TimerHandle | None = None
        # By tenant: until when no other slow worker of it goes.
        self._resting: dict[str, asyncio.TimerHandle] = {}
        self._oom_kills = 0

    async def start(self) -> None:
        """Start the zygotes and try a worker.

        :raises SandboxUnavailable: naming the missing layer, unless `allow_degraded`.
        """
        self._oom_kills = vitals.oom_kills()
        try:
            await asyncio.gather(*(source.start() for source in self._sources))
            trial = await self.spawn(
                "probe", {"code": "def handle(request, channel): return request"}, Limits(), identity=""
            )
            await trial.exchange(None)
            trial.kill()
        except BaseException as error:
            await self.close()
            if isinstance(error, WorkerDied | ProgramFailed):
                raise SandboxUnavailable(f"a sandboxed process does not work: {error}") from None
            raise
        self._sampler = asyncio.get_running_loop().call_later(SAMPLE_S, self._sample)

    async def close(self) -> None:
        """End all workers and the zygotes."""
        if self._sampler is not None:
            self._sampler.cancel()
        for resting in self._resting.values():
            resting.cancel()
        for worker in list(self._alive):
            worker.kill()
        await asyncio.gather(*(source.close() for source in self._sources))

    def report(self) -> Report:
        """The layers that this machine gives."""
        return self._full.report

    @property
    def zygotes(self) -> list[int]:
        """Process ids."""
        return [source.zygote.pid for source in self._sources if source.zygote is not None]

    @property
    def workers(self) -> list[Worker]:
        """Those that live."""
        return list(self._alive)

    async def spawn(
        self,
        program: str,
        load: object,
        limits: Limits,
        *,
        identity: str,
        plain: bool = False,
        begun: Callable[[int], None] = nothing,
    ) -> Worker:
        """A new worker that has loaded a program, in a process, and under a user id, of its own.

        When there are as many as may be, the one that was idle for longest is ended, of those whose tenant
        has as many as this one or that nobody used lately; when all are busy, this waits for one, in turn
        with other tenants.

        :param program: a module of `streamsim.programs`.
        :param identity: whose code it is: a tenant, "/", and anything.
        :param plain: the code needs NumPy and no other library. What it needs nevertheless is imported while
            it runs.
        :param begun: told the id of its process as soon as there is one, before it has loaded anything.
        :raises SandboxUnavailable: the kernel or the zygote gives no worker.
        :raises WorkerDied: it died while it loaded.
        :raises ProgramFailed: the program refused its load; the worker is gone.
        """
        tenant = identity.partition("/")[0]
        source = self._source(program, plain)
        while True:
            zygote = await source.living()
            if self._room_for(tenant):
                break
            await self._make_room(tenant)
        taken = {worker.uid for each in self._sources for worker in each.workers.values()}
        uid = next(uid for uid in itertools.count() if uid not in taken)
        worker = Worker(self, next(self._numbers), uid, limits, identity)
        self.started += 1
        source.workers[worker.number] = worker
        self._alive.add(worker)
        try:
            async with source.forks.place(tenant):
                await worker.fork(zygote, program, self._spawn_s)
            begun(worker.pid)
            await worker.load(load)
        except BaseException:
            worker.kill()
            raise
        return worker

    def begins(self, worker: Worker) -> Sequence[int]:
        """The processors on which a worker that has no process yet is to begin."""
        return self.patrol.begins(worker) if self._begins is None else self._begins(worker.tenant)

    def _source(self, program: str, plain: bool) -> Source:
        if self._plain is None or not plain or program not in PLAIN:
            return self._full
        # A worker that cannot read Python's files has what its zygote has loaded, and nothing more.
        return self._plain if self._plain.report.readable else self._full

    async def _make_room(self, tenant: str) -> None:
        held, mine = self._held(), [worker for worker in self._alive if worker.tenant == tenant]
        old = asyncio.get_running_loop().time() - KEPT_S
        idle = [
            worker
            for worker in (mine if len(mine) >= self._share else self._alive)
            if not worker.busy and (held[worker.tenant] >= held[tenant] or worker.used < old)
        ]
        if idle:
            min(idle, key=lambda worker: worker.used).kill()
            return
        await self.turns.wait(tenant)

    def _held(self) -> Counter[str]:
        """Living workers by tenant."""
        return Counter(worker.tenant for worker in self._alive)

    def _room_for(self, tenant: str) -> bool:
        return len(self._alive) < self._most and self._held()[tenant] < self._share

    def release(self, worker: Worker) -> None:
        """A worker became idle while somebody waits for room, which it makes unless all of them have more."""
        held, tenant, loop = self._held(), worker.tenant, asyncio.get_running_loop()
        waiting = {one for one in self.turns.tenants if held[one] <= held[tenant]}
        if worker.busy or not waiting:
            return
        if waiting == {tenant} and loop.time() > worker.used + SLOW_S:
            if tenant in self._resting:
                loop.call_later(UNWANTED_S, self._unwanted, worker)
                return
            self._resting[tenant] = loop.call_later(TURN_S, self._resting.pop, tenant)
        worker.kill()

    def _unwanted(self, worker: Worker) -> None:
        if worker.alive and not worker.busy and worker.tenant in self.turns.tenants:
            worker.kill()

    def ended(self, worker: Worker) -> None:
        """A worker takes nothing more, and leaves its room."""
        self._alive.discard(worker)
        held = self._held()
        self.turns.give(lambda tenant: held[tenant] < self._share)

    def out_of_memory(self) -> bool:
        """Whether the kernel killed a process for want of memory since this was last asked."""
        before, self._oom_kills = self._oom_kills, vitals.oom_kills()
        return self._oom_kills > before

    def _sample(self) -> None:
        for worker in list(self._alive):
            worker.sample()
        self._sampler = asyncio.get_running_loop().call_later(SAMPLE_S, self._sample)
