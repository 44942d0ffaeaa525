"""Processes for simulations and replays, apart from those of live decisions and behind them in priority."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Literal

from streamsim import processors
from streamsim.config import EvaluationSettings, SandboxSettings
from streamsim.decisions.needs import only_numpy
from streamsim.decisions.transaction import policy_error
from streamsim.decisions.worker import death
from streamsim.errors import TooLarge, TooManyRequests, Unavailable
from streamsim.evaluation.wire import PropensityLoad, SimulationLoad
from streamsim.sandbox.host.lazy import LazySandbox
from streamsim.sandbox.host.pool import (
    Limits,
    ProgramFailed,
    RequestTooLarge,
    Sandbox,
    SandboxUnavailable,
    Worker,
    WorkerDied,
)
from streamsim.sandbox.host.priority import LONG_S, Priority
from streamsim.waiting import Room

Lane = Literal["request", "candidate", "compare", "batch", "candidate_batch"]
_WAITING = 16
DIED_S: Final = 0.02
"""So much longer a tenant has the place of a request whose process died, where others ask too: to begin one
after the other costs them more than to compute."""
PARTS = 2
"""So many processes at once run the candidate of one off-policy evaluation."""


class BatchWorkers:
    """The processes of one server process. The first use starts a zygote of their own.

    Each lane has its own: simulate requests and off-policy evaluations `settings.requests`, and every such
    evaluation `PARTS` more for its candidate; comparisons of one tenant `settings.workers`; its jobs as many
    again, and as many for the candidates of those that evaluate; and tenants have them in turn. So nothing
    that someone waits for waits for a job, and the processes of jobs stand back behind all others, with those
    that a tenant has beyond one (`Priority`).

    :param limits: of one call of policy code, as for live decisions.
    :param sandbox: one that is started already, and stays the caller's.
    :param live: whether decisions are made now.
    """

    def __init__(
        self,
        settings: EvaluationSettings,
        limits: Limits,
        *,
        box: SandboxSettings | None = None,
        sandbox: Sandbox | None = None,
        live: Callable[[], bool] = lambda: False,
    ) -> None:
        self.settings = settings
        self.priority = Priority(settings.nice, settings.spare_processors, live)
        self.limits = limits
        self.box = box or SandboxSettings()
        self._sandbox = LazySandbox(
            sandbox,
            workers=3 * (settings.workers + 1) + (1 + PARTS) * settings.requests,
            allow_degraded=self.box.allow_degraded,
            preload=self.box.preload,
            begins=self.priority.begins,
        )
        most = settings.requests
        self._rooms = {
            # One tenant's requests, which may take `request_s`, never take all, and no more than its part of
            # the processors while others ask too.
            "request": Room(most, share=most - 1, lately=most, parted=min(most, len(processors.ALL))),
            # Bounded by the evaluations, which are requests.
            "candidate": Room(PARTS * settings.requests),
            # One more than one tenant may take.
            "compare": Room(settings.workers + 1, share=settings.workers),
            "batch": Room(settings.workers + 1, share=settings.workers),
            # Bounded by the jobs, each of which has one of "batch" by then.
            "candidate_batch": Room(settings.workers + 1),
        }

    async def close(self) -> None:
        """End all processes."""
        await self._sandbox.close()

    @asynccontextmanager
    async def one(
        self,
        program: str,
        load: object,
        *,
        identity: str,
        lane: Lane = "batch",
        limits: Limits | None = None,
    ) -> AsyncIterator[Worker]:
        """A process that has loaded a program, for the length of the context.

        :param limits: other ones than those of policy code.
        :raises TooManyRequests: too many requests wait for one. :raises Unavailable: the sandbox is away.
        :raises TooLarge: the load is larger than a frame may be.
        :raises PolicyError: the code does not compile, or, inside the context, its worker failed.
        """
        tenant, room = identity.partition("/")[0], self._rooms[lane]
        if lane == "request" and room.full(tenant) and room.waiting(tenant) >= _WAITING:
            raise TooManyRequests("too many of your simulations and evaluations wait; try again soon")
        async with room.place(tenant), self._process(program, load, limits, identity, lane) as worker:
            yield worker

    @asynccontextmanager
    async def _process(
        self, program: str, load: object, limits: Limits | None, identity: str, lane: Lane
    ) -> AsyncIterator[Worker]:
        worker: Worker | None = None
        later: asyncio.TimerHandle | None = None
        process, tenant = 0, identity.partition("/")[0]

        def begun(pid: int) -> None:
            nonlocal process
            process = pid
            if pid and lane in ("batch", "candidate_batch"):
                self.priority.stand_back(pid, tenant)
            elif pid:
                self.priority.lower(pid, tenant)

        try:
            plain = isinstance(load, SimulationLoad | PropensityLoad) and only_numpy(load.code.values())
            limits = limits or self.limits
            worker = await self._sandbox.spawn(
                program, load, limits, identity=identity, plain=plain, begun=begun
            )
            if process and lane not in ("batch", "candidate_batch"):
                later = asyncio.get_running_loop().call_later(LONG_S, self.priority.takes_long, process)
            yield worker
        except ProgramFailed as error:
            raise policy_error(error.failure) from None
        except RequestTooLarge:
            raise TooLarge(
                f"code and theta of a simulation have at most {self.limits.frame_bytes} bytes; the present "
                'theta is larger; start from none with "theta": "empty", or delete some of it',
                field="theta",
            ) from None
        except SandboxUnavailable as error:
            raise Unavailable(str(error)) from None
        except WorkerDied as error:
            if self._rooms[lane].others(tenant):
                await asyncio.sleep(DIED_S)
            raise death(error) from None
        finally:
            if later is not None:
                later.cancel()
            self.priority.ended(process)
            if worker is not None:
                worker.kill()
