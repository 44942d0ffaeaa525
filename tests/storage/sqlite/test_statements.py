"""What SQLite is asked: one sync for many commits, and never a scan of a table."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from streamsim.storage.contract.accounts import LoginSession, User
from streamsim.storage.contract.deliveries import Delivery
from streamsim.storage.sqlite import schema as sqlite_schema
from streamsim.storage.sqlite.store import SQLiteStore
from streamsim.storage.sqlite.writer import Turn
from tests.storage.contract.helpers import (
    NOW,
    advice,
    committed,
    experiment,
    group,
    log,
    record,
    redeem,
    row,
    transaction,
    whole,
)
from tests.storage.sqlite.conftest import opened


def test_concurrent_commits_share_one_sync(run: Any, path: Path, statements: list[str]) -> None:
    async def body(store: SQLiteStore) -> None:
        await store.decisions.create_experiment(experiment())
        with closing(Turn(path, 1000)) as turn, turn:  # all gather while another process writes
            first = asyncio.ensure_future(store.ping())
            await asyncio.sleep(0)
            calls = [asyncio.ensure_future(committed(store, logs=[log(str(i))])) for i in range(40)]
            await asyncio.sleep(0)
            statements.clear()
        await asyncio.gather(first, *calls)
        assert statements.count("COMMIT") <= 2

    with opened(path, run) as store:
        run(body(store))


def test_no_statement_scans_a_table(run: Any, path: Path, statements: list[str]) -> None:
    """Whatever the length of logs and tables, rows are found by an index."""

    async def body(store: SQLiteStore) -> None:
        await store.decisions.create_experiment(experiment())
        await store.accounts.create_user(User(name="ann", password_hash="h", created_ms=NOW))
        await store.accounts.add_session(
            LoginSession(id="s", user="ann", kind="cookie", epoch=1, created_ms=NOW, expires_ms=NOW)
        )
        await store.decisions.update_experiment(experiment())
        everything: dict[str, Any] = {
            "writes": {row(key=k): b"{}" for k in "abc"},
            "logs": [log("a"), log("b", "reward")],
            "advices": [advice("a"), advice("b")],
            "idempotency": [record("k")],
        }
        await committed(store, revision=2, **everything)
        await committed(store, revision=2, redemptions=[redeem("a"), redeem("b", "timeout")])
        await committed(store, revision=2, deletes=[row(key="a"), group(key="b")], reads={group(key="z"): 0})
        await committed(store, revision=2, deletes=[whole()])
        await store.decisions.commit(
            transaction(revision=2, **everything, redemptions=[redeem("a")], reads={whole(): 1})
        )
        for scope in (row(), group(), whole()):
            await store.decisions.read_theta(scope)
        await store.decisions.theta_names("e1")
        await store.decisions.list_experiments("ann", limit=9, after="a")
        await store.decisions.hourly_experiments(limit=9, after="a")
        await store.decisions.webhook_experiments(limit=9, after="a")
        await store.revisions.list_revisions("e1")
        await store.revisions.has_revisions("e1")
        await store.revisions.get_revision("e1", 1)
        await store.decisions.peek("e1", ["a"], ["k"], NOW)
        await store.decisions.due_advices(NOW, 9)
        await store.decisions.summary("e1")
        await store.logs.read_log("e1", "action", limit=9, before="9")
        await store.logs.follow_log("e1", "reward", limit=9, after="0")
        await store.logs.rewards_of("e1", ["a", "b"])
        await store.statistics.put_statistics("e1", "s", b"x", NOW)
        await store.statistics.get_statistics("e1", "s")
        message = Delivery(
            experiment_id="e1", id="m", event="state", url="u", body=b"{}", created_ms=NOW, due_ms=NOW
        )
        await store.deliveries.enqueue("ann", [message])
        (taken,) = await store.deliveries.take_deliveries(NOW, NOW + 1, 9)
        await store.deliveries.settle_delivery(taken, "failed", NOW)
        await store.deliveries.list_deliveries("e1", limit=9)
        await store.deliveries.forget_deliveries(NOW + 1, 9)
        await store.decisions.claim("w", "o", NOW, NOW)
        await store.decisions.hit("w", NOW, 9)
        await store.decisions.clear_hits("w")
        await store.accounts.secret("s", b"s")
        await store.accounts.get_user("ann")
        await store.accounts.list_users(limit=9, after="a")
        await store.accounts.set_password("ann", "h")
        await store.accounts.get_session("s", NOW)
        await store.accounts.list_sessions("ann", "cookie", NOW)
        await store.accounts.remove_session("ann", "s")
        await store.forget(NOW, 0, 9)
        await store.decisions.archive_experiment("ann", "e1", NOW)
        await store.accounts.remove_user("ann")

    with opened(path, run) as store:
        statements.clear()
        run(body(store))
    verbs = ("SELECT", "INSERT", "UPDATE", "DELETE")
    work = {one for one in map(str.strip, statements) if one.startswith(verbs)}
    assert len(work) > 60
    with closing(sqlite3.connect(path)) as db:
        for sql in work:
            for *_, step in db.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall():
                assert not step.startswith("SCAN") or "CONSTANT ROW" in step, sql
                # All ids after one are as good as a scan: those that declare it have an index.
                declares = "json_extract(CAST(properties" in sql
                assert not declares or "USING INDEX experiments_by_" in step, sql


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All SQL that stores opened in this test run."""
    seen: list[str] = []
    connect = sqlite_schema.connect

    def traced(*arguments: Any) -> sqlite3.Connection:
        db = connect(*arguments)
        db.set_trace_callback(seen.append)
        return db

    monkeypatch.setattr(sqlite_schema, "connect", traced)
    return seen
