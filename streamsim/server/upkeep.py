"""Work in the background: default rewards of late advices, hourly theta snapshots, removal of what expired.

Every server process runs all of it. Each piece is claimed in the store, or is a commit of which only one can
succeed, so that there is no leader to lose.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from streamsim import values
from streamsim.dates import HOUR_MS
from streamsim.errors import StreamsimError, TooLarge
from streamsim.evaluation.announcing import Announcer
from streamsim.evaluation.guardrails import Guardrails
from streamsim.experiments.experiments import THETA
from streamsim.experiments.theta_views import theta_view
from streamsim.services import Services
from streamsim.storage.contract.decisions import (
    Experiment,
    Stale,
    ThetaAddress,
    Transaction,
)
from streamsim.storage.contract.errors import StoreUnavailable
from streamsim.storage.contract.logs import LogRow
from streamsim.waiting import until
from streamsim.webhooks.courier import AT_ONCE, Courier

log = logging.getLogger(__name__)

_AT_ONCE = 200
_FORGET_AT_ONCE = 1000
# How long a process may take for one snapshot before another one may make it.
_SNAPSHOT_CLAIM_MS = 60_000
MAX_SNAPSHOT_BYTES = 12 << 20
"""A row of a log is one document of MongoDB, of at most 16 MiB."""
GUARD_S = 0.25
"""Pause between looks at guardrails."""
ANNOUNCE_S = 5.0
"""Pause between looks for what webhooks are told of."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 60.0, 3600.0
_CLOSE_S = 1.0


class Upkeep:
    """The background tasks of one server process.

    :param now_ms: the wall clock, in ms since 1970 UTC.
    """

    def __init__(self, services: Services, now_ms: Callable[[], int]) -> None:
        self._services = services
        self._store = services.store
        self._now_ms = now_ms
        self._owner = secrets.token_hex(8)
        self._snapped: tuple[int, set[str]] = (0, set())
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        most = services.settings.evaluation.log_rows
        self._guardrails = Guardrails(services.store, services.decisions, most, now_ms)
        webhooks = services.settings.webhooks
        self._courier = Courier(services.store, webhooks, now_ms, services.metrics.message)
        self._announcer = Announcer(
            services.store, services.offline, self._owner, now_ms, webhooks.check_s * 1000
        )
        # Items that failed: how often, and when each is tried again.
        self._failed: dict[tuple[str, str], tuple[int, float]] = {}

    def start(self) -> None:
        """Run every job again and again until `close`."""
        settings = self._services.settings.upkeep
        plan: list[tuple[Callable[[], Awaitable[Any]], float]] = [
            (self.advices, settings.interval_ms / 1000),
            (self.guard, GUARD_S),
            (self.snapshots, settings.snapshot_interval_s),
            (self.clean_up, settings.cleanup_interval_s),
            (self.messages, self._services.settings.webhooks.interval_ms / 1000),
            (self.schedules, ANNOUNCE_S),
            (self.announce, ANNOUNCE_S),
            (self.sample, 1.0),
            (self.make_way, 1.0),
            (self.backlog, 10.0),
        ]
        self._tasks = [asyncio.create_task(self._repeat(job, pause_s)) for job, pause_s in plan]

    async def close(self) -> None:
        """Let each job end its present round, for a second."""
        self._stopping.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_CLOSE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def advices(self) -> None:
        """Give every advice past its time the default reward of its experiment."""
        while await self._services.decisions.time_out_advices():
            if self._stopping.is_set():
                return

    async def guard(self) -> None:
        """Look at the guardrails of experiments that have had calls here."""
        await self._guardrails.look()

    async def messages(self) -> None:
        """Send the messages to webhooks that are due."""
        while await self._courier.round() == AT_ONCE and not self._stopping.is_set():
            pass

    async def schedules(self) -> None:
        """Tell webhooks of states that come by date or number."""
        await self._each_with_webhooks("schedule", self._announcer.schedule)

    async def announce(self) -> None:
        """Tell webhooks of drift and winners."""
        await self._each_with_webhooks("announcement", self._announcer.look)

    async def _each_with_webhooks(
        self, job: str, look: Callable[[Experiment], Coroutine[Any, Any, bool]]
    ) -> None:
        after = ""
        while found := await self._store.decisions.webhook_experiments(limit=_AT_ONCE, after=after):
            for experiment in found:
                await self._one(job, experiment.id, look(experiment))
                if self._stopping.is_set():
                    return
            after = found[-1].id

    async def snapshots(self) -> int:
        """Log this hour's theta of each experiment that wants it and has none yet; how many were logged."""
        hour = self._now_ms() // HOUR_MS
        if self._snapped[0] != hour:
            self._snapped = (hour, set())
        made, after = 0, ""
        while found := await self._store.decisions.hourly_experiments(limit=_AT_ONCE, after=after):
            for experiment in found:
                if experiment.id not in self._snapped[1]:
                    made += await self._one("snapshot", experiment.id, self._snapshot(experiment, hour))
                if self._stopping.is_set():
                    return made
            after = found[-1].id
        return made

    async def clean_up(self) -> int:
        """Remove records that expired, and idle lanes; the number of records."""
        self._services.decisions.tidy()
        settings = self._services.settings.upkeep
        now_ms = self._now_ms()
        claim_ms = settings.cleanup_interval_s * 500
        if not await self._store.decisions.claim("clean_up", self._owner, now_ms, now_ms + claim_ms):
            return 0
        kept_ms = settings.advice_kept_hours * HOUR_MS
        removed = await self._all_of(lambda: self._store.forget(self._now_ms(), kept_ms, _FORGET_AT_ONCE))
        before_ms = now_ms - self._services.settings.webhooks.kept_days * 24 * HOUR_MS
        return removed + await self._all_of(
            lambda: self._store.deliveries.forget_deliveries(before_ms, _FORGET_AT_ONCE)
        )

    async def _all_of(self, forget: Callable[[], Awaitable[int]]) -> int:
        """Forget `_FORGET_AT_ONCE` at a time, until there are no more; how many there were."""
        removed = 0
        while not self._stopping.is_set():
            count = await forget()
            removed += count
            if count < _FORGET_AT_ONCE:
                break
        return removed

    async def sample(self) -> None:
        """Read the gauges, for scrapes that reach another process."""
        self._services.metrics.sample()

    async def make_way(self) -> None:
        """Keep evaluations off some processors while decisions are made."""
        self._services.evaluations.workers.priority.make_way()

    async def backlog(self) -> None:
        """Ask the store how many log rows are on their way."""
        self._services.metrics.backlog = await self._store.backlog()

    async def _snapshot(self, experiment: Experiment, hour: int) -> bool:
        work = f"theta:{experiment.id}:{hour}"
        now_ms = self._now_ms()
        if not await self._store.decisions.claim(work, self._owner, now_ms, now_ms + _SNAPSHOT_CLAIM_MS):
            return False
        named = {}
        for name in await self._store.decisions.theta_names(experiment.id):
            named[name] = theta_view(
                await self._store.decisions.read_theta(ThetaAddress(experiment.id, name, None, None))
            )
        data: dict[str, Any] = {"theta": named.pop(THETA, {})}
        if named:
            data["named"] = named
        text = values.dump(data)
        if len(text) > MAX_SNAPSHOT_BYTES:
            raise TooLarge(
                f"its theta has {len(text)} bytes as JSON; a snapshot has at most {MAX_SNAPSHOT_BYTES}"
            )
        # The id makes it one row per hour, whatever becomes of claims.
        row = LogRow(experiment.id, "theta", f"{experiment.id}-{hour}", now_ms, text)
        revisions = {experiment.id: experiment.revision}
        if isinstance(
            await self._store.decisions.commit(Transaction(experiment.tenant, revisions, logs=[row])), Stale
        ):
            return False  # edited meanwhile; the next round finds it
        self._snapped[1].add(experiment.id)
        await self._store.decisions.claim(work, self._owner, now_ms, (hour + 1) * HOUR_MS)
        return True

    async def _one(self, job: str, item: str, work: Coroutine[Any, Any, bool]) -> bool:
        """One item of a round, which fails alone: it is tried again after a pause that doubles each time.

        :raises StoreUnavailable: the store is away, for all of them.
        """
        loop = asyncio.get_running_loop()
        failures, not_before = self._failed.get((job, item), (0, 0.0))
        if loop.time() < not_before:
            work.close()
            return False
        try:
            done = await work
        except StoreUnavailable:
            work.close()
            raise
        except Exception as error:
            log.warning(
                "%s of %s failed: %s", job, item, error, exc_info=not isinstance(error, StreamsimError)
            )
            self._services.metrics.failed_item(job)
            pause_s = min(_FIRST_PAUSE_S * 2.0 ** min(failures, 20), _LONGEST_PAUSE_S)
            self._failed[job, item] = failures + 1, loop.time() + pause_s
            return False
        self._failed.pop((job, item), None)
        return done

    async def _repeat(self, job: Callable[[], Awaitable[Any]], pause_s: float) -> None:
        while not self._stopping.is_set():
            try:
                await job()
            except StoreUnavailable as error:
                log.warning("%s: the store is away: %s", job.__name__, error)
            except Exception:
                log.exception("bug in the job %s", job.__name__)
            await until(self._stopping, pause_s)
