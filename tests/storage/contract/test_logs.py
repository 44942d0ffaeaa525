"""Logs as they are read back."""

from __future__ import annotations

import asyncio
from typing import Any, get_args

import msgspec
import pytest

from streamsim.storage.contract.logs import LogKind, LogRow, pages
from streamsim.storage.contract.store import Store
from tests.storage.contract.helpers import HOUR, NOW, ODD, ODD_NAMES, committed, log


async def ids(store: Store, kind: Any = "action", experiment_id: str = "e1", **parts: Any) -> list[str]:
    return [row.id for row in await store.logs.read_log(experiment_id, kind, **({"limit": 1000} | parts))]


def test_rows_come_newest_first_by_commit_order_whatever_their_dates(run: Any, store: Store) -> None:
    async def body() -> None:
        dates = [NOW, NOW - HOUR, NOW + HOUR, NOW]
        for i, date in enumerate(dates):
            await committed(store, logs=[log(f"r{i}{part}", date_ms=date) for part in "ab"])
        rows = await store.logs.read_log("e1", "action", limit=100)
        assert [row.id for row in rows] == ["r3b", "r3a", "r2b", "r2a", "r1b", "r1a", "r0b", "r0a"]
        assert [row.date_ms for row in rows][::2] == dates[::-1]
        assert len({row.position for row in rows}) == 8
        assert await ids(store, limit=3) == ["r3b", "r3a", "r2b"]
        assert await ids(store, limit=0) == []

    run(body())


def test_every_row_is_on_one_page_also_while_rows_are_added(run: Any, store: Store) -> None:
    async def body() -> None:
        for i in range(0, 40, 8):
            await committed(
                store, "e1", "e2", logs=[log(f"{i + j}", experiment_id=("e1", "e2")[j % 2]) for j in range(8)]
            )
        found: list[str] = []
        before = ""
        while page := await store.logs.read_log("e1", "action", limit=3, before=before):
            assert len(page) <= 3
            found += [row.id for row in page]
            assert len(found) <= 20
            before = page[-1].position
            await committed(store, logs=[log(f"new{len(found)}")])
        assert found == [str(i) for i in range(38, -1, -2)]

    run(body())


def test_kinds_and_experiments_have_logs_of_their_own(run: Any, store: Store) -> None:
    async def body() -> None:
        kinds = get_args(LogKind)
        rows = [log(f"{e}-{k}-{i}", k, e) for i in range(2) for k in kinds for e in ("e1", "e2")]
        await committed(store, "e1", "e2", logs=rows)
        for experiment in ("e1", "e2"):
            for kind in kinds:
                assert await ids(store, kind, experiment) == [f"{experiment}-{kind}-{i}" for i in (1, 0)]
        assert await ids(store, experiment_id="unknown") == []

    run(body())


@pytest.mark.parametrize(
    "before", ["x", "-", " 1", "1 ", "1;", "٣", "1.5", "0x10", "None", "1-1-1", "9" * 60]
)
def test_a_before_that_no_row_could_have_is_refused(run: Any, store: Store, before: str) -> None:
    async def body() -> None:
        await committed(store, logs=[log("r")])
        with pytest.raises(ValueError):  # noqa: PT011
            await store.logs.read_log("e1", "action", limit=5, before=before)

    run(body())


def test_data_and_ids_are_kept_to_the_byte(run: Any, store: Store) -> None:
    async def body() -> None:
        rows = [log(id, data=ODD) for id in ODD_NAMES]
        rows += [log("large", data=b'"' + b"x" * 300_000 + b'"'), log("null", data=b"null")]
        await committed(store, logs=rows)
        found = await store.logs.read_log("e1", "action", limit=100)
        assert [(row.id, row.date_ms, row.data) for row in found[::-1]] == [
            (r.id, r.date_ms, r.data) for r in rows
        ]

    run(body())


def test_logs_of_an_archived_experiment_stay(run: Any, store: Store) -> None:
    async def body() -> None:
        await committed(store, logs=[log("r")])
        await store.decisions.archive_experiment("ann", "e1", NOW)
        assert await ids(store) == ["r"]
        assert (await store.decisions.summary("e1")).action_calls == 1

    run(body())


def test_many_rows_of_many_commits_are_all_there_once(run: Any, store: Store) -> None:
    async def body() -> None:
        batches = [[f"{b}-{i}" for i in range(70)] for b in range(6)]
        await asyncio.gather(*(committed(store, logs=[log(id) for id in batch]) for batch in batches))
        found = (await ids(store))[::-1]
        assert sorted(found) == sorted(id for batch in batches for id in batch)
        for (
            batch
        ) in batches:  # A commit's rows keep their order and no other commit's rows come between them.
            start = found.index(batch[0])
            assert found[start : start + 70] == batch
        assert (await store.decisions.summary("e1")).action_calls == 420

    run(body())


def test_a_page_ends_with_the_row_that_reaches_its_bytes(run: Any, store: Store) -> None:
    async def body() -> None:
        sizes = [9000, 9000, 10, 10, 30_000, 10]
        for number, size in enumerate(sizes):
            data = b'{"text":"%s"}' % (b"x" * size)
            await committed(store, logs=[msgspec.structs.replace(log(f"r{number}"), data=data)])
        assert await ids(store, max_bytes=1) == ["r5"]
        assert await ids(store, max_bytes=20_000) == ["r5", "r4"]
        assert await ids(store, max_bytes=50_000) == ["r5", "r4", "r3", "r2", "r1", "r0"]
        found = [
            [row.id for row in page]
            async for page in pages(store.logs, "e1", "action", 5, 3, max_bytes=20_000)
        ]
        assert found == [["r5", "r4"], ["r3", "r2", "r1"]]

    run(body())


def test_rewards_are_found_by_advice_id_in_the_order_of_commits(run: Any, store: Store) -> None:
    async def body() -> None:
        def reward(id: str, advice: object, experiment_id: str = "e1") -> LogRow:
            data = msgspec.json.encode({"advice_id": advice, "reward": id})
            return log(id, "reward", experiment_id, data=data)

        odd = "a\"'\U0001f600"
        rows = [
            reward("r0", "one"),
            reward("r1", "two"),
            reward("r2", odd),
            reward("r3", "one"),
            reward("r4", 1),
        ]
        await committed(store, logs=rows[:2])
        await committed(
            store, logs=[*rows[2:], log("plain", "reward"), log("one", "action", data=rows[0].data)]
        )
        await committed(store, "e2", logs=[reward("other", "one", "e2")])
        found = await store.logs.rewards_of("e1", ["one", odd, "unknown"])
        assert found is not None
        assert [row.id for row in found] == ["r0", "r2", "r3"]
        newest = {row.id: row for row in await store.logs.read_log("e1", "reward", limit=99)}
        assert found == [newest[row.id] for row in found]
        many = await store.logs.rewards_of("e1", [*map(str, range(1200)), "two"])
        assert many is not None
        assert [row.id for row in many] == ["r1"]
        assert await store.logs.rewards_of("e1", []) == []
        assert await store.logs.rewards_of("unknown", ["one"]) == []

    run(body())
