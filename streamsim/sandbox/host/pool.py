"""Workers: spawned by the zygote, at most so many, each with one program and one exchange at a time."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import socket
from collections import deque
from typing import Final

import msgspec

from streamsim.sandbox import table
from streamsim.sandbox.host import vitals
from streamsim.sandbox.host.channel import (
    Ask,
    AskRefused,
    ProgramFailed,
    ProtocolViolation,
    RequestTooLarge,
    SandboxLost,
    WorkerChannel,
    WorkerCrashed,
    WorkerDied,
    WorkerMemory,
    WorkerTimeout,
)
from streamsim.sandbox.host.zygote import SandboxUnavailable, Zygote
from streamsim.sandbox.limits import Limits
from streamsim.sandbox.report import Report
from streamsim.sandbox.wire import OUT_OF_MEMORY
from streamsim.sandbox.zygote.main import host_pid

__all__ = [
    "AskRefused",
    "Limits",
    "ProgramFailed",
    "ProtocolViolation",
    "RequestTooLarge",
    "Sandbox",
    "SandboxLost",
    "SandboxSettings",
    "SandboxUnavailable",
    "Worker",
    "WorkerCrashed",
    "WorkerDied",
    "WorkerMemory",
    "WorkerTimeout",
]

SAMPLE_S: Final = 1.0
EXIT_S: Final = 0.5
"""How long after its channel closed a process may take to end by itself, so that its exit status is known."""
RETIRE_CPU_S: Final = 0.9 * table.CPU_SECONDS
BACK_OFF_S: Final = (0.05, 5.0)

_log = logging.getLogger(__name__)


class SandboxSettings(msgspec.Struct, frozen=True):
    """`workers`: most that live at once. `allow_degraded`: start although a layer is missing.

    `start_s`, `spawn_s`: longest wait for the zygote and for a worker. `preload`: modules that workers share
    beside the common ones.
    """

    workers: int = 32
    allow_degraded: bool = False
    preload: tuple[str, ...] = ()
    start_s: float = 60.0
    spawn_s: float = 10.0


class Worker:
    """One sandboxed process with one program. Made by `Sandbox.spawn`.

    `pid`: in the host's own namespace. `loaded`: what the program answered to its load.
    """

    def __init__(self, pool: Sandbox, number: int, uid: int, limits: Limits, identity: str) -> None:
        self.identity = identity
        self.pid = 0
        self.loaded = msgspec.Raw()
        self.number, self.uid = number, uid
        self._pool, self._limits = pool, limits
        self._loop = asyncio.get_running_loop()
        self._pidfd = -1
        self._base_bytes = 0
        self._sampled = 0.0
        self._started: asyncio.Future[None] = self._loop.create_future()
        self._status: int | None = None
        self._closed = False
        self._channel = WorkerChannel(limits, self._end, self._lost)

    @property
    def alive(self) -> bool:
        """Whether it can take another exchange."""
        return self._channel.death is None

    @property
    def busy(self) -> bool:
        """Whether an exchange, or its start, is under way."""
        return self._channel.busy or not self.loaded

    @property
    def used(self) -> float:
        """When it was last given something to do, in the event loop's time."""
        return self._channel.used

    async def exchange(self, request: object, *, calls: int = 1, ask: Ask | None = None) -> msgspec.Raw:
        """Send a request to the program; the body of its answer. See `WorkerChannel.exchange`.

        :raises WorkerDied: the worker is gone, by its subclass.
        :raises ProgramFailed: the program failed as a whole; the worker lives.
        :raises RequestTooLarge: nothing was sent; the worker lives.
        """
        try:
            return await self._channel.exchange(request, calls=calls, ask=ask)
        finally:
            if self._pool.waiting:
                self._pool.release(self)

    def kill(self) -> None:
        """End the process now, and the exchange under way with `WorkerCrashed`."""
        self._channel.fail(WorkerCrashed("policy process was ended by the host"))

    def memory_bytes(self) -> int:
        """What it holds above its start; 0 if that cannot be told."""
        return max((vitals.memory_bytes(self.pid) or 0) - self._base_bytes, 0) if self.pid else 0

    # What the pool does with it.

    async def start(self, zygote: Zygote, program: str, load: object, seconds: float) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            await self._loop.create_unix_connection(lambda: self._channel, sock=ours)
            zygote.spawn(self.number, program, self.uid, self._limits, theirs)
        try:
            async with asyncio.timeout(seconds):
                await self._started
        except TimeoutError:
            raise SandboxUnavailable(f"a sandboxed process did not start within {seconds:g} s") from None
        self.loaded = await self._channel.exchange(load)

    def spawned(self, pidfd: int) -> None:
        self._pidfd = pidfd
        self.pid = max(host_pid(pidfd), 0)
        self._base_bytes = vitals.memory_bytes(self.pid) or 0
        if not self.alive:
            self._end()
        if not self._started.done():
            self._started.set_result(None)

    def refused(self, text: str) -> None:
        if not self._started.done():
            self._started.set_exception(SandboxUnavailable(f"no sandboxed process: {text}"))
        self.kill()

    def exited(self, status: int) -> None:
        self._status = status
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        if self._closed:
            self._gone()
        else:
            # What it wrote before is still read; the end of its channel follows.
            self._loop.call_later(EXIT_S, self._gone)

    def fail(self, death: WorkerDied) -> None:
        self._channel.fail(death)

    def sample(self) -> None:
        """End it if it holds too much memory, or, idle, before its life's CPU time is used up."""
        if not self.pid or not self.alive or (self._sampled == self.used and not self.busy):
            return
        self._sampled = self.used
        if self.memory_bytes() > self._limits.memory_bytes:
            self.fail(WorkerMemory(f"used more than {self._limits.memory_bytes >> 20} MiB of memory"))
        elif not self.busy and vitals.cpu_s(self.pid) > RETIRE_CPU_S:
            self.kill()

    def _end(self) -> None:
        if self._pidfd >= 0:
            try:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            except ProcessLookupError:
                pass  # ended already
        if not self._started.done():
            self._started.set_exception(self._channel.death or WorkerCrashed("ended"))
            self._started.exception()
        self._pool.ended(self)

    def _lost(self) -> None:
        self._closed = True
        if self._status is not None:
            self._gone()
        else:
            self._loop.call_later(EXIT_S, self._gone)

    def _gone(self) -> None:
        if self.alive:
            self.fail(_death(self._status, self._pool))


def _death(status: int | None, pool: Sandbox) -> WorkerDied:
    """Why a process ended that the host did not end, from its wait status."""
    if status is None:
        return WorkerCrashed("policy process closed its channel")
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGKILL and pool.out_of_memory():
            return WorkerMemory("policy process was killed because the machine ran out of memory")
        return WorkerCrashed(f"policy process ended unexpectedly (signal {number})")
    code = os.WEXITSTATUS(status)
    if code == OUT_OF_MEMORY:
        return WorkerMemory("policy process ran out of memory")
    return WorkerCrashed(f"policy process ended unexpectedly (exit code {code})")


class Sandbox:
    """All workers of this server process, and the zygote that they come from."""

    def __init__(self, settings: SandboxSettings) -> None:
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.started = 0  # workers, in all
        self._settings = settings
        self._zygote: Zygote | None = None
        self._report: Report | None = None
        self._numbers = itertools.count(1)
        # By number; until the process is known to be gone, so that its uid is not given twice.
        self._workers: dict[int, Worker] = {}
        self._alive: set[Worker] = set()
        self._restarting: asyncio.Task[None] | None = None
        self._sampler: asyncio.TimerHandle | None = None
        self._oom_kills = 0
        self._closed = False

    async def start(self) -> None:
        """Start the zygote and try one worker.

        :raises SandboxUnavailable: naming the missing layer, unless `allow_degraded`.
        """
        self._oom_kills = vitals.oom_kills()
        try:
            await self._launch()
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
        """End all workers and the zygote."""
        self._closed = True
        if self._sampler is not None:
            self._sampler.cancel()
        if self._restarting is not None:
            self._restarting.cancel()
            await asyncio.wait([self._restarting])
        for worker in list(self._alive):
            worker.kill()
        if self._zygote is not None:
            await self._zygote.stop()

    def report(self) -> Report:
        """The layers that this machine gives."""
        if self._report is None:
            raise SandboxUnavailable("the sandbox was not started")
        return self._report

    @property
    def workers(self) -> list[Worker]:
        """Those that live."""
        return list(self._alive)

    async def spawn(self, program: str, load: object, limits: Limits, *, identity: str) -> Worker:
        """A new worker that has loaded a program, in a process, and under a user id, of its own.

        When there are as many as may be, the one that was idle for longest is ended; when all are busy, this
        waits for one.

        :param program: a module of `streamsim.programs`.
        :param identity: whose code it is, for logs.
        :raises SandboxUnavailable: the kernel or the zygote gives no worker.
        :raises WorkerDied: it died while it loaded.
        :raises ProgramFailed: the program refused its load; the worker is gone.
        """
        while True:
            zygote = await self._live_zygote()
            if len(self._alive) < self._settings.workers:
                break
            await self._make_room()
        taken = {worker.uid for worker in self._workers.values()}
        uid = next(uid for uid in itertools.count() if uid not in taken)
        worker = Worker(self, next(self._numbers), uid, limits, identity)
        self.started += 1
        self._workers[worker.number] = worker
        self._alive.add(worker)
        try:
            await worker.start(zygote, program, load, self._settings.spawn_s)
        except BaseException:
            worker.kill()
            raise
        return worker

    async def _make_room(self) -> None:
        idle = [worker for worker in self._alive if not worker.busy]
        if idle:
            min(idle, key=lambda worker: worker.used).kill()
            return
        turn = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        try:
            await turn
        finally:
            if turn in self.waiting:
                self.waiting.remove(turn)

    def release(self, worker: Worker) -> None:
        """A worker became idle while somebody waits for room."""
        if not worker.busy:
            worker.kill()

    def ended(self, worker: Worker) -> None:
        """A worker takes nothing more, and leaves its room."""
        self._alive.discard(worker)
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                break

    def out_of_memory(self) -> bool:
        """Whether the kernel killed a process for want of memory since this was last asked."""
        before, self._oom_kills = self._oom_kills, vitals.oom_kills()
        return self._oom_kills > before

    # What the zygote says.

    def spawned(self, number: int, pidfd: int) -> None:
        self._workers[number].spawned(pidfd)

    def refused(self, number: int, text: str) -> None:
        self._workers.pop(number).refused(text)

    def exited(self, number: int, status: int) -> None:
        worker = self._workers.pop(number, None)
        if worker is not None:
            worker.exited(status)

    def zygote_died(self) -> None:
        for worker in self._workers.values():
            worker.fail(SandboxLost("policy process ended, because the sandbox did"))
            worker.exited(signal.SIGKILL)
        self._workers.clear()
        if not self._closed and self._report is not None and self._restarting is None:
            _log.error("the sandbox's zygote ended; starting another")
            self._restarting = asyncio.get_running_loop().create_task(self._restart())

    async def _restart(self) -> None:
        pause, longest = BACK_OFF_S
        while True:
            await asyncio.sleep(pause)
            try:
                await self._launch()
            except SandboxUnavailable as error:
                pause = min(2 * pause, longest)
                _log.error("the sandbox's zygote did not start: %s", error)
            else:
                self._restarting = None
                return

    async def _launch(self) -> None:
        if self._zygote is not None:
            await self._zygote.stop()
        self._zygote = zygote = Zygote(
            self, degraded=self._settings.allow_degraded, preload=self._settings.preload
        )
        report = await zygote.ready(self._settings.start_s)
        if report.missing and not self._settings.allow_degraded:
            reasons = "; ".join(f"{layer}: {reason}" for layer, reason in report.missing.items())
            raise SandboxUnavailable(f"this machine lacks layers of the sandbox: {reasons}")
        self._report = report

    async def _live_zygote(self) -> Zygote:
        if self._closed or self._zygote is None:
            raise SandboxUnavailable("the sandbox is closed")
        if self._restarting is not None:
            await asyncio.wait([self._restarting], timeout=self._settings.spawn_s)
        if not self._zygote.alive:
            raise SandboxUnavailable("the sandbox is starting again")
        return self._zygote

    def _sample(self) -> None:
        for worker in list(self._alive):
            worker.sample()
        self._sampler = asyncio.get_running_loop().call_later(SAMPLE_S, self._sample)
