"""Archived experiments in MongoDB: theta leaves Redis, where only what decisions need takes up memory.

Nothing changes the theta of an archived experiment, so copying it and then removing it can be broken off at
any point, begun anew, and done by two processes at once. What stays in Redis is the experiment itself, a few
kilobytes, so that its id stays taken and its logs stay its tenant's.

    archived_experiments  _id: id, tenant, document (as the REST API stores it), summary, date_ms
    archived_theta        _id: address, experiment, name, key, value, data (JSON)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec
from pymongo.errors import BulkWriteError

from streamsim.storage.contract.decisions import Experiment, ThetaAddress
from streamsim.storage.contract.migration import ThetaRecord
from streamsim.storage.mongo.connection import MongoConnection, reaching
from streamsim.storage.mongo.logs import only_repeated
from streamsim.storage.mongo.values import readable, to_bytes
from streamsim.storage.redis.connection import RedisConnection
from streamsim.storage.redis.decisions import RedisDecisions
from streamsim.storage.redis.keys import Keys, counted

_ROWS_AT_ONCE: Final = 500
# Scores of the sorted set of a tenant's archived experiments.
_IN_REDIS, _IN_MONGODB = 0, 1


class ColdTheta:
    """The theta of archived experiments, in whichever of the two stores it is."""

    def __init__(
        self, connection: RedisConnection, keys: Keys, decisions: RedisDecisions, mongo: MongoConnection
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._decisions = decisions
        self._mongo = mongo

    async def move_archived(self, limit: int) -> int:
        """Move up to `limit` archived experiments to MongoDB; how many there were.

        :raises StoreUnavailable: what was not moved is moved by a later call.
        """
        moved = 0
        async for tenants in self._decisions.tenants():
            for tenant in tenants:
                which = self._keys.of(tenant).archived
                found = await self._connection.command(
                    "ZRANGEBYSCORE", which, _IN_REDIS, _IN_REDIS, "LIMIT", 0, limit - moved
                )
                for id in found:
                    await self._move(tenant, id.decode())
                moved += len(found)
                if moved >= limit:
                    return moved
        return moved

    async def theta(self, experiment: Experiment) -> AsyncIterator[ThetaRecord]:
        """All rows of theta of an experiment, archived or not."""
        keys = self._keys.of(experiment.tenant)
        stored = await self._connection.command("ZSCORE", keys.archived, experiment.id)
        if stored is not None and int(float(stored)) == _IN_MONGODB:
            async with reaching():
                async for row in self._mongo.database.archived_theta.find({"experiment": experiment.id}):
                    data = to_bytes(row["data"])
                    yield ThetaRecord(experiment.id, row["name"], row["key"], row["value"], data)
            return
        for name in await self._decisions.theta_names(experiment.id):
            for key in await self._group_keys(experiment, name):
                rows = await self._decisions.read_theta(ThetaAddress(experiment.id, name, key, None))
                for (_, value), (data, _) in rows.rows.items():
                    yield ThetaRecord(experiment.id, name, key, value, data)

    async def _group_keys(self, experiment: Experiment, name: str) -> list[str]:
        groups = self._keys.of(experiment.tenant).groups(ThetaAddress(experiment.id, name, None, None))
        return [key.decode() for key in await self._connection.command("HKEYS", groups)]

    async def _move(self, tenant: str, id: str) -> None:
        experiment = await self._decisions.get_experiment(id)
        assert experiment is not None
        rows: list[ThetaRecord] = []
        async for row in self.theta(experiment):
            rows.append(row)
            if len(rows) == _ROWS_AT_ONCE:
                await self._insert(rows)
                rows.clear()
        await self._insert(rows)
        summary = await self._decisions.summary(id)
        document = {
            "_id": id,
            "tenant": tenant,
            "document": msgspec.json.encode(experiment).decode(),
            "summary": msgspec.to_builtins(summary),
            "date_ms": experiment.modified_ms,
        }
        async with reaching():
            await self._mongo.database.archived_experiments.replace_one({"_id": id}, document, upsert=True)
        await self._remove(experiment)

    async def _insert(self, rows: Sequence[ThetaRecord]) -> None:
        """Unless they are there."""
        if not rows:
            return
        documents = [
            {
                "_id": f"{row.experiment_id}/{counted(row.name)}{counted(row.key)}{row.value}",
                "experiment": row.experiment_id,
                "name": row.name,
                "key": row.key,
                "value": row.value,
                "data": readable(row.data),
            }
            for row in rows
        ]
        async with reaching():
            try:
                await self._mongo.database.archived_theta.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                only_repeated(error)

    async def _remove(self, experiment: Experiment) -> None:
        """From Redis; what leads to the rows goes after them."""
        keys = self._keys.of(experiment.tenant)
        for name in await self._decisions.theta_names(experiment.id):
            scope = ThetaAddress(experiment.id, name, None, None)
            for key in await self._group_keys(experiment, name):
                await self._connection.command("UNLINK", keys.group(scope, key))
            await self._connection.command("UNLINK", keys.groups(scope))
        await self._connection.command("UNLINK", keys.sets(experiment.id))
        await self._connection.command("ZADD", keys.archived, "XX", _IN_MONGODB, experiment.id)
