"""Logs in the SQLite file, as they are read."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from contextlib import closing
from typing import Final

from streamsim.storage.contract.logs import PAGE_BYTES, LogKind, LogRow, within
from streamsim.storage.sqlite.database import Database
from streamsim.storage.sqlite.rows import each_in
from streamsim.waiting import Room, on_behalf_of

_SELECT: Final = (
    "SELECT position, id, date_ms, data FROM logs"
    " WHERE experiment = (SELECT num FROM experiments WHERE id = ?) AND kind = ? AND position"
)
_NEWEST: Final = f"{_SELECT} < ? ORDER BY position DESC LIMIT max(?, 0)"
_OLDEST: Final = f"{_SELECT} > ? ORDER BY position LIMIT max(?, 0)"

BY_ADVICE: Final = (
    "SELECT position, id, date_ms, data FROM logs INDEXED BY logs_by_advice"
    " WHERE experiment = (SELECT num FROM experiments WHERE id = ?) AND kind = 'reward'"
    " AND json_extract(CAST(data AS TEXT), '$.advice_id') IN"
)


def _position(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise ValueError(f"{text!r} is not a position of this log")
    return int(text)


def _row(experiment_id: str, kind: LogKind, position: int, id: str, date_ms: int, data: bytes) -> LogRow:
    return LogRow(experiment_id, kind, id, date_ms, data, str(position))


class SQLiteLogs:
    """A `LogStore` on the file.

    One page is read at a time, tenants in turn. To make rows of a page is Python's work: threads that read
    pages beside each other take as long as one after the other, and hold up the event loop all the while.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._room = Room(1)

    async def read_log(
        self,
        experiment_id: str,
        kind: LogKind,
        *,
        limit: int,
        before: str = "",
        max_bytes: int = PAGE_BYTES,
    ) -> list[LogRow]:
        bound = _position(before) if before else 2**63 - 1
        return await self._rows(_NEWEST, experiment_id, kind, bound, limit, max_bytes)

    async def follow_log(
        self,
        experiment_id: str,
        kind: LogKind,
        *,
        limit: int,
        after: str = "",
        max_bytes: int = PAGE_BYTES,
    ) -> list[LogRow]:
        bound = _position(after) if after else -1
        return await self._rows(_OLDEST, experiment_id, kind, bound, limit, max_bytes)

    async def rewards_of(self, experiment_id: str, advices: Collection[str]) -> list[LogRow] | None:
        def work(db: sqlite3.Connection) -> list[LogRow]:
            found = sorted(each_in(db, BY_ADVICE, [experiment_id], list(advices)))
            return [_row(experiment_id, "reward", *row) for row in found]

        return await self._db.read(work)

    async def _rows(
        self, sql: str, experiment_id: str, kind: LogKind, bound: int, limit: int, max_bytes: int
    ) -> list[LogRow]:
        def work(db: sqlite3.Connection) -> list[LogRow]:
            with closing(db.execute(sql, (experiment_id, kind, bound, limit))) as found:
                return list(within((_row(experiment_id, kind, *row) for row in found), max_bytes))

        async with self._room.place(on_behalf_of.get()):
            return await self._db.read(work)
