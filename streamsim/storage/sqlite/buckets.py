"""Numbers of calls by minute and hour in the SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from streamsim.storage.contract.buckets import STEP_MS, Bucket, Buckets, Counted, Counts, Step
from streamsim.storage.sqlite.rows import insert

_COLUMNS = "decisions, rewards, numbers, reward_sum, reward_squares, errors"
_INTO = f"buckets (experiment, step, start_ms, arm, {_COLUMNS})"
_ADD = "ON CONFLICT (experiment, step, start_ms, arm) DO UPDATE SET " + ", ".join(
    f"{name} = {name} + excluded.{name}" for name in _COLUMNS.split(", ")
)


def add(db: sqlite3.Connection, buckets: Mapping[Counted, Counts], numbers: Mapping[str, int]) -> None:
    """Add what a commit counted, in the caller's transaction."""
    rows: dict[tuple[int, int, int, str], list[float]] = {}
    for (experiment_id, minute_ms, arm), one in buckets.items():
        more = (one.decisions, one.rewards, one.numbers, one.reward_sum, one.reward_squares, one.errors)
        for step in STEP_MS.values():
            at = (numbers[experiment_id], step, minute_ms // step * step, arm)
            before = rows.get(at)
            rows[at] = [*more] if before is None else [a + b for a, b in zip(before, more, strict=True)]
    insert(db, _INTO, [(*at, *counts) for at, counts in rows.items()], _ADD)


def read(
    db: sqlite3.Connection, experiment_ids: Sequence[str], step: Step, from_ms: int, to_ms: int
) -> dict[str, Buckets]:
    """`DecisionStore.buckets`."""
    found = {}
    for experiment_id in experiment_ids:
        sql = (
            "SELECT num, buckets_since_ms, summaries.experiment IS NULL FROM experiments"
            " LEFT JOIN summaries ON summaries.experiment = num WHERE id = ?"
        )
        for number, since_ms, unused in db.execute(sql, (experiment_id,)).fetchall():
            sql = (
                f"SELECT start_ms, arm, {_COLUMNS} FROM buckets"
                " WHERE experiment = ? AND step = ? AND start_ms >= ? AND start_ms < ? ORDER BY start_ms, arm"
            )
            rows: list[Any] = db.execute(sql, (number, STEP_MS[step], from_ms, to_ms)).fetchall()
            buckets = [Bucket(start_ms, arm, Counts(*counts)) for start_ms, arm, *counts in rows]
            found[experiment_id] = Buckets(0 if unused else since_ms, buckets)
    return found
