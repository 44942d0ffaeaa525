"""Connections of a client to the application in this process, which are kept for its next requests."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit


class Received(NamedTuple):
    """An answer: its header lines in order, names in lower case, and its body, unpacked."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Connections:
    """As many as there are requests at once. Tornado's client would cost more than what it asks, and opens
    one for each."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._host, self._port = place.hostname or "", place.port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Received:
        """Send a request; the answer. A connection whose request is given up is closed.

        :raises OSError: :raises EOFError: the connection broke.
        """
        fields = {"Host": f"{self._host}:{self._port}", "Accept-Encoding": "gzip", **headers}
        if body is not None:
            fields["Content-Length"] = str(len(body))
        lines = [f"{method} {path.partition('#')[0]} HTTP/1.1"]
        lines += (f"{name}: {value}" for name, value in fields.items())
        reader, writer = await self._connection()
        kept = False
        try:
            writer.write("\r\n".join((*lines, "\r\n")).encode() + (body or b""))
            received = await _received(reader, method)
            # One on which a body was refused may end, though the answer does not say so.
            kept = received.status < 400 and ("connection", "close") not in received.headers
            return received
        finally:
            if kept:
                self._idle.append((reader, writer))
            else:
                writer.close()

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self._host, self._port, limit=1 << 20)

    def close(self) -> None:
        """Close those that are kept."""
        while self._idle:
            self._idle.pop()[1].close()


async def _received(reader: asyncio.StreamReader, method: str) -> Received:
    status = 100
    while status < 200:  # before the answer others may come that only tell how things are
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")[:-2]
        status = int(first.split(" ", 2)[1])
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    fields = dict(headers)
    if method == "HEAD" or status in (204, 304):
        body = b""
    elif fields.get("transfer-encoding") == "chunked":
        body = await _chunks(reader)
    elif "content-length" in fields:
        body = await reader.readexactly(int(fields["content-length"]))
    else:
        body = await reader.read()
        headers.append(("connection", "close"))
    if body and fields.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
        headers.remove(("content-encoding", "gzip"))
    return Received(status, headers, body)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return b"".join(parts)
