"""Logs in the SQLite file, as they are read."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from streamsim.storage.contract.logs import PAGE_BYTES, LogKind, LogRow
from streamsim.storage.sqlite.database import Database


class SQLiteLogs:
    """A `LogStore` on the file."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def read_log(
        self,
        experiment_id: str,
        kind: LogKind,
        *,
        limit: int,
        before: str = "",
        max_bytes: int = PAGE_BYTES,
    ) -> list[LogRow]:
        bound = 2**63 - 1
        if before:
            if not (before.isascii() and before.isdecimal() and len(before) <= 18):
                raise ValueError("before is not a position of this log")
            bound = int(before)
        sql = (
            "SELECT position, id, date_ms, data FROM logs"
            " WHERE experiment = (SELECT num FROM experiments WHERE id = ?) AND kind = ? AND position < ?"
            " ORDER BY position DESC LIMIT max(?, 0)"
        )

        def work(db: sqlite3.Connection) -> list[LogRow]:
            rows, left = list[LogRow](), max_bytes
            with closing(db.execute(sql, (experiment_id, kind, bound, limit))) as found:
                for position, id, date_ms, data in found:
                    rows.append(LogRow(experiment_id, kind, id, date_ms, data, str(position)))
                    left -= len(data)
                    if left <= 0:
                        break
            return rows

        return await self._db.read(work)
