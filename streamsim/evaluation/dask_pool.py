"""Replications on a Dask cluster: the same numbers as on the local pool, sandboxed on its workers too.

A task is one replication. It holds all that it needs but nested experiments, which nobody knows before the
code asks: such a task answers which one is missing, and is sent again with it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from typing import Any, Final

import distributed
import msgspec

from streamsim.config import Evaluation
from streamsim.decisions.wire import SimulationLoad
from streamsim.errors import StreamsimError, Unavailable
from streamsim.evaluation.pools import Nest
from streamsim.evaluation.simulation import Curve, Nested, Player, replicate
from streamsim.evaluation.workers import BatchWorkers
from streamsim.sandbox.pool import Limits

_PER_CORE: Final = 2


class Task(msgspec.Struct, array_like=True):
    """What goes to a worker of the cluster."""

    load: SimulationLoad
    known: dict[str, Nested]
    points: list[int]
    identity: str
    limits: Limits
    nice: int
    allow_degraded: bool


class End(msgspec.Struct, array_like=True):
    """What comes back: a curve, the id of a nested experiment that is missing, or an error."""

    curve: Curve | None = None
    missing: str = ""
    error: tuple[int, str, str, Any] | None = None


class Missing(Exception):
    """The task was not given this experiment."""

    def __init__(self, experiment: str) -> None:
        super().__init__(experiment)
        self.experiment = experiment


class DaskPool:
    """A `Pool` on the cluster whose scheduler `settings.scheduler` names."""

    def __init__(self, settings: Evaluation, limits: Limits, *, allow_degraded: bool = False) -> None:
        self._settings = settings
        self._limits = limits
        self._allow_degraded = allow_degraded
        self._client: Any = None
        self._opening = asyncio.Lock()

    @property
    def at_once(self) -> int:
        """As `Pool.at_once`."""
        if self._client is None:
            return 64
        cores: int = sum(worker["nthreads"] for worker in self._client.scheduler_info()["workers"].values())
        return max(1, _PER_CORE * cores)

    async def replicate(
        self,
        load: SimulationLoad,
        nest: Nest,
        points: Sequence[int],
        *,
        identity: str,
        progress: Callable[[int], None] = lambda draws: None,
    ) -> Curve:
        """As `Pool.replicate`; progress is told when the replication is done."""
        client = await self._connected()
        while True:
            task = Task(
                load,
                nest.known,
                list(points),
                identity,
                self._limits,
                self._settings.nice,
                self._allow_degraded,
            )
            future = client.submit(work, msgspec.msgpack.encode(task), pure=False)
            try:
                end = msgspec.msgpack.decode(await future, type=End)
            except (OSError, TimeoutError, distributed.scheduler.KilledWorker) as error:
                raise Unavailable(f"the Dask cluster lost a replication: {type(error).__name__}") from None
            except asyncio.CancelledError:
                await client.cancel([future], force=True)
                raise
            if end.curve is not None:
                progress(points[-1])
                return end.curve
            if end.error is not None:
                raise remote_error(*end.error)
            await nest(end.missing)

    async def close(self) -> None:
        """Leave the cluster."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _connected(self) -> Any:
        async with self._opening:
            if self._client is None:
                try:
                    self._client = await distributed.Client(  # type: ignore[no-untyped-call]
                        self._settings.scheduler, asynchronous=True, timeout=10, set_as_default=False
                    )
                except (OSError, TimeoutError):
                    raise Unavailable(
                        f"the Dask scheduler {self._settings.scheduler} cannot be reached"
                    ) from None
        return self._client


def remote_error(status: int, code: str, message: str, detail: Any) -> StreamsimError:
    """An error that a task answered."""
    error = StreamsimError(message, detail=detail)
    error.status, error.code = status, code
    return error


# ---- in a worker of the cluster


def work(task: bytes) -> bytes:
    """One replication, in a sandboxed process of this machine."""
    given = msgspec.msgpack.decode(task, type=Task)
    return msgspec.msgpack.encode(_site(given).run(_replicated(given)))


async def _replicated(task: Task) -> End:
    async def find(experiment: str) -> Nested:
        found = task.known.get(experiment)
        if found is None:
            raise Missing(experiment)
        return found

    workers = _site(task).workers
    try:
        async with workers.one("simulate", task.load, identity=task.identity) as worker:
            return End(curve=await replicate(Player(worker, find), task.points))
    except Missing as missing:
        return End(missing=missing.experiment)
    except StreamsimError as error:
        return End(error=(error.status, error.code, error.message, error.detail))


class Site:
    """The sandbox of one process of the cluster, on an event loop in a thread of its own."""

    def __init__(self, task: Task) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="streamsim", daemon=True).start()
        # The cluster bounds how many tasks run at once.
        settings = Evaluation(workers=256, requests=1, nice=task.nice)
        made: Future[BatchWorkers] = asyncio.run_coroutine_threadsafe(self._make(settings, task), self._loop)
        self.workers = made.result()

    async def _make(self, settings: Evaluation, task: Task) -> BatchWorkers:
        return BatchWorkers(settings, task.limits, allow_degraded=task.allow_degraded)

    def run(self, coroutine: Coroutine[Any, Any, End]) -> End:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


_sites: list[Site] = []
_making = threading.Lock()


def _site(task: Task) -> Site:
    """This process's site, made for its first task. All tasks of a cluster come from one configuration."""
    with _making:
        if not _sites:
            _sites.append(Site(task))
    return _sites[0]
