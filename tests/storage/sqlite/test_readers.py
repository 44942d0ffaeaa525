"""Reads of the file: several at once, tenants in turn, and none for ever."""

from __future__ import annotations

import asyncio
import sqlite3
import tracemalloc
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from streamsim.storage.contract.errors import StoreUnavailable
from streamsim.storage.contract.logs import LogRow
from streamsim.storage.sqlite.database import READERS, Database
from streamsim.storage.sqlite.store import SQLiteStore
from streamsim.waiting import on_behalf_of
from tests.patience import PATIENCE_S
from tests.storage.contract.helpers import NOW, advice, committed, experiment
from tests.storage.sqlite.conftest import opened

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


async def _as(tenant: str, database: Database, work: Any) -> Any:
    on_behalf_of.set(tenant)
    return await database.read(work)


def test_slow_reads_of_one_tenant_do_not_hold_up_anothers(path: Path, run: Any) -> None:
    async def scenario(database: Database) -> None:
        go = Event()

        def slow(db: sqlite3.Connection) -> int:
            assert go.wait(PATIENCE_S)
            return 1

        flood = [asyncio.create_task(_as("ann", database, slow)) for _ in range(3 * READERS)]
        await asyncio.sleep(0)
        task = asyncio.create_task(_as("bob", database, lambda db: db.execute("SELECT 2").fetchone()))
        assert await task == (2,)
        assert not any(read.done() for read in flood)
        go.set()
        assert await asyncio.gather(*flood) == [1] * len(flood)

    with opened(path, run) as store:
        run(scenario(store._db))


def test_a_read_that_takes_too_long_is_interrupted_and_the_next_is_not(path: Path, run: Any) -> None:
    async def scenario(database: Database) -> None:
        database._read_s = 0.05
        with pytest.raises(StoreUnavailable, match=r"longer than 0\.05 s"):
            await database.read(lambda db: db.execute(ENDLESS).fetchone())
        assert await database.read(lambda db: db.execute("SELECT 3").fetchone()) == (3,)

    with opened(path, run) as store:
        run(scenario(store._db))


def test_a_read_that_nobody_waits_for_ends(path: Path, run: Any) -> None:
    async def scenario(database: Database) -> None:
        for _ in range(3 * READERS):
            task = asyncio.create_task(_as("ann", database, lambda db: db.execute(ENDLESS).fetchone()))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        read = _as("ann", database, lambda db: db.execute("SELECT 4").fetchone())
        assert await asyncio.create_task(read) == (4,)

    with opened(path, run) as store:
        run(scenario(store._db))


def test_closing_waits_for_no_read(path: Path, run: Any) -> None:
    async def scenario(database: Database) -> None:
        read = asyncio.create_task(database.read(lambda db: db.execute(ENDLESS).fetchone()))
        await asyncio.sleep(0)
        await database.close()
        with pytest.raises(StoreUnavailable):
            await read

    with opened(path, run) as store:
        run(scenario(store._db))


def test_pages_of_logs_are_read_one_at_a_time_and_tenants_in_turn(path: Path, run: Any) -> None:
    async def scenario(store: SQLiteStore) -> None:
        order: list[str] = []

        async def page(tenant: str) -> None:
            on_behalf_of.set(tenant)
            assert await store.logs.read_log("e", "action", limit=10) == []
            order.append(tenant)

        # All readers are taken, so that what is read waits where it can be counted.
        room = store._db._room
        for number in range(READERS):
            await room.take(str(number))
        pages = [asyncio.create_task(page(tenant)) for tenant in ("ann", "ann", "ann", "ann", "bob", "bob")]
        await asyncio.sleep(0)
        assert room.waiting("ann") == 1
        assert room.waiting("bob") == 0
        for number in range(READERS):
            room.free(str(number))
        await asyncio.gather(*pages)
        assert order == ["ann", "ann", "bob", "ann", "bob", "ann"]

    with opened(path, run) as store:
        run(scenario(store))


def test_a_page_of_large_rows_takes_little_more_memory_than_a_page_may_have_bytes(
    path: Path, run: Any
) -> None:
    async def scenario(store: SQLiteStore) -> int:
        await store.decisions.create_experiment(experiment())
        rows = [LogRow("e1", "action", f"row {number}", number, b"x" * 1_000_000) for number in range(30)]
        await committed(store, logs=rows)
        del rows
        tracemalloc.start()
        try:
            page = await store.logs.read_log("e1", "action", limit=30, max_bytes=2_000_000)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert len(page) == 2
        return most

    with opened(path, run) as store:
        assert run(scenario(store)) < 6_000_000


def test_to_look_for_work_and_find_none_needs_no_thread(
    path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(store: SQLiteStore) -> None:
        await store.decisions.create_experiment(experiment())
        await committed(store, advices=[advice("a", expires_ms=NOW + 1)])
        found = [
            await store.decisions.due_advices(NOW, 10),
            await store.deliveries.take_deliveries(NOW, NOW, 10),
            await store.runs.expired_runs(NOW, 10),
            await store.jobs.claim_job("here", NOW, NOW, kind="simulation"),
        ]
        assert found == [[], [], [], None]

    with opened(path, run) as store:
        monkeypatch.setattr(store._db, "read", None)
        run(scenario(store))
