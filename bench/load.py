"""HTTP load from one process: keep-alive connections that each send the next request when an answer came.

A request costs this process about 20 us, which leaves the server as the bottleneck. Requests are prepared as
bytes, so that what is timed is the server.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from typing import cast

# The faster loop leaves more of the machine to the servers, whichever loop they use.
_FASTER = importlib.util.find_spec("uvloop") and importlib.import_module("uvloop").new_event_loop
_new_loop = _FASTER or asyncio.new_event_loop


@dataclass
class Result:
    """What one run measured. `latencies_s` has one entry per answer, in seconds."""

    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    statuses: dict[bytes, int] = field(default_factory=dict)
    first_answer: bytes = b""

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies_s) / self.seconds

    def quantile_ms(self, q: float) -> float:
        """A latency quantile in ms."""
        ordered = sorted(self.latencies_s)
        return 1000 * ordered[min(len(ordered) - 1, int(q * len(ordered)))]


class _Connection(asyncio.Protocol):
    def __init__(self, requests: Iterator[bytes], result: Result, done: Callable[[], bool]) -> None:
        self._requests, self._result, self._done = requests, result, done
        self._buffer = b""
        self._sent = 0.0
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        head, found, body = buffer.partition(b"\r\n\r\n")
        if not found:
            self._buffer = buffer
            return
        at = head.index(b"Content-Length: ") + 16
        end = head.find(b"\r", at)
        if len(body) < int(head[at:] if end < 0 else head[at:end]):
            self._buffer = buffer
            return
        self._buffer = b""
        result = self._result
        result.latencies_s.append(time.perf_counter() - self._sent)
        status = head[9:12]
        result.statuses[status] = result.statuses.get(status, 0) + 1
        if not result.first_answer:
            result.first_answer = body
        if self._done():
            self._transport.close()
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)


def request(method: str, target: str, body: bytes = b"", host: str = "127.0.0.1") -> bytes:
    """The bytes of one request."""
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{length}\r\n".encode() + body


async def _run(port: int, requests: list[bytes], connections: int, seconds: float, own: bool) -> Result:
    result = Result()
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    deadline = began + seconds
    shared = cycle(requests)
    opened = []
    for index in range(connections):
        stream = cycle(requests[index::connections]) if own else shared
        connect = partial(_Connection, stream, result, lambda: time.perf_counter() >= deadline)
        opened.append(await loop.create_connection(connect, "127.0.0.1", port))
    await asyncio.gather(*(protocol.closed for _, protocol in opened))
    result.seconds = time.perf_counter() - began
    return result


def measure(
    port: int, requests: list[bytes], connections: int, seconds: float, *, own: bool = False
) -> Result:
    """Send requests in turn over so many connections for so long.

    :param own: each connection has its own part of the requests.
    :raises RuntimeError: an answer was not 200.
    """
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        result = runner.run(_run(port, requests, connections, seconds, own))
    if set(result.statuses) != {b"200"}:
        raise RuntimeError(f"answers other than 200: {result.statuses}; first: {result.first_answer[:200]!r}")
    return result
