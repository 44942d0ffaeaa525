"""Between a store and Redis: answers get lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.servers import RedisServer


class Proxy:
    """Between a store and Redis; `lose` decides for each request whether its answer is lost."""

    def __init__(self, server: RedisServer, lose: Callable[[bytes], bool]) -> None:
        self._server = server
        self._lose = lose
        self.lost = 0

    async def __aenter__(self) -> Proxy:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, ahead = await asyncio.open_connection("127.0.0.1", self._server.port)
        while request := await reader.read(1 << 20):
            ahead.write(request)
            answer = await behind.read(1 << 20)
            if self._lose(request):
                self.lost += 1
                break
            writer.write(answer)
        writer.close()
        ahead.close()
