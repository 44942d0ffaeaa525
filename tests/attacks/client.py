"""Keep-alive connections to the server, as light as can be: who measures shares the processors with it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from types import TracebackType

from tests.patience import PATIENCE_S


@dataclass(frozen=True)
class Response:
    """An answer, whatever it is. Names of headers are lower case; of several of one name it is the first."""

    code: int
    headers: dict[str, str]
    body: bytes


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Client:
    """As many connections as there are calls at once; a context that closes them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[Streams] = []

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _, writer in self._idle:
            writer.close()

    async def call(self, method: str, path: str, body: object = None, **headers: str) -> Response:
        """The answer, whatever it is. Headers are given with an underscore for the hyphen."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        payload = b"" if body is None else json.dumps(body).encode()
        async with asyncio.timeout(PATIENCE_S):
            streams = await self._connection()
            reader, writer = streams
            try:
                writer.write(_message(method, path, payload, given))
                response = await _answer(reader)
            except BaseException:
                writer.close()
                raise
        if response.headers.get("connection", "").lower() == "close":
            writer.close()
        else:
            self._idle.append(streams)
        return response

    async def good(self, method: str, path: str, body: object = None, **headers: str) -> Response:
        """The answer, which must be 200."""
        response = await self.call(method, path, body, **headers)
        if response.code != 200:
            raise AssertionError(f"{method} {path}: {response.code} {response.body[:500]!r}")
        return response

    async def log_in(self, name: str, password: str) -> dict[str, str]:
        """The header of a session."""
        response = await self.good("POST", "/login", {"username": name, "password": password})
        return {"Cookie": response.headers["set-cookie"].partition(";")[0]}

    async def _connection(self) -> Streams:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()  # the server has had enough of it
        return await asyncio.open_connection("127.0.0.1", self._port)


def _message(method: str, path: str, payload: bytes, headers: dict[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if method != "GET":
        lines.append(f"Content-Length: {len(payload)}")
    return "\r\n".join([*lines, "", ""]).encode() + payload


async def _answer(reader: asyncio.StreamReader) -> Response:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin1").split("\r\n")[:-2]
    pairs = [line.partition(":") for line in reversed(lines)]
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    body = b""
    if headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Response(int(first.split()[1]), headers, body)
