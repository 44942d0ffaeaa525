"""What is special about appends on SQLite: those of many runs go to the file together."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from streamsim.storage.contract.errors import StoreUnavailable
from streamsim.storage.contract.runs import Append, Run
from streamsim.storage.sqlite.store import SQLiteStore
from streamsim.storage.sqlite.writer import Turn
from tests.storage.contract.helpers import NOW
from tests.storage.contract.test_runs import a_run

MANY = 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "streamsim.db"


@pytest.fixture
def store(path: Path, run: Any) -> Iterator[SQLiteStore]:
    store = SQLiteStore(path, busy_ms=50)
    run(store.open())
    run(store.runs.create_runs([a_run(f"r{n}") for n in range(MANY)]))
    yield store
    run(store.close())


async def appended(store: SQLiteStore, at: int = 0) -> list[Run | BaseException | None]:
    changes = [Append(f"r{n}", at, NOW, [b"entry"]) for n in range(MANY)]
    return await asyncio.gather(*map(store.runs.append, changes), return_exceptions=True)


def test_appends_that_wait_together_take_few_statements(store: SQLiteStore, path: Path, run: Any) -> None:
    seen: list[str] = []
    assert store._db._writer
    store._db._writer._db.set_trace_callback(seen.append)

    async def scenario() -> None:
        with closing(Turn(path, 1000)) as other:
            with other:  # all gather while another process writes
                held = asyncio.ensure_future(store.ping())
                await asyncio.sleep(0)
                waiting = asyncio.ensure_future(appended(store))
                await asyncio.sleep(0.01)
            await held
            assert [one.length for one in await waiting if isinstance(one, Run)] == [1] * MANY

    run(scenario())
    assert sum("UPDATE runs" in one for one in seen) <= 2
    assert sum("INSERT" in one for one in seen) <= 2


@pytest.mark.parametrize(("size", "here"), [(100, True), (1 << 20, False)])
def test_the_event_loop_writes_an_entry_of_a_usual_size_itself(
    store: SQLiteStore, run: Any, size: int, here: bool
) -> None:
    writers: set[int] = set()
    assert store._db._writer
    store._db._writer._db.set_trace_callback(
        lambda sql: writers.add(threading.get_ident()) if "INTO run_entries" in sql else None
    )
    found = run(store.runs.append(Append("r1", 0, NOW, [bytes(size)])))
    assert found is not None
    assert found.length == 1
    assert writers
    assert (writers == {threading.get_ident()}) is here


def test_appends_to_a_file_that_cannot_be_locked_fail_and_later_ones_succeed(
    store: SQLiteStore, path: Path, run: Any
) -> None:
    with closing(Turn(path, 1000)) as other:
        with other:
            for _ in range(2):
                assert {type(one) for one in run(appended(store))} == {StoreUnavailable}
        assert [one.length for one in run(appended(store)) if isinstance(one, Run)] == [1] * MANY
    assert run(appended(store)) == [None] * MANY
    run(store.close())
    assert {type(one) for one in run(appended(store))} == {StoreUnavailable}
    run(store.open())
    assert [one.length for one in run(appended(store, 1)) if isinstance(one, Run)] == [2] * MANY


def test_who_gives_up_does_not_stop_the_others(store: SQLiteStore, run: Any) -> None:
    async def scenario() -> None:
        changes = [Append(f"r{n}", 0, NOW, [b"entry"]) for n in range(MANY)]
        waiting = [asyncio.ensure_future(store.runs.append(change)) for change in changes]
        await asyncio.sleep(0)
        waiting[0].cancel()
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError)
        assert [one.length for one in found[1:] if isinstance(one, Run)] == [1] * (MANY - 1)

    run(scenario())
