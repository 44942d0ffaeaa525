"""Statistics of logs, and logs as they are followed."""

from __future__ import annotations

from typing import Any

import pytest

from streamsim.storage.contract.statistics import KEPT, MAX_BYTES
from streamsim.storage.contract.store import Store
from tests.storage.contract.helpers import NOW, committed, log


def test_what_was_put_last_is_there_for_each_experiment_and_name(run: Any, store: Store) -> None:
    async def body() -> None:
        statistics = store.statistics
        assert await statistics.get_statistics("e1", "a") is None
        await statistics.put_statistics("e1", "a", b"\x00 old", NOW)
        await statistics.put_statistics("e1", "a", b"\xff new", NOW + 1)
        await statistics.put_statistics("e2", "a", b"", NOW)
        assert await statistics.get_statistics("e1", "a") == b"\xff new"
        assert await statistics.get_statistics("e2", "a") == b""
        assert await statistics.get_statistics("e1", "b") is None
        with pytest.raises(ValueError, match="at most"):
            await statistics.put_statistics("e1", "a", bytes(MAX_BYTES + 1), NOW)
        large = bytes(MAX_BYTES)
        await statistics.put_statistics("e1", "a", large, NOW)
        assert await statistics.get_statistics("e1", "a") == large

    run(body())


def test_of_many_names_those_written_last_are_kept(run: Any, store: Store) -> None:
    async def body() -> None:
        for number in range(KEPT + 3):
            await store.statistics.put_statistics("e1", str(number), b"x", NOW + number)
            await store.statistics.put_statistics("e2", "other", b"x", NOW)
        kept = [n for n in range(KEPT + 3) if await store.statistics.get_statistics("e1", str(n))]
        assert kept == list(range(3, KEPT + 3))
        assert await store.statistics.get_statistics("e2", "other") == b"x"

    run(body())


def test_a_log_is_followed_from_its_first_row_in_the_order_of_commits(run: Any, store: Store) -> None:
    async def body() -> None:
        for n in range(7):
            await committed(store, logs=[log(f"a{n}", data=b"12345"), log(f"r{n}", "reward")])
        follow = store.logs.follow_log
        every = await follow("e1", "action", limit=99)
        assert [row.id for row in every] == [f"a{n}" for n in range(7)]
        assert every[::-1] == await store.logs.read_log("e1", "action", limit=99)
        first = await follow("e1", "action", limit=3)
        assert [row.id for row in first] == ["a0", "a1", "a2"]
        rest = await follow("e1", "action", limit=99, after=first[-1].position)
        assert [row.id for row in rest] == ["a3", "a4", "a5", "a6"]
        assert await follow("e1", "action", limit=99, after=rest[-1].position) == []
        assert [row.id for row in await follow("e1", "action", limit=99, max_bytes=6)] == ["a0", "a1"]
        assert await follow("e2", "action", limit=99) == []
        assert await follow("e1", "action", limit=0) == []
        with pytest.raises(ValueError, match="position"):
            await follow("e1", "action", limit=1, after="x")

    run(body())
