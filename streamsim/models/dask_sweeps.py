"""Sweeps on a Dask cluster: each part in a sandboxed process of some worker of it."""

from __future__ import annotations

import hashlib

import msgspec

from streamsim.config import ModelSettings, SandboxSettings
from streamsim.errors import StreamsimError
from streamsim.jobs.cluster import Cluster, Once, RemoteError, Thread
from streamsim.models.runners import Runners
from streamsim.models.sweep_pools import LocalSweeps
from streamsim.models.workers import ModelWorkers
from streamsim.storage.contract.runs import Model
from streamsim.values import JsonObject

_MOST = 256


class Task(msgspec.Struct, array_like=True):
    """What goes to a worker of the cluster. `limits`: cpu_ms, wall_ms, memory_bytes, frame_bytes."""

    model: Model
    entry: JsonObject
    calls: int
    limits: tuple[int, int, int, int]
    box: SandboxSettings


class End(msgspec.Struct, array_like=True):
    """What comes back: an answer, or an error."""

    answer: bytes = b""
    error: RemoteError | None = None


class DaskSweeps:
    """A `SweepPool` on a cluster."""

    def __init__(
        self, cluster: Cluster, settings: ModelSettings, *, box: SandboxSettings | None = None
    ) -> None:
        self._cluster = cluster
        self._limits = (settings.cpu_ms, settings.wall_ms, settings.memory_bytes, settings.frame_bytes)
        self._box = box or SandboxSettings()

    async def run(self, model: Model, entry: JsonObject, calls: int) -> msgspec.Raw:
        """As `SweepPool.run`. :raises Unavailable: the cluster is away."""
        task = Task(model, entry, calls, self._limits, self._box)
        end = msgspec.msgpack.decode(await self._cluster.call(work, msgspec.msgpack.encode(task)), type=End)
        if end.error is not None:
            raise end.error.local()
        return msgspec.Raw(end.answer)

    @property
    def at_once(self) -> int:
        """As `SweepPool.at_once`."""
        return self._cluster.at_once


# ---- in a worker of the cluster


def work(task: bytes) -> bytes:
    """One part of a sweep, in a sandboxed process of this machine."""
    given = msgspec.msgpack.decode(task, type=Task)
    site = _site.of(given)
    return msgspec.msgpack.encode(site.run(_answered(site, given)))


async def _answered(site: Site, task: Task) -> End:
    # Processes are kept for the next task on the same model; a cluster may serve several installations.
    digest = hashlib.sha256(msgspec.msgpack.encode(task.model)).hexdigest()
    model = msgspec.structs.replace(task.model, tenant=f"{task.model.tenant}/{digest}")
    try:
        return End(bytes(await site.pool.run(model, task.entry, task.calls)))
    except StreamsimError as error:
        return End(error=RemoteError.of(error))


class Site(Thread):
    """The sandbox with the modelling libraries of one process of the cluster."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.pool = self.run(self._make(task))

    async def _make(self, task: Task) -> LocalSweeps:
        cpu_ms, wall_ms, memory_bytes, frame_bytes = task.limits
        # The cluster bounds how many tasks run at once.
        settings = ModelSettings(
            live=1,
            runners=_MOST,
            cpu_ms=cpu_ms,
            wall_ms=wall_ms,
            memory_bytes=memory_bytes,
            frame_bytes=frame_bytes,
        )
        return LocalSweeps(Runners(ModelWorkers(settings, box=task.box), _MOST))


_site = Once(Site)
