"""The composition root: settings -> store, sandbox and services -> the Tornado application and its server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from streamsim import dates
from streamsim.accounts.accounts import Accounts
from streamsim.config import ConfigError, Settings
from streamsim.decisions.decisions import Decisions
from streamsim.evaluation.evaluations import local
from streamsim.evaluation.offline import Offline
from streamsim.evaluation.workers import BatchWorkers
from streamsim.experiments.catalogue import Catalogue, entries
from streamsim.experiments.departure import Departure
from streamsim.experiments.experiments import Experiments
from streamsim.experiments.traffic import Traffic
from streamsim.experiments.watching import Watching
from streamsim.jobs.jobs import Jobs
from streamsim.metrics import Metrics
from streamsim.models.wiring import serving
from streamsim.sandbox.host.patrol import Patrol
from streamsim.sandbox.host.pool import Limits, Sandbox
from streamsim.sandbox.zygote.namespaces import exposed
from streamsim.server.upkeep import Upkeep
from streamsim.services import Services
from streamsim.storage.contract.store import Store
from streamsim.storage.sqlite.schema import Synchronous
from streamsim.storage.sqlite.store import SQLiteStore
from streamsim.tracing import Tracing
from streamsim.waiting import Lately
from streamsim.webhooks.destinations import Destinations

if TYPE_CHECKING:
    from streamsim.jobs.cluster import Cluster


def make_store(settings: Settings, stands_back: Callable[[str], bool] = lambda tenant: False) -> Store:
    """The configured backend, not yet opened; makes the data folder.

    :param stands_back: whether a tenant's commits make way now for another's.
    """
    storage = settings.storage
    if storage.redis:
        # Their drivers take time that a start on SQLite has no use for.
        from streamsim.storage.production.store import ProductionStore
        from streamsim.storage.redis.commit import HighWater

        high_water = HighWater(storage.outbox_rows, storage.outbox_bytes)
        return ProductionStore(
            storage.redis,
            storage.mongo,
            prefix=storage.redis_prefix,
            high_water=high_water,
            patience_s=storage.wait_s,
        )
    path = Path(settings.storage_url().removeprefix("sqlite:///"))
    if exposed(str(path)):
        raise ConfigError(
            f"{path}: policy code could read it; keep it out of the folders of Python's libraries"
        )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    synchronous = cast(Synchronous, storage.sqlite_synchronous)
    return SQLiteStore(path, synchronous=synchronous, stands_back=stands_back)


@asynccontextmanager
async def running(
    settings: Settings,
    *,
    now_ms: Callable[[], int] = dates.now_ms,
    sandbox: Sandbox | None = None,
    model_sandbox: Sandbox | None = None,
    batch_sandbox: Sandbox | None = None,
    upkeep: bool = True,
) -> AsyncIterator[Services]:
    """All services of one server process, opened; closed in reverse order when the context ends.

    :param sandbox: one that is started already, and stays the caller's; likewise those for models
        and for simulations.
    :param upkeep: whether the periodic work and the work on jobs run.
    :raises StoreUnavailable: :raises SandboxUnavailable: naming the missing layer.
    """
    async with AsyncExitStack() as stack:
        lately = Lately()
        store = make_store(settings, lambda tenant: lately.stands_back(tenant))
        await store.open()
        stack.push_async_callback(store.close)
        box = settings.sandbox
        patrol = Patrol(settings.evaluation.spare_processors)
        stack.callback(patrol.close)
        if sandbox is None:
            sandbox = Sandbox(
                workers=box.workers,
                share=box.workers - max(box.workers // 8, 1),
                patrol=patrol,
                allow_degraded=box.allow_degraded,
                preload=box.preload,
            )
            await sandbox.start()
            stack.push_async_callback(sandbox.close)
        metrics = Metrics()
        limits = Limits(
            cpu_ms=box.cpu_ms,
            wall_ms=box.wall_ms,
            grace_ms=box.grace_ms,
            memory_bytes=box.memory_bytes,
            frame_bytes=box.frame_bytes,
        )
        tracing = _tracing(settings)
        if tracing is not None:
            stack.push_async_callback(asyncio.to_thread, tracing.close)
        decisions = Decisions(
            store.decisions,
            sandbox,
            logs=store.logs,
            lane=settings.lane,
            limits=limits,
            debug=settings.server.debug,
            now_ms=now_ms,
            observe=metrics.commit,
            asked=lately.asked,
            resumed=lambda: batch_workers.priority.make_way(),
            tracing=tracing,
        )
        stack.push_async_callback(decisions.close)
        iso = dates.iso_without_zone if settings.compat.dates == "streamingbandit" else dates.iso
        destinations = Destinations(settings.webhooks.allow)
        experiments = Experiments(store, decisions, now_ms, iso, destinations)
        watching = Watching(store, iso)
        stack.push_async_callback(watching.close)
        accounts = Accounts(store, settings.login, end=Departure(store, experiments).of, now_ms=now_ms)
        stack.callback(accounts.close)
        _watch(metrics, decisions, sandbox)
        jobs = Jobs(store.jobs, settings.jobs, now_ms)
        cluster = _cluster(settings)
        if cluster is not None:
            stack.push_async_callback(cluster.close)
        models = await stack.enter_async_context(
            serving(
                settings,
                store.runs,
                metrics,
                now_ms,
                upkeep=upkeep,
                sandbox=model_sandbox,
                cluster=cluster,
                patrol=patrol,
            )
        )
        jobs.add(models.sweeps)
        batch_workers = BatchWorkers(
            settings.evaluation, limits, box=box, sandbox=batch_sandbox, live=lambda: decisions.deciding
        )
        patrol.part_from(lambda: batch_workers.priority.leaves)
        evaluations = local(settings.evaluation, store, jobs, experiments, batch_workers, now_ms, cluster)
        offline = Offline(
            settings.evaluation,
            store,
            experiments,
            batch_workers,
            decisions,
            now_ms,
            jobs,
            evaluations.drawing,
        )
        stack.push_async_callback(evaluations.close)
        stack.push_async_callback(jobs.close)
        if upkeep:
            jobs.start(settings.upkeep.interval_ms / 1000)
        services = Services(
            settings=settings,
            store=store,
            sandbox=sandbox,
            decisions=decisions,
            accounts=accounts,
            experiments=experiments,
            watching=watching,
            traffic=Traffic(store, experiments, now_ms),
            catalogue=Catalogue(entries()),
            metrics=metrics,
            models=models.models,
            live_runs=models.live_runs,
            scenarios=models.scenarios,
            instances=models.instances,
            evaluations=evaluations,
            offline=offline,
            sweeps=models.sweeps,
            jobs=jobs,
            run_service=models.run_service,
            tracing=tracing,
            lately=lately,
        )
        if upkeep:
            background = Upkeep(services, now_ms)
            background.start()
            stack.push_async_callback(background.close)
        yield services


def _cluster(settings: Settings) -> Cluster | None:
    """The Dask cluster for replications and sweeps, if one is configured."""
    if not settings.jobs.scheduler:
        return None
    try:
        from streamsim.jobs.cluster import Cluster
    except ImportError:
        raise ConfigError("jobs.scheduler needs Dask: pip install 'streamsim[dask]'") from None
    return Cluster(settings.jobs.scheduler)


def _tracing(settings: Settings) -> Tracing | None:
    """What sends traces, if they are wanted."""
    if not settings.server.traces:
        return None
    try:
        return Tracing(settings.server.traces, settings.server.traces_share)
    except ImportError:
        raise ConfigError("server.traces needs OpenTelemetry: pip install 'streamsim[traces]'") from None


def _watch(metrics: Metrics, decisions: Decisions, sandbox: Sandbox) -> None:
    metrics.gauge("streamsim_lane_depth", "Calls that wait in all lanes.", decisions.waiting)
    metrics.gauge(
        "streamsim_lane_bytes", "Bytes of the calls that wait or run in all lanes.", decisions.waiting_bytes
    )
    metrics.gauge("streamsim_sandbox_workers", "Live sandboxed processes.", lambda: len(sandbox.workers))
    metrics.counter(
        "streamsim_sandbox_workers_started_total",
        "Sandboxed processes that were started, anew or in the place of one that ended.",
        lambda: sandbox.started,
    )
    metrics.gauge(
        "streamsim_outbox_rows",
        "Acknowledged log rows on their way to where they are read.",
        lambda: metrics.backlog,
        mode="livemax",
    )
