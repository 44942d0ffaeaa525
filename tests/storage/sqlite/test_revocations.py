"""Logins that a process of a SQLite installation remembers, and how they end."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from streamsim.storage.sqlite.revocations import Revocations
from streamsim.storage.sqlite.store import SQLiteStore
from tests.storage.contract.helpers import HOUR, NOW
from tests.storage.contract.test_accounts import session, user

END: dict[str, Callable[[SQLiteStore], Any]] = {
    "logout": lambda store: store.accounts.remove_session("ann", "s1"),
    "new password": lambda store: store.accounts.set_password("ann", "other hash"),
    "removed user": lambda store: store.accounts.remove_user("ann"),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "streamsim.db"


@pytest.fixture
def stores(path: Path, run: Any) -> Iterator[tuple[SQLiteStore, SQLiteStore]]:
    """As two processes have the file open; Ann is logged in."""
    both = SQLiteStore(path), SQLiteStore(path)
    for store in both:
        run(store.open())
    run(both[0].accounts.create_user(user()))
    run(both[0].accounts.add_session(session()))
    yield both
    for store in both:
        run(store.close())


def statements(store: SQLiteStore) -> list[str]:
    """SQL of look-ups from now on."""
    seen: list[str] = []
    store._db._looking.set_trace_callback(seen.append)
    return seen


def test_a_live_session_is_read_once(stores: Any, run: Any) -> None:
    seen = statements(stores[0])
    found = [run(stores[0].accounts.get_session("s1", NOW + at)) for at in range(3)]
    assert found[0] is not None
    assert found == found[:1] * 3
    assert len(seen) == 1


@pytest.mark.parametrize("end", END.values(), ids=END)
def test_a_login_that_another_process_ended_is_refused_at_once(stores: Any, run: Any, end: Any) -> None:
    one, other = stores
    for store in stores:
        assert run(store.accounts.get_session("s1", NOW))
    assert run(end(other))
    for store in stores:
        assert run(store.accounts.get_session("s1", NOW)) is None
    run(one.close())
    run(one.open())
    assert run(one.accounts.get_session("s1", NOW)) is None


def test_a_remembered_login_ends_at_its_time(stores: Any, run: Any) -> None:
    store = stores[0]
    assert run(store.accounts.get_session("s1", NOW))
    assert run(store.accounts.get_session("s1", NOW + HOUR - 1))
    assert run(store.accounts.get_session("s1", NOW + HOUR)) is None


def test_nothing_is_remembered_after_a_process_died_while_it_ended_logins(
    stores: Any, run: Any, path: Path
) -> None:
    one, other = stores
    assert run(one.accounts.get_session("s1", NOW))
    dying = Revocations(path).under_way()
    dying.__enter__()  # and never leaves
    assert run(one.accounts.get_session("s1", NOW))
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DELETE FROM sessions")
    assert run(one.accounts.get_session("s1", NOW)) is None
    # The next one that ends logins puts it right.
    run(other.accounts.add_session(session("s2")))
    assert run(other.accounts.remove_session("ann", "s2"))
    run(other.accounts.add_session(session("s3")))
    seen = statements(one)
    assert run(one.accounts.get_session("s3", NOW))
    assert run(one.accounts.get_session("s3", NOW))
    assert len(seen) == 1


def test_a_login_that_ends_while_it_is_looked_up_is_not_remembered(
    stores: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = stores
    look_up = one._db.look_up

    async def slow(work: Any) -> Any:
        found = await look_up(work)
        monkeypatch.setattr(one._db, "look_up", look_up)
        await other.accounts.remove_session("ann", "s1")
        await one.accounts.get_session("s2", NOW)  # of another request
        return found

    monkeypatch.setattr(one._db, "look_up", slow)
    assert run(one.accounts.get_session("s1", NOW))  # it was live when it was looked up
    assert run(one.accounts.get_session("s1", NOW)) is None
