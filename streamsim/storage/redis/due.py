"""What comes due in Redis: advices whose time is up, and records that may be forgotten."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Callable

from streamsim.storage.contract.decisions import Advice
from streamsim.storage.redis.connection import RedisConnection, Script
from streamsim.storage.redis.keys import Keys, TenantKeys, member, split_member
from streamsim.storage.redis.records import unpack_advice

_FORGET = Script("forget")
_RETIRE = Script("retire")


async def get_all(connection: RedisConnection, hash_key: str, fields: list[str]) -> dict[str, bytes]:
    """The fields of a hash that are there."""
    if not fields:
        return {}
    values = await connection.command("HMGET", hash_key, *fields)
    return {field: value for field, value in zip(fields, values, strict=True) if value is not None}


class Due:
    """The dates of advices and idempotency records, of all tenants.

    :param tenants: names of all tenants, some at a time.
    """

    def __init__(
        self, connection: RedisConnection, keys: Keys, tenants: Callable[[], AsyncIterator[list[str]]]
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._tenants = tenants

    async def advices(self, now_ms: int, limit: int) -> list[Advice]:
        """Open advices of live experiments whose time is up, soonest first."""
        while True:
            due, dropped = await self._soonest(now_ms, limit)
            for tenant, members in dropped.items():
                keys = self._keys.of(tenant)
                await self._connection.call(_RETIRE, [keys.due, keys.closed], members)
            if not dropped:
                return due

    async def _soonest(self, now_ms: int, limit: int) -> tuple[list[Advice], dict[str, list[str]]]:
        """Those advices, and by tenant the members of `due` that stand for advices that a reset dropped."""
        soonest: list[tuple[float, str, str, str]] = []
        async for tenants in self._tenants():
            overdue = await asyncio.gather(*(self._overdue(tenant, now_ms, limit) for tenant in tenants))
            soonest = heapq.nsmallest(limit, itertools.chain(soonest, *overdue))
        by_experiment: dict[tuple[str, str], list[str]] = {}
        for _, tenant, experiment_id, id in soonest:
            by_experiment.setdefault((tenant, experiment_id), []).append(id)
        found: dict[tuple[str, str], Advice] = {}
        for (tenant, experiment_id), ids in by_experiment.items():
            for id, text in (
                await get_all(self._connection, self._keys.of(tenant).advices(experiment_id), ids)
            ).items():
                found[experiment_id, id] = unpack_advice(experiment_id, id, text)
        dropped: dict[str, list[str]] = {}
        for _, tenant, experiment_id, id in soonest:
            if (experiment_id, id) not in found:
                dropped.setdefault(tenant, []).append(member(experiment_id, id))
        due = [found[one[2:]] for one in soonest if one[2:] in found]
        return [advice for advice in due if advice.redeemed_by is None], dropped

    async def _overdue(self, tenant: str, now_ms: int, limit: int) -> list[tuple[float, str, str, str]]:
        """(date, tenant, experiment, id) of open advices of live experiments."""
        found = await self._overdue_of(self._keys.of(tenant), now_ms, limit)
        return [(date, tenant, *split_member(name)) for name, date in found]

    async def _overdue_of(self, keys: TenantKeys, now_ms: int, limit: int) -> list[tuple[bytes, float]]:
        """Retires advices of archived experiments as it meets them."""
        while True:
            flat = iter(
                await self._connection.command(
                    "ZRANGEBYSCORE", keys.due, "-inf", now_ms, "WITHSCORES", "LIMIT", 0, limit
                )
            )
            found = [(name, float(date)) for name, date in zip(flat, flat, strict=True)]
            owners = {name: split_member(name)[0] for name, _ in found}
            live = {
                id: await self._connection.command("HGET", keys.experiment(id), "live")
                for id in sorted(set(owners.values()))
            }
            archived = [name for name, id in owners.items() if live[id] != b"1"]
            if not archived:
                return found
            await self._connection.call(_RETIRE, [keys.due, keys.closed], archived)

    async def forget(self, now_ms: int, advice_kept_ms: int, limit: int) -> int:
        """Drop up to `limit` records that expired; claims and rate windows expire by themselves."""
        dropped = 0
        async for tenants in self._tenants():
            for keys in map(self._keys.of, tenants):
                if dropped < limit:
                    date = now_ms - advice_kept_ms - 1
                    await self._overdue_of(keys, date, limit)
                    dropped += await self._forget(keys.closed, keys.advices, date, limit - dropped)
                if dropped < limit:
                    dropped += await self._forget(keys.idle, keys.idempotency, now_ms, limit - dropped)
        return dropped

    async def _forget(self, dates: str, records: Callable[[str], str], date: int, limit: int) -> int:
        by_experiment: dict[str, list[bytes | str]] = {}
        for name in await self._connection.command("ZRANGEBYSCORE", dates, "-inf", date, "LIMIT", 0, limit):
            experiment_id, field = split_member(name)
            by_experiment.setdefault(experiment_id, []).extend((name, field))
        dropped = 0
        for experiment_id, pairs in by_experiment.items():
            dropped += await self._connection.call(_FORGET, [dates, records(experiment_id)], [date, *pairs])
        return dropped
