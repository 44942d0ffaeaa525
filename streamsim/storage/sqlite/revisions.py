"""Revisions of experiments in the SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from streamsim.storage.contract.revisions import MAX_REVISION_BYTES, MAX_REVISIONS, Revision
from streamsim.storage.sqlite.database import Database

SHOWN: Final = "revision, date_ms, user, note"
_OF: Final = "experiment = (SELECT num FROM experiments WHERE id = ?)"


def add_revisions(db: sqlite3.Connection, revisions: Iterable[Revision]) -> None:
    """Store those whose number is new, of experiments that there are, and drop what is not kept."""
    sql = (
        "INSERT INTO revisions (experiment, revision, date_ms, user, note, code)"
        " SELECT num, ?, ?, ?, ?, ? FROM experiments WHERE id = ? ON CONFLICT DO NOTHING"
    )
    changed = dict[str, None]()
    for one in revisions:
        code = msgspec.json.encode(one.code)
        db.execute(sql, (one.revision, one.date_ms, one.user, one.note, code, one.experiment_id))
        changed[one.experiment_id] = None
    for experiment_id in changed:
        sizes = f"SELECT revision, length(code) FROM revisions WHERE {_OF} ORDER BY revision DESC"
        size = 0
        for place, (number, length) in enumerate(db.execute(sizes, (experiment_id,)).fetchall()):
            size += length
            if place and (place >= MAX_REVISIONS or size > MAX_REVISION_BYTES):
                db.execute(f"DELETE FROM revisions WHERE {_OF} AND revision = ?", (experiment_id, number))


class SQLiteRevisions:
    """A `RevisionStore` on the file."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list_revisions(self, experiment_id: str) -> list[Revision]:
        sql = f"SELECT {SHOWN}, '{{}}' FROM revisions WHERE {_OF} ORDER BY revision DESC"
        rows = await self._db.read(lambda db: db.execute(sql, (experiment_id,)).fetchall())
        return [to_revision(experiment_id, row) for row in rows]

    async def has_revisions(self, experiment_id: str) -> bool:
        sql = f"SELECT 1 FROM revisions WHERE {_OF} LIMIT 1"
        return bool(await self._db.look_up(lambda db: db.execute(sql, (experiment_id,)).fetchall()))

    async def get_revision(self, experiment_id: str, revision: int) -> Revision | None:
        sql = f"SELECT {SHOWN}, code FROM revisions WHERE {_OF} AND revision = ?"
        rows = await self._db.read(lambda db: db.execute(sql, (experiment_id, revision)).fetchall())
        return to_revision(experiment_id, rows[0]) if rows else None


def to_revision(experiment_id: str, row: Sequence[Any]) -> Revision:
    """From a row of `SHOWN` and the code."""
    number, date_ms, user, note, code = row
    return Revision(
        experiment_id=experiment_id,
        revision=number,
        date_ms=date_ms,
        user=user,
        note=note,
        code=msgspec.json.decode(code),
    )
