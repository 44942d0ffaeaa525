"""Two stores on one installation, as two server processes have it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from streamsim.storage.contract.decisions import Committed, Summary, ThetaAddress
from streamsim.storage.contract.store import Store
from tests.storage.contract.helpers import (
    NOW,
    advice,
    committed,
    experiment,
    log,
    redeem,
    row,
    transaction,
    whole,
)


async def increment(store: Store, scope: ThetaAddress, id: str) -> int:
    """Add one to a counter by optimistic retry, log it, and say how often it was refused."""
    rows = await store.decisions.read_theta(scope)
    refused = 0
    while True:
        data, version = rows.rows.get((scope.key or "", scope.value or ""), (b'{"n":0}', 0))
        new = {"n": json.loads(data)["n"] + 1}
        answer = await store.decisions.commit(
            transaction(
                reads={scope: version}, writes={scope: json.dumps(new).encode()}, logs=[log(id, "reward")]
            )
        )
        if isinstance(answer, Committed):
            return refused
        refused += 1
        rows = answer.theta[scope]


def test_what_one_acknowledged_the_other_sees_at_once(run: Any, make_store: Callable[[], Store]) -> None:
    one, other = make_store(), make_store()

    async def body() -> None:
        await one.decisions.create_experiment(experiment())
        assert await other.decisions.get_experiment("e1") == experiment()
        for i in range(20):
            here, there = (one, other) if i % 2 else (other, one)
            data = b'{"n":%d}' % i
            version = (
                await committed(here, writes={row(): data}, logs=[log(f"r{i}")], advices=[advice(f"a{i}")])
            )["e1"]
            assert (await there.decisions.read_theta(whole())).rows == {("", ""): (data, version)}
            assert [r.id for r in await there.logs.read_log("e1", "action", limit=1)] == [f"r{i}"]
            assert await there.decisions.summary("e1") == Summary(i + 1, NOW)
            assert len((await there.decisions.peek("e1", [f"a{i}"], [], NOW))[0]) == 1
            await committed(there, reads={row(): version}, redemptions=[redeem(f"a{i}")])

    run(body())


def test_two_stores_hammering_one_counter_lose_no_update(run: Any, make_store: Callable[[], Store]) -> None:
    stores = [make_store(), make_store()]

    async def client(store: Store, name: str, counter: ThetaAddress) -> int:
        return sum([await increment(store, counter, f"{name}-{i}") for i in range(15)])

    async def body() -> None:
        await stores[0].decisions.create_experiment(experiment())
        counter = row("counter", "k", "v")
        refused = await asyncio.gather(*(client(stores[i % 2], f"c{i}", counter) for i in range(8)))
        assert sum(refused) > 0
        for store in stores:
            assert json.loads((await store.decisions.read_theta(counter)).rows[("k", "v")][0]) == {"n": 120}
            rows = await store.logs.read_log("e1", "reward", limit=1000)
            assert len({r.id for r in rows}) == len(rows) == 120
            assert (await store.decisions.summary("e1")).reward_calls == 120

    run(body())


def test_positions_and_versions_rise_in_one_order_for_both_stores(
    run: Any, make_store: Callable[[], Store]
) -> None:
    stores = [make_store(), make_store()]

    async def client(store: Store, name: str) -> list[tuple[int, str]]:
        found = []
        for i in range(12):
            id = f"{name}-{i}"
            version = (await committed(store, writes={row(key=name): b"{}"}, logs=[log(id)]))["e1"]
            found.append((version, id))
        return found

    async def body() -> None:
        await stores[0].decisions.create_experiment(experiment())
        parts = await asyncio.gather(*(client(stores[i % 2], f"c{i}") for i in range(6)))
        versions = sorted(pair for part in parts for pair in part)
        assert len({version for version, _ in versions}) == 72
        assert all(part == sorted(part) for part in parts)
        logged = [r.id for r in await stores[1].logs.read_log("e1", "action", limit=100)]
        assert logged[::-1] == [id for _, id in versions]

    run(body())
