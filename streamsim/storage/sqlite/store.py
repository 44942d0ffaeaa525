"""The embedded store: one SQLite file, opened by any number of processes of one machine."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from streamsim.storage.contract.buckets import KEPT_MS, STEP_MS
from streamsim.storage.sqlite import schema as sqlite_schema
from streamsim.storage.sqlite.accounts import SQLiteAccounts
from streamsim.storage.sqlite.database import Database
from streamsim.storage.sqlite.decisions import SQLiteDecisions
from streamsim.storage.sqlite.deliveries import SQLiteDeliveries
from streamsim.storage.sqlite.jobs import SQLiteJobs
from streamsim.storage.sqlite.logs import SQLiteLogs
from streamsim.storage.sqlite.migration import SQLiteMigration
from streamsim.storage.sqlite.revisions import SQLiteRevisions
from streamsim.storage.sqlite.runs import SQLiteRuns
from streamsim.storage.sqlite.statistics import SQLiteStatistics

# What `forget` drops: parameters are :now, :cutoff (for advices) and :limit.
_FORGET = (
    *(
        f"DELETE FROM {table} WHERE rowid IN"
        f" (SELECT rowid FROM {table} WHERE expires_ms <= :now LIMIT :limit)"
        for table in ("idempotency", "sessions", "claims", "windows")
    ),
    "DELETE FROM advices WHERE num IN (SELECT num FROM advices"
    " WHERE redeemed_by IS NOT NULL AND expires_ms < :cutoff LIMIT :limit)",
    "DELETE FROM advices WHERE num IN (SELECT a.num FROM advices a INDEXED BY advices_open"
    " CROSS JOIN experiments e ON e.num = a.experiment AND e.archived = 1"
    " WHERE a.redeemed_by IS NULL AND a.expires_ms < :cutoff LIMIT :limit)",
    *(
        "DELETE FROM buckets WHERE (experiment, step, start_ms, arm) IN"
        f" (SELECT experiment, step, start_ms, arm FROM buckets WHERE step = {length_ms}"
        f" AND start_ms < :now - {KEPT_MS[step]} LIMIT :limit)"
        for step, length_ms in STEP_MS.items()
    ),
)


class SQLiteStore:
    """A complete `Store` on the file `path`, to be opened after any fork of the process.

    :param synchronous: "FULL": what was acknowledged survives a power cut; "NORMAL": only a killed process.
    :param busy_ms: how long to wait for other processes before StoreUnavailable.
    :param stands_back: whether a tenant's commits make way now for another's, and share its sync.
    """

    decides_on: Final = "SQLite"

    def __init__(
        self,
        path: Path,
        *,
        synchronous: sqlite_schema.Synchronous = "FULL",
        busy_ms: int = 5000,
        stands_back: Callable[[str], bool] = lambda tenant: False,
    ) -> None:
        self._path = path
        self._synchronous = synchronous
        self._db = Database(path, synchronous, busy_ms, stands_back=stands_back)
        self.decisions = SQLiteDecisions(self._db)
        self.deliveries = SQLiteDeliveries(self._db)
        self.accounts = SQLiteAccounts(self._db)
        self.logs = SQLiteLogs(self._db)
        self.statistics = SQLiteStatistics(self._db)
        self.revisions = SQLiteRevisions(self._db)
        self.runs = SQLiteRuns(self._db)
        self.jobs = SQLiteJobs(self._db)
        self.migration = SQLiteMigration(self._db)

    async def open(self) -> None:
        await self._db.open()

    async def close(self) -> None:
        await self._db.close()

    async def backlog(self) -> int:
        return 0  # a commit writes them where they are read

    async def ping(self) -> None:
        await self._db.write(lambda db: db.execute("UPDATE pulse SET beats = beats + 1"))

    def describe(self) -> dict[str, str]:
        return {
            "kind": "sqlite",
            "sqlite": sqlite3.sqlite_version,
            "schema": str(len(sqlite_schema.MIGRATIONS)),
            "place": str(self._path),
            "synchronous": self._synchronous,
        }

    async def forget(self, now_ms: int, advice_kept_ms: int, limit: int) -> int:
        def work(db: sqlite3.Connection) -> int:
            dropped = 0
            for sql in _FORGET:
                left = {"now": now_ms, "cutoff": now_ms - advice_kept_ms, "limit": max(limit - dropped, 0)}
                dropped += db.execute(sql, left).rowcount
            return dropped

        return await self._db.write(work)
