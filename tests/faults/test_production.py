"""I1, I2, I5 and I9 on the production store, while one part after the other is killed.

Three server processes, 32 clients that mix getaction, setreward, advice ids and idempotency keys. Every call
carries a tag, so at the end each one is accounted for: an acknowledged call has left one row and one update,
one that was not answered has left both or neither.

The short form runs every fault once. `STREAMSIM_FAULTS=long` (`make faults`) goes on for ten rounds, with
MongoDB away for 20 s each time.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bench.load import request
from tests.backends import production
from tests.servers import MongoServer, RedisServer, aside
from tests.support import Client, Server

LONG = os.environ.get("STREAMSIM_FAULTS") == "long"
ROUNDS = 10 if LONG else 1
MONGO_AWAY_S = 20 if LONG else 3
BETWEEN_S = 2 if LONG else 0.3
CLIENTS, SERVERS = 32, 3

GET_ACTION = "self.action['arm'] = np.random.randint(3)"
SET_REWARD = """
stored = self.get_theta(key="n", value="all")
self.set_theta({"n": stored.get("n", 0) + 1}, key="n", value="all")
"""


class House:
    """Redis, MongoDB and the server processes; each part can be killed and comes back."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.redis = RedisServer(folder / "redis")
        self.mongo = MongoServer(folder / "mongo")
        for server in (self.redis, self.mongo):
            server.start()
            stack.callback(server.stop)
        self.storage = production(self.redis.url, self.mongo.url)
        self.servers = []
        for n in range(SERVERS):
            (folder / str(n)).mkdir()
            server = Server(folder / str(n), settings=self.storage)
            self.servers.append(stack.enter_context(server))
        self.random = random.Random(7)

    async def kill_server(self) -> None:
        """It drains, decides and runs jobs: whatever it was at, in the middle."""
        server = self.random.choice(self.servers)
        await aside(server.kill)
        await aside(server.start)

    async def kill_worker(self) -> None:
        """Every sandboxed process of one server, its zygote included."""
        server = self.random.choice(self.servers)
        assert server.process is not None
        for pid in descendants(server.process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    async def kill_redis(self) -> None:
        await aside(self.redis.kill)
        await aside(self.redis.start)

    async def lose_mongo(self) -> None:
        await aside(self.mongo.kill)
        await asyncio.sleep(MONGO_AWAY_S)
        await aside(self.mongo.start)

    def log(self, experiment: str, kind: str) -> list[dict[str, Any]]:
        """Data of an experiment's rows as they are in MongoDB, and nothing of ours between."""
        name = urlsplit(str(self.storage["storage.mongo"])).path.strip("/")
        with self.mongo.client() as client:
            rows = client[name][f"log_{kind}"].find({"experiment": experiment})
            return [json.loads(row["data"]) for row in rows]


def descendants(root: int) -> set[int]:
    listed = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()[1:]]
    found, before = {root}, 0
    while len(found) > before:
        before = len(found)
        found |= {pid for pid, parent in pairs if parent in found}
    return found - {root}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with ExitStack() as stack:
        yield House(tmp_path, stack)


class Connection:
    """A keep-alive connection to one server, opened again when it broke."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self, path: str, body: dict[str, object]) -> tuple[int, Any] | None:
        """Status and JSON; None when no whole answer came."""
        try:
            async with asyncio.timeout(60):
                return await self._call(request("POST", path, json.dumps(body).encode()))
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            self.close()
            return None

    async def _call(self, message: bytes) -> tuple[int, Any]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._server.port)
        reader, writer = self._streams
        writer.write(message)
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
        )
        return int(head[9:12]), json.loads(await reader.readexactly(length))

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class Load:
    """What the clients do, and what became of each call."""

    def __init__(self, house: House, plain: tuple[str, str], advised: tuple[str, str]) -> None:
        self.house = house
        self.plain, self.advised = plain, advised
        self.sure: dict[str, set[str]] = {"action": set(), "reward": set(), "advised": set()}
        self.open: dict[str, set[str]] = {"action": set(), "reward": set(), "advised": set()}
        self.unavailable = 0
        self.stopping = False

    async def client(self, number: int) -> None:
        rng = random.Random(number)
        connection = Connection(self.house.servers[number % SERVERS])
        turn = 0
        while not self.stopping:
            turn += 1
            tag = f"{number}-{turn}"
            what = rng.choice([self.decide, self.reward, self.reward_once, self.advise])
            await what(connection, tag)
        connection.close()

    async def attempt(
        self, connection: Connection, kind: str, tag: str, path: str, body: dict[str, object]
    ) -> tuple[int, Any] | None:
        """One call: its tag is then sure to be in the log, or open."""
        self.open[kind].add(tag)
        answer = await connection.call(path, body)
        if answer is None or answer[0] == 503:
            self.unavailable += answer is not None
            await asyncio.sleep(0.02)
            return None
        assert answer[0] in (200, 409), answer
        self.open[kind].discard(tag)
        self.sure[kind].add(tag)
        return answer

    async def decide(self, connection: Connection, tag: str) -> None:
        id, key = self.plain
        body: dict[str, object] = {"key": key, "context": {"tag": tag}}
        answer = await self.attempt(connection, "action", tag, f"/getaction/{id}", body)
        assert answer is None or "arm" in answer[1]["action"]

    async def reward(self, connection: Connection, tag: str) -> None:
        id, key = self.plain
        await self.attempt(
            connection, "reward", tag, f"/setreward/{id}", {"key": key, "reward": {"tag": tag}}
        )

    async def reward_once(self, connection: Connection, tag: str) -> None:
        """With an idempotency key it may be repeated until it is acknowledged, and once more."""
        id, key = self.plain
        body: dict[str, object] = {"key": key, "reward": {"tag": tag}, "idempotency_key": tag}
        for _ in range(2):
            while await self.attempt(connection, "reward", tag, f"/setreward/{id}", body) is None:
                pass

    async def advise(self, connection: Connection, tag: str) -> None:
        """An advice is redeemed once, however often it is tried."""
        id, key = self.advised
        body: dict[str, object] = {"key": key, "context": {"tag": tag}}
        answer = await connection.call(f"/getaction/{id}", body)
        if answer is None or answer[0] != 200:
            return
        body = {"key": key, "reward": {"tag": tag}, "advice_id": answer[1]["advice_id"]}
        for _ in range(2):
            while await self.attempt(connection, "advised", tag, f"/setreward/{id}", body) is None:
                pass

    def account(self, kind: str, tags: list[str]) -> None:
        """Every sure call left one row, an open one at most one, and nobody else any."""
        assert max(Counter(tags).values(), default=1) == 1
        assert self.sure[kind] <= set(tags)
        assert set(tags) <= self.sure[kind] | self.open[kind]


def create(admin: Client, name: str, **fields: object) -> tuple[str, str]:
    code = {"get_action": GET_ACTION, "set_reward": SET_REWARD}
    answer = admin.post("/exp", {"name": name, **code, **fields})
    assert answer.status in (200, 201), answer
    return answer.body["id"], answer.body["key"]


def count(admin: Client, experiment: str) -> int:
    theta = admin.get(f"/stats/{experiment}/currenttheta").body
    return int(theta["n:all"]["n"]) if theta else 0


def play(house: House, faults: list[Callable[[], Awaitable[None]]]) -> tuple[Load, Client]:
    """Load while the faults happen, one after the other; then the books must be right."""
    admin = house.servers[0].admin()
    plain, advised = create(admin, "plain"), create(admin, "advised", advice_id=True, delta_hours=24)
    load = Load(house, plain, advised)

    async def body() -> None:
        clients = [asyncio.create_task(load.client(number)) for number in range(CLIENTS)]
        try:
            for _ in range(ROUNDS):
                for fault in faults:
                    await progress(load, clients)
                    await fault()
                    await asyncio.sleep(BETWEEN_S)
            await progress(load, clients)
        finally:
            load.stopping = True
        await asyncio.gather(*clients)

    asyncio.run(body())
    admin = house.servers[0].admin()
    for id, _ in (plain, advised):
        for kind in ("action", "reward"):  # reading brings what still waits to MongoDB
            assert admin.get(f"/stats/{id}/{kind}log?limit=1").status == 200
    actions = house.log(plain[0], "action")
    rewards, redeemed = house.log(plain[0], "reward"), house.log(advised[0], "reward")
    load.account("action", [row["context"]["tag"] for row in actions])
    load.account("reward", [row["reward"]["tag"] for row in rewards])
    load.account("advised", [row["reward"]["tag"] for row in redeemed])
    assert count(admin, plain[0]) == len(rewards)
    assert count(admin, advised[0]) == len(redeemed)
    summary = admin.get(f"/stats/{plain[0]}/summary").body
    assert summary["get_action_calls"] == len(actions)
    assert summary["set_reward_calls"] == len(rewards)
    return load, admin


async def progress(load: Load, clients: list[asyncio.Task[None]]) -> None:
    """Until some hundred more calls are acknowledged; a client that failed says so at once."""
    goal = sum(map(len, load.sure.values())) + 300
    async with asyncio.timeout(120):
        while sum(map(len, load.sure.values())) < goal:
            done = [client for client in clients if client.done()]
            for client in done:
                client.result()
            await asyncio.sleep(0.01)


def test_the_books_are_right_after_every_part_was_killed(house: House) -> None:
    faults = [house.kill_server, house.kill_worker, house.kill_redis, house.lose_mongo, house.kill_server]
    load, _ = play(house, faults)
    assert len(load.sure["reward"]) > 300


def test_no_call_fails_while_mongodb_is_away(house: House) -> None:
    load, admin = play(house, [house.lose_mongo])
    assert load.unavailable == 0
    assert not any(load.open.values())
    assert admin.get("/healthy").status == 200
