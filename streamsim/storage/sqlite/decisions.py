"""Decisions in the SQLite file: experiments, theta, claims, rate windows. Commits have their own module."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from streamsim.storage.contract.buckets import Buckets, Step, check_range
from streamsim.storage.contract.decisions import (
    Advice,
    Committed,
    Experiment,
    IdempotencyRecord,
    Stale,
    Summary,
    ThetaAddress,
    ThetaRows,
    Transaction,
)
from streamsim.storage.contract.deliveries import Delivery
from streamsim.storage.contract.errors import DuplicateName
from streamsim.storage.contract.revisions import Revision
from streamsim.storage.sqlite import buckets as sqlite_buckets
from streamsim.storage.sqlite import commit as sqlite_commit
from streamsim.storage.sqlite import theta as sqlite_theta
from streamsim.storage.sqlite.database import SMALL_BYTES, Database
from streamsim.storage.sqlite.deliveries import add_deliveries
from streamsim.storage.sqlite.revisions import add_revisions

_EXPERIMENT = "id, key, tenant, name, code, properties, revision, created_ms, modified_ms, archived"
_DUE_ADVICES = (
    "SELECT e.id, a.id, a.expires_ms, a.context, a.action, a.redeemed_by, a.gathered"
    " FROM advices a INDEXED BY advices_open"
    " CROSS JOIN experiments e ON e.num = a.experiment AND e.archived = 0"
    " WHERE a.redeemed_by IS NULL AND a.expires_ms <= ? ORDER BY a.expires_ms LIMIT max(?, 0)"
)
_ANY_DUE_ADVICE = (
    "SELECT 1 FROM advices INDEXED BY advices_open WHERE redeemed_by IS NULL AND expires_ms <= ? LIMIT 1"
)


class SQLiteDecisions:
    """A `DecisionStore` on the file."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def create_experiment(self, experiment: Experiment, revisions: Sequence[Revision] = ()) -> None:
        def work(db: sqlite3.Connection) -> None:
            _refuse_taken_name(db, experiment)
            marks = ", ".join("?" * (_EXPERIMENT.count(",") + 1))
            row = (
                experiment.id,
                experiment.key,
                experiment.tenant,
                experiment.name,
                msgspec.json.encode(experiment.code),
                msgspec.json.encode(experiment.properties),
                experiment.revision,
                experiment.created_ms,
                experiment.modified_ms,
                experiment.archived,
            )
            db.execute(f"INSERT INTO experiments ({_EXPERIMENT}) VALUES ({marks})", row)
            add_revisions(db, revisions)

        await self._db.write(work)

    async def get_experiment(self, experiment_id: str) -> Experiment | None:
        return await self._db.look_up(lambda db: _experiment(db, experiment_id))

    async def list_experiments(self, tenant: str, *, limit: int, after: str = "") -> list[Experiment]:
        sql = (
            f"SELECT {_EXPERIMENT} FROM experiments WHERE tenant = ? AND archived = 0 AND id > ?"
            " ORDER BY id LIMIT max(?, 0)"
        )
        rows = await self._db.read(lambda db: db.execute(sql, (tenant, after, limit)).fetchall())
        return [_to_experiment(row) for row in rows]

    async def hourly_experiments(self, *, limit: int, after: str = "") -> list[Experiment]:
        return await self._declaring("'$.hourly_theta') = 1", limit, after)

    async def webhook_experiments(self, *, limit: int, after: str = "") -> list[Experiment]:
        return await self._declaring("'$.webhooks') IS NOT NULL", limit, after)

    async def _declaring(self, named: str, limit: int, after: str) -> list[Experiment]:
        """Live experiments of all tenants. :param named: what a property is, in SQL."""
        sql = (
            f"SELECT {_EXPERIMENT} FROM experiments WHERE archived = 0 AND id > ?"
            f" AND json_extract(CAST(properties AS TEXT), {named} ORDER BY id LIMIT max(?, 0)"
        )
        rows = await self._db.read(lambda db: db.execute(sql, (after, limit)).fetchall())
        return [_to_experiment(row) for row in rows]

    async def update_experiment(
        self,
        experiment: Experiment,
        deliveries: Sequence[Delivery] = (),
        revisions: Sequence[Revision] = (),
    ) -> Experiment | None:
        code, properties = msgspec.json.encode(experiment.code), msgspec.json.encode(experiment.properties)
        size = len(code) + len(properties) + sum(len(one.body) for one in deliveries)
        size += sum(len(text) for one in revisions for text in one.code.values())

        def work(db: sqlite3.Connection) -> Experiment | None:
            found = _experiment(db, experiment.id)
            if found is None or found.archived or found.tenant != experiment.tenant:
                return None
            if found.revision != experiment.revision:
                return None
            _refuse_taken_name(db, experiment)
            sql = (
                "UPDATE experiments SET key = ?, name = ?, code = ?, properties = ?, modified_ms = ?,"
                " revision = revision + 1 WHERE id = ?"
            )
            row = (experiment.key, experiment.name, code, properties, experiment.modified_ms, experiment.id)
            db.execute(sql, row)
            add_deliveries(db, deliveries)
            add_revisions(db, revisions)
            return _experiment(db, experiment.id)

        return await self._db.write(work, small=size <= SMALL_BYTES)

    async def archive_experiment(
        self, tenant: str, experiment_id: str, date_ms: int, deliveries: Sequence[Delivery] = ()
    ) -> Experiment | None:
        def work(db: sqlite3.Connection) -> Experiment | None:
            sql = (
                "UPDATE experiments SET archived = 1, revision = revision + 1, modified_ms = ?"
                " WHERE id = ? AND tenant = ? AND archived = 0"
            )
            if not db.execute(sql, (date_ms, experiment_id, tenant)).rowcount:
                return None
            add_deliveries(db, deliveries)
            return _experiment(db, experiment_id)

        return await self._db.write(work)

    async def read_theta(self, scope: ThetaAddress) -> ThetaRows:
        if scope.key is None and scope.value is not None:
            raise ValueError("a scope with a value needs a key")

        def work(db: sqlite3.Connection) -> ThetaRows:
            number = _number(db, scope.experiment_id)
            return ThetaRows(0, {}) if number is None else sqlite_theta.read_scope(db, number, scope)

        return await self._db.read(work)

    async def theta_names(self, experiment_id: str) -> list[str]:
        sql = (
            "SELECT name FROM scopes WHERE experiment = (SELECT num FROM experiments WHERE id = ?)"
            " AND level = ? ORDER BY name"
        )
        rows = await self._db.read(lambda db: db.execute(sql, (experiment_id, sqlite_theta.SET)).fetchall())
        return [row[0] for row in rows]

    async def commit(self, transaction: Transaction) -> Committed | Stale:
        transaction.check()
        small = _size(transaction) <= SMALL_BYTES
        return await self._db.write(lambda db: sqlite_commit.commit(db, transaction), small=small)

    async def peek(
        self, experiment_id: str, advices: Iterable[str], idempotency: Iterable[str], now_ms: int
    ) -> tuple[dict[str, Advice], dict[str, IdempotencyRecord]]:
        ids, keys = list(advices), list(idempotency)

        def work(db: sqlite3.Connection) -> tuple[dict[str, Advice], dict[str, IdempotencyRecord]]:
            number = _number(db, experiment_id)
            if number is None:
                return {}, {}
            return (
                sqlite_commit.find_advices(db, experiment_id, number, ids),
                sqlite_commit.find_records(db, experiment_id, number, keys, now_ms),
            )

        return await self._db.read(work)

    async def due_advices(self, now_ms: int, limit: int) -> list[Advice]:
        if not await self._db.finds(_ANY_DUE_ADVICE, (now_ms,)):
            return []
        rows = await self._db.read(lambda db: db.execute(_DUE_ADVICES, (now_ms, limit)).fetchall())
        return [Advice(*row) for row in rows]

    async def summary(self, experiment_id: str) -> Summary:
        sql = (
            "SELECT action_calls, last_action_ms, reward_calls, last_reward_ms FROM summaries"
            " WHERE experiment = (SELECT num FROM experiments WHERE id = ?)"
        )
        rows = await self._db.read(lambda db: db.execute(sql, (experiment_id,)).fetchall())
        return Summary(*rows[0]) if rows else Summary()

    async def buckets(
        self, experiment_ids: Sequence[str], step: Step, from_ms: int, to_ms: int
    ) -> dict[str, Buckets]:
        check_range(step, from_ms, to_ms)
        return await self._db.read(lambda db: sqlite_buckets.read(db, experiment_ids, step, from_ms, to_ms))

    async def claim(self, work: str, owner: str, now_ms: int, until_ms: int) -> bool:
        sql = (
            "INSERT INTO claims (work, owner, expires_ms) VALUES (:work, :owner, :until)"
            " ON CONFLICT (work) DO UPDATE SET owner = :owner, expires_ms = :until"
            " WHERE owner = :owner OR expires_ms <= :now"
        )
        row = {"work": work, "owner": owner, "until": until_ms, "now": now_ms}
        return await self._db.write(lambda db: db.execute(sql, row).rowcount > 0)

    async def hit(self, window: str, now_ms: int, length_ms: int) -> tuple[int, int]:
        sql = (
            "INSERT INTO windows (name, hits, expires_ms) VALUES (:name, 1, :until)"
            " ON CONFLICT (name) DO UPDATE SET hits = CASE WHEN expires_ms > :now THEN hits + 1 ELSE 1 END,"
            " expires_ms = CASE WHEN expires_ms > :now THEN expires_ms ELSE :until END"
        )

        def work(db: sqlite3.Connection) -> tuple[int, int]:
            db.execute(sql, {"name": window, "now": now_ms, "until": now_ms + length_ms})
            found = db.execute("SELECT hits, expires_ms FROM windows WHERE name = ?", (window,)).fetchall()
            return found[0][0], found[0][1] - now_ms

        return await self._db.write(work)

    async def clear_hits(self, window: str) -> None:
        await self._db.write(lambda db: db.execute("DELETE FROM windows WHERE name = ?", (window,)))


def _size(transaction: Transaction) -> float:
    """Bytes that a commit writes; without end where it may delete any number of rows."""
    if transaction.deletes or transaction.drops:
        return math.inf
    size = transaction.written_bytes + sum(len(one.context) + len(one.action) for one in transaction.advices)
    size += sum(len(one.answer) for one in transaction.idempotency)
    return size + sum(len(one.gathered) for one in transaction.amendments)


def _number(db: sqlite3.Connection, experiment_id: str) -> int | None:
    found = db.execute("SELECT num FROM experiments WHERE id = ?", (experiment_id,)).fetchall()
    return found[0][0] if found else None


def _experiment(db: sqlite3.Connection, experiment_id: str) -> Experiment | None:
    found = db.execute(f"SELECT {_EXPERIMENT} FROM experiments WHERE id = ?", (experiment_id,)).fetchall()
    return _to_experiment(found[0]) if found else None


def _refuse_taken_name(db: sqlite3.Connection, experiment: Experiment) -> None:
    sql = "SELECT 1 FROM experiments WHERE tenant = ? AND name = ? AND archived = 0 AND id <> ?"
    if db.execute(sql, (experiment.tenant, experiment.name, experiment.id)).fetchall():
        raise DuplicateName(experiment.name)


def _to_experiment(row: tuple[Any, ...]) -> Experiment:
    id, key, tenant, name, code, properties, revision, created_ms, modified_ms, archived = row
    return Experiment(
        id=id,
        key=key,
        tenant=tenant,
        name=name,
        code=msgspec.json.decode(code),
        properties=msgspec.json.decode(properties),
        revision=revision,
        created_ms=created_ms,
        modified_ms=modified_ms,
        archived=bool(archived),
    )
