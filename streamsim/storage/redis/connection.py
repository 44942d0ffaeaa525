"""The connection to Redis: one server or a cluster, scripts by their hash, and what to do when it is away.

A call that meets a lost connection, a server that loads its data, or a cluster that fails over is repeated
until `patience_s` is over. So every script that is called through here must be safe to repeat.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Sequence
from importlib import resources
from typing import Any, Literal, cast

from hiredis import pack_command
from redis.asyncio import ConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from streamsim.storage.contract.errors import OutcomeUnknown, StoreUnavailable
from streamsim.storage.redis.pipe import Pipe

Arg = str | bytes | int

# Errors of a server that may soon be well again, and those that will stay until somebody acts. A server
# refuses a script at its first write, so nothing was applied; Redis 6.2 wraps such an error in another.
_CODE = re.compile(r"(?:^|: -)([A-Z]+) ")
_PASSING = {"CLUSTERDOWN", "LOADING", "MASTERDOWN", "TRYAGAIN", "BUSY", "UNKILLABLE", "READONLY"}
# What is larger has a connection of its own: who waits for less would wait for it.
_QUICK_BYTES = 64 * 1024
# Shortest timer of an attempt, and pause before the next look at a Redis that loads.
_LEAST_S, _LOADING_S = 1.0, 0.1
_REFUSING = {"MISCONF", "NOREPLICAS", "OOM", "NOAUTH", "NOPERM", "WRONGPASS"}


class Script:
    """A Lua script of this folder, known to the server by its SHA-1.

    :param begins: files of functions that it calls.
    """

    def __init__(self, name: str, *begins: str) -> None:
        self.name = name
        files = (resources.files(__package__).joinpath(f"{one}.lua") for one in (*begins, name))
        self.source = b"".join(file.read_bytes() for file in files)
        self.sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest()


class RedisConnection:
    """A client of one Redis installation.

    :param url: `redis://`, `rediss://` or `unix://`, as redis-py reads it; any node of a cluster will do.
    :param connections: most connections, and commands under way, at once.
    :param patience_s: for how long a call waits for a Redis that is away. Once it has been away that long,
        further calls try it once, each for at most a second.
    """

    def __init__(self, url: str, *, connections: int = 32, patience_s: float = 5.0) -> None:
        self._url = url
        self._connections = connections
        # Redis-py raises when a pool is exhausted, and in a cluster takes that for a node that has failed.
        self._free = asyncio.Semaphore(connections)
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._patience_s = patience_s
        # When the first of those attempts began that failed, and none succeeded since.
        self._away_since: float | None = None
        self._client: Redis | RedisCluster | None = None
        self._pipe: Pipe | None = None
        self._piping = asyncio.Lock()
        self.server: dict[str, Any] = {}

    @property
    def place(self) -> str:
        """Host or socket, without credentials."""
        return self._url.partition("://")[2].partition("?")[0].rpartition("@")[2]

    async def open(self) -> None:
        """:raises StoreUnavailable: Redis cannot be reached, still loads its file, or is older than 6.2."""
        options: dict[str, Any] = {
            "socket_connect_timeout": 2,
            "socket_timeout": None,  # see `_command`
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
        }
        try:
            pool = ConnectionPool.from_url(self._url, max_connections=self._connections, **options)
        except ValueError as error:
            raise StoreUnavailable(f"the URL of Redis: {error}") from error
        self._client = Redis(connection_pool=pool)
        try:
            await self._open(options)
        except BaseException:
            await self.close()
            raise

    async def _open(self, options: dict[str, Any]) -> None:
        until, loading = time.monotonic() + self._patience_s, True
        while loading:
            # It answers this alone while it reads its file, and has not got its settings then.
            self.server = await self.command("INFO")
            loading = bool(self.server.get("loading"))
            if loading and time.monotonic() > until:
                raise StoreUnavailable("Redis: it still loads its file")
            await asyncio.sleep(_LOADING_S if loading else 0)
        version = tuple(int(part) for part in str(self.server["redis_version"]).split(".")[:2])
        if version < (6, 2):
            raise StoreUnavailable(f"Redis {self.server['redis_version']}: 6.2 or newer is needed")
        if self.server.get("cluster_enabled"):
            await self.close()
            options["retry"] = Retry(NoBackoff(), 1)
            # No new look at all nodes after some moved slots: it would close connections that are in use.
            options |= {"max_connections": self._connections, "reinitialize_steps": 0}
            self._client = cluster = RedisCluster.from_url(self._url, **options)
            try:
                await (
                    cluster.initialize()
                )  # before it is used: commands that arrive meanwhile are sent anywhere
            except (RedisError, RedisClusterException) as error:
                raise StoreUnavailable(f"Redis: {error}") from error

    async def settle(self) -> None:
        """Wait until no command is under way."""
        await self._idle.wait()

    async def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            if self._pipe is not None:
                self._pipe.close()
            await client.aclose()
            if isinstance(client, Redis):
                await client.connection_pool.disconnect()

    async def call(
        self, script: Script, keys: Sequence[str], args: Sequence[Arg] = (), *, quick: bool = False
    ) -> Any:
        """Run a script; one round trip, unless the server does not know it yet.

        :param quick: many wait for it, and its answer is small: it shares a connection (see pipe.py).
        """
        try:
            return await self.command("EVALSHA", script.sha, len(keys), *keys, *args, quick=quick)
        except NoScriptError:
            return await self.command("EVAL", script.source, len(keys), *keys, *args)

    async def command(self, *words: Arg, quick: bool = False) -> Any:
        """:raises StoreUnavailable: OutcomeUnknown if Redis may have got the command."""
        self._under_way += 1
        self._idle.clear()
        try:
            return await self._command(words, quick)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _command(self, words: tuple[Arg, ...], quick: bool) -> Any:
        sent, pause, began = False, 0.01, time.monotonic()
        while True:
            if self._client is None:
                away = OutcomeUnknown if sent else StoreUnavailable
                raise away("the connection to Redis is closed")
            tried = time.monotonic()
            try:
                answer = await self._sent(words, max(self._deadline(began) - tried, _LEAST_S), quick)
                self._away_since = None
                return answer
            except NoScriptError:
                raise
            except (RedisError, RedisClusterException, TimeoutError, AttributeError) as error:
                kind = _kind(error, isinstance(self._client, RedisCluster))
                if kind is None:
                    raise
                sent = sent or kind == "lost"
                if kind != "refused" and (self._away_since is None or tried < self._away_since):
                    self._away_since = tried
                if kind == "refused" or time.monotonic() + pause > self._deadline(began):
                    away = OutcomeUnknown if sent else StoreUnavailable
                    raise away(f"Redis: {str(error) or 'no answer in time'}") from error
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.25)

    async def _sent(self, words: tuple[Arg, ...], left: float, quick: bool) -> Any:
        """:param left: for how many seconds to wait."""
        client = self._client
        assert client is not None
        if quick and isinstance(client, Redis):
            packed = pack_command(cast(Any, words))
            if len(packed) <= _QUICK_BYTES:
                pipe = self._pipe
                if pipe is None or pipe.closed:
                    pipe = await self._piped(client, left)
                return await pipe.send(packed, left)
        # One timer for all, as redis-py would set one at each step of a command.
        async with self._free, asyncio.timeout(left):
            return await client.execute_command(*words)

    async def _piped(self, client: Redis, left: float) -> Pipe:
        """What small commands share, connected. Nothing was sent if it raises."""
        try:
            async with asyncio.timeout(left), self._piping:
                if self._pipe is None or self._pipe.closed:
                    pool: Any = client.connection_pool
                    pipe = await Pipe.opened(pool.make_connection())
                    if client is not self._client:
                        pipe.close()
                        raise RedisConnectionError("closed while connecting to Redis")
                    self._pipe = pipe
                return self._pipe
        except TimeoutError as error:
            raise RedisTimeoutError("no answer in time while connecting to Redis") from error

    def _deadline(self, began: float) -> float:
        """Until when a command that began then waits: what others waited counts."""
        return min(began, self._away_since or began) + self._patience_s


def _kind(error: Exception, cluster: bool) -> Literal["lost", "passing", "refused"] | None:
    """Lost: the command may have arrived. Passing: it did not, and may soon. None: a mistake of ours."""
    if isinstance(error, AttributeError):
        # Redis-py closes connections that are in use when it looks at a cluster anew.
        return "lost" if cluster else None
    text = str(error)
    code = found[1] if (found := _CODE.search(text)) else ""
    if isinstance(error, AuthenticationError | OutOfMemoryError) or code in _REFUSING:
        return "refused"
    if isinstance(error, BusyLoadingError | ReadOnlyError | ClusterDownError | MasterDownError):
        return "passing"
    if isinstance(error, RedisConnectionError | RedisTimeoutError | TimeoutError):
        return "passing" if "connecting to" in text else "lost"
    if isinstance(error, RedisClusterException):
        return "lost"
    return "passing" if code in _PASSING else None
