"""Redis: experiments, theta, advices, idempotency records, counters, claims and rate windows.

Implements `DecisionStore`. Every change is one Lua script on the keys of one tenant (see keys.py), so it
works on a single server as on a cluster. Every script may be sent again when an answer was lost: a token, or
what the script does, makes the second time the same as the first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from uuid import uuid4

import msgspec

from streamsim.storage.contract.buckets import Buckets, Step, check_range
from streamsim.storage.contract.decisions import (
    Advice,
    Committed,
    Experiment,
    IdempotencyRecord,
    Stale,
    Summary,
    ThetaAddress,
    ThetaRows,
    Transaction,
)
from streamsim.storage.contract.deliveries import Delivery
from streamsim.storage.contract.errors import DuplicateName
from streamsim.storage.contract.revisions import Revision
from streamsim.storage.redis import buckets as redis_buckets
from streamsim.storage.redis.commit import (
    HighWater,
    decode_committed,
    decode_stale,
    encode,
    refusal,
    stale_sets,
    theta_rows,
)
from streamsim.storage.redis.connection import Arg, RedisConnection, Script
from streamsim.storage.redis.deliveries import delivery_args, delivery_keys
from streamsim.storage.redis.due import Due, get_all
from streamsim.storage.redis.keys import Keys, TenantKeys
from streamsim.storage.redis.records import unpack_advice, unpack_experiment, unpack_record
from streamsim.storage.redis.revisions import RedisRevisions, revision_args, revision_keys
from streamsim.storage.redis.writers import Writer, Writers

# How many tenants a job asks at once, and how many names it reads at once.
_TENANTS_AT_ONCE = 32
_PAGE = 500
_CACHED_TENANTS = 100_000

_COMMIT = Script("commit")
_THETA = Script("theta")
_CREATE = Script("create")
_UPDATE = Script("update", "store_deliveries")
_CLAIM = Script("claim")
_HIT = Script("hit")


class RedisDecisions:
    """The part of the production store that serves decisions.

    :param committed: told the tenant after each commit that left log rows in its outbox.
    """

    def __init__(
        self, connection: RedisConnection, keys: Keys, high_water: HighWater, committed: Callable[[str], None]
    ) -> None:
        self._connection, self._keys = connection, keys
        self._high_water = high_water
        self._committed = committed
        self._tenants: dict[str, str] = {}
        self._tenant_keys: dict[str, TenantKeys] = {}
        self._writers = Writers()
        self.due = Due(connection, keys, self.tenants)
        self.revisions = RedisRevisions(connection, keys, self.tenant_of)

    # Who owns what.

    def _of(self, tenant: str) -> TenantKeys:
        keys = self._tenant_keys.get(tenant)
        if keys is None:
            if len(self._tenant_keys) >= _CACHED_TENANTS:
                self._tenant_keys.clear()
            keys = self._tenant_keys[tenant] = self._keys.of(tenant)
        return keys

    async def tenant_of(self, experiment_id: str) -> str | None:
        """The tenant an experiment belongs to, which never changes."""
        tenant = self._tenants.get(experiment_id)
        if tenant is None:
            found = await self._connection.command("GET", self._keys.tenant(experiment_id))
            if found is None:
                return None
            if len(self._tenants) >= _CACHED_TENANTS:
                self._tenants.clear()
            tenant = self._tenants[experiment_id] = found.decode()
        return tenant

    async def _home(self, experiment_id: str) -> TenantKeys | None:
        tenant = await self.tenant_of(experiment_id)
        return None if tenant is None else self._of(tenant)

    async def tenants(self) -> AsyncIterator[list[str]]:
        """All tenants that have, or had, experiments, some at a time."""
        start = "-"
        while True:
            page = await self._connection.command(
                "ZRANGEBYLEX", self._keys.tenants, start, "+", "LIMIT", 0, _PAGE
            )
            names = [name.decode() for name in page]
            for first in range(0, len(names), _TENANTS_AT_ONCE):
                yield names[first : first + _TENANTS_AT_ONCE]
            if len(names) < _PAGE:
                return
            start = f"({names[-1]}"

    # Experiments.

    async def create_experiment(
        self, experiment: Experiment, revisions: Sequence[Revision] = (), *, token: str = ""
    ) -> None:
        """:param token: a call that repeats the token of the call that stored the experiment succeeds."""
        keys = self._of(experiment.tenant)
        # The index first: an entry that leads nowhere does no harm, an experiment that nobody finds would.
        index = self._keys.tenant(experiment.id)
        await self._connection.command("ZADD", self._keys.tenants, 0, experiment.tenant)
        await self._connection.command("SET", index, experiment.tenant, "NX")
        if await self._connection.command("GET", index) != experiment.tenant.encode():
            raise DuplicateName(experiment.id)
        await self._index(experiment)
        for one in revisions:
            await self.revisions.restore(one)
        stored = await self._connection.call(
            _CREATE,
            [keys.experiment(experiment.id), keys.live, keys.names, keys.archived],
            [
                experiment.id,
                experiment.name,
                msgspec.json.encode(experiment),
                experiment.revision,
                experiment.modified_ms,
                0 if experiment.archived else 1,
                token or uuid4().hex,
            ],
        )
        if not stored:
            raise DuplicateName(experiment.name)

    async def get_experiment(self, experiment_id: str) -> Experiment | None:
        keys = await self._home(experiment_id)
        if keys is None:
            return None
        return unpack_experiment(await self._fields(keys, experiment_id))

    async def _fields(self, keys: TenantKeys, experiment_id: str) -> list[bytes | None]:
        fields: list[bytes | None] = await self._connection.command(
            "HMGET", keys.experiment(experiment_id), "doc", "revision", "modified", "live"
        )
        return fields

    async def list_experiments(self, tenant: str, *, limit: int, after: str = "") -> list[Experiment]:
        keys = self._of(tenant)
        found: list[Experiment] = []
        while len(found) < limit:
            wanted = limit - len(found)
            ids = await self._connection.command(
                "ZRANGEBYLEX", keys.live, f"({after}" if after else "-", "+", "LIMIT", 0, wanted
            )
            for first in range(0, len(ids), _TENANTS_AT_ONCE):
                some = ids[first : first + _TENANTS_AT_ONCE]
                read = await asyncio.gather(*(self._fields(keys, id.decode()) for id in some))
                found += [
                    item for item in map(unpack_experiment, read) if item is not None and not item.archived
                ]
            if len(ids) < wanted:
                break
            after = ids[-1].decode()
        return found

    async def _index(self, experiment: Experiment) -> None:
        """Before it is stored; an index may name too many, never too few."""
        if experiment.properties.get("hourly_theta"):
            await self._connection.command("ZADD", self._keys.hourly, 0, experiment.id)
        if experiment.properties.get("webhooks"):
            await self._connection.command("ZADD", self._keys.webhooks, 0, experiment.id)
            await self._connection.command("ZADD", self._keys.senders, 0, experiment.tenant)

    async def hourly_experiments(self, *, limit: int, after: str = "") -> list[Experiment]:
        return await self._indexed(self._keys.hourly, "hourly_theta", limit, after)

    async def webhook_experiments(self, *, limit: int, after: str = "") -> list[Experiment]:
        return await self._indexed(self._keys.webhooks, "webhooks", limit, after)

    async def _indexed(self, index: str, named: str, limit: int, after: str) -> list[Experiment]:
        """Live experiments in an index that have the property it is of."""
        found: list[Experiment] = []
        while len(found) < limit:
            ids = await self._connection.command(
                "ZRANGEBYLEX", index, f"({after}" if after else "-", "+", "LIMIT", 0, _PAGE
            )
            for id in (name.decode() for name in ids):
                experiment = await self.get_experiment(id)
                if experiment is not None and experiment.archived:
                    await self._connection.command("ZREM", index, id)
                elif experiment is not None and experiment.properties.get(named):
                    found.append(experiment)
                if len(found) == limit:
                    break
            if len(ids) < _PAGE:
                break
            after = ids[-1].decode()
        return found

    async def update_experiment(
        self,
        experiment: Experiment,
        deliveries: Sequence[Delivery] = (),
        revisions: Sequence[Revision] = (),
    ) -> Experiment | None:
        old = await self.get_experiment(experiment.id)
        if old is None or old.tenant != experiment.tenant:
            return None
        new = msgspec.structs.replace(experiment, created_ms=old.created_ms)
        await self._index(new)
        return await self._change(
            experiment.tenant,
            experiment.id,
            experiment.modified_ms,
            [experiment.revision, experiment.name, msgspec.json.encode(new), *revision_args(revisions)],
            deliveries,
        )

    async def archive_experiment(
        self, tenant: str, experiment_id: str, date_ms: int, deliveries: Sequence[Delivery] = ()
    ) -> Experiment | None:
        change: list[Arg] = ["", "", "", *revision_args(())]
        return await self._change(tenant, experiment_id, date_ms, change, deliveries)

    async def _change(
        self,
        tenant: str,
        experiment_id: str,
        date_ms: int,
        change: list[Arg],
        deliveries: Sequence[Delivery],
    ) -> Experiment | None:
        keys = self._of(tenant)
        answer = await self._connection.call(
            _UPDATE,
            [
                *(keys.experiment(experiment_id), keys.live, keys.names, keys.archived),
                *revision_keys(keys, experiment_id),
                *delivery_keys(keys, experiment_id),
            ],
            [experiment_id, uuid4().hex, date_ms, *change, *delivery_args(deliveries)],
        )
        if answer[0] == 2:
            raise DuplicateName(str(change[1]))
        return unpack_experiment(answer[1:]) if answer[0] else None

    # Theta.

    async def read_theta(self, scope: ThetaAddress) -> ThetaRows:
        if scope.key is None and scope.value is not None:
            raise ValueError("a scope with a value needs a key")
        keys = await self._home(scope.experiment_id)
        if keys is None:
            return ThetaRows(0, {})
        if scope.key is None:
            return await self._read_set(keys, scope)
        group = keys.group(scope, scope.key)
        if scope.value is not None:
            row = await self._connection.command("HGET", group, scope.value)
            if row is None:
                return ThetaRows(0, {})
            return theta_rows(row.partition(b":")[0], {scope.key: [scope.value.encode(), row]})
        version, rows = await self._connection.call(
            _THETA, [keys.sets(scope.experiment_id), keys.groups(scope), group], [scope.name, "g", scope.key]
        )
        return theta_rows(version, {scope.key: rows[0]})

    async def _read_set(self, keys: TenantKeys, scope: ThetaAddress) -> ThetaRows:
        names: list[str] = []
        while True:
            version, rows, *other = await self._connection.call(
                _THETA,
                [
                    keys.sets(scope.experiment_id),
                    keys.groups(scope),
                    *(keys.group(scope, name) for name in names),
                ],
                [scope.name, "s", *names],
            )
            if not other:
                return theta_rows(version, dict(zip(names, rows, strict=True)))
            names = [name.decode() for name in other[0]]

    async def theta_names(self, experiment_id: str) -> list[str]:
        keys = await self._home(experiment_id)
        if keys is None:
            return []
        names = await self._connection.command("HKEYS", keys.sets(experiment_id))
        return sorted(name.decode() for name in names)

    # Transactions.

    async def commit(self, transaction: Transaction) -> Committed | Stale:
        transaction.check()
        writer = self._writers.take(transaction.tenant)
        try:
            return await self._commit(transaction, writer)
        finally:
            self._writers.give_back(transaction.tenant, writer)

    async def _commit(self, transaction: Transaction, writer: Writer) -> Committed | Stale:
        keys = self._of(transaction.tenant)
        deleted = [scope for scope in transaction.deletes if scope.key is None]
        while True:
            groups = dict[ThetaAddress, list[str]]()
            for scope in deleted:
                names = await self._connection.command("HKEYS", keys.groups(scope))
                groups[scope] = [name.decode() for name in names]
            encoded = encode(transaction, keys, self._high_water, groups, writer)
            answer = await self._connection.call(_COMMIT, *encoded, quick=True)
            kind = answer[0]
            if kind == 1:
                if transaction.logs:
                    self._committed(transaction.tenant)
                return decode_committed(transaction, answer[1])
            if kind == 0:
                sets = {scope: await self._read_set(keys, scope) for scope in stale_sets(transaction, answer)}
                return decode_stale(transaction, answer, sets)
            if kind != 3:
                raise refusal(answer)

    async def peek(
        self, experiment_id: str, advices: Iterable[str], idempotency: Iterable[str], now_ms: int
    ) -> tuple[dict[str, Advice], dict[str, IdempotencyRecord]]:
        keys = await self._home(experiment_id)
        ids, names = list(advices), list(idempotency)
        if keys is None:
            return {}, {}
        known, records = await asyncio.gather(
            get_all(self._connection, keys.advices(experiment_id), ids),
            get_all(self._connection, keys.idempotency(experiment_id), names),
        )
        live = {name: unpack_record(experiment_id, name, text) for name, text in records.items()}
        return (
            {id: unpack_advice(experiment_id, id, text) for id, text in known.items()},
            {name: record for name, record in live.items() if record.expires_ms > now_ms},
        )

    # What upkeep does.

    async def due_advices(self, now_ms: int, limit: int) -> list[Advice]:
        return await self.due.advices(now_ms, limit)

    async def summary(self, experiment_id: str) -> Summary:
        keys = await self._home(experiment_id)
        if keys is None:
            return Summary()
        actions, last_action, rewards, last_reward = (
            int(field or 0)
            for field in await self._connection.command(
                "HMGET", keys.experiment(experiment_id), "actions", "last_action", "rewards", "last_reward"
            )
        )
        return Summary(actions, last_action if actions else None, rewards, last_reward if rewards else None)

    async def ping(self) -> None:
        """A write, since a server may read and yet refuse those."""
        await self._connection.command("SET", self._keys.pulse, "")

    async def buckets(
        self, experiment_ids: Sequence[str], step: Step, from_ms: int, to_ms: int
    ) -> dict[str, Buckets]:
        check_range(step, from_ms, to_ms)
        homes = {one: keys for one in experiment_ids if (keys := await self._home(one)) is not None}
        reads = (
            redis_buckets.read(self._connection, keys, one, step, from_ms, to_ms)
            for one, keys in homes.items()
        )
        return dict(zip(homes, await asyncio.gather(*reads), strict=True))

    async def claim(self, work: str, owner: str, now_ms: int, until_ms: int) -> bool:
        kept_ms = max(until_ms - now_ms, 0) + 60_000
        keys = [self._keys.claim(work)]
        return bool(await self._connection.call(_CLAIM, keys, [owner, now_ms, until_ms, kept_ms]))

    async def hit(self, window: str, now_ms: int, length_ms: int) -> tuple[int, int]:
        keys = [self._keys.window(window)]
        events, left = await self._connection.call(_HIT, keys, [now_ms, length_ms, length_ms + 60_000])
        return events, left

    async def clear_hits(self, window: str) -> None:
        await self._connection.command("DEL", self._keys.window(window))
