"""The production backend: Redis for what decisions need, MongoDB for accounts and logs."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Final

from streamsim.storage.contract.logs import PAGE_BYTES, LogKind, LogRow, is_last, within
from streamsim.storage.mongo.accounts import MongoAccounts
from streamsim.storage.mongo.connection import MongoConnection
from streamsim.storage.mongo.jobs import MongoJobs
from streamsim.storage.mongo.logs import MongoLogs, position_of
from streamsim.storage.mongo.migration import MongoMigration
from streamsim.storage.mongo.runs import MongoRuns
from streamsim.storage.mongo.statistics import MongoStatistics
from streamsim.storage.production.cold_theta import ColdTheta
from streamsim.storage.production.migration import ProductionMigration
from streamsim.storage.production.outbox import Outbox
from streamsim.storage.redis.commit import DEFAULT_HIGH_WATER, HighWater
from streamsim.storage.redis.connection import RedisConnection
from streamsim.storage.redis.decisions import RedisDecisions
from streamsim.storage.redis.deliveries import RedisDeliveries
from streamsim.storage.redis.keys import Keys

log = logging.getLogger("streamsim.storage")
_ONCE: Final = ("action", "reward")
"""Logs whose rows have ids that are never given twice."""


class ProductionStore:
    """A `Store` on Redis and MongoDB.

    :param redis_url: `redis://`, `rediss://` (TLS) or `unix://`; any node of a cluster will do.
    :param mongo_url: `mongodb://` or `mongodb+srv://`, with credentials, TLS and database.
    :param prefix: what names of Redis keys start with, for several installations on one Redis.
    :param high_water: the most log rows of one tenant that may wait for MongoDB; beyond it `commit` raises
        `StoreUnavailable` when it brings log rows.
    :param held_ms: how long a drainer may hold log rows before another process takes them over.
    :param patience_s: how long a call waits for a Redis that is away.
    """

    decides_on: Final = "Redis"

    def __init__(
        self,
        redis_url: str,
        mongo_url: str,
        *,
        prefix: str = "streamsim",
        high_water: HighWater = DEFAULT_HIGH_WATER,
        patience_s: float = 5.0,
        held_ms: int = 30_000,
    ) -> None:
        keys = Keys(prefix)
        self._redis = RedisConnection(redis_url, patience_s=patience_s)
        self._mongo = MongoConnection(mongo_url)
        rows = MongoLogs(self._mongo)
        self.decisions = RedisDecisions(self._redis, keys, high_water, self._committed)
        self.deliveries = RedisDeliveries(self._redis, keys, self.decisions.tenant_of)
        self.revisions = self.decisions.revisions
        self.outbox = Outbox(self._redis, keys, rows, self.decisions.tenants, high_water, held_ms=held_ms)
        self.accounts = MongoAccounts(self._mongo)
        self.logs = DrainedLogs(self.decisions, self.outbox, rows)
        self.statistics = MongoStatistics(self._mongo)
        self.runs = MongoRuns(self._mongo)
        self.jobs = MongoJobs(self._mongo)
        self._cold_theta = ColdTheta(self._redis, keys, self.decisions, self._mongo)
        self.migration = ProductionMigration(
            self._redis,
            keys,
            self.decisions,
            self.deliveries,
            self.revisions,
            MongoMigration(self._mongo, rows, self.runs, self.jobs),
            self._cold_theta,
            self.outbox,
        )

    def _committed(self, tenant: str) -> None:
        self.outbox.wake(tenant)

    async def open(self) -> None:
        """:raises StoreUnavailable: one of the two cannot be reached."""
        await self._redis.open()
        try:
            await self._mongo.open()
        except BaseException:
            await self._redis.close()
            raise
        for warning in self._warnings():
            log.warning("%s", warning)
        self.outbox.start()

    def _warnings(self) -> list[str]:
        info, found = self._redis.server, []
        if not info.get("aof_enabled"):
            found.append("Redis has appendonly off: what was acknowledged is lost when it stops")
        if info.get("maxmemory_policy", "noeviction") != "noeviction":
            found.append(f"Redis evicts ({info['maxmemory_policy']}): set maxmemory-policy to noeviction")
        return found

    async def close(self) -> None:
        """Log rows that MongoDB does not take within seconds stay in Redis for the next process."""
        try:
            await self._redis.settle()
            await self.outbox.stop()
            await self._redis.close()
        finally:
            await self._mongo.close()

    async def backlog(self) -> int:
        return await self.outbox.waiting()

    def describe(self) -> dict[str, str]:
        info, place = self._redis.server, self._redis.place
        warnings = "; ".join(self._warnings())
        return {
            "kind": "production",
            "redis": f"{info.get('redis_version', '?')} {info.get('redis_mode', '?')} at {place}",
            "mongo": f"{self._mongo.version} at {self._mongo.place}",
            "durability": warnings or "appendonly, no eviction",
        }

    async def forget(self, now_ms: int, advice_kept_ms: int, limit: int) -> int:
        dropped = await self.decisions.due.forget(now_ms, advice_kept_ms, limit)
        await self._cold_theta.move_archived(limit)
        return dropped + await self.accounts.forget_sessions(now_ms, limit - dropped)

    async def ping(self) -> None:
        await self.decisions.ping()  # MongoDB may be away: decisions go on without it


class DrainedLogs:
    """A `LogStore`: reading the newest rows first moves what waits in the tenant's outbox."""

    def __init__(self, decisions: RedisDecisions, outbox: Outbox, rows: MongoLogs) -> None:
        self._decisions = decisions
        self._outbox = outbox
        self._rows = rows

    async def read_log(
        self,
        experiment_id: str,
        kind: LogKind,
        *,
        limit: int,
        before: str = "",
        max_bytes: int = PAGE_BYTES,
    ) -> list[LogRow]:
        tenant = await self._decisions.tenant_of(experiment_id)
        if tenant is not None:
            await self._outbox.flush(tenant)
        return await self._rows.read_log(experiment_id, kind, limit=limit, before=before, max_bytes=max_bytes)

    async def follow_log(
        self,
        experiment_id: str,
        kind: LogKind,
        *,
        limit: int,
        after: str = "",
        max_bytes: int = PAGE_BYTES,
    ) -> list[LogRow]:
        """Waits for nobody to move anything: what waits in the outbox is read there.

        The outbox is asked first, so that what is moved meanwhile is in MongoDB when that is; MongoDB only if
        something was moved since `after`.
        """
        tenant = await self._decisions.tenant_of(experiment_id)
        if tenant is not None and kind not in _ONCE:
            await self._outbox.flush(tenant)  # of two rows of one id the second is not told
        if tenant is None or kind not in _ONCE or limit <= 0:
            return await self._rows.follow_log(
                experiment_id, kind, limit=limit, after=after, max_bytes=max_bytes
            )
        position = position_of(after) if after else -1
        waiting = await self._outbox.after(tenant, experiment_id, kind, position)
        moved = await self._outbox.moved(tenant, experiment_id, kind)
        if moved is not None and moved <= position:
            stored = []  # all that is not in the outbox is known already
        else:
            stored = await self._rows.follow_log(
                experiment_id, kind, limit=limit, after=after, max_bytes=max_bytes
            )
        rows = {int(row.position): row for row in (*stored, *waiting)}
        places = sorted(rows)
        if not is_last(stored, limit, max_bytes):
            last = int(stored[-1].position)  # there may be more in MongoDB before what waits
            places = [place for place in places if place <= last]
        return list(within((rows[place] for place in places[:limit]), max_bytes))

    async def rewards_of(self, experiment_id: str, advices: Collection[str]) -> list[LogRow] | None:
        tenant = await self._decisions.tenant_of(experiment_id)
        if tenant is not None:
            await self._outbox.flush(tenant)
        return await self._rows.rewards_of(experiment_id, advices)
