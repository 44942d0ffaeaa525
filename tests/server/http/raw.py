"""Bytes to a server and bytes back, without an HTTP client in between, and what the server counts of it."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterable

from streamsim.services import Services
from tests.patience import PATIENCE_S

# What differs between two answers to one request.
_VARIES = re.compile(rb"(Date|X-Request-Id): [^\r]*\r\n")
LAST = b"GET /healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
"""A request after which a server closes."""


async def exchanged(port: int, pieces: Iterable[bytes]) -> bytes:
    """Everything that a server answers to these pieces, sent one after the other, until it closes."""
    loop = asyncio.get_running_loop()
    parts = []
    # Not a stream: it would drop what was answered when it cannot send any more.
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        async def send() -> None:
            for piece in pieces:
                await loop.sock_sendall(sock, piece)
                await asyncio.sleep(0)

        sending = asyncio.create_task(send())
        try:
            async with asyncio.timeout(PATIENCE_S):
                while part := await loop.sock_recv(sock, 65536):
                    parts.append(part)
        except ConnectionResetError:
            pass  # it closed with bytes unread
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    return b"".join(parts)


async def answered_in_turn(port: int, requests: Iterable[bytes]) -> list[bytes]:
    """What a server answers to requests of one connection, each sent when the one before is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answers = []
    async with asyncio.timeout(PATIENCE_S):
        for request in requests:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"Content-Length: (\d+)", head)
            sized = length is not None and not request.startswith(b"HEAD ")
            answers.append(head + (await reader.readexactly(int(length[1])) if length and sized else b""))
    writer.close()
    return answers


def steady(answers: bytes) -> bytes:
    """Answers without what differs from one time to the next."""
    return _VARIES.sub(b"", answers)


def statuses(answers: bytes) -> list[int]:
    """The statuses of answers that follow each other, of which none may hold `HTTP/1.1` in its body."""
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


def counted(services: Services) -> dict[str, float]:
    """How many requests were answered, by route, method and status."""
    lines = services.metrics.text().decode().splitlines()
    found = [line.rpartition(" ") for line in lines if line.startswith("streamsim_http_requests_total{")]
    return {name: float(count) for name, _, count in found}
