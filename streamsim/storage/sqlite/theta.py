"""Theta over one SQLite connection, inside a transaction that the caller has begun."""

from __future__ import annotations

import sqlite3
from typing import Any

from streamsim.storage.contract.decisions import ThetaAddress, ThetaRows, Transaction
from streamsim.storage.sqlite.rows import insert

# Levels of the table `scopes`: an experiment's version counter, its named sets, and their groups.
_COUNTER, SET, _GROUP = 0, 1, 2

# (experiment number, level, name, key)
_Entry = tuple[int, int, str, str]


def scope_version(db: sqlite3.Connection, number: int, scope: ThetaAddress) -> int:
    """Version of a scope of experiment `number`; 0 if it has no rows."""
    if scope.key is None:
        return _version(db, (number, SET, scope.name, ""))
    if scope.value is None:
        return _version(db, (number, _GROUP, scope.name, scope.key))
    sql = "SELECT version FROM theta WHERE experiment = ? AND name = ? AND key = ? AND value = ?"
    rows = db.execute(sql, (number, scope.name, scope.key, scope.value)).fetchall()
    return rows[0][0] if rows else 0


def read_scope(db: sqlite3.Connection, number: int, scope: ThetaAddress) -> ThetaRows:
    """Rows of a scope and its version."""
    where, parameters = _where(number, scope)
    cursor = db.execute(f"SELECT key, value, data, version FROM theta WHERE {where}", parameters)
    rows = {(key, value): (data, version) for key, value, data, version in cursor.fetchall()}
    return ThetaRows(scope_version(db, number, scope), rows)


def write_theta(db: sqlite3.Connection, transaction: Transaction, numbers: dict[str, int]) -> dict[str, int]:
    """Apply deletes and writes; the new version of each experiment that they changed."""
    changed = {scope.experiment_id for scope in transaction.writes}
    lost: set[_Entry] = set()
    for scope in transaction.deletes:
        number = numbers[scope.experiment_id]
        if _delete(db, number, scope):
            changed.add(scope.experiment_id)
            lost.add((number, SET, scope.name, ""))
            if scope.key is not None:
                lost.add((number, _GROUP, scope.name, scope.key))
    versions = {name: _version(db, (numbers[name], _COUNTER, "", "")) + 1 for name in changed}
    rows, entries = [], {(numbers[name], _COUNTER, "", "") for name in changed}
    for (experiment_id, name, key, value), data in transaction.writes.items():
        number = numbers[experiment_id]
        rows.append((number, name, key, value, versions[experiment_id], data))
        entries.add((number, SET, name, ""))
        entries.add((number, _GROUP, name, key or ""))
    insert(
        db,
        "theta (experiment, name, key, value, version, data)",
        rows,
        "ON CONFLICT (experiment, name, key, value)"
        " DO UPDATE SET version = excluded.version, data = excluded.data",
    )
    for entry in lost - entries:
        if _has_rows(db, entry):
            entries.add(entry)
        else:
            where = "experiment = ? AND level = ? AND name = ? AND key = ?"
            db.execute(f"DELETE FROM scopes WHERE {where}", entry)
    by_number = {numbers[name]: version for name, version in versions.items()}
    insert(
        db,
        "scopes (experiment, level, name, key, version)",
        [(*entry, by_number[entry[0]]) for entry in entries],
        "ON CONFLICT (experiment, level, name, key) DO UPDATE SET version = excluded.version",
    )
    return versions


def _delete(db: sqlite3.Connection, number: int, scope: ThetaAddress) -> bool:
    where, parameters = _where(number, scope)
    deleted = db.execute(f"DELETE FROM theta WHERE {where}", parameters).rowcount > 0
    if deleted and scope.key is None:
        sql = "DELETE FROM scopes WHERE experiment = ? AND level = ? AND name = ?"
        db.execute(sql, (number, _GROUP, scope.name))
    return deleted


def _version(db: sqlite3.Connection, entry: _Entry) -> int:
    sql = "SELECT version FROM scopes WHERE experiment = ? AND level = ? AND name = ? AND key = ?"
    rows = db.execute(sql, entry).fetchall()
    return rows[0][0] if rows else 0


def _has_rows(db: sqlite3.Connection, entry: _Entry) -> bool:
    number, level, name, key = entry
    where, parameters = _where(number, ThetaAddress("", name, None if level == SET else key, None))
    return bool(db.execute(f"SELECT 1 FROM theta WHERE {where} LIMIT 1", parameters).fetchall())


def _where(number: int, scope: ThetaAddress) -> tuple[str, tuple[Any, ...]]:
    if scope.key is None:
        return "experiment = ? AND name = ?", (number, scope.name)
    if scope.value is None:
        return "experiment = ? AND name = ? AND key = ?", (number, scope.name, scope.key)
    where = "experiment = ? AND name = ? AND key = ? AND value = ?"
    return where, (number, scope.name, scope.key, scope.value)
