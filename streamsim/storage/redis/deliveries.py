"""Deliveries to webhooks in Redis, with the tenant's other keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import msgspec

from streamsim.storage.contract.deliveries import Delivery, DeliveryState
from streamsim.storage.redis.connection import Arg, RedisConnection, Script
from streamsim.storage.redis.keys import Keys, TenantKeys

_ENQUEUE: Final = Script("enqueue", "store_deliveries")
_TAKE: Final = Script("take")
_SETTLE: Final = Script("settle")
_DROP: Final = Script("drop")
_PAGE: Final = 500
_ALL: Final = 1 << 30


class _Record(msgspec.Struct, frozen=True):
    """What never changes of a delivery."""

    experiment_id: str
    event: str
    url: str
    body: str
    created_ms: int


_decode = msgspec.json.Decoder(_Record).decode


def delivery_keys(keys: TenantKeys, experiment_id: str) -> list[str]:
    """The keys that new deliveries of an experiment are written to."""
    return [keys.messages, keys.states, keys.unsent, keys.deliveries(experiment_id)]


def delivery_args(deliveries: Iterable[Delivery]) -> list[Arg]:
    """Of each new delivery: id, record, due ms, created ms."""
    args: list[Arg] = []
    for one in deliveries:
        record = _Record(one.experiment_id, one.event, one.url, one.body.decode(), one.created_ms)
        args += (one.id, msgspec.json.encode(record), one.due_ms, one.created_ms)
    return args


class RedisDeliveries:
    """A `DeliveryStore`.

    :param tenant_of: the tenant of an experiment.
    """

    def __init__(
        self, connection: RedisConnection, keys: Keys, tenant_of: Callable[[str], Awaitable[str | None]]
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._tenant_of = tenant_of

    async def enqueue(self, tenant: str, deliveries: Iterable[Delivery]) -> int:
        keys, added = self._keys.of(tenant), 0
        by_experiment: dict[str, list[Delivery]] = {}
        for one in deliveries:
            by_experiment.setdefault(one.experiment_id, []).append(one)
        if by_experiment:
            await self._connection.command("ZADD", self._keys.senders, 0, tenant)
        for experiment_id, some in by_experiment.items():
            names = delivery_keys(keys, experiment_id)
            added += await self._connection.call(_ENQUEUE, names, delivery_args(some))
        return added

    async def take_deliveries(self, now_ms: int, until_ms: int, limit: int) -> list[Delivery]:
        taken: list[Delivery] = []
        for keys in await self._senders():
            if len(taken) >= limit:
                break
            if not await self._connection.command(
                "ZRANGEBYSCORE", keys.unsent, "-inf", now_ms, "LIMIT", 0, 1
            ):
                continue
            names = [keys.unsent, keys.messages, keys.states]
            found = await self._connection.call(_TAKE, names, [now_ms, until_ms, limit - len(taken)])
            taken += (_delivery(id.decode(), record, state, until_ms) for id, record, state in found)
        return taken

    async def settle_delivery(
        self, delivery: Delivery, state: DeliveryState, now_ms: int, *, due_ms: int = 0, error: str = ""
    ) -> bool:
        keys = await self._home(delivery.experiment_id)
        if keys is None:
            return False
        due = due_ms if state == "waiting" else ""
        args: list[Arg] = [delivery.id, delivery.attempts, state, now_ms, error, due]
        names = [keys.unsent, keys.states, keys.settled]
        return bool(await self._connection.call(_SETTLE, names, args))

    async def list_deliveries(self, experiment_id: str, *, limit: int) -> list[Delivery]:
        keys = await self._home(experiment_id)
        if keys is None or limit <= 0:
            return []
        found: list[Delivery] = []
        ids = await self._connection.command("ZREVRANGE", keys.deliveries(experiment_id), 0, limit - 1)
        for first in range(0, len(ids), _PAGE):
            some = ids[first : first + _PAGE]
            records = await self._connection.command("HMGET", keys.messages, *some)
            states = await self._connection.command("HMGET", keys.states, *some)
            dates = await self._connection.command("ZMSCORE", keys.unsent, *some)
            for id, record, state, due in zip(some, records, states, dates, strict=True):
                if record is not None and state is not None:
                    found.append(_delivery(id.decode(), record, state, int(float(due or 0))))
        return found

    async def forget_deliveries(self, before_ms: int, limit: int) -> int:
        dropped = 0
        for keys in await self._senders():
            if dropped >= limit:
                break
            ids = await self._connection.command(
                "ZRANGEBYSCORE", keys.settled, "-inf", before_ms - 1, "LIMIT", 0, limit - dropped
            )
            records = await self._connection.command("HMGET", keys.messages, *ids) if ids else []
            for id, record in zip(ids, records, strict=True):
                owner = _decode(record).experiment_id if record is not None else ""
                names = [keys.settled, keys.messages, keys.states, keys.deliveries(owner)]
                dropped += await self._connection.call(_DROP, names, [id])
        return dropped

    # For a migration.

    async def all_of(self, experiment_id: str) -> list[Delivery]:
        """Every delivery of an experiment, oldest first."""
        return (await self.list_deliveries(experiment_id, limit=_ALL))[::-1]

    async def restore(self, delivery: Delivery) -> None:
        """Store one as it is."""
        tenant = await self._tenant_of(delivery.experiment_id)
        if tenant is None:
            raise KeyError(delivery.experiment_id)
        await self.enqueue(tenant, [delivery])
        keys = self._keys.of(tenant)
        state = f"{delivery.attempts} {delivery.state} {delivery.modified_ms} {delivery.error}"
        await self._connection.command("HSET", keys.states, delivery.id, state)
        if delivery.state != "waiting":
            await self._connection.command("ZREM", keys.unsent, delivery.id)
            await self._connection.command("ZADD", keys.settled, delivery.modified_ms, delivery.id)

    async def _senders(self) -> list[TenantKeys]:
        names = await self._connection.command("ZRANGE", self._keys.senders, 0, -1)
        return [self._keys.of(name.decode()) for name in names]

    async def _home(self, experiment_id: str) -> TenantKeys | None:
        tenant = await self._tenant_of(experiment_id)
        return None if tenant is None else self._keys.of(tenant)


def _delivery(id: str, record: bytes, state: bytes, due_ms: int) -> Delivery:
    known = _decode(record)
    attempts, name, modified_ms, error = state.decode().split(" ", 3)
    return msgspec.convert(
        {
            **msgspec.structs.asdict(known),
            "body": known.body.encode(),
            "id": id,
            "due_ms": due_ms,
            "state": name,
            "attempts": int(attempts),
            "modified_ms": int(modified_ms),
            "error": error,
        },
        Delivery,
    )
