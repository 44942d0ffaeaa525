"""Inference from statistics that are kept, and from what came to the logs since.

A record holds tallies of the decisions up to some point, the newest one and a few older ones. A look reads
the logs from the newest on. A reward for a decision that a tally has counted throws it away, and an older
one, or none, is gone on from: so the answer is always that of the whole log.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import msgspec

from streamsim.dates import HOUR_MS
from streamsim.evaluation.figures import figuring, refusal
from streamsim.evaluation.inference.asked import Asked
from streamsim.evaluation.inference.keeping import LAST, Settled
from streamsim.evaluation.inference.tally import VERSION, name_of
from streamsim.evaluation.workers import BatchWorkers
from streamsim.sandbox.host.aside import Declined, ask, give
from streamsim.sandbox.host.worker import Worker
from streamsim.storage.contract.logs import LogKind, LogRow, LogStore, is_last
from streamsim.storage.contract.statistics import MAX_BYTES
from streamsim.storage.contract.store import Store

STEP: Final = 20_000
"""So many decisions are read, and counted, at a time."""
MOST_OPEN: Final = 100_000
PAGE: Final = 2_000
_POINTS: Final = 8
_MARGIN_MS: Final = HOUR_MS
_LONGEST_MARGIN_MS: Final = 7 * 24 * HOUR_MS
_FORGET: Final = 0.8
_ATTEMPTS: Final = 6


class Record(msgspec.Struct):
    """What is kept. `points`: oldest first. `seen`: the position up to which rewards were read, and all but
    the `unsure` ones counted, in every point. `delay_ms`: how long after its window a reward is waited for,
    twice as long after each that came later. `whole`: whether all rewards are read before any decision is
    counted. `changed`: whether it is to be kept, though there is no new point."""

    version: int = VERSION
    arms: list[str] = []
    points: list[Settled] = []
    seen: str = ""
    unsure: list[int] = []
    delay_ms: int = _MARGIN_MS
    whole: bool = False
    changed: bool = False


class _Forward:
    """A log, read on from a position."""

    def __init__(self, logs: LogStore, experiment_id: str, kind: LogKind, after: str) -> None:
        self._logs, self._experiment_id, self.kind = logs, experiment_id, kind
        self.position = after
        self.date_ms = 0
        self.ended = False

    async def page(self) -> list[LogRow]:
        """The next rows; none at the end, where there may be more later."""
        rows = await self._logs.follow_log(self._experiment_id, self.kind, limit=PAGE, after=self.position)
        self.ended = is_last(rows, PAGE)
        if rows:
            self.position, self.date_ms = rows[-1].position, rows[-1].date_ms
        return rows


class KeptInference:
    """Answers of all tenants."""

    def __init__(self, store: Store, workers: BatchWorkers, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._workers = workers
        self._now_ms = now_ms

    async def answer(self, experiment_id: str, asked: Asked, form: str, *, identity: str) -> bytes | None:
        """An `Inference` as JSON or CSV; None where the logs have rows that cannot be told of in parts.

        :raises BadRequest: :raises TooLarge: as `figures`.
        """
        name = name_of(asked)
        record = _decoded(await self._store.statistics.get_statistics(experiment_id, name))
        for attempt in range(_ATTEMPTS):
            try:
                return await self._look(experiment_id, name, record, asked, form, identity=identity)
            except Declined as declined:
                match declined.why:
                    case ["late"]:
                        record = _without_late(record, attempt)
                    case ["arms", list(arms)]:
                        record = Record(arms=arms, delay_ms=record.delay_ms, changed=True)
                    case ["unsuited"]:
                        return None
                    case _:
                        raise refusal(declined) from None
        return None

    async def _look(
        self, experiment_id: str, name: str, record: Record, asked: Asked, form: str, *, identity: str
    ) -> bytes:
        """:raises Declined: it has come to nothing."""
        point = record.points[-1] if record.points else None
        actions = _Forward(self._store.logs, experiment_id, "action", point.actions if point else "")
        rewards = _Forward(self._store.logs, experiment_id, "reward", point.rewards if point else "")
        seen = record.seen if point else ""
        unsure = record.unsure if point else []
        n = point.n if point else 0
        async with figuring(self._workers, identity=identity, lane="request") as worker:
            session = _Session(worker, self._workers.limits.frame_bytes)
            if point is not None:
                await give(worker, "tally", point.tally, frame_bytes=session.frame_bytes)
            given = msgspec.to_builtins(asked)
            begun = record.arms, rewards.position, seen, unsure, n
            await session.ask("keep", given, *begun, LAST)
            window_ms = asked.window_hours * HOUR_MS
            cut_ms = asked.now_ms - window_ms - record.delay_ms
            whole = point is None
            while True:
                await session.read(actions, STEP)
                # Of the decisions that were read, the rewards that come in time.
                until_ms = actions.date_ms + window_ms + record.delay_ms
                await session.read(rewards, None, math.inf if actions.ended or record.whole else until_ms)
                if actions.ended:
                    break
                settled = await session.settle(cut_ms)
                if settled is not None:
                    whole = whole and rewards.ended
                    _go_on(record, settled, rewards.position, settled.open)
                    await self._keep(experiment_id, name, record, asked)
            # The decisions of the rewards that were read last.
            await session.read(actions, None)
            settled = await session.settle(cut_ms // HOUR_MS * HOUR_MS, ended=True, whole=whole)
            if settled is not None:
                _go_on(record, settled, rewards.position, [])
            text = await session.ask("tell", form)
            if settled is not None or record.changed:
                await self._keep(experiment_id, name, record, asked)
            return text

    async def _keep(self, experiment_id: str, name: str, record: Record, asked: Asked) -> None:
        record.whole = record.changed = False
        data = msgspec.msgpack.encode(record)
        while len(data) > MAX_BYTES and len(record.points) > 1:
            del record.points[0]
            data = msgspec.msgpack.encode(record)
        if len(data) <= MAX_BYTES and len(record.unsure) <= MOST_OPEN:
            await self._store.statistics.put_statistics(experiment_id, name, data, asked.now_ms)


class _Session:
    """What a process is given and asked."""

    def __init__(self, worker: Worker, frame_bytes: int) -> None:
        self._worker = worker
        self.frame_bytes = frame_bytes

    async def ask(self, *request: object) -> bytes:
        """:raises Declined:"""
        return await ask(self._worker, *request, frame_bytes=self.frame_bytes)

    async def settle(self, cut_ms: int, *, ended: bool = False, whole: bool = False) -> Settled | None:
        """:raises Declined:"""
        text = await self.ask("settle", cut_ms, ended, whole)
        return msgspec.msgpack.decode(text, type=Settled) if text else None

    async def read(self, log: _Forward, most: int | None, until_ms: float = math.inf) -> None:
        """Give it rows of a log: to its end, or so many, or until one is later than a date."""
        count = 0
        while (most is None or count < most) and log.date_ms <= until_ms:
            rows = await log.page()
            if rows:
                page: list[Any] = [(row.data, row.date_ms, row.position) for row in rows]
                await give(self._worker, log.kind, msgspec.msgpack.encode(page), frame_bytes=self.frame_bytes)
                count += len(rows)
            if log.ended:
                return


def _decoded(data: bytes | None) -> Record:
    """The record as it was kept; an empty one if it is of another version."""
    if data is None:
        return Record()
    try:
        record = msgspec.msgpack.decode(data, type=Record)
    except msgspec.MsgspecError:
        return Record()
    return record if record.version == VERSION else Record()


def _go_on(record: Record, settled: Settled, seen: str, unsure: list[int]) -> None:
    """Add the newest point; of the older ones those stay that are twice as far away as the one before."""
    record.seen, record.unsure = seen, unsure
    record.delay_ms = max(_MARGIN_MS, round(_FORGET * record.delay_ms))
    points, distance = [msgspec.structs.replace(settled, open=[])], 0
    for one in reversed(record.points):
        if settled.n - one.n >= 2 * distance and len(points) < _POINTS:
            points.append(one)
            distance = settled.n - one.n
    record.points = points[::-1]


def _without_late(record: Record, attempt: int) -> Record:
    """A record without the points that a late reward may be missing in: the newest first, then all."""
    left = record.points[: -(4**attempt)] if attempt < _ATTEMPTS - 4 else []
    return Record(
        arms=record.arms,
        points=left,
        seen=record.seen,
        unsure=record.unsure,
        delay_ms=min(2 * record.delay_ms, _LONGEST_MARGIN_MS),
        whole=not left,
        changed=True,
    )
