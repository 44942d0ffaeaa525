"""Large bodies are read in pieces, one in each turn of the event loop."""

from __future__ import annotations

import asyncio
import socket

import pytest

from streamsim.config import Settings
from streamsim.server.http.application import Application
from streamsim.server.http.reading import Reading
from streamsim.server.http.server import FastServer
from tests.patience import PATIENCE_S
from tests.server.http.raw import statuses

BODIES, BODY_BYTES = 8, 960 << 10
MOST_BYTES = 256 << 10
"""What both event loops read at once, at most."""


class Body:
    """So many pieces; `order` is told whenever one is read."""

    def __init__(self, name: str, pieces: int, reading: Reading, order: list[str]) -> None:
        self._name, self._pieces, self._reading, self._order = name, pieces, reading, order
        reading.wait(self)

    def read_on(self) -> None:
        self._order.append(self._name)
        self._pieces -= 1
        if self._pieces:
            self._reading.wait(self)


@pytest.mark.gen_test
async def test_bodies_are_read_in_turn_and_others_go_on_between_two_pieces() -> None:
    order: list[str] = []
    reading = Reading()
    for name, pieces in (("a", 3), ("b", 1), ("c", 2)):
        Body(name, pieces, reading, order)
    for _ in range(20):
        await asyncio.sleep(0)
        order.append("-")
    assert "".join(order).strip("-") == "a-b-c-a-c-a"


@pytest.mark.gen_test
async def test_what_the_kernel_holds_of_many_large_bodies_is_not_read_in_one_go(
    app: Application, settings: Settings
) -> None:
    loop = asyncio.get_running_loop()
    server = FastServer(app, settings)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    await server.listen_on([listening])
    head = b"POST /getaction/abc HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    content = b'{"key": "a wrong one", "context": "%s"}' % (b"x" * BODY_BYTES)
    grown: list[int] = []

    async def watch() -> None:
        before = 0
        while True:
            grown.append(app.busy.bytes - before)
            before = app.busy.bytes
            await asyncio.sleep(0)

    async def exchange() -> bytes:
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, listening.getsockname())
            await loop.sock_sendall(sock, head % len(content) + content)
            parts = []
            while part := await loop.sock_recv(sock, 1 << 16):
                parts.append(part)
            return b"".join(parts)

    watching = asyncio.ensure_future(watch())
    async with asyncio.timeout(PATIENCE_S):
        answers = await asyncio.gather(*(exchange() for _ in range(BODIES)))
    watching.cancel()
    await server.close()
    assert [statuses(answer) for answer in answers] == [[401]] * BODIES
    # Once each has its first piece they take turns.
    assert sum(more > MOST_BYTES for more in grown) <= BODIES
    assert sum(more > 0 for more in grown) >= BODIES * 2
