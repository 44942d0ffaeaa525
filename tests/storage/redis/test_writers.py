"""A commit that is sent again, soon or late, happens once; and Redis does not keep who is gone."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from streamsim.storage.contract.decisions import Summary
from streamsim.storage.production.store import ProductionStore
from streamsim.storage.redis.keys import Keys
from tests.servers import RedisServer
from tests.storage.conftest import Make
from tests.storage.contract.helpers import HOUR, NOW, committed, experiment, log
from tests.storage.redis.proxy import Proxy


async def sent(server: RedisServer, request: bytes) -> bytes:
    """What Redis answers to the bytes of a request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    answer = await reader.read(1 << 16)
    writer.close()
    return answer


def writers(server: RedisServer, prefix: str, tenant: str = "ann") -> dict[str, str]:
    """What Redis has noted of each writer of a tenant."""
    with server.client() as client:
        fields = client.hgetall(Keys(prefix).of(tenant).meta)
    return {name: noted for name, noted in fields.items() if name.startswith("w:")}


def test_a_commit_that_arrives_after_it_was_given_up_does_nothing(
    run: Any, make_store: Make, redis_server: RedisServer, name: str
) -> None:
    async def body() -> None:
        lost: list[bytes] = []

        def once(request: bytes) -> bool:
            if lost or b"answer lost" not in request:
                return False
            lost.append(request)
            return True

        async with Proxy(redis_server, once) as proxy:
            store = await make_store(redis=proxy.url)
            await store.outbox.stop()
            await store.decisions.create_experiment(experiment("e1"))
            await committed(store, logs=[log("first")])
            await committed(store, logs=[log("answer lost")])
            # Committed, as it was: the writer has done nothing since.
            assert (await sent(redis_server, lost[0])).startswith(b"*2\r\n:1\r\n")
            assert await store.decisions.summary("e1") == Summary(2, NOW, 0, None)
            await committed(store, logs=[log("next")])
            assert await sent(redis_server, lost[0]) == b"*1\r\n:4\r\n"
            assert await store.decisions.summary("e1") == Summary(3, NOW, 0, None)
            assert await store.outbox.waiting() == 3
            await store.close()

    run(body())


def test_commits_one_after_the_other_have_one_writer_and_others_more(
    run: Any, store: ProductionStore, redis_server: RedisServer, name: str
) -> None:
    async def body() -> None:
        for n in range(20):
            await committed(store, logs=[log(f"{n}")])
        ((_, noted),) = writers(redis_server, name).items()
        assert noted.split()[0] == "20"
        await asyncio.gather(*(committed(store, logs=[log(f"{n} beside")]) for n in range(10)))
        assert 1 < len(writers(redis_server, name)) <= 10
        assert (await store.decisions.summary("e1")).action_calls == 30

    run(body())


def test_writers_that_have_been_silent_for_an_hour_are_forgotten(
    run: Any, store: ProductionStore, make_store: Make, redis_server: RedisServer, name: str
) -> None:
    async def body() -> None:
        meta = Keys(name).of("ann").meta
        now = 16 * (time.time_ns() // 1_000_000)  # as versions tell the time
        silent, living = {"w:a": f"3 {now - 16 * 2 * HOUR} 01"}, {"w:b": f"7 {now - 16 * HOUR // 2} "}
        with redis_server.client() as client:
            client.hset(meta, mapping=silent | living)
        await committed(store, logs=[log("a")])
        first = writers(redis_server, name)
        assert len(first) == 2
        assert living.items() < first.items()
        with redis_server.client() as client:
            client.hset(meta, mapping=silent | {"swept": f"{now - 16 * HOUR // 2}"})
        other = await make_store()
        await committed(other, logs=[log("b")])
        assert len(writers(redis_server, name)) == 4  # looked for within the hour
        with redis_server.client() as client:
            client.hset(meta, "swept", f"{now - 16 * 2 * HOUR}")
        await committed(await make_store(), logs=[log("c")])
        assert len(writers(redis_server, name)) == 4
        assert "w:a" not in writers(redis_server, name)
        await committed(other, logs=[log("d")])  # whoever is forgotten and comes again is new
        assert (await store.decisions.summary("e1")).action_calls == 4

    run(body())
