"""One sandboxed process as the host sees it: one program, and one exchange at a time."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import TYPE_CHECKING, Final

import msgspec

from streamsim.sandbox import table
from streamsim.sandbox.host import vitals
from streamsim.sandbox.host.channel import Ask, WorkerChannel, WorkerCrashed, WorkerDied, WorkerMemory
from streamsim.sandbox.host.zygote import SandboxUnavailable, Zygote
from streamsim.sandbox.limits import Limits
from streamsim.sandbox.wire import OUT_OF_MEMORY
from streamsim.sandbox.zygote.main import host_pid

if TYPE_CHECKING:
    from streamsim.sandbox.host.pool import Sandbox

EXIT_S: Final = 0.5
"""How long after its channel closed a process may take to end by itself, so that its exit status is known."""
IDLE_CPU_S: Final = 0.05
"""What is left to do after an answer, such as giving memory back, takes less."""
RETIRE_CPU_S: Final = 0.9 * table.CPU_SECONDS


class Worker:
    """One sandboxed process with one program. Made by `Sandbox.spawn`.

    `pid`: in the host's own namespace. `loaded`: what the program answered to its load.
    """

    def __init__(self, pool: Sandbox, number: int, uid: int, limits: Limits, identity: str) -> None:
        self.identity = identity
        self.tenant = identity.partition("/")[0]
        self.pid = 0
        self.loaded = msgspec.Raw()
        self.number, self.uid = number, uid
        self._pool, self._limits = pool, limits
        self._loop = asyncio.get_running_loop()
        self._pidfd = -1
        self._base_bytes = 0
        self._sampled = self._idle_cpu_s = 0.0
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
    def calling(self) -> bool:
        """Whether an exchange is under way, of its start too."""
        return self._channel.busy

    @property
    def calls(self) -> int:
        """How many calls the exchange under way holds so far."""
        return self._channel.calls

    @property
    def began(self) -> float:
        """When its last exchange began, in the event loop's time."""
        return self._channel.began

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
        self.begin(request, calls=calls, asks=ask is not None)
        return await self.finish(ask)

    def begin(self, request: object, *, calls: int, asks: bool, more: bool = False) -> None:
        """Send a request, or the first part of it. See `WorkerChannel.begin`."""
        self._channel.begin(request, calls=calls, asks=asks, more=more)
        self._pool.patrol.begun()

    def extend(self, part: object, *, calls: int, more: bool) -> None:
        """Send a further part of a request. See `WorkerChannel.extend`."""
        self._channel.extend(part, calls=calls, more=more)

    async def finish(self, ask: Ask | None) -> msgspec.Raw:
        """The body of the answer to what was begun. See `WorkerChannel.finish`; errors as of `exchange`."""
        try:
            return await self._channel.finish(ask)
        finally:
            if self._pool.turns:
                self._pool.release(self)

    @property
    def cpu_s(self) -> float:
        """Processor time that it has used; 0.0 if that cannot be told."""
        return vitals.cpu_s(self.pid)

    def kill(self) -> None:
        """End the process now, and the exchange under way with `WorkerCrashed`."""
        self._channel.fail(WorkerCrashed("was ended by the host", "process"))

    def memory_bytes(self) -> int:
        """What it holds above its start; 0 if that cannot be told."""
        return max((vitals.memory_bytes(self.pid) or 0) - self._base_bytes, 0) if self.pid else 0

    # What the pool does with it.

    async def fork(self, zygote: Zygote, program: str, seconds: float) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            await self._loop.create_unix_connection(lambda: self._channel, sock=ours)
            processors = self._pool.begins(self)
            zygote.spawn(self.number, program, self.uid, self._limits, theirs, processors)
        try:
            async with asyncio.timeout(seconds):
                await self._started
        except TimeoutError:
            raise SandboxUnavailable(f"a sandboxed process did not start within {seconds:g} s") from None

    async def load(self, load: object) -> None:
        self._pool.patrol.begun()
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
        """End it if it holds too much memory, or if, idle, it works all the same or has little of its life's
        CPU time left."""
        if not self.pid or not self.alive:
            return
        if self._sampled == self.used and not self.busy:
            # Nothing was asked of it since it was looked at, so that it has nothing to do.
            if self.cpu_s > self._idle_cpu_s + IDLE_CPU_S:
                self.fail(WorkerCrashed("was ended by the host: it worked between calls", "process"))
            return
        # What it has used by now is where its idle time begins, unless it works still.
        self._sampled, self._idle_cpu_s = -1.0 if self.busy else self.used, self.cpu_s
        if self.memory_bytes() > self._limits.memory_bytes:
            self.fail(WorkerMemory(f"used more than {self._limits.memory_bytes >> 20} MiB of memory"))
        elif not self.busy and self._idle_cpu_s > RETIRE_CPU_S:
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
        return WorkerCrashed("closed its channel", "process")
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGKILL and pool.out_of_memory():
            return WorkerMemory("was killed because the machine ran out of memory", "process")
        return WorkerCrashed(f"ended unexpectedly (signal {number})", "process")
    code = os.WEXITSTATUS(status)
    if code == OUT_OF_MEMORY:
        return WorkerMemory("ran out of memory", "process")
    return WorkerCrashed(f"ended unexpectedly (exit code {code})", "process")
