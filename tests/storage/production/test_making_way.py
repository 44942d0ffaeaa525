"""A drainer makes way for decisions, as long as MongoDB keeps up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from streamsim.storage.contract.logs import LogRow
from streamsim.storage.production.outbox import rest_s
from streamsim.storage.production.store import ProductionStore
from streamsim.storage.redis.commit import HighWater
from tests.patience import PATIENCE_S, eventually
from tests.storage.conftest import Make
from tests.storage.contract.helpers import committed, experiment, log
from tests.storage.production.test_outbox import none_waiting


def _watched(store: ProductionStore, decided_during: int) -> list[float]:
    """The seconds that the drainer rests after each move of one commit, of which the first `decided_during`
    have another commit beside them."""
    outbox, rests, moves = store.outbox, list[float](), list[list[LogRow]]()
    append = outbox._logs.append

    async def beside(rows: Iterable[LogRow]) -> list[LogRow]:
        moves.append(list(rows))
        if len(moves) <= decided_during:
            await committed(store, logs=[log(f"meanwhile-{len(moves)}")])
        return await append(moves[-1])

    async def pause(seconds: float) -> None:
        rests.append(seconds)

    outbox._entries, outbox._pause = 1, pause
    outbox._logs.append = beside  # type: ignore[method-assign]
    return rests


async def _drained(store: ProductionStore, commits: int) -> None:
    await store.outbox.stop()
    await store.decisions.create_experiment(experiment("e1"))
    for i in range(commits):
        await committed(store, logs=[log(f"{i}-{j}") for j in range(4)])
    store.outbox.start()
    await eventually(lambda: none_waiting(store))


def test_it_rests_after_each_move_during_which_somebody_decided(run: Any, make_store: Make) -> None:
    async def body() -> None:
        store = await make_store()
        rests = _watched(store, decided_during=3)
        await _drained(store, 6)
        assert len(rests) == 3
        assert min(rests) > 0

    run(body())


def test_it_does_not_rest_while_nothing_is_decided(run: Any, make_store: Make) -> None:
    async def body() -> None:
        store = await make_store()
        rests = _watched(store, decided_during=0)
        await _drained(store, 6)
        assert rests == []

    run(body())


def test_it_does_not_rest_while_half_of_what_may_wait_does(run: Any, make_store: Make) -> None:
    async def body() -> None:
        # Six commits of four rows: after each of the first two moves at least 18 of at most 26 wait.
        store = await make_store(high_water=HighWater(rows=26, bytes=1 << 20))
        rests = _watched(store, decided_during=2)
        await _drained(store, 6)
        assert rests == [0, 0]

    run(body())


def test_others_rows_are_moved_though_one_tenants_never_end(run: Any, make_store: Make) -> None:
    async def body() -> None:
        store = await make_store()
        await store.outbox.stop()
        for id, tenant in (("e1", "ann"), ("b1", "bob")):
            await store.decisions.create_experiment(experiment(id, tenant=tenant))
        append, moved, bob = store.outbox._logs.append, list[str](), asyncio.Event()

        async def endless(rows: Iterable[LogRow]) -> list[LogRow]:
            some = list(rows)
            moved.extend(row.experiment_id for row in some)
            if "b1" in moved:
                bob.set()
            else:
                await committed(store, logs=[log(f"ann-{len(moved)}")])
                if len(moved) == 3:
                    await committed(store, "b1", tenant="bob", logs=[log("b", experiment_id="b1")])
            return await append(some)

        store.outbox._entries = 1
        store.outbox._logs.append = endless  # type: ignore[method-assign]
        await committed(store, logs=[log("first")])
        store.outbox.start()
        async with asyncio.timeout(PATIENCE_S):
            await bob.wait()
        assert moved == ["e1"] * 4 + ["b1"]

    run(body())


@pytest.mark.parametrize(
    ("took_s", "full", "seconds"),
    [
        (0.02, 0, 0.06),
        (0.02, 0.25, 0.03),
        (0.02, 0.5, 0),
        (0.02, 1, 0),
        (10, 0, 2),
    ],
)
def test_it_rests_three_times_as_long_as_it_moved_and_less_the_more_waits(
    took_s: float, full: float, seconds: float
) -> None:
    assert rest_s(took_s, full) == pytest.approx(seconds)


def test_many_large_entries_are_moved_some_at_a_time_in_order_and_whole(run: Any, make_store: Make) -> None:
    async def body() -> None:
        store = await make_store()
        moved = list[list[str]]()
        append = store.outbox._logs.append

        async def noted(rows: Iterable[LogRow]) -> list[LogRow]:
            some = list(rows)
            moved.append([row.id for row in some])
            return await append(some)

        store.outbox._logs.append = noted  # type: ignore[method-assign]
        await store.outbox.stop()
        await store.decisions.create_experiment(experiment("e1"))
        sizes = [30_000, 30_000, 30_000, 100_000, 10, 10]
        for i, size in enumerate(sizes):
            await committed(store, logs=[log(str(i), data=b'"%s"' % (b"x" * size))])
        await store.outbox.flush("ann")
        assert moved == [["0", "1"], ["2"], ["3"], ["4", "5"]]
        assert [row.id for row in await store.logs.follow_log("e1", "action", limit=9)] == list("012345")

    run(body())
