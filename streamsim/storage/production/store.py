"""The production backend: Redis for what decisions need, MongoDB for accounts and logs."""

from __future__ import annotations

import logging

from streamsim.storage.contract.decisions import LogKind, StoredLogRow
from streamsim.storage.mongo.accounts_and_logs import MongoColdStore
from streamsim.storage.mongo.migration import MongoMigration
from streamsim.storage.production.cold_theta import ColdTheta
from streamsim.storage.production.migration import ProductionMigration
from streamsim.storage.production.outbox import Outbox
from streamsim.storage.redis.commit import DEFAULT_HIGH_WATER, HighWater
from streamsim.storage.redis.connection import RedisConnection
from streamsim.storage.redis.decisions import RedisDecisions
from streamsim.storage.redis.keys import Keys

log = logging.getLogger("streamsim.storage")


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
        self._connection = RedisConnection(redis_url, patience_s=patience_s)
        self._cold = cold = MongoColdStore(mongo_url)
        self.runs = cold.runs
        self._decisions = decisions = RedisDecisions(self._connection, keys, high_water, self._committed)
        self.outbox = Outbox(self._connection, keys, cold, decisions.tenants, held_ms=held_ms)

        self._cold_theta = ColdTheta(self._connection, keys, decisions, cold)
        self.migration = ProductionMigration(
            self._connection, keys, decisions, MongoMigration(cold), self._cold_theta, self.outbox
        )

        self.create_experiment = decisions.create_experiment
        self.get_experiment = decisions.get_experiment
        self.list_experiments = decisions.list_experiments
        self.update_experiment = decisions.update_experiment
        self.archive_experiment = decisions.archive_experiment
        self.read_theta = decisions.read_theta
        self.theta_names = decisions.theta_names
        self.commit = decisions.commit
        self.peek = decisions.peek
        self.due_advices = decisions.due_advices
        self.summary = decisions.summary
        self.hourly_experiments = decisions.hourly_experiments
        self.ping = decisions.ping  # MongoDB may be away: decisions go on without it
        self.claim = decisions.claim
        self.hit = decisions.hit
        self.clear_hits = decisions.clear_hits

        self.jobs = cold.jobs
        self.secret = cold.secret
        self.create_user = cold.create_user
        self.get_user = cold.get_user
        self.list_users = cold.list_users
        self.set_password = cold.set_password
        self.remove_user = cold.remove_user
        self.add_session = cold.add_session
        self.get_session = cold.get_session
        self.list_sessions = cold.list_sessions
        self.remove_session = cold.remove_session

    def _committed(self, tenant: str) -> None:
        self.outbox.wake(tenant)

    async def open(self) -> None:
        """:raises StoreUnavailable: one of the two cannot be reached."""
        await self._connection.open()
        try:
            await self._cold.open()
        except BaseException:
            await self._connection.close()
            raise
        for warning in self._warnings():
            log.warning("%s", warning)
        self.outbox.start()

    def _warnings(self) -> list[str]:
        info, found = self._connection.server, []
        if not info.get("aof_enabled"):
            found.append("Redis has appendonly off: what was acknowledged is lost when it stops")
        if info.get("maxmemory_policy", "noeviction") != "noeviction":
            found.append(f"Redis evicts ({info['maxmemory_policy']}): set maxmemory-policy to noeviction")
        return found

    async def close(self) -> None:
        """Log rows that MongoDB does not take within seconds stay in Redis for the next process."""
        try:
            await self._connection.settle()
            await self.outbox.stop()
            await self._connection.close()
        finally:
            await self._cold.close()

    async def backlog(self) -> int:
        return await self.outbox.waiting()

    def describe(self) -> dict[str, str]:
        info, place = self._connection.server, self._connection.place
        warnings = "; ".join(self._warnings())
        return {
            "kind": "production",
            "redis": f"{info.get('redis_version', '?')} {info.get('redis_mode', '?')} at {place}",
            "mongo": f"{self._cold.version} at {self._cold.place}",
            "durability": warnings or "appendonly, no eviction",
        }

    async def forget(self, now_ms: int, advice_kept_ms: int, limit: int) -> int:
        dropped = await self._decisions.forget(now_ms, advice_kept_ms, limit)
        await self._cold_theta.move_archived(limit)
        return dropped + await self._cold.forget_sessions(now_ms, limit - dropped)

    async def read_log(
        self, experiment: str, kind: LogKind, *, limit: int, before: str = ""
    ) -> list[StoredLogRow]:
        tenant = await self._decisions.tenant_of(experiment)
        if tenant is not None:
            await self.outbox.flush(tenant)
        return await self._cold.read_log(experiment, kind, limit=limit, before=before)
