"""Redis away, hung, killed or failed over: nothing acknowledged is lost, and no answer goes astray."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from streamsim.storage.contract.decisions import Committed, Summary
from streamsim.storage.contract.errors import OutcomeUnknown, StoreUnavailable
from tests.patience import PATIENCE_S
from tests.servers import RedisCluster, RedisServer, aside, wait_until
from tests.storage.conftest import Make
from tests.storage.contract.helpers import (
    NOW,
    advice,
    committed,
    experiment,
    group,
    log,
    redeem,
    row,
    transaction,
)
from tests.storage.redis.proxy import Proxy


def test_calls_whose_answers_are_lost_happen_once(
    run: Any, make_store: Make, redis_server: RedisServer
) -> None:
    async def body() -> None:
        turn = 0

        def every_other(request: bytes) -> bool:
            nonlocal turn
            turn += b"EVALSHA" in request
            return b"EVALSHA" in request and turn % 2 == 1

        async with Proxy(redis_server, every_other) as proxy:
            store = await make_store(redis=proxy.url)
            await store.outbox.stop()
            await store.decisions.create_experiment(experiment("e1"))
            changed = await store.decisions.update_experiment(experiment("e1", name="new"))
            assert changed is not None
            assert (changed.revision, changed.name) == (2, "new")
            versions: list[Any] = []
            for n in range(20):
                parts: dict[str, Any] = {
                    "writes": {row(): b'{"n":%d}' % n},
                    "logs": [log(f"{n}"), log(f"r{n}", "reward")],
                }
                parts |= {"deletes": [group(key="gone")], "reads": {row(): versions[-1] if n else 0}}
                answer = await store.decisions.commit(
                    transaction(revision=2, advices=[advice(f"{n}")], **parts)
                )
                assert isinstance(answer, Committed)
                versions.append(answer.versions["e1"])
            answer = await store.decisions.commit(transaction(revision=2, redemptions=[redeem("3")]))
            assert isinstance(answer, Committed)
            assert versions == sorted(set(versions))
            assert await store.decisions.summary("e1") == Summary(20, NOW, 20, NOW)
            assert len(await store.logs.read_log("e1", "action", limit=99)) == 20
            assert await store.outbox.waiting() == 0
            archived = await store.decisions.archive_experiment("ann", "e1", NOW)
            assert archived is not None
            assert archived.revision == 3
            assert await store.decisions.archive_experiment("ann", "e1", NOW) is None
            assert proxy.lost > 20
            await store.close()

    run(body())


def test_a_lost_answer_is_told_from_a_refusal(run: Any, make_store: Make, own_redis: RedisServer) -> None:
    async def body() -> None:
        lossy = False

        async with Proxy(own_redis, lambda request: lossy and b"EVALSHA" in request) as proxy:
            store = await make_store(redis=proxy.url, patience_s=0.2)
            await store.outbox.stop()
            await store.decisions.create_experiment(experiment("e1"))
            await committed(store, logs=[log("a")])
            lossy = True
            with pytest.raises(OutcomeUnknown):
                await store.decisions.commit(transaction(logs=[log("b")]))
            lossy = False
            assert len(await store.logs.read_log("e1", "action", limit=9)) == 2
            await store.close()
        direct = await make_store(redis=own_redis.url, patience_s=0.2)
        await direct.outbox.stop()
        with own_redis.client() as client:
            client.config_set("maxmemory", 1)
            with pytest.raises(StoreUnavailable, match="maxmemory") as refused:
                await direct.decisions.commit(transaction(logs=[log("c")]))
            with pytest.raises(StoreUnavailable):
                await direct.ping()
            client.config_set("maxmemory", 0)
        assert not isinstance(refused.value, OutcomeUnknown)
        own_redis.kill()
        with pytest.raises(StoreUnavailable):
            await direct.ping()
        with pytest.raises(StoreUnavailable) as away:
            await direct.decisions.commit(transaction(logs=[log("c")]))
        assert not isinstance(away.value, OutcomeUnknown)
        own_redis.start()
        assert len(await direct.logs.read_log("e1", "action", limit=9)) == 2

    run(body())


def test_a_redis_that_hangs_is_away_and_no_answer_goes_astray(
    run: Any, make_store: Make, own_redis: RedisServer
) -> None:
    async def body() -> None:
        store = await make_store(redis=own_redis.url, patience_s=1)
        await store.decisions.create_experiment(experiment("e1"))
        await committed(store, logs=[log("before")])
        assert own_redis.process is not None
        own_redis.process.send_signal(signal.SIGSTOP)
        calls = [store.decisions.commit(transaction(logs=[log(f"{n}")])) for n in range(20)]
        answers = await asyncio.gather(*calls, store.decisions.read_theta(row()), return_exceptions=True)
        own_redis.process.send_signal(signal.SIGCONT)
        assert {type(one) for one in answers} == {OutcomeUnknown}
        for n in range(40):  # as many as there are connections
            name = f"{n}"
            versions = (await committed(store, writes={row(key=name): b"%d" % n}))["e1"]
            assert (await store.decisions.read_theta(row(key=name))).rows == {
                (name, ""): (b"%d" % n, versions)
            }
        rows = [one.id for one in await store.logs.read_log("e1", "action", limit=99)]
        assert len(rows) == len(set(rows))
        assert set(rows) <= {"before", *map(str, range(20))}
        assert (await store.decisions.summary("e1")).action_calls == len(rows)

    run(body())


def test_what_others_waited_counts_for_who_comes_later(
    run: Any, make_store: Make, own_redis: RedisServer
) -> None:
    async def body() -> None:
        store = await make_store(redis=own_redis.url, patience_s=PATIENCE_S)
        await store.outbox.stop()
        await aside(own_redis.kill)
        first = asyncio.ensure_future(store.ping())
        store._redis._away_since = time.monotonic() - PATIENCE_S
        # It tries once, and neither it nor who waits already tries again: this ends long before PATIENCE_S.
        for waiting in (store.ping(), first):
            with pytest.raises(StoreUnavailable):
                await asyncio.wait_for(waiting, PATIENCE_S / 2)
        await aside(own_redis.start)
        await store.ping()
        await aside(own_redis.kill)
        waiting = asyncio.ensure_future(store.ping())
        await aside(own_redis.start)
        await waiting

    run(body())


@pytest.mark.durable
def test_a_redis_that_loads_its_file_is_waited_for_and_not_said_to_have_none(
    run: Any, make_store: Make, own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        with own_redis.client() as client, client.pipeline(transaction=False) as pipeline:
            for n in range(5000):
                pipeline.set(f"key {n}", "x")
            pipeline.execute()
        await aside(own_redis.stop)
        # Of each key it takes 0.2 ms, and answers after every 1,000.
        own_redis.options = ("--key-load-delay", "200")
        starting = asyncio.ensure_future(aside(own_redis.start))
        store = await make_store(redis=own_redis.url, patience_s=PATIENCE_S)
        await starting
        assert store.describe()["durability"] == "appendonly, no eviction"
        await store.close()

    run(body())
    assert "appendonly off" not in caplog.text


@pytest.mark.durable
def test_nothing_acknowledged_is_lost_when_redis_is_killed(
    run: Any, make_store: Make, own_redis: RedisServer
) -> None:
    async def body() -> None:
        store = await make_store(redis=own_redis.url, patience_s=20)
        await store.decisions.create_experiment(experiment("e1"))
        done: list[str] = []
        enough = asyncio.Event()

        async def work(worker: int) -> None:
            for n in range(60):
                id = f"{worker}-{n}"
                while True:
                    seen = await store.decisions.read_theta(row())
                    count = seen.rows[("", "")][0] if seen.rows else b"0"
                    parts: dict[str, Any] = {"writes": {row(): b"%d" % (int(count) + 1)}, "logs": [log(id)]}
                    answer = await store.decisions.commit(transaction(reads={row(): seen.version}, **parts))
                    if isinstance(answer, Committed):
                        done.append(id)
                        if len(done) % 40 == 0:
                            enough.set()
                        break

        async def disturb() -> None:
            for _ in range(3):
                enough.clear()
                await enough.wait()
                await aside(own_redis.kill)
                await aside(own_redis.start)

        await asyncio.gather(disturb(), *(work(worker) for worker in range(4)))
        rows = await store.logs.read_log("e1", "action", limit=999)
        assert sorted(one.id for one in rows) == sorted(done)
        assert len(rows) == 240
        assert (await store.decisions.read_theta(row())).rows[("", "")][0] == b"240"
        assert await store.decisions.summary("e1") == Summary(240, NOW)

    run(body())


@pytest.mark.durable
def test_versions_are_not_used_again_after_redis_lost_its_last_commits(
    run: Any, make_store: Make, own_redis: RedisServer
) -> None:
    async def body() -> None:
        store = await make_store(redis=own_redis.url, patience_s=20)
        await store.outbox.stop()
        await store.decisions.create_experiment(experiment("e1"))
        await committed(store, writes={row(): b"{}"})
        shutil.copy(own_redis.folder / "appendonly.aof", own_redis.folder / "older")
        lost = [(await committed(store, writes={row(): b"{}"}))["e1"] for _ in range(50)]
        own_redis.kill()
        (own_redis.folder / "older").replace(own_redis.folder / "appendonly.aof")
        own_redis.start()
        assert (await store.decisions.read_theta(row())).version not in lost
        assert (await committed(store, writes={row(): b"{}"}))["e1"] > max(lost)

    run(body())


@pytest.mark.durable
def test_a_cluster_whose_node_is_killed_loses_nothing(run: Any, make_store: Make, tmp_path: Path) -> None:
    cluster = RedisCluster(tmp_path / "cluster", node_timeout_ms=500)
    cluster.start()

    async def body() -> None:
        store = await make_store(redis=cluster.url, patience_s=30)
        tenants = [f"t{n}" for n in range(6)]
        for tenant in tenants:
            await store.decisions.create_experiment(experiment(tenant, tenant=tenant))
        enough = asyncio.Event()

        async def work(tenant: str) -> None:
            seen = row(experiment_id=tenant)
            for n in range(100):
                parts = {"writes": {seen: b"%d" % n}, "logs": [log(f"{tenant}-{n}", experiment_id=tenant)]}
                await committed(store, tenant, tenant=tenant, **parts)
                if n == 30:
                    enough.set()

        async def disturb() -> None:
            await enough.wait()
            await aside(cluster.nodes[1].kill)
            await aside(wait_until, cluster.is_down, "the others see that a node is gone")
            await aside(cluster.nodes[1].start)

        await asyncio.gather(disturb(), *map(work, tenants))
        for tenant in tenants:
            rows = await store.logs.read_log(tenant, "action", limit=999)
            assert [one.id for one in rows] == [f"{tenant}-{n}" for n in reversed(range(100))]
            assert await store.decisions.summary(tenant) == Summary(100, NOW)
        await store.close()

    try:
        run(body())
    finally:
        cluster.stop()
