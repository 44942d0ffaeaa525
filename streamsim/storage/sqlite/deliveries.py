"""Deliveries to webhooks in the SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from streamsim.storage.contract.deliveries import Delivery, DeliveryState
from streamsim.storage.sqlite.database import Database

COLUMNS: Final = "id, event, url, state, attempts, due_ms, created_ms, modified_ms, error, body"
_NAMES: Final = COLUMNS.split(", ")
_ANY_DUE = (
    "SELECT 1 FROM deliveries INDEXED BY deliveries_due WHERE state = 'waiting' AND due_ms <= ? LIMIT 1"
)


def to_delivery(experiment_id: str, row: Sequence[Any]) -> Delivery:
    """From the values of `COLUMNS`."""
    return Delivery(experiment_id=experiment_id, **dict(zip(_NAMES, row, strict=True)))


def add_deliveries(db: sqlite3.Connection, deliveries: Iterable[Delivery]) -> int:
    """Store those whose id is new, of experiments that there are; how many."""
    sql = (
        f"INSERT INTO deliveries (experiment, {COLUMNS})"
        f" SELECT num, {', '.join('?' * len(_NAMES))} FROM experiments WHERE id = ?"
        " ON CONFLICT (id) DO NOTHING"
    )
    added = 0
    for one in deliveries:
        row = (*(getattr(one, name) for name in _NAMES), one.experiment_id)
        added += db.execute(sql, row).rowcount
    return added


class SQLiteDeliveries:
    """A `DeliveryStore` on the file."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def enqueue(self, tenant: str, deliveries: Iterable[Delivery]) -> int:
        some = list(deliveries)
        return await self._db.write(lambda db: add_deliveries(db, some))

    async def take_deliveries(self, now_ms: int, until_ms: int, limit: int) -> list[Delivery]:
        columns = ", ".join(f"d.{name}" for name in _NAMES)
        sql = (
            f"SELECT d.num, e.id, {columns} FROM deliveries d INDEXED BY deliveries_due"
            " JOIN experiments e ON e.num = d.experiment"
            " WHERE d.state = 'waiting' AND d.due_ms <= ? ORDER BY d.due_ms LIMIT max(?, 0)"
        )
        taking = "UPDATE deliveries SET attempts = attempts + 1, due_ms = ? WHERE num = ?"

        def work(db: sqlite3.Connection) -> list[Delivery]:
            taken = []
            for number, experiment_id, *row in db.execute(sql, (now_ms, limit)).fetchall():
                db.execute(taking, (until_ms, number))
                one = to_delivery(experiment_id, row)
                taken.append(msgspec.structs.replace(one, attempts=one.attempts + 1, due_ms=until_ms))
            return taken

        # Most looks find nothing, and need not wait for their turn to write.
        return await self._db.write(work) if await self._db.finds(_ANY_DUE, (now_ms,)) else []

    async def settle_delivery(
        self, delivery: Delivery, state: DeliveryState, now_ms: int, *, due_ms: int = 0, error: str = ""
    ) -> bool:
        sql = (
            "UPDATE deliveries SET state = ?, due_ms = ?, modified_ms = ?, error = ?"
            " WHERE id = ? AND attempts = ? AND state = 'waiting'"
        )
        row = (state, due_ms, now_ms, error, delivery.id, delivery.attempts)
        return await self._db.write(lambda db: db.execute(sql, row).rowcount > 0)

    async def list_deliveries(self, experiment_id: str, *, limit: int) -> list[Delivery]:
        sql = (
            f"SELECT {COLUMNS} FROM deliveries WHERE experiment = (SELECT num FROM experiments WHERE id = ?)"
            " ORDER BY num DESC LIMIT max(?, 0)"
        )
        rows = await self._db.read(lambda db: db.execute(sql, (experiment_id, limit)).fetchall())
        return [to_delivery(experiment_id, row) for row in rows]

    async def forget_deliveries(self, before_ms: int, limit: int) -> int:
        sql = (
            "DELETE FROM deliveries WHERE num IN (SELECT num FROM deliveries INDEXED BY deliveries_settled"
            " WHERE state <> 'waiting' AND modified_ms < ? LIMIT max(?, 0))"
        )
        return await self._db.write(lambda db: db.execute(sql, (before_ms, limit)).rowcount)
