"""`python -m bench.slow`: latency of 16 clients that decide, alone and beside thousands of slow ones."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import resource
import socket
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from bench.calls import create, prepared
from bench.load import measure
from tests.support import Server

_HEAD = b"GET /healthy HTTP/1.1\r\nHost: x\r\nX-Slow: "
_DOCUMENT = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
_IDLE_S = 5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.slow", description=__doc__)
    parser.add_argument("--senders", type=int, default=2000, help="connections that send a byte a second")
    parser.add_argument("--deaf", type=int, default=200, help="connections that do not read their answers")
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    settings = {"server.idle_connection_s": _IDLE_S}
    with (
        tempfile.TemporaryDirectory(prefix="streamsim-slow-") as folder,
        Server(Path(folder), settings=settings) as server,
    ):
        requests = prepared(create(server.admin(), "e-greedy"), "e-greedy", "getaction")
        measure(server.port, requests, 16, 1)
        alone = measure(server.port, requests, 16, options.seconds)
        # A process of its own: in a thread of this one it would hold the other clients up.
        with ProcessPoolExecutor(1, get_context("spawn")) as processes:
            crowd = processes.submit(slow, server.port, options.senders, options.deaf)
            time.sleep(2)
            beside = measure(server.port, requests, 16, options.seconds)
            ended = crowd.result()
    for name, result in (("alone", alone), ("beside slow clients", beside)):
        print(f"{name:20} {result.rate:7.0f}/s  p99 {result.quantile_ms(0.99):6.1f} ms")
    print(
        f"{len(ended)} of {options.senders + options.deaf} slow connections ended by the server, "
        f"after {min(ended):.1f} to {max(ended):.1f} s; the limit is {_IDLE_S} s"
    )


def slow(port: int, senders: int, deaf: int) -> list[float]:
    """Keep such connections until the server ends them; after how many seconds it did."""

    async def all_of_them() -> list[float | None]:
        # Not all in step, as clients that know nothing of each other.
        rng = random.Random(1)
        calls = [one(port, rng.random(), deaf=number < deaf) for number in range(senders + deaf)]
        return await asyncio.gather(*calls)

    return [seconds for seconds in asyncio.run(all_of_them()) if seconds is not None]


async def one(port: int, begins_s: float, *, deaf: bool) -> float | None:
    """One slow client, for a minute at most: after how many seconds the server ended it, or None."""
    await asyncio.sleep(begins_s)
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            await loop.sock_sendall(sock, _DOCUMENT * 40 if deaf else _HEAD)
            while time.monotonic() < began + 60:
                await asyncio.sleep(1)
                await loop.sock_sendall(sock, b"x")
            return None
        return time.monotonic() - began


if __name__ == "__main__":
    main()
