"""How the production store uses Redis: one round trip per commit, declared keys, nothing lost or repeated."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any

import pytest

from streamsim.storage.contract.decisions import Committed
from streamsim.storage.contract.errors import StoreUnavailable
from streamsim.storage.production.store import ProductionStore
from streamsim.storage.redis.keys import Keys, member, split_member
from tests.servers import RedisServer
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
