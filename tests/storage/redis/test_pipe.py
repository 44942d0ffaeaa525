"""A shared connection: each answer reaches who asked, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hiredis import pack_command
from redis.asyncio import Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from streamsim.storage.contract.errors import OutcomeUnknown, StoreUnavailable
from streamsim.storage.redis.connection import RedisConnection, Script
from streamsim.storage.redis.pipe import Pipe
from tests.patience import PATIENCE_S
from tests.servers import RedisServer, aside, wait_until

CLAIM = Script("claim")


def opened(server: RedisServer) -> Any:
    return Pipe.opened(Connection(host="127.0.0.1", port=server.port, protocol=2))


def packed(*words: Any) -> bytes:
    command: bytes = pack_command(words)
    return command


def echo(pipe: Pipe, text: str, patience_s: float = PATIENCE_S) -> Any:
    return asyncio.ensure_future(pipe.send(packed("ECHO", text), patience_s))


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[RedisConnection]:
    connection = RedisConnection(url, patience_s=PATIENCE_S)
    await connection.open()
    yield connection
    await connection.close()


async def claimed(connection: RedisConnection, work: str, owner: str = "me") -> bool:
    """Whether a script that shares the connection answers that the work is the owner's."""
    return bool(await connection.call(CLAIM, [work], [owner, 0, 1000, 60_000], quick=True))


def connections(server: RedisServer) -> int:
    """How many there are, without that of who asks."""
    with server.client() as client:
        return len(client.client_list()) - 1


def test_each_answer_reaches_who_asked_though_others_were_cancelled(
    run: Any, redis_server: RedisServer
) -> None:
    async def body() -> None:
        pipe = await opened(redis_server)
        asked = [echo(pipe, f"{n}" * (n % 7 * 1000 + 1)) for n in range(300)]
        await asyncio.sleep(0)
        for one in asked[::3]:
            one.cancel()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for n, answer in enumerate(answers):
            if n % 3:
                assert answer == f"{n}".encode() * (n % 7 * 1000 + 1)
            else:
                assert isinstance(answer, asyncio.CancelledError)
        assert await echo(pipe, "last") == b"last"
        pipe.close()

    run(body())


def test_what_redis_refuses_is_raised_and_the_next_is_answered(run: Any, redis_server: RedisServer) -> None:
    async def body() -> None:
        pipe = await opened(redis_server)
        unknown = pipe.send(packed("EVALSHA", "0" * 40, "0"), PATIENCE_S)
        wrong = pipe.send(packed("HGET", "key"), PATIENCE_S)
        refusals = await asyncio.gather(unknown, wrong, echo(pipe, "a"), return_exceptions=True)
        assert isinstance(refusals[0], NoScriptError)
        assert isinstance(refusals[1], ResponseError)
        assert str(refusals[1]).startswith("wrong number of arguments")
        assert refusals[2] == b"a"
        pipe.close()

    run(body())


def test_a_redis_that_hangs_or_is_gone_ends_all_that_is_under_way(run: Any, own_redis: RedisServer) -> None:
    async def body() -> None:
        assert own_redis.process is not None
        for patience_s in ((0.1, PATIENCE_S), (PATIENCE_S, 0.1)):  # whichever ends first
            pipe = await opened(own_redis)
            own_redis.process.send_signal(signal.SIGSTOP)
            asked = [echo(pipe, "a", one) for one in patience_s]
            async with asyncio.timeout(PATIENCE_S / 2):
                answers = await asyncio.gather(*asked, return_exceptions=True)
            assert {type(one) for one in answers} == {RedisTimeoutError}
            assert pipe.closed
            own_redis.process.send_signal(signal.SIGCONT)
        pipe = await opened(own_redis)
        own_redis.process.send_signal(signal.SIGSTOP)
        asked = [echo(pipe, "a"), echo(pipe, "b")]
        await asyncio.sleep(0)
        await aside(own_redis.kill)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(one) for one in answers} == {RedisConnectionError}
        assert pipe.closed

    run(body())


def test_a_connection_that_was_lost_is_made_again(run: Any, own_redis: RedisServer) -> None:
    async def body() -> None:
        async with connected(own_redis.url) as connection:
            assert await claimed(connection, "a")
            with own_redis.client() as client:
                client.client_kill_filter(skipme=True, _type="normal")
            assert await claimed(connection, "a")
            assert not await claimed(connection, "a", "another")
            await aside(own_redis.kill)
            await aside(own_redis.start)
            assert await claimed(connection, "b")

    run(body())


@pytest.mark.parametrize("ends", ["answers again", "closed"])
def test_a_redis_that_hangs_while_the_connection_is_made_leaves_nothing_open(
    run: Any, own_redis: RedisServer, ends: str
) -> None:
    async def body() -> None:
        connection = RedisConnection(own_redis.url, patience_s=1)
        await connection.open()
        assert own_redis.process is not None
        own_redis.process.send_signal(signal.SIGSTOP)
        asked = asyncio.ensure_future(claimed(connection, "a"))
        if ends == "closed":
            while not connection._piping.locked():  # noqa: ASYNC110 -- nothing tells
                await asyncio.sleep(0)
            await connection.close()
            own_redis.process.send_signal(signal.SIGCONT)
        with pytest.raises(StoreUnavailable) as away:
            await asked
        assert not isinstance(away.value, OutcomeUnknown)
        own_redis.process.send_signal(signal.SIGCONT)
        if ends != "closed":
            assert await claimed(connection, "a")
            await connection.close()
        await aside(wait_until, lambda: not connections(own_redis), "no connection is left")

    run(body())


def test_many_share_one_connection_and_what_is_large_has_its_own(run: Any, own_redis: RedisServer) -> None:
    async def body() -> None:
        async with connected(own_redis.url) as connection:
            assert connections(own_redis) == 1
            assert await claimed(connection, "large", "a" * 100_000)
            assert connections(own_redis) == 1
            assert all(await asyncio.gather(*(claimed(connection, f"{n}") for n in range(100))))
            assert connections(own_redis) == 2

    run(body())


@pytest.mark.parametrize("over", ["tcp", "unix"])
def test_a_shared_connection_has_the_password_and_the_database_of_the_url(
    run: Any, tmp_path: Path, over: str
) -> None:
    socket = tmp_path / "s"
    server = RedisServer(tmp_path / "redis", "--unixsocket", str(socket))
    server.start()

    async def body() -> None:
        url = (
            f"unix://:secret@{socket}?db=3"
            if over == "unix"
            else f"redis://:secret@127.0.0.1:{server.port}/3"
        )
        async with connected(url) as connection:
            assert await claimed(connection, "a")
            assert await connection.command("EXISTS", "a") == 1

    try:
        with server.client() as client:
            client.config_set("requirepass", "secret")
        run(body())
    finally:
        server.stop()
