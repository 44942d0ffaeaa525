"""Checks of code before it is stored, and what else somebody who edits an experiment asks of the sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from streamsim.decisions.transaction import policy_error
from streamsim.errors import BadRequest, TooManyRequests, Unavailable
from streamsim.sandbox.host.pool import Limits, ProgramFailed, Sandbox, SandboxUnavailable, Worker, WorkerDied
from streamsim.waiting import Room

AT_ONCE: Final = 2
WAITING: Final = 32
KEPT_S: Final = 10.0


class Checks:
    """For one tenant one at a time, tenants in turn.

    Code is compiled and not run, so a process that has compiled some takes more of the same tenant's; it ends
    when none has come for `KEPT_S`.

    :param limits: of one check.
    """

    def __init__(self, sandbox: Sandbox, limits: Limits) -> None:
        self._sandbox = sandbox
        self._limits = limits
        self._room = Room(AT_ONCE, share=1)
        self._idle: dict[str, tuple[Worker, asyncio.TimerHandle]] = {}

    @asynccontextmanager
    async def place(self, tenant: str) -> AsyncIterator[None]:
        """The tenant's turn, for the length of the context. :raises TooManyRequests: too many wait."""
        if self._room.waiting(tenant) >= WAITING:
            raise TooManyRequests("too many of your edits and dry runs wait to be checked; try again soon")
        async with self._room.place(tenant):
            yield

    async def compile(self, tenant: str, code: dict[str, str]) -> None:
        """Compile the pieces of an experiment's code.

        :raises BadRequest: naming the piece, with line and message. :raises TooManyRequests: too many wait.
        :raises Unavailable: the sandbox is away.
        """
        async with self.place(tenant):
            try:
                worker = await self._worker(tenant)
                try:
                    await worker.exchange(code)
                finally:
                    self._keep(tenant, worker)
            except ProgramFailed as failed:
                error = policy_error(failed.failure)
                piece = failed.failure.piece or None
                raise BadRequest(error.message, field=piece, detail=error.detail) from None
            except SandboxUnavailable as gone:
                raise Unavailable(str(gone)) from None
            except WorkerDied as died:
                raise BadRequest(f"the code cannot be compiled: {died}") from None

    def close(self) -> None:
        """End the processes."""
        for tenant in list(self._idle):
            self._end(tenant)

    async def _worker(self, tenant: str) -> Worker:
        worker, timer = self._idle.pop(tenant, (None, None))
        if timer is not None:
            timer.cancel()
        if worker is not None and worker.alive:
            return worker
        identity = f"{tenant}/check"
        return await self._sandbox.spawn("check", None, self._limits, identity=identity, plain=True)

    def _keep(self, tenant: str, worker: Worker) -> None:
        timer = asyncio.get_running_loop().call_later(KEPT_S, self._end, tenant)
        self._idle[tenant] = worker, timer

    def _end(self, tenant: str) -> None:
        worker, timer = self._idle.pop(tenant)
        timer.cancel()
        worker.kill()
