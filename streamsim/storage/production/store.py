"""The production backend: Redis for what decisions need, MongoDB for accounts and logs."""

from __future__ import annotations

import logging

from streamsim.storage.contract.decisions import LogKind, StoredLogRow
from streamsim.storage.mongo.accounts_and_logs import MongoArchive
from streamsim.storage.mongo.migration import MongoMigration
from streamsim.storage.production.archived_theta import Archived
from streamsim.storage.production.migration import ProductionMigration
from streamsim.storage.production.outbox import Outbox
from streamsim.storage.redis.commit import DEFAULT_HIGH_WATER, HighWater
from streamsim.storage.redis.connection import Link
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
        self._link = Link(redis_url, patience_s=patience_s)
        self._archive = archive = MongoArchive(mongo_url)
        self.runs = archive.runs
        self._decisions = decisions = RedisDecisions(self._link, keys, high_water, self._committed)
        self.outbox = Outbox(self._link, keys, archive, decisions.tenants, held_ms=held_ms)

        self._archived = Archived(self._link, keys, decisions, archive)
        self.migration = ProductionMigration(
            self._link, keys, decisions, MongoMigration(archive), self._archived, self.outbox
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

        self.jobs = archive.jobs
        self.secret = archive.secret
        self.create_user = archive.create_user
        self.get_user = archive.get_user
        self.list_users = archive.list_users
        self.set_password = archive.set_password
        self.remove_user = archive.remove_user
        self.add_session = archive.add_session
        self.get_session = archive.get_session
        self.list_sessions = archive.list_sessions
        self.remove_session = archive.remove_session

    def _committed(self, tenant: str) -> None:
        self.outbox.wake(tenant)

    async def open(self) -> None:
        """:raises StoreUnavailable: one of the two cannot be reached."""
        await self._link.open()
        try:
            await self._archive.open()
        except BaseException:
            await self._link.close()
            raise
        for warning in self._warnings():
            log.warning("%s", warning)
        self.outbox.start()

    def _warnings(self) -> list[str]:
        info, found = self._link.server, []
        if not info.get("aof_enabled"):
            found.append("Redis has appendonly off: what was acknowledged is lost when it stops")
        if info.get("maxmemory_policy", "noeviction") != "noeviction":
            found.append(f"Redis evicts ({info['maxmemory_policy']}): set maxmemory-policy to noeviction")
        return found

    async def close(self) -> None:
        """Log rows that MongoDB does not take within seconds stay in Redis for the next process."""
        try:
            await self._link.settle()
            await self.outbox.stop()
            await self._link.close()
        finally:
            await self._archive.close()

    async def backlog(self) -> int:
        return await self.outbox.waiting()

    def describe(self) -> dict[str, str]:
        info = self._link.server
        warnings = "; ".join(self._warnings())
        return {
            "kind": "production",
            "redis": f"{info.get('redis_version', '?')} {info.get('redis_mode', '?')} at {self._link.place}",
            "mongo": f"{self._archive.version} at {self._archive.place}",
            "durability": warnings or "appendonly, no eviction",
        }

    async def forget(self, now_ms: int, advice_kept_ms: int, limit: int) -> int:
        dropped = await self._decisions.forget(now_ms, advice_kept_ms, limit)
        await self._archived.store_away(limit)
        return dropped + await self._archive.forget_sessions(now_ms, limit - dropped)

    async def read_log(
        self, experiment: str, kind: LogKind, *, limit: int, before: str = ""
    ) -> list[StoredLogRow]:
        tenant = await self._decisions.tenant_of(experiment)
        if tenant is not None:
            await self.outbox.flush(tenant)
        return await self._archive.read_log(experiment, kind, limit=limit, before=before)
