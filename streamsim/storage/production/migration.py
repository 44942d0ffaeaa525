"""Everything in Redis and MongoDB as records, and back: see `contract.migration`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Final, get_args

from streamsim.storage.contract.decisions import Advice, IdempotencyRecord, ThetaAddress
from streamsim.storage.contract.deliveries import Delivery
from streamsim.storage.contract.logs import LogKind, LogRow
from streamsim.storage.contract.migration import (
    ExperimentRecord,
    Owned,
    Record,
    Shared,
    ThetaRecord,
)
from streamsim.storage.contract.revisions import Revision
from streamsim.storage.mongo.migration import MongoMigration
from streamsim.storage.production.cold_theta import ColdTheta
from streamsim.storage.production.outbox import MOVED, Outbox
from streamsim.storage.redis.connection import Arg, RedisConnection, Script
from streamsim.storage.redis.decisions import RedisDecisions
from streamsim.storage.redis.deliveries import RedisDeliveries
from streamsim.storage.redis.keys import Keys, TenantKeys, member, split_member
from streamsim.storage.redis.records import pack_advice, pack_record
from streamsim.storage.redis.revisions import RedisRevisions

_PAGE: Final = 500
_RESTORE: Final = Script("restore")


class ProductionMigration:
    """A `Migratable` on the parts of a `ProductionStore`."""

    def __init__(
        self,
        connection: RedisConnection,
        keys: Keys,
        decisions: RedisDecisions,
        deliveries: RedisDeliveries,
        revisions: RedisRevisions,
        cold: MongoMigration,
        cold_theta: ColdTheta,
        outbox: Outbox,
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._decisions = decisions
        self._deliveries = deliveries
        self._revisions = revisions
        self._cold = cold
        self._cold_theta = cold_theta
        self._outbox = outbox

    async def note(self, text: str | None = None) -> str:
        return await self._cold.note(text)

    async def experiments(self) -> list[str]:
        ids: list[str] = []
        async for tenants in self._decisions.tenants():
            for keys in map(self._keys.of, tenants):
                for which in (keys.live, keys.archived):
                    ids += [id.decode() for id in await self._connection.command("ZRANGE", which, 0, -1)]
        return sorted(ids)

    # Reading.

    def export(self) -> AsyncGenerator[Shared, None]:
        return self._cold.export()

    async def export_experiment(self, experiment_id: str) -> AsyncGenerator[Owned, None]:
        found = await self._decisions.get_experiment(experiment_id)
        if found is None:
            raise KeyError(experiment_id)
        keys = self._keys.of(found.tenant)
        yield ExperimentRecord(found, await self._decisions.summary(experiment_id))
        async for row in self._cold_theta.theta(found):
            yield row
        for shown in await self._revisions.list_revisions(experiment_id):
            revision = await self._revisions.get_revision(experiment_id, shown.revision)
            if revision is not None:
                yield revision
        async for ids in self._members(experiment_id, keys.due, keys.closed):
            advices, _ = await self._decisions.peek(experiment_id, ids, [], 0)
            for advice in advices.values():
                yield advice
        async for names in self._members(experiment_id, keys.idle):
            _, records = await self._decisions.peek(experiment_id, [], names, -1)
            for record in records.values():
                yield record
        for delivery in await self._deliveries.all_of(experiment_id):
            yield delivery
        await self._outbox.flush(found.tenant)
        for kind in get_args(LogKind):
            async for logged in self._cold.log(experiment_id, kind):
                yield logged

    async def _members(self, experiment_id: str, *sorted_sets: str) -> AsyncIterator[list[str]]:
        """What sorted sets of a tenant name of one experiment, some at a time."""
        for which in sorted_sets:
            first = 0
            while page := await self._connection.command("ZRANGE", which, first, first + _PAGE - 1):
                pairs = [split_member(name) for name in page]
                names = [name for owner, name in pairs if owner == experiment_id]
                if names:
                    yield names
                first += _PAGE

    # Restoring.

    async def restore(self, records: Sequence[Record]) -> None:
        theta: dict[ThetaAddress, list[Arg]] = {}
        logs: list[LogRow] = []
        for record in records:
            if isinstance(record, ThetaRecord):
                group = ThetaAddress(record.experiment_id, record.name, record.key, None)
                theta.setdefault(group, []).extend((record.value, record.data))
            elif isinstance(record, LogRow):
                logs.append(record)
            elif isinstance(record, ExperimentRecord):
                await self._restore_experiment(record)
            elif isinstance(record, Revision):
                await self._revisions.restore(record)
            elif isinstance(record, Advice):
                await self._restore_advice(record)
            elif isinstance(record, IdempotencyRecord):
                await self._restore_idempotency(record)
            elif isinstance(record, Delivery):
                await self._deliveries.restore(record)
            else:
                await self._cold.restore(record)
        for scope, pairs in theta.items():
            await self._restore_theta(scope, pairs)
        await self._cold.restore_log(logs)

    async def _home(self, experiment_id: str) -> TenantKeys:
        tenant = await self._decisions.tenant_of(experiment_id)
        if tenant is None:
            raise KeyError(experiment_id)
        return self._keys.of(tenant)

    async def _restore_experiment(self, record: ExperimentRecord) -> None:
        one, summary = record.experiment, record.summary
        await self._decisions.create_experiment(one, token=f"restored {one.id}")
        key = self._keys.of(one.tenant).experiment(one.id)
        # Its logs come from elsewhere: which of their rows were moved is not known.
        await self._connection.command("HDEL", key, *MOVED.values())
        fields: list[Arg] = []
        for name, count, date_ms in (
            ("action", summary.action_calls, summary.last_action_ms),
            ("reward", summary.reward_calls, summary.last_reward_ms),
        ):
            if date_ms is not None:
                fields += (f"{name}s", count, f"last_{name}", date_ms)
        if fields:
            await self._connection.command("HSET", key, *fields)

    async def _restore_theta(self, scope: ThetaAddress, pairs: list[Arg]) -> None:
        assert scope.key is not None
        keys = await self._home(scope.experiment_id)
        names = [keys.meta, keys.sets(scope.experiment_id), keys.groups(scope), keys.group(scope, scope.key)]
        await self._connection.call(_RESTORE, names, [scope.name, scope.key, *pairs])

    async def _restore_advice(self, advice: Advice) -> None:
        keys = await self._home(advice.experiment_id)
        dates = keys.due if advice.redeemed_by is None else keys.closed
        name = member(advice.experiment_id, advice.id)
        await self._connection.command(
            "HSET", keys.advices(advice.experiment_id), advice.id, pack_advice(advice)
        )
        await self._connection.command("ZADD", dates, advice.expires_ms, name)

    async def _restore_idempotency(self, record: IdempotencyRecord) -> None:
        keys = await self._home(record.experiment_id)
        name = member(record.experiment_id, record.key)
        await self._connection.command(
            "HSET", keys.idempotency(record.experiment_id), record.key, pack_record(record)
        )
        await self._connection.command("ZADD", keys.idle, record.expires_ms, name)
