"""The parts that serve models, put together for one server process."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from streamsim.config import Settings
from streamsim.metrics import Metrics
from streamsim.models.instances import Instances
from streamsim.models.journal import RunJournal
from streamsim.models.library import Models
from streamsim.models.live_runs import LiveRuns
from streamsim.models.run_service import RunService
from streamsim.models.runners import Runners
from streamsim.models.scenarios import Scenarios
from streamsim.models.sweep_pools import LocalSweeps, SweepPool
from streamsim.models.sweeps import Sweeps
from streamsim.models.workers import ModelWorkers
from streamsim.sandbox.host.patrol import Patrol
from streamsim.sandbox.host.pool import Sandbox
from streamsim.storage.contract.errors import StoreUnavailable
from streamsim.storage.contract.runs import RunStore

if TYPE_CHECKING:
    from streamsim.jobs.cluster import Cluster

log = logging.getLogger(__name__)


class ModelServices:
    """Models, their runs and instances, scenarios and sweeps."""

    def __init__(
        self,
        settings: Settings,
        store: RunStore,
        metrics: Metrics,
        now_ms: Callable[[], int],
        sandbox: Sandbox | None = None,
        cluster: Cluster | None = None,
        patrol: Patrol | None = None,
    ) -> None:
        own = settings.models
        self.workers = ModelWorkers(own, box=settings.sandbox, sandbox=sandbox, patrol=patrol)
        self.runners = Runners(self.workers, own.runners, settings.evaluation.nice // 2)
        frozen = settings.compat.bptk_status == "legacy"
        self.models = Models(store, self.workers, own, now_ms, frozen_stocks=frozen)
        self.live_runs = LiveRuns(RunJournal(store, now_ms), self.models, self.workers, own)
        self.scenarios = Scenarios(self.models, self.runners, frozen_stocks=frozen)
        self.instances = Instances(self.live_runs, self.scenarios, own)
        pool: SweepPool = LocalSweeps(self.runners)
        if cluster is not None:
            from streamsim.models.dask_sweeps import DaskSweeps

            pool = DaskSweeps(cluster, own, box=settings.sandbox)
        self.sweeps = Sweeps(self.models, self.scenarios, pool, self.workers, own)
        self.run_service = RunService(self.live_runs, self.models)
        metrics.gauge(
            "bptk_instance_count",
            "Live instances of the scenario endpoints, in all server processes.",
            lambda: float(self.instances.counted),
            mode="livemax",
        )
        metrics.gauge(
            "streamsim_live_runs",
            "Runs and instances of models in memory; the others are in the store.",
            lambda: float(len(self.live_runs.all)),
        )
        metrics.gauge(
            "streamsim_model_workers",
            "Live sandboxed processes of models, runs and sweeps.",
            lambda: float(self.workers.count),
        )
        metrics.gauge("bptk_thread_count", "Threads of the server.", lambda: float(threading.active_count()))

    async def close(self) -> None:
        """End all processes; runs are in the store."""
        self.live_runs.close()
        self.runners.close()
        await self.workers.close()

    async def tend(self, pause_s: float) -> None:
        """Again and again: remove runs that timed out, and end processes that idle."""
        while True:
            await asyncio.sleep(pause_s)
            try:
                self.live_runs.tidy()
                await self.live_runs.expire()
                await self.instances.count()
            except StoreUnavailable as error:
                log.warning("runs: the store is away: %s", error)
            except Exception:
                log.exception("bug in the job that tends runs")


@asynccontextmanager
async def serving(
    settings: Settings,
    store: RunStore,
    metrics: Metrics,
    now_ms: Callable[[], int],
    *,
    upkeep: bool,
    sandbox: Sandbox | None = None,
    cluster: Cluster | None = None,
    patrol: Patrol | None = None,
) -> AsyncIterator[ModelServices]:
    """The services, closed when the context ends.

    :param upkeep: whether runs are tended. :param sandbox: one that is started already, stays the caller's.
    :param cluster: where sweeps run, if not here. :param patrol: as of `ModelWorkers`.
    """
    services = ModelServices(settings, store, metrics, now_ms, sandbox, cluster, patrol)
    tending = asyncio.create_task(services.tend(settings.upkeep.interval_ms / 1000)) if upkeep else None
    try:
        yield services
    finally:
        if tending is not None:
            tending.cancel()
            await asyncio.wait([tending])
        await services.close()
