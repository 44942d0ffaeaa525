"""Replications on a Dask cluster: the same numbers as on the local pool, sandboxed on its workers too.

A task is one replication. It holds all that it needs but nested experiments, which nobody knows before the
code asks: such a task answers which one is missing, and is sent again with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from streamsim.config import EvaluationSettings, SandboxSettings
from streamsim.errors import StreamsimError
from streamsim.evaluation.pools import Nest
from streamsim.evaluation.simulation import Curve, Nested, Player, replicate
from streamsim.evaluation.wire import SimulationLoad
from streamsim.evaluation.workers import BatchWorkers
from streamsim.jobs.cluster import Cluster, Once, RemoteError, Thread
from streamsim.sandbox.host.pool import Limits


class Task(msgspec.Struct, array_like=True):
    """What goes to a worker of the cluster."""

    load: SimulationLoad
    known: dict[str, Nested]
    points: list[int]
    identity: str
    limits: Limits
    nice: int
    box: SandboxSettings


class End(msgspec.Struct, array_like=True):
    """What comes back: a curve, the id of a nested experiment that is missing, or an error."""

    curve: Curve | None = None
    missing: str = ""
    error: RemoteError | None = None


class Missing(Exception):
    """The task was not given this experiment."""

    def __init__(self, experiment_id: str) -> None:
        super().__init__(experiment_id)
        self.experiment_id = experiment_id


class DaskPool:
    """A `Pool` on a cluster."""

    def __init__(
        self,
        cluster: Cluster,
        settings: EvaluationSettings,
        limits: Limits,
        *,
        box: SandboxSettings | None = None,
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._limits = limits
        self._box = box or SandboxSettings()

    @property
    def at_once(self) -> int:
        """As `Pool.at_once`."""
        return self._cluster.at_once

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
        while True:
            task = Task(
                load,
                nest.known,
                list(points),
                identity,
                self._limits,
                self._settings.nice,
                self._box,
            )
            answer = await self._cluster.call(work, msgspec.msgpack.encode(task))
            end = msgspec.msgpack.decode(answer, type=End)
            if end.curve is not None:
                progress(points[-1])
                return end.curve
            if end.error is not None:
                raise end.error.local()
            await nest(end.missing)

    async def close(self) -> None:
        """Nothing to do: the cluster is its owner's."""


# ---- in a worker of the cluster


def work(task: bytes) -> bytes:
    """One replication, in a sandboxed process of this machine."""
    given = msgspec.msgpack.decode(task, type=Task)
    return msgspec.msgpack.encode(_site.of(given).run(_replicated(given)))


async def _replicated(task: Task) -> End:
    async def find(experiment_id: str) -> Nested:
        found = task.known.get(experiment_id)
        if found is None:
            raise Missing(experiment_id)
        return found

    workers = _site.of(task).workers
    try:
        async with workers.one("simulate", task.load, identity=task.identity) as worker:
            return End(curve=await replicate(Player(worker, find), task.points))
    except Missing as missing:
        return End(missing=missing.experiment_id)
    except StreamsimError as error:
        return End(error=RemoteError.of(error))


class Site(Thread):
    """The sandbox of one process of the cluster."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        # The cluster bounds how many tasks run at once.
        self._settings = EvaluationSettings(workers=256, requests=1, nice=task.nice)
        self.workers = self.run(self._make(task))

    async def _make(self, task: Task) -> BatchWorkers:
        return BatchWorkers(self._settings, task.limits, box=task.box)


_site = Once(Site)
