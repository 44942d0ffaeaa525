"""Small writes are made by the event loop itself, as long as it never waits for anybody."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamsim.storage.sqlite import writer
from streamsim.storage.sqlite.database import Database
from streamsim.storage.sqlite.schema import CHECKPOINT_PAGES
from streamsim.storage.sqlite.store import SQLiteStore
from streamsim.storage.sqlite.writer import _ASIDE, _LAST, Turn
from streamsim.waiting import on_behalf_of
from tests.patience import PATIENCE_S
from tests.storage.contract.helpers import experiment
from tests.storage.sqlite.conftest import opened

HERE = threading.get_ident()
KEPT = "INSERT INTO claims (work, owner, expires_ms) VALUES (?, 'o', 1)"


class Disk:
    """The time as the writer sees it, which passes for what is slow alone, however busy the machine is."""

    at = 100.0

    sleep = staticmethod(time.sleep)

    def monotonic(self) -> float:
        return self.at


DISK = Disk()


@pytest.fixture(autouse=True)
def disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "time", DISK)


@pytest.fixture
def db(run: Any, path: Path) -> Iterator[Database]:
    """Its first write was quick, as it knows then."""
    opened = Database(path, "FULL", 5000)
    run(opened.open())
    assert run(opened.write(where, small=True)) != HERE
    yield opened
    run(opened.close())


def where(_: sqlite3.Connection) -> int:
    """The thread that writes."""
    return threading.get_ident()


def kept(path: Path) -> int:
    with closing(sqlite3.connect(path)) as other:
        return int(other.execute("SELECT count(*) FROM claims").fetchone()[0])


def test_a_small_write_after_a_quick_one_is_made_here_and_durable(run: Any, db: Database, path: Path) -> None:
    def work(connection: sqlite3.Connection) -> int:
        connection.execute(KEPT, ("a",))
        return threading.get_ident()

    assert run(db.write(work, small=True)) == HERE
    assert kept(path) == 1
    assert run(db.write(where)) != HERE


def test_what_one_turn_of_the_loop_brings_is_one_transaction(run: Any, db: Database, path: Path) -> None:
    seen: list[int] = []

    def work(connection: sqlite3.Connection) -> None:
        connection.execute(KEPT, (str(len(seen)),))
        seen.append(kept(path))

    async def body() -> None:
        await asyncio.gather(*(db.write(work, small=True) for _ in range(10)))

    run(body())
    assert seen == [0] * 10
    assert kept(path) == 10


def slow(_: sqlite3.Connection) -> int:
    """The thread that writes, on a disk that is slow to sync."""
    DISK.at += 0.01
    return threading.get_ident()


def test_after_some_slow_ones_the_thread_writes_until_one_is_quick(run: Any, db: Database) -> None:
    assert [run(db.write(slow, small=True)) for _ in range(_LAST)] == [HERE] * _LAST
    assert run(db.write(slow, small=True)) != HERE
    assert run(db.write(where, small=True)) != HERE
    assert run(db.write(where, small=True)) == HERE


def test_a_slow_one_between_quick_ones_is_no_slow_disk(run: Any, db: Database) -> None:
    for _ in range(2 * _LAST):
        assert run(db.write(slow, small=True)) == HERE
        assert run(db.write(where, small=True)) == HERE


def test_writes_keep_their_order_whoever_makes_them(run: Any, db: Database) -> None:
    order: list[int] = []

    def work(number: int, _: sqlite3.Connection) -> None:
        order.append(number)

    async def body() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(db.write(partial(work, number), small=number % 3 > 0))

    run(body())
    assert order == list(range(20))


def test_what_comes_while_the_thread_writes_is_written_after_it(run: Any, db: Database) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def large(_: sqlite3.Connection) -> int:
        begun.set()
        assert go_on.wait(PATIENCE_S)
        return threading.get_ident()

    async def body() -> list[int]:
        writing = asyncio.ensure_future(db.write(large))
        await asyncio.to_thread(begun.wait, PATIENCE_S)
        after = asyncio.ensure_future(db.write(where, small=True))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not after.done()
        go_on.set()
        return [await writing, await after]

    large_one, small_one = run(body())
    assert large_one != HERE == small_one


def test_what_is_submitted_just_before_the_end_is_written(run: Any, path: Path) -> None:
    async def body() -> list[int]:
        db = Database(path, "FULL", 5000)
        await db.open()
        await db.write(where)
        last = db.submit(where, small=True)
        await db.close()
        return [await last]

    assert HERE not in run(body())


def test_while_another_process_has_the_turn_the_loop_goes_on(run: Any, db: Database, path: Path) -> None:
    async def body() -> int:
        with closing(Turn(path, 1000)) as other:
            with other:
                writing = asyncio.ensure_future(db.write(where, small=True))
                for _ in range(10):
                    await asyncio.sleep(0)
                assert not writing.done()
            return await writing

    assert run(body()) != HERE


def test_another_tool_that_has_the_file_is_waited_for_aside(run: Any, db: Database, path: Path) -> None:
    async def body() -> int:
        with closing(sqlite3.connect(path, isolation_level=None)) as tool:
            tool.execute("BEGIN IMMEDIATE")
            writing = asyncio.ensure_future(db.write(where, small=True))
            for _ in range(10):
                await asyncio.sleep(0)
            assert not writing.done()
            tool.execute("ROLLBACK")
            return await writing

    assert run(body()) != HERE


def test_one_that_fails_here_leaves_the_others(run: Any, db: Database, path: Path) -> None:
    def work(name: str | None, connection: sqlite3.Connection) -> int:
        connection.execute(KEPT, (name,))
        return threading.get_ident()

    async def body() -> list[Any]:
        calls = [db.write(partial(work, name), small=True) for name in ("a", None, "b")]
        return await asyncio.gather(*calls, return_exceptions=True)

    first, failed, last = run(body())
    assert (first, last) == (HERE, HERE)
    assert isinstance(failed, sqlite3.IntegrityError)
    assert kept(path) == 2


def test_a_checkpoint_is_never_made_here_and_comes_all_the_same(run: Any, db: Database) -> None:
    def work(connection: sqlite3.Connection) -> tuple[bool, int]:
        (pages,) = connection.execute("PRAGMA wal_autocheckpoint").fetchone()
        return threading.get_ident() == HERE, pages

    async def body() -> list[tuple[bool, int]]:
        return [await db.write(work, small=True) for _ in range(2 * (_ASIDE + 1))]

    made = run(body())
    assert set(made) == {(True, 0), (False, CHECKPOINT_PAGES)}
    assert [here for here, _ in made].count(False) == 2


@pytest.mark.parametrize(("code", "aside"), [("x = 1", 0), ("#" * 100_000, 1)])
def test_an_edit_of_little_code_is_written_here_and_one_of_much_code_aside(
    run: Any, path: Path, code: str, aside: int
) -> None:
    async def body(store: SQLiteStore) -> int:
        await store.decisions.create_experiment(experiment("e"))
        writer = store._db._writer
        assert writer is not None
        edited = msgspec.structs.replace(experiment("e"), code={"get_action": code})
        writing = asyncio.ensure_future(store.decisions.update_experiment(edited))
        await asyncio.sleep(0)
        handed = writer._handed
        stored = await writing
        assert stored is not None
        assert stored.code["get_action"] == code
        return handed

    with opened(path, run) as store:
        assert run(body(store)) == aside


@pytest.fixture
def parted(run: Any, path: Path) -> Iterator[Database]:
    """Of which ann stands back."""
    opened = Database(path, "FULL", 5000, stands_back=lambda tenant: tenant == "ann")
    run(opened.open())
    run(opened.write(where, small=True))
    yield opened
    run(opened.close())


def test_what_stands_back_shares_the_sync_of_anothers_next_write(
    run: Any, parted: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_HELD_S", 60.0)
    statements: list[str] = []

    async def body() -> None:
        await parted.write(lambda db: db.set_trace_callback(statements.append), small=True)
        statements.clear()
        on_behalf_of.set("ann")
        anns = [asyncio.ensure_future(parted.write(where, small=True)) for _ in range(2)]
        for _ in range(10):
            await asyncio.sleep(0)
        assert "COMMIT" not in statements
        on_behalf_of.set("bob")
        assert await parted.write(where, small=True) == HERE
        assert await asyncio.gather(*anns) == [HERE, HERE]
        assert statements.count("COMMIT") == 1
        # Nothing is left of them.
        on_behalf_of.set("ann")
        large = parted.write(where)
        anns = [asyncio.ensure_future(parted.write(where, small=True))]
        assert [await large == HERE, *(await asyncio.gather(*anns))] == [False, HERE]

    run(body())


def test_what_stands_back_is_answered_after_what_it_shares_the_sync_of(
    run: Any, parted: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_HELD_S", 60.0)
    made: list[str] = []
    answered: list[str] = []

    async def write(tenant: str, name: str) -> None:
        on_behalf_of.set(tenant)
        await parted.write(lambda _: made.append(name), small=True)
        answered.append(name)

    async def body() -> None:
        written = (write("ann", "a1"), write("ann", "a2"), write("bob", "b1"), write("bob", "b2"))
        await asyncio.gather(*map(asyncio.create_task, written))

    run(body())
    assert made == ["a1", "a2", "b1", "b2"]
    assert answered == ["b1", "b2", "a1", "a2"]


def test_what_stands_back_is_written_without_another_a_moment_later(run: Any, parted: Database) -> None:
    async def body() -> list[int]:
        on_behalf_of.set("ann")
        return await asyncio.gather(*(parted.write(where, small=True) for _ in range(3)))

    assert run(body()) == [HERE] * 3


def test_what_stands_back_goes_before_a_large_write(
    run: Any, parted: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_HELD_S", 60.0)
    order: list[str] = []

    async def body() -> None:
        on_behalf_of.set("ann")
        small = parted.write(lambda _: order.append("small"), small=True)
        await asyncio.gather(small, parted.write(lambda _: order.append("large")))

    run(body())
    assert order == ["small", "large"]


def test_a_write_that_was_to_be_made_here_does_not_overtake_what_went_to_the_thread(
    run: Any, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, order = threading.Event(), list[str]()
    assert db._writer is not None
    commit = db._writer._commit_aside

    def late(jobs: list[Any]) -> list[Any]:
        assert go_on.wait(PATIENCE_S)
        return commit(jobs)

    monkeypatch.setattr(db._writer, "_commit_aside", late)

    def noted(name: str, small: bool) -> asyncio.Future[None]:
        return db.submit(lambda _: order.append(name), small=small)

    async def body() -> None:
        # For the first one the loop is to write in its next turn; it goes to the thread with the second.
        writing = [noted("before", True), noted("large", False), noted("after", True)]
        for _ in range(10):
            await asyncio.sleep(0)
        assert order == []
        go_on.set()
        await asyncio.gather(*writing)

    run(body())
    assert order == ["before", "large", "after"]
