"""One connection to Redis for what is small and awaited by many: sent at once, answered in order.

Redis-py's client takes a connection for each command, looks whether it is well, waits for what it writes and
again for what it reads, and gives it back. A commit, for which all calls of a batch wait, is written here in
one step and read in another. Redis-py makes the connection: it knows of passwords, TLS and sockets.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

_SECOND_LOOK_S = 0.05


def _refusal(text: str) -> ResponseError:
    """What redis-py raises for an error that Redis answers."""
    return NoScriptError(text) if text.startswith("NOSCRIPT ") else ResponseError(text.removeprefix("ERR "))


class Pipe(asyncio.Protocol):
    """Any number of commands may be under way at once, whose answers come in order.

    :param writer: of a connection that nobody else uses, on which no answer is awaited.
    """

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer  # it closes the connection when it is forgotten
        self._replies = hiredis.Reader(protocolError=RedisError, replyError=_refusal)
        self._waiting: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._looks_at = self._looked_at = 0.0
        writer.transport.set_protocol(self)

    @classmethod
    async def opened(cls, connection: AbstractConnection) -> Pipe:
        """:param connection: not connected yet; nobody uses it afterwards. :raises RedisError:"""
        await connection.connect()  # type: ignore[no-untyped-call]
        writer = connection._writer
        assert writer is not None
        connection._writer = connection._reader = None  # it would close it when it is forgotten
        return cls(writer)

    @property
    def closed(self) -> bool:
        return self._writer.transport.is_closing()

    async def send(self, command: bytes, patience_s: float) -> Any:
        """What Redis answers to an encoded command.

        :param patience_s: when it has not answered after so many seconds, the connection is given up.
        :raises NoScriptError: it does not know the script. :raises ResponseError: it refuses the command.
        :raises RedisConnectionError: it may have got it, and have done what it says, as with a
            `RedisTimeoutError`.
        """
        answer: asyncio.Future[Any] = self._loop.create_future()
        until = self._loop.time() + patience_s
        self._waiting.append((answer, until))
        self._writer.transport.write(command)
        if self._timer is None or until < self._looks_at:
            self._look_at(until)
        reply = await answer
        if isinstance(reply, ResponseError):
            raise reply
        return reply

    def close(self, error: RedisError | None = None) -> None:
        """What is under way has this error, or that the connection was closed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._writer.transport.abort()
        waiting, self._waiting = self._waiting, deque()
        for answer, _ in waiting:
            if not answer.done():
                answer.set_exception(error or RedisConnectionError("the connection was closed"))

    def _look_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._looks_at, self._timer = when, self._loop.call_at(when, self._look)

    def _look(self) -> None:
        """One timer serves many commands: when it fires it looks at the one that ends first."""
        self._timer = None
        if not self._waiting:
            return
        now, until = self._loop.time(), min(until for _, until in self._waiting)
        if now < until:
            self._look_at(until)
        elif self._looked_at != until:
            # A server that was held up reads first what came in the meantime.
            self._looked_at = until
            self._look_at(now + _SECOND_LOOK_S)
        else:
            self.close(RedisTimeoutError("no answer in time"))

    # What asyncio calls.

    def data_received(self, data: bytes) -> None:
        self._replies.feed(data)
        try:
            while self._waiting and (reply := self._replies.gets()) is not False:
                answer, _ = self._waiting.popleft()
                if not answer.done():  # else its caller was cancelled
                    answer.set_result(reply)
        except RedisError as error:
            self.close(RedisConnectionError(f"Redis broke the protocol: {error}"))

    def connection_lost(self, error: Exception | None) -> None:
        self.close(RedisConnectionError(f"the connection was lost: {error or 'Redis closed it'}"))
