"""Statistics in the SQLite file."""

from __future__ import annotations

import sqlite3
from typing import Final

from streamsim.storage.contract.statistics import KEPT, check_size
from streamsim.storage.sqlite.database import Database

_NUMBER: Final = "(SELECT num FROM experiments WHERE id = ?)"


class SQLiteStatistics:
    """A `StatisticsStore` on the file."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def get_statistics(self, experiment_id: str, name: str) -> bytes | None:
        sql = f"SELECT data FROM statistics WHERE experiment = {_NUMBER} AND name = ?"
        rows = await self._db.read(lambda db: db.execute(sql, (experiment_id, name)).fetchall())
        return rows[0][0] if rows else None

    async def put_statistics(self, experiment_id: str, name: str, data: bytes, now_ms: int) -> None:
        check_size(data)

        def work(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO statistics (experiment, name, modified_ms, data)"
                " SELECT num, ?, ?, ? FROM experiments WHERE id = ?"
                " ON CONFLICT (experiment, name) DO UPDATE SET modified_ms = excluded.modified_ms,"
                " data = excluded.data",
                (name, now_ms, data, experiment_id),
            )
            db.execute(
                "DELETE FROM statistics WHERE num IN"
                f" (SELECT num FROM statistics WHERE experiment = {_NUMBER} AND name <> ?"
                " ORDER BY modified_ms DESC, num DESC LIMIT -1 OFFSET ?)",
                (experiment_id, name, KEPT - 1),
            )

        await self._db.write(work)
