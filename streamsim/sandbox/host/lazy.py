"""A sandbox that starts with its first use: what has no work costs no zygote."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from streamsim.sandbox.host.patrol import Patrol
from streamsim.sandbox.host.pool import Sandbox, SandboxUnavailable, Worker, nothing
from streamsim.sandbox.limits import Limits


class LazySandbox:
    """Workers of a zygote that is started when the first of them is asked for.

    :param sandbox: one that is started already, and stays the caller's; the rest is then without meaning.
    """

    def __init__(
        self,
        sandbox: Sandbox | None = None,
        *,
        workers: int,
        plain: bool = True,
        allow_degraded: bool = False,
        preload: Iterable[str] = (),
        patrol: Patrol | None = None,
        begins: Callable[[str], Sequence[int]] | None = None,
    ) -> None:
        self._given = sandbox is not None
        self._sandbox = sandbox or Sandbox(
            workers=workers,
            plain=plain,
            allow_degraded=allow_degraded,
            preload=preload,
            patrol=patrol,
            begins=begins,
        )
        self._started: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def workers(self) -> list[Worker]:
        """Those that live."""
        return self._sandbox.workers

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
        """As `Sandbox.spawn`, after a start if none has succeeded yet; refused likewise once it is closed."""
        if not self._given:
            await self._start()
        return await self._sandbox.spawn(program, load, limits, identity=identity, plain=plain, begun=begun)

    async def close(self) -> None:
        """End all workers and the zygote, if this started it."""
        self._closed = True
        if self._started is not None:
            self._started.cancel()
            await asyncio.wait([self._started])
            await self._sandbox.close()

    async def _start(self) -> None:
        if self._closed:
            raise SandboxUnavailable("the sandbox is closed")
        if self._started is None or (self._started.done() and self._started.exception() is not None):
            self._started = asyncio.get_running_loop().create_task(self._sandbox.start())
        try:
            await asyncio.shield(self._started)
        except asyncio.CancelledError:
            # That of the start is the sandbox's end, not the caller's.
            if self._started.cancelled():
                raise SandboxUnavailable("the sandbox is closed") from None
            raise
