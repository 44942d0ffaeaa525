"""Commit over one SQLite connection, inside a transaction that the caller has begun."""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterable

from streamsim.storage.contract.decisions import (
    Advice,
    Amendment,
    Committed,
    IdempotencyRecord,
    Redemption,
    Stale,
    Transaction,
)
from streamsim.storage.contract.logs import LogRow
from streamsim.storage.sqlite import buckets as sqlite_buckets
from streamsim.storage.sqlite.rows import each_in, insert
from streamsim.storage.sqlite.theta import read_scope, scope_version, write_theta


def commit(db: sqlite3.Connection, transaction: Transaction) -> Committed | Stale:
    """`Store.commit`; the effects are durable when the caller's transaction is."""
    numbers, refused = _experiments(db, transaction)
    theta = {}
    for scope, version in transaction.reads.items():
        number = numbers.get(scope.experiment_id)
        if number is not None and scope_version(db, number, scope) != version:
            theta[scope] = read_scope(db, number, scope)
    advices: dict[str, Advice | None] = {}
    closed_or_amended: list[Redemption | Amendment] = [*transaction.redemptions, *transaction.amendments]
    for experiment_id, ids in _known(numbers, ((r.experiment_id, r.id) for r in closed_or_amended)).items():
        advices |= _not_open(db, experiment_id, numbers[experiment_id], ids)
    advices |= _otherwise(db, transaction, numbers, advices)
    records: dict[str, IdempotencyRecord] = {}
    for experiment_id, keys in _known(
        numbers, ((r.experiment_id, r.key) for r in transaction.idempotency)
    ).items():
        records |= find_records(db, experiment_id, numbers[experiment_id], keys, transaction.now_ms)
    full = tuple(
        experiment_id
        for experiment_id, most in transaction.at_most.items()
        if experiment_id in numbers and _decided(db, numbers[experiment_id]) > most
    )
    if refused or theta or advices or records or full:
        return Stale(refused, theta, advices, records, full)
    versions = write_theta(db, transaction, numbers) if transaction.writes or transaction.deletes else {}
    if transaction.logs:
        _append(db, transaction.logs, numbers)
    if transaction.buckets:
        sqlite_buckets.add(db, transaction.buckets, numbers)
    for experiment_id in transaction.drops:
        db.execute("DELETE FROM advices WHERE experiment = ?", (numbers[experiment_id],))
    if transaction.redemptions:
        _redeem(db, transaction.redemptions, numbers)
    for one in transaction.amendments:
        row = (one.gathered, numbers[one.experiment_id], one.id)
        db.execute("UPDATE advices SET gathered = ? WHERE experiment = ? AND id = ?", row)
    insert(
        db,
        "advices (experiment, id, expires_ms, context, action)",
        [(numbers[a.experiment_id], a.id, a.expires_ms, a.context, a.action) for a in transaction.advices],
        "ON CONFLICT (experiment, id) DO NOTHING",
    )
    insert(
        db,
        "idempotency (experiment, key, fingerprint, answer, expires_ms)",
        [
            (numbers[r.experiment_id], r.key, r.fingerprint, r.answer, r.expires_ms)
            for r in transaction.idempotency
        ],
        "ON CONFLICT (experiment, key) DO UPDATE SET fingerprint = excluded.fingerprint,"
        " answer = excluded.answer, expires_ms = excluded.expires_ms",
    )
    return Committed(versions)


def find_advices(
    db: sqlite3.Connection, experiment_id: str, number: int, ids: Iterable[str]
) -> dict[str, Advice]:
    """The known ones among the advices of an experiment."""
    sql = (
        "SELECT id, expires_ms, context, action, redeemed_by, gathered FROM advices"
        " WHERE experiment = ? AND id IN"
    )
    return {row[0]: Advice(experiment_id, *row) for row in each_in(db, sql, [number], list(ids))}


def find_records(
    db: sqlite3.Connection, experiment_id: str, number: int, keys: Iterable[str], now_ms: int
) -> dict[str, IdempotencyRecord]:
    """The live ones among the idempotency records of an experiment."""
    sql = (
        "SELECT key, fingerprint, answer, expires_ms FROM idempotency"
        " WHERE experiment = ? AND expires_ms > ? AND key IN"
    )
    rows = each_in(db, sql, [number, now_ms], list(keys))
    return {row[0]: IdempotencyRecord(experiment_id, *row) for row in rows}


def _experiments(db: sqlite3.Connection, transaction: Transaction) -> tuple[dict[str, int], tuple[str, ...]]:
    """Numbers of the experiments that are as expected, and ids of the others."""
    sql = "SELECT num, revision FROM experiments WHERE id = ? AND tenant = ? AND archived = 0"
    numbers, refused = {}, []
    for experiment_id, revision in transaction.revisions.items():
        rows = db.execute(sql, (experiment_id, transaction.tenant)).fetchall()
        if rows and rows[0][1] == revision:
            numbers[experiment_id] = rows[0][0]
        else:
            refused.append(experiment_id)
    return numbers, tuple(refused)


def _decided(db: sqlite3.Connection, number: int) -> int:
    found = db.execute("SELECT action_calls FROM summaries WHERE experiment = ?", (number,)).fetchall()
    return found[0][0] if found else 0


def _known(numbers: dict[str, int], pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """(experiment, item) pairs as items by experiment, without those of refused experiments."""
    grouped: dict[str, list[str]] = {}
    for experiment_id, item in pairs:
        if experiment_id in numbers:
            grouped.setdefault(experiment_id, []).append(item)
    return grouped


def _not_open(
    db: sqlite3.Connection, experiment_id: str, number: int, ids: list[str]
) -> dict[str, Advice | None]:
    sql = "SELECT id FROM advices WHERE experiment = ? AND redeemed_by IS NULL AND id IN"
    closed = set(ids) - {row[0] for row in each_in(db, sql, [number], ids)}
    return dict.fromkeys(closed) | find_advices(db, experiment_id, number, closed) if closed else {}


def _otherwise(
    db: sqlite3.Connection, transaction: Transaction, numbers: dict[str, int], closed: Container[str]
) -> dict[str, Advice | None]:
    """Open advices that have gathered something else than is expected."""
    expected = {(one.experiment_id, one.id): one.before for one in transaction.amendments}
    for one in transaction.redemptions:
        if one.gathered is not None:
            expected[one.experiment_id, one.id] = one.gathered
    found: dict[str, Advice | None] = {}
    for experiment_id, ids in _known(numbers, expected).items():
        for id, advice in find_advices(db, experiment_id, numbers[experiment_id], ids).items():
            if id not in closed and advice.gathered != expected[experiment_id, id]:
                found[id] = advice
    return found


def _redeem(db: sqlite3.Connection, redemptions: list[Redemption], numbers: dict[str, int]) -> None:
    for by in {redemption.by for redemption in redemptions}:
        pairs = ((r.experiment_id, r.id) for r in redemptions if r.by == by)
        for experiment_id, ids in _known(numbers, pairs).items():
            sql = "UPDATE advices SET redeemed_by = ? WHERE experiment = ? AND id IN"
            list(each_in(db, sql, [by, numbers[experiment_id]], ids))


def _append(db: sqlite3.Connection, logs: list[LogRow], numbers: dict[str, int]) -> None:
    rows = [(numbers[row.experiment_id], row.kind, row.id, row.date_ms, row.data) for row in logs]
    added = insert(db, "logs (experiment, kind, id, date_ms, data)", rows, "ON CONFLICT (id) DO NOTHING")
    # The rows added are the last of the table; those that were there already are not counted again.
    db.execute(
        """
        INSERT INTO summaries (experiment, action_calls, last_action_ms, reward_calls, last_reward_ms,
            buckets_since_ms)
        SELECT experiment, sum(kind = 'action'), max(CASE kind WHEN 'action' THEN date_ms END),
            sum(kind = 'reward'), max(CASE kind WHEN 'reward' THEN date_ms END), 0
        FROM logs NOT INDEXED
        WHERE position > (SELECT max(position) FROM logs) - ? AND kind IN ('action', 'reward')
        GROUP BY experiment
        ON CONFLICT (experiment) DO UPDATE SET
            action_calls = action_calls + excluded.action_calls,
            reward_calls = reward_calls + excluded.reward_calls,
            buckets_since_ms = coalesce(buckets_since_ms, excluded.last_action_ms, excluded.last_reward_ms),
            last_action_ms = max(ifnull(last_action_ms, excluded.last_action_ms),
                ifnull(excluded.last_action_ms, last_action_ms)),
            last_reward_ms = max(ifnull(last_reward_ms, excluded.last_reward_ms),
                ifnull(excluded.last_reward_ms, last_reward_ms))
        """,
        (added,),
    )
