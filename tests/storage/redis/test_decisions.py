"""How the production store uses Redis: one round trip per commit, declared keys, nothing lost or repeated."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from streamsim.storage.contract.decisions import Committed, Summary
from streamsim.storage.contract.errors import OutcomeUnknown, StoreUnavailable
from streamsim.storage.production.store import ProductionStore
from streamsim.storage.redis.keys import Keys, member, split_member
from tests.servers import RedisCluster, RedisServer, aside, wait_until
from tests.storage.conftest import Make
from tests.storage.contract.helpers import (
    HOUR,
    NOW,
    ODD_NAMES,
    advice,
    committed,
    experiment,
    group,
    log,
    record,
    redeem,
    row,
    transaction,
    whole,
)


@asynccontextmanager
async def watched(server: RedisServer) -> AsyncIterator[list[tuple[bool, list[str]]]]:
    """The commands that the server runs meanwhile: whether a script called it, and its words, escaped."""
    seen: list[tuple[bool, list[str]]] = []
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 24)
    writer.write(b"MONITOR\r\n")
    assert await reader.readline() == b"+OK\r\n"
    yield seen
    with server.client() as client:
        client.echo("the end")
    while b'"the end"' not in (line := await reader.readline()):
        origin = line.partition(b"[")[2].partition(b"]")[0]
        words = [word.decode() for word in re.findall(rb'"((?:[^"\\]|\\.)*)"', line)]
        seen.append((origin.endswith(b"lua"), words))
    writer.close()


def everything(version: int, n: int) -> dict[str, Any]:
    """Parts of a transaction that uses every branch of the commit script."""
    return {
        "reads": {row(): version, group(): version, whole("other"): 0},
        "deletes": [row(key="x", value="1"), group(key="y"), whole("old")],
        "writes": {row(): b"{}", row(key="x", value="2"): b"{}", row("old", "k", "v"): b"{}"},
        "logs": [log(f"{n}-{i}", kind) for i, kind in enumerate(("action", "reward", "manual", "theta"))],
        "advices": [advice(f"a{n}"), advice(f"b{n}", expires_ms=NOW - HOUR)],
        "redemptions": [redeem(f"a{n - 1}")] if n else [],
        "idempotency": [record(f"k{n}", expires_ms=NOW - 1)],
        "now_ms": NOW,
    }


async def busy(store: ProductionStore) -> None:
    """Call everything that the store does with Redis."""
    version = 0
    for n in range(4):
        answer = await store.decisions.commit(transaction(**everything(version, n)))
        assert isinstance(answer, Committed)
        version = answer.versions["e1"]
    assert not isinstance(await store.decisions.commit(transaction(**everything(1, 9))), Committed)
    for scope in (row(), group(), whole("old")):
        await store.decisions.read_theta(scope)
    await store.decisions.theta_names("e1")
    await store.decisions.peek("e1", ["a0"], ["k0"], NOW)
    await store.decisions.list_experiments("ann", limit=9)
    await store.decisions.hourly_experiments(limit=9)
    changed = await store.decisions.update_experiment(experiment("e1", name="new"))
    assert changed is not None
    await store.decisions.archive_experiment("ann", "e2", NOW)
    await store.decisions.due_advices(NOW, 9)
    await store.forget(NOW + HOUR, 0, 99)
    await store.decisions.claim("work", "me", NOW, NOW + 1)
    await store.decisions.hit("window", NOW, 1)
    await store.decisions.hit("window", NOW, 1)
    await store.logs.read_log("e1", "action", limit=9)
    await store.decisions.summary("e1")
    await store.ping()


def test_nothing_scans_and_scripts_use_declared_keys_only(
    run: Any, store: ProductionStore, redis_server: RedisServer, name: str
) -> None:
    """On a cluster that moves slots, a key that was not declared may be looked for on the wrong node."""

    async def body() -> None:
        await committed(store, "e2", advices=[advice("z", "e2", NOW - HOUR)])
        async with watched(redis_server) as seen:
            await busy(store)
        declared: set[str] = set()
        scripts, inner = 0, 0
        for by_script, words in seen:
            command = words[0].lower()
            assert command not in {"scan", "hscan", "sscan", "zscan", "keys", "flushdb", "randomkey"}, words
            if command in {"eval", "evalsha"}:
                declared = set(words[3 : 3 + int(words[2])])
                scripts += 1
            elif by_script and command not in {"time"}:
                keys = {word for word in words[1:] if word.startswith((f"{{{name}/", f"{name}:"))}
                assert keys, words
                assert keys <= declared, words
                inner += 1
        assert scripts > 12
        assert inner > 100

    run(body())


def test_a_commit_is_one_round_trip(run: Any, store: ProductionStore, redis_server: RedisServer) -> None:
    async def body() -> None:
        await store.outbox.stop()
        await committed(store, logs=[log("first")])
        parts = everything(0, 0)
        parts["deletes"] = parts["deletes"][:2]
        async with watched(redis_server) as seen:
            await committed(store, **parts)
            await committed(store, "e1", "e2", logs=[log("a"), log("b", experiment_id="e2")])
        sent = [words[0].lower() for by_script, words in seen if not by_script]
        assert [command for command in sent if command not in {"hello", "client"}] == ["evalsha", "evalsha"]

    run(body())


def test_every_script_says_its_keys_arguments_and_answer() -> None:
    scripts = [
        path for path in resources.files("streamsim.storage.redis").iterdir() if path.name.endswith(".lua")
    ]
    assert len(scripts) > 5
    for path in scripts:
        head = re.match(r"(--.*\n)+", path.read_text())
        assert head, path.name
        for word in ("KEYS", "ARGV", "Returns"):
            assert re.search(rf"^-- {word} ", head[0], re.MULTILINE), (path.name, word)


def test_no_two_addresses_share_a_key() -> None:
    names = [*ODD_NAMES, "", "1", "1:", "1:a", ":a", "a:", "2:a:"]
    keys = Keys("p").of("t")
    groups = [group(name, key, id) for id in names for name in names for key in names]
    assert len({keys.group(scope, scope.key or "") for scope in groups}) == len(set(groups))
    assert len({keys.groups(scope) for scope in groups}) == len({scope[:2] for scope in groups})
    assert all(split_member(member(a, b).encode()) == (a, b) for a in names for b in names)
    tags = [Keys("p").of(tenant).meta for tenant in [*names, "a}b", "{a", "a/b", "a%2Fb"]]
    assert len(set(tags)) == len(tags)
    assert all(tag.index("}") == tag.rindex("}") and tag.count("{") == 1 for tag in tags)


class Proxy:
    """Between a store and Redis; `lose` decides for each request whether its answer is lost."""

    def __init__(self, server: RedisServer, lose: Callable[[bytes], bool]) -> None:
        self._server = server
        self._lose = lose
        self.lost = 0

    async def __aenter__(self) -> Proxy:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, ahead = await asyncio.open_connection("127.0.0.1", self._server.port)
        while request := await reader.read(1 << 20):
            ahead.write(request)
            answer = await behind.read(1 << 20)
            if self._lose(request):
                self.lost += 1
                break
            writer.write(answer)
        writer.close()
        ahead.close()


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


def test_what_is_forgotten_or_deleted_leaves_nothing_in_redis(
    run: Any, store: ProductionStore, redis_server: RedisServer, name: str
) -> None:
    async def body() -> None:
        with redis_server.client() as client:
            before = set(client.keys(f"*{name}*"))
        for id in ("e1", "e2"):
            advices = [advice(f"{n}", id, NOW - HOUR) for n in range(3)]
            records = [record(f"{n}", expires_ms=NOW - HOUR, experiment_id=id) for n in range(3)]
            rows = {row(key=f"{n}", experiment_id=id): b"{}" for n in range(3)}
            rewards = [log(id, "reward", id)]
            await committed(store, id, advices=advices, idempotency=records, writes=rows, logs=rewards)
            await committed(
                store, id, redemptions=[redeem("0", experiment_id=id)], deletes=[whole(experiment_id=id)]
            )
        await store.decisions.commit(transaction(redemptions=[redeem("1"), redeem("2", "timeout")]))
        await store.decisions.archive_experiment("ann", "e2", NOW)
        await store.decisions.claim("work", "me", NOW, NOW)
        assert await store.decisions.due_advices(NOW, 9) == []
        assert await store.forget(NOW, 0, 100) == 12
        await store.outbox.flush("ann")
        base = f"{{{name}/ann}}:"
        with redis_server.client() as client:
            assert client.ttl(f"{name}:claim:work") > 0
            tokens = {key for key in client.keys(f"{base}done:*") if client.ttl(key) > 0}
            after = set(client.keys(f"*{name}*")) - tokens
        kept = {f"{base}{key}" for key in ("meta", "outbox", "archived")}
        assert after - before == {f"{name}:claim:work", *kept}

    run(body())


def test_large_groups_and_sets_are_written_read_and_deleted(run: Any, store: ProductionStore) -> None:
    async def body() -> None:
        rows = {row("big", f"k{i % 7}", f"v{i}"): b'{"i":%d}' % i for i in range(20_000)}
        version = (await committed(store, writes=rows))["e1"]
        found = await store.decisions.read_theta(whole("big"))
        assert found.version == version
        assert found.rows == {(one.key, one.value): (data, version) for one, data in rows.items()}
        many = {row("wide", f"k{i}", ""): b"{}" for i in range(3_000)}
        await committed(store, writes=many)
        assert len((await store.decisions.read_theta(whole("wide"))).rows) == 3_000
        await committed(store, deletes=[whole("big"), whole("wide")])
        assert await store.decisions.theta_names("e1") == []
        assert (await store.decisions.read_theta(whole("big"))).rows == {}

    run(body())


def test_a_set_can_be_deleted_and_read_while_others_add_groups(run: Any, make_store: Make) -> None:
    async def body() -> None:
        stores = [await make_store() for _ in range(3)]
        await stores[0].decisions.create_experiment(experiment("e1"))

        async def add(store: ProductionStore) -> None:
            for i in range(40):
                await committed(store, writes={row(key=f"{i % 10}", value=f"{v}"): b"{}" for v in range(3)})

        async def clear(store: ProductionStore) -> None:
            for _ in range(40):
                await committed(store, deletes=[whole()])

        async def look(store: ProductionStore) -> None:
            for _ in range(40):
                found = await store.decisions.read_theta(whole())
                by_key: dict[str, set[int]] = {}
                for (key, _), (_, version) in found.rows.items():
                    by_key.setdefault(key, set()).add(version)
                assert all(len(versions) == 1 for versions in by_key.values())
                assert found.version >= max((v for versions in by_key.values() for v in versions), default=0)

        await asyncio.gather(add(stores[0]), clear(stores[1]), look(stores[2]))
        await committed(stores[0], deletes=[whole()])
        assert (await stores[2].decisions.read_theta(whole())).version == 0

    run(body())


def test_credentials_stay_out_of_the_description(run: Any, make_store: Make, own_redis: RedisServer) -> None:
    async def body() -> None:
        with own_redis.client() as client:
            client.config_set("requirepass", "hush")
        with pytest.raises(StoreUnavailable) as refused:
            await make_store(redis=own_redis.url, patience_s=0.1)
        assert "hush" not in str(refused.value)
        store = await make_store(redis=own_redis.url.replace("://", "://:hush@"))
        facts = store.describe()
        assert "hush" not in str(facts)
        assert facts["redis"].startswith("6.2")
        assert facts["redis"].endswith(f"at 127.0.0.1:{own_redis.port}")

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
