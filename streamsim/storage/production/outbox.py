"""From Redis to MongoDB: log rows leave a tenant's outbox only when MongoDB has them.

Every process drains. The entries of an outbox are handed out by a consumer group, so that processes do
different work; who holds one for too long has died, and another takes it. That two processes bring the same
entry at once does no harm: a row's id is its `_id`, and an entry is removed, and counted as removed, once.

Rows are moved when their decisions are answered, so a drainer makes way while others are made (`rest_s`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from streamsim.storage.contract.errors import StoreUnavailable
from streamsim.storage.contract.logs import LogKind, LogRow
from streamsim.storage.mongo.logs import MongoLogs
from streamsim.storage.redis.commit import HighWater
from streamsim.storage.redis.connection import Arg, RedisConnection, Script
from streamsim.storage.redis.keys import Keys
from streamsim.storage.redis.records import unpack_log

log = logging.getLogger("streamsim.storage")

_GROUP = "drain"
_FETCH = Script("fetch")
_ACK = Script("ack")
# Counters in the hash of an experiment, by the kind of log that they count.
_COUNTERS = {"action": "actions", "reward": "rewards"}
MOVED: Final[dict[LogKind, str]] = {"action": "moved_action", "reward": "moved_reward"}
"""In the same hash, by the kind of a log: the position of the last row that MongoDB was given, -1 before the
first; not there where that is not known."""
# A position is the version of the commit, and the place of the row in it.
_PLACE_BITS = 16
_AHEAD = 1000
_PIECE_BYTES: Final = 64 * 1024
"""MongoDB is given so much of what was fetched at once: nothing is decided while it is encoded."""
_REST: Final = 3
"""While decisions are made, a drainer rests so many times as long as moving took."""
_REST_TO: Final = 0.5
"""It rests less the more rows wait, and no longer when so large a part of those that may does."""
_MOST_REST_S: Final = 2.0


class OutboxEntry(NamedTuple):
    """The log rows of one commit, as its entry in the stream holds them."""

    version: int
    bytes: int
    rows: list[LogRow]


class Outbox:
    """Drains the outboxes of all tenants.

    :param tenants: names of all tenants, some at a time.
    :param entries: most entries (commits with log rows) moved at once.
    :param held_ms: after how long another process takes an entry over.
    :param linger_s: how long rows wait for others to be moved together with.
    :param sweep_s: how often every outbox is looked at, for what dead processes left.
    :param pause: waits for so many seconds.
    """

    def __init__(
        self,
        connection: RedisConnection,
        keys: Keys,
        logs: MongoLogs,
        tenants: Callable[[], AsyncIterator[list[str]]],
        high_water: HighWater,
        *,
        entries: int = 64,
        held_ms: int = 30_000,
        linger_s: float = 0.1,
        sweep_s: float = 10.0,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._logs = logs
        self._all_tenants = tenants
        self._high_water = high_water
        self._entries = entries
        self._held_ms = held_ms
        self._linger_s = linger_s
        self._sweep_s = sweep_s
        self._pause = pause
        self._dirty: dict[str, None] = {}
        self._woken = asyncio.Event()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._task: asyncio.Task[None] | None = None
        self._trouble = ""
        # What was fetched and could not be moved; the group hands it to nobody else for a while.
        self._held: tuple[str, list[OutboxEntry]] | None = None
        self._commits = 0

    def start(self) -> None:
        """Drain in the background from now on."""
        self._task = asyncio.create_task(self._run(), name="outbox")

    async def stop(self, *, patience_s: float = 3.0) -> None:
        """Move what this process committed, if MongoDB takes it in time; another process moves the rest."""
        if self._task is None:
            return
        while not self._task.done():
            # Again and again: `asyncio.wait_for` of Python 3.11 may swallow a cancellation.
            self._task.cancel()
            await asyncio.wait([self._task], timeout=0.1)
        self._task = None
        try:
            async with asyncio.timeout(patience_s):
                while self._dirty:
                    await self.flush(self._dirty.popitem()[0])
        except (StoreUnavailable, TimeoutError) as error:
            log.info("log rows stay in the outbox: %s", str(error) or "MongoDB is slow")

    def wake(self, tenant: str) -> None:
        """There are rows in this tenant's outbox."""
        self._dirty[tenant] = None
        self._commits += 1
        self._woken.set()

    async def waiting(self) -> int:
        """Log rows of all tenants that are not in MongoDB yet."""
        total = 0
        async for tenants in self._all_tenants():
            rows = (
                self._connection.command("HGET", self._keys.of(tenant).meta, "rows") for tenant in tenants
            )
            total += sum(int(some or 0) for some in await asyncio.gather(*rows))
        return total

    async def flush(self, tenant: str) -> None:
        """Move every row committed before this call, also those that another drainer holds.

        :raises StoreUnavailable:
        """
        outbox, meta = self._keys.of(tenant).outbox, self._keys.of(tenant).meta
        async with self._locks.setdefault(tenant, asyncio.Lock()):
            if not await self._connection.command("EXISTS", outbox):
                return
            last = (await self._connection.command("HGET", meta, "seq")).decode()
            while True:
                found = await self._connection.command("XRANGE", outbox, "-", last, "COUNT", self._entries)
                await self._move(tenant, [_decoded(id, fields[b"rows"]) for id, fields in found])
                if len(found) < self._entries:
                    return

    async def after(self, tenant: str, experiment_id: str, kind: LogKind, position: int) -> list[LogRow]:
        """Rows of a log that wait here, oldest first, of positions above one: all that do at first."""
        keys, found = self._keys.of(tenant), list[LogRow]()
        newest = await self._connection.command("XREVRANGE", keys.outbox, "+", "-", "COUNT", 1)
        if not newest:
            return found
        last, start = newest[0][0].decode(), f"{max(position, 0) >> _PLACE_BITS}-0"
        mark = experiment_id.encode()
        while True:
            page = await self._connection.command("XRANGE", keys.outbox, start, last, "COUNT", _AHEAD)
            for id, fields in page:
                if mark in fields[b"rows"]:  # most are of others, and need not be taken apart
                    found += [
                        row
                        for row in _decoded(id, fields[b"rows"]).rows
                        if (row.experiment_id, row.kind) == (experiment_id, kind)
                        and int(row.position) > position
                    ]
            if len(page) < _AHEAD:
                return found
            start = f"({page[-1][0].decode()}"

    async def moved(self, tenant: str, experiment_id: str, kind: LogKind) -> int | None:
        """The position of the last row of a log that left for MongoDB; None where that was never noted."""
        field = MOVED.get(kind)
        if field is None:
            return None
        key = self._keys.of(tenant).experiment(experiment_id)
        found = await self._connection.command("HGET", key, field)
        return None if found is None else int(found)

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        sweep_at = clock()
        pause = 0.2
        full: float | None = None
        while True:
            if full is None:
                try:
                    async with asyncio.timeout_at(sweep_at):
                        await self._woken.wait()
                except TimeoutError:
                    pass
                await asyncio.sleep(self._linger_s)
            self._woken.clear()
            began, commits = clock(), self._commits
            try:
                if clock() >= sweep_at:
                    sweep_at = clock() + self._sweep_s
                    await self._sweep()
                full = await self._drain_all()
            except Exception as error:
                if isinstance(error, StoreUnavailable):
                    self._say(str(error))
                else:
                    log.exception("log rows wait in Redis; this is a mistake in streamsim")
                full = None
                self._woken.set()
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)
            else:
                self._say("")
                pause = 0.2
                if full is not None and self._commits > commits:
                    await self._pause(rest_s(clock() - began, full))

    async def _drain_all(self) -> float | None:
        """Move some of what each tenant has here; as `_drain`, of the tenant of whom most waits."""
        if self._held is not None:
            await self._move(*self._held)
            self._held = None
        left = [await self._drain(tenant) for tenant in list(self._dirty)]
        return max((full for full in left if full is not None), default=None)

    def _say(self, trouble: str) -> None:
        """One line when something is wrong, one when it is over."""
        if trouble and not self._trouble:
            log.warning("log rows wait in Redis, decisions go on: %s", trouble)
        if self._trouble and not trouble:
            log.warning("log rows reach MongoDB again")
        self._trouble = trouble

    async def _sweep(self) -> None:
        async for tenants in self._all_tenants():
            keys = (self._keys.of(tenant).outbox for tenant in tenants)
            sizes = await asyncio.gather(*(self._connection.command("XLEN", key) for key in keys))
            self._dirty.update({tenant: None for tenant, size in zip(tenants, sizes, strict=True) if size})

    async def _drain(self, tenant: str) -> float | None:
        """Move some of what the group hands out, which leaves to other processes what they hold. If there is
        more, how large a part of what may wait still does."""
        self._dirty.pop(tenant, None)
        try:
            args: list[Arg] = [_GROUP, self._entries, self._held_ms]
            found = await self._connection.call(_FETCH, [self._keys.of(tenant).outbox], args)
            self._held = (tenant, [_decoded(id, fields[1]) for id, fields in found])
            full = await self._move(*self._held)
            self._held = None
        except BaseException:
            self._dirty[tenant] = None
            raise
        if len(found) < self._entries:
            return None
        self._dirty[tenant] = None
        return full

    async def _move(self, tenant: str, moved: list[OutboxEntry]) -> float:
        """Give MongoDB the rows of these entries, and remove them. How large a part of what may wait still
        does."""
        if not moved:
            return 0.0
        keys = self._keys.of(tenant)
        places: dict[str, int] = {keys.outbox: 1, keys.meta: 2}
        args: list[Arg] = [_GROUP]

        def place(experiment_id: str) -> int:
            return places.setdefault(keys.experiment(experiment_id), len(places) + 1)

        for entries in _pieces(moved):
            repeated = await self._logs.append(row for entry in entries for row in entry.rows)
            again: dict[int, list[LogRow]] = {}
            for row in repeated:
                if row.kind in _COUNTERS:
                    again.setdefault(int(row.position) >> _PLACE_BITS, []).append(row)
            for entry in entries:
                uncount = again.get(entry.version, [])
                args += (f"{entry.version}-0", len(entry.rows), entry.bytes, len(uncount))
                for row in uncount:
                    args += (place(row.experiment_id), _COUNTERS[row.kind])
                last = {(row.experiment_id, MOVED[row.kind]): row for row in entry.rows if row.kind in MOVED}
                args.append(len(last))
                for (experiment_id, field), row in last.items():
                    args += (place(experiment_id), field, row.position)
        rows, size = await self._connection.call(_ACK, list(places), args)
        return float(max(rows / self._high_water.rows, size / self._high_water.bytes))


def rest_s(took_s: float, full: float) -> float:
    """How long a drainer makes way for decisions after a move.

    :param took_s: how long the move took.
    :param full: how large a part of the rows that may wait still does, from 0 to 1.
    """
    return min(took_s * _REST * max(0.0, 1 - full / _REST_TO), _MOST_REST_S)


def _pieces(entries: list[OutboxEntry]) -> Iterator[list[OutboxEntry]]:
    """The entries in order, some at a time."""
    piece, room = list[OutboxEntry](), _PIECE_BYTES
    for entry in entries:
        if piece and room < entry.bytes:
            yield piece
            piece, room = [], _PIECE_BYTES
        piece.append(entry)
        room -= entry.bytes
    yield piece


def _decoded(id: bytes, blob: bytes) -> OutboxEntry:
    version = int(id.partition(b"-")[0])
    rows = [
        LogRow(experiment, kind, row_id, date_ms, data, str(version << _PLACE_BITS | place))
        for place, (experiment, kind, row_id, date_ms, data) in enumerate(unpack_log(blob))
    ]
    return OutboxEntry(version, len(blob), rows)
