"""Log rows reach MongoDB exactly once, whatever happens to the drainer, to MongoDB or to Redis."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from streamsim.storage.contract.decisions import Summary
from streamsim.storage.contract.errors import StoreUnavailable
from streamsim.storage.production.store import ProductionStore
from streamsim.storage.redis.commit import HighWater
from tests.patience import eventually
from tests.servers import MongoServer, RedisServer
from tests.storage.conftest import Make
from tests.storage.contract.helpers import NOW, committed, experiment, log, row, transaction
from tests.support import ROOT


def impatient(server: MongoServer) -> str:
    """A URL whose clients notice within a moment that the server is away."""
    return f"{server.url}/?serverSelectionTimeoutMS=100&connectTimeoutMS=1000"


def documents(server: MongoServer, name: str, kind: str = "action") -> list[dict[str, Any]]:
    with server.client() as client:
        return list(client[name][f"log_{kind}"].find().sort("position", 1))


def test_rows_reach_mongodb_without_anybody_reading(
    run: Any, store: ProductionStore, mongo_server: MongoServer, name: str
) -> None:
    async def body() -> None:
        for i in range(5):
            await committed(store, logs=[log(f"{i}-{j}", data=b'{"$a.b": %d}' % j) for j in range(3)])
        await eventually(lambda: len(documents(mongo_server, name)) == 15)
        await eventually(lambda: none_waiting(store))
        found = documents(mongo_server, name)
        assert [one["_id"] for one in found] == [f"{i}-{j}" for i in range(5) for j in range(3)]
        assert found[1]["data"] == '{"$a.b": 1}'
        assert {one["date_ms"] for one in found} == {NOW}

    run(body())


async def none_waiting(store: ProductionStore) -> bool:
    return await store.outbox.waiting() == 0


DRAINER = """
    import asyncio, os, signal, sys
    from streamsim.storage.mongo.logs import MongoLogs
    from tests.servers import production_store

    redis, mongo, name = sys.argv[1:]
    real = MongoLogs.append

    async def half(self, rows):
        rows = list(rows)
        await real(self, rows[: len(rows) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    MongoLogs.append = half

    async def main():
        store = production_store(redis, mongo, name)
        await store.open()
        store.outbox.wake("ann")
        await asyncio.sleep(60)

    asyncio.run(main())
"""


def test_a_drainer_killed_in_mid_batch_loses_and_repeats_nothing(
    run: Any, make_store: Make, redis_server: RedisServer, mongo_server: MongoServer, name: str
) -> None:
    async def prepare() -> None:
        store = await make_store()
        await store.outbox.stop()
        await store.decisions.create_experiment(experiment("e1"))
        for i in range(10):
            await committed(store, logs=[log(f"{i}-{j}") for j in range(4)])

    run(prepare())
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(DRAINER), redis_server.url, mongo_server.url, name],
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    assert len(documents(mongo_server, name)) == 20
    with redis_server.client() as client:
        held = client.xpending(f"{{{name}/ann}}:outbox", "drain")
    assert held["pending"] == 10

    async def take_over() -> None:
        store = await make_store(held_ms=1)
        await eventually(lambda: none_waiting(store))
        assert [one["_id"] for one in documents(mongo_server, name)] == [
            f"{i}-{j}" for i in range(10) for j in range(4)
        ]
        assert await store.decisions.summary("e1") == Summary(40, NOW)

    run(take_over())
    with redis_server.client() as client:
        assert client.xlen(f"{{{name}/ann}}:outbox") == 0


def test_reading_does_not_wait_for_a_drainer_that_holds_rows(
    run: Any, make_store: Make, store: ProductionStore
) -> None:
    async def body() -> None:
        await store.outbox.stop()
        await committed(store, logs=[log("a"), log("b")])
        other = await make_store()
        stuck = asyncio.Event()

        async def never(rows: Any) -> Any:
            stuck.set()
            await asyncio.Event().wait()

        other.outbox._logs.append = never  # type: ignore[method-assign]
        other.outbox.wake("ann")
        await stuck.wait()
        assert [one.id for one in await store.logs.read_log("e1", "action", limit=9)] == ["b", "a"]
        assert await store.outbox.waiting() == 0

    run(body())


@pytest.mark.durable
def test_decisions_go_on_while_mongodb_is_away_and_rows_follow(
    run: Any,
    make_store: Make,
    own_mongo: MongoServer,
    name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def body() -> None:
        store = await make_store(mongo=impatient(own_mongo))
        await store.decisions.create_experiment(experiment("e1"))
        await committed(store, logs=[log("before")])
        await eventually(lambda: none_waiting(store))
        own_mongo.kill()
        for i in range(50):
            await committed(store, logs=[log(f"a{i}"), log(f"r{i}", "reward")], writes={row(): b"{}"})
        await store.ping()
        assert await store.decisions.summary("e1") == Summary(51, NOW, 50, NOW)
        with pytest.raises(StoreUnavailable):
            await store.logs.read_log("e1", "action", limit=9)
        with pytest.raises(StoreUnavailable):
            await store.accounts.get_user("ann")
        await eventually(lambda: "log rows wait in Redis" in caplog.text)
        assert await store.outbox.waiting() == 100
        own_mongo.start()
        await eventually(lambda: none_waiting(store))
        assert len(await store.logs.read_log("e1", "action", limit=99)) == 51
        assert len(await store.logs.read_log("e1", "reward", limit=99)) == 50

    with caplog.at_level(logging.WARNING, "streamsim.storage"):
        run(body())
    assert [one.message.split(":")[0] for one in caplog.records] == [
        "log rows wait in Redis, decisions go on",
        "log rows reach MongoDB again",
    ]
    assert len(documents(own_mongo, name)) == 51


def test_beyond_the_high_water_mark_a_commit_with_rows_is_unavailable(run: Any, make_store: Make) -> None:
    async def body() -> None:
        store = await make_store(high_water=HighWater(rows=5, bytes=400))
        await store.outbox.stop()
        for id, tenant in (("e1", "ann"), ("b1", "bob")):
            await store.decisions.create_experiment(experiment(id, tenant=tenant))
        await committed(store, logs=[log(f"{i}") for i in range(4)])
        for rows in ([log("x"), log("y")], [log("z", data=b"[%s]" % (b" " * 400))]):
            with pytest.raises(StoreUnavailable, match="wait for MongoDB"):
                await store.decisions.commit(transaction(writes={row(): b"{}"}, logs=rows))
        assert (await store.decisions.read_theta(row())).version == 0
        await committed(store, logs=[log("5")])
        await committed(store, writes={row(): b"{}"})
        await committed(store, "b1", tenant="bob", logs=[log("b", experiment_id="b1")])
        assert len(await store.logs.read_log("e1", "action", limit=9)) == 5
        await committed(store, logs=[log(f"again {i}") for i in range(5)])

    run(body())


def test_the_count_of_waiting_rows_survives_drainers_that_race(run: Any, make_store: Make) -> None:
    async def body() -> None:
        stores = [await make_store() for _ in range(3)]
        await stores[0].decisions.create_experiment(experiment("e1"))
        for i in range(30):
            await asyncio.gather(
                *(committed(store, logs=[log(f"{i}-{n}")]) for n, store in enumerate(stores)),
                *(store.outbox.flush("ann") for store in stores),
            )
        rows = await stores[0].logs.read_log("e1", "action", limit=100)
        assert len(rows) == 90
        assert await stores[1].outbox.waiting() == 0
        assert await stores[2].decisions.summary("e1") == Summary(90, NOW)

    run(body())


def test_closing_moves_the_rows_of_this_process(
    run: Any, make_store: Make, store: ProductionStore, mongo_server: MongoServer, name: str
) -> None:
    run(committed(store, logs=[log("a")]))
    run(store.close())
    assert [one["_id"] for one in documents(mongo_server, name)] == ["a"]


def test_a_row_larger_than_mongodb_stores_is_refused_at_once(run: Any, store: ProductionStore) -> None:
    async def body() -> None:
        with pytest.raises(ValueError, match="at most"):
            await committed(store, logs=[log("big", data=b'"%s"' % (b"x" * (16 << 20)))])
        assert await store.decisions.summary("e1") == Summary()

    run(body())


def test_of_rows_with_one_id_the_first_stays(run: Any, store: ProductionStore) -> None:
    async def body() -> None:
        await store.outbox.stop()
        await committed(store, logs=[log("a", data=b"1"), log("b", data=b"2"), log("a", data=b"3")])
        await committed(store, logs=[log("b", data=b"4"), log("c", data=b"5")])
        found = await store.logs.read_log("e1", "action", limit=9)
        assert [(one.id, one.data) for one in found] == [("c", b"5"), ("b", b"2"), ("a", b"1")]
        assert await store.decisions.summary("e1") == Summary(3, NOW)

    run(body())


def test_a_log_is_followed_in_order_and_whole_though_its_rows_wait_and_are_moved_meanwhile(
    run: Any, store: ProductionStore
) -> None:
    async def body() -> None:
        kinds = ("action", "reward")
        commits = [
            committed(store, one, logs=[log(f"{one}-{n}-{kind}", kind, one) for kind in kinds])
            for n in range(350)
            for one in ("e1", "e2")
        ]
        writing = asyncio.gather(*commits)
        found: list[str] = []
        positions: list[int] = []
        after, waited = "", 0
        while not writing.done() or len(found) < 350:
            waited = max(waited, await store.outbox.waiting())
            page = await store.logs.follow_log("e1", "action", limit=7, after=after)
            found += [row.id for row in page]
            positions += [int(row.position) for row in page]
            after = page[-1].position if page else after
        await writing
        assert waited > 0, "nothing waited that could be missed"
        assert await store.logs.follow_log("e1", "action", limit=7, after=after) == []
        assert positions == sorted(positions)
        expected = (await store.logs.read_log("e1", "action", limit=999))[::-1]
        assert found == [row.id for row in expected]
        assert len(set(found)) == 350

    run(body())


def test_a_row_whose_id_was_there_before_is_not_followed(run: Any, store: ProductionStore) -> None:
    async def body() -> None:
        for n in range(3):
            await committed(store, logs=[log("once", "manual", data=b'{"n": %d}' % n)])
        page = await store.logs.follow_log("e1", "manual", limit=9)
        assert [row.data for row in page] == [b'{"n": 0}']

    run(body())


def test_rewards_from_before_they_had_an_index_are_told_of(
    run: Any, store: ProductionStore, mongo_server: MongoServer, name: str
) -> None:
    async def body() -> None:
        rows = [log(f"r{n}", "reward", data=b'{"advice_id":"a%d"}' % n) for n in range(3)]
        await committed(store, logs=rows)
        found = await store.logs.rewards_of("e1", ["a1"])
        assert found is not None
        assert [row.id for row in found] == ["r1"]
        with mongo_server.client() as client:
            client[name]["log_reward"].update_one({"_id": "r2"}, {"$unset": {"advice": 1}})
        assert await store.logs.rewards_of("e1", ["a1"]) is None
        assert await store.logs.rewards_of("e2", ["a1"]) == []

    run(body())


def test_who_follows_a_log_is_told_what_comes_while_mongodb_is_away(
    run: Any, make_store: Make, own_mongo: MongoServer
) -> None:
    async def body() -> None:
        store = await make_store(mongo=impatient(own_mongo))
        await store.decisions.create_experiment(experiment("e1"))
        for n in range(3):
            await committed(store, logs=[log(f"a{n}"), log(f"r{n}", "reward")])
        await eventually(lambda: none_waiting(store))
        known = (await store.logs.follow_log("e1", "action", limit=9))[-1].position
        own_mongo.kill()
        await committed(store, logs=[log("late")])
        page = await store.logs.follow_log("e1", "action", limit=9, after=known)
        assert [one.id for one in page] == ["late"]
        assert await store.logs.follow_log("e1", "action", limit=9, after=page[-1].position) == []
        # Who knows less has to ask MongoDB.
        with pytest.raises(StoreUnavailable):
            await store.logs.follow_log("e1", "reward", limit=9)
        # Nothing of a new log was ever moved.
        await store.decisions.create_experiment(experiment("e2"))
        await committed(store, "e2", logs=[log("first", "action", "e2")])
        assert [one.id for one in await store.logs.follow_log("e2", "action", limit=9)] == ["first"]

    run(body())
