"""Our HTTP server: it takes connections, ends those that wait too long, and drains."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from collections.abc import Iterable
from typing import Protocol

from streamsim.config import Settings
from streamsim.server.http.application import Application
from streamsim.server.http.connection import Connection
from streamsim.server.http.limits import ACCEPT_S, BACKLOG, IDLE_GRACE_S, largest_body, waiting
from streamsim.server.http.reading import Reading
from streamsim.server.http.reference import reference_server
from streamsim.server.http.sharing import Sharing


class Server(Protocol):
    """What both servers can do."""

    async def listen_on(self, sockets: Iterable[socket.socket]) -> None:
        """Take connections from sockets that are bound, and do not listen yet."""

    async def drain(self, seconds: float) -> int:
        """Take no new connections, answer what was accepted, close every connection; how many were cut off.

        :param seconds: the longest wait for requests under way.
        """

    async def close(self) -> None:
        """Take no more connections, and cut off those that there are."""


class FastServer:
    """Knows which of its connections have a request under way, and which only wait for one.

    To be made in a running event loop.
    """

    def __init__(self, application: Application, settings: Settings) -> None:
        server = settings.server
        loop = asyncio.get_running_loop()
        self.application = application
        self.connections: set[Connection] = set()
        self.reading = Reading()
        self.sharing = Sharing(application.services.lately)
        self.max_header_bytes = server.max_header_bytes
        self.max_body_bytes = largest_body(settings)
        self.now = loop.time
        self.written: asyncio.Future[None] = loop.create_future()
        self.written.set_result(None)
        self._idle_s = server.idle_connection_s
        self._listening: list[asyncio.Server] = []
        self._queues: list[socket.socket] = []
        self._sweeping = loop.call_later(self._idle_s / 4, self._sweep)

    async def listen_on(self, sockets: Iterable[socket.socket]) -> None:
        """As `Server.listen_on`."""
        loop = asyncio.get_running_loop()
        for sock in sockets:
            # Shares the queue of connections, and outlives what the loop closes.
            self._queues.append(sock.dup())
            self._listening.append(
                await loop.create_server(lambda: Connection(self), sock=sock, backlog=BACKLOG)
            )

    def _sweep(self) -> None:
        now = self.now()
        for connection in list(self.connections):
            connection.sweep(now, self._idle_s)
        self._sweeping = asyncio.get_running_loop().call_later(self._idle_s / 4, self._sweep)

    async def drain(self, seconds: float) -> int:
        """As `Server.drain`. An idle connection is closed a moment later than at once: a request may be on
        its way."""
        self.application.services.draining = True
        await asyncio.sleep(ACCEPT_S)
        self._stop_listening()
        await self._take_accepted()
        began = self.now()
        while self.connections and self.now() < began + seconds:
            if self.now() > began + IDLE_GRACE_S:
                for connection in list(self.connections):
                    if not connection.busy and not connection.closing and not _unread(connection):
                        connection.close()
            await asyncio.sleep(0.02)
        cut_off = sum(connection.busy for connection in self.connections)
        await self.close()
        return cut_off

    async def close(self) -> None:
        """As `Server.close`."""
        self._stop()
        while self.connections:
            for connection in list(self.connections):
                connection.abort()
            await asyncio.sleep(0)

    def _stop(self) -> None:
        self._sweeping.cancel()
        self._stop_listening()
        for queue in self._queues:
            queue.close()
        self._queues.clear()

    def _stop_listening(self) -> None:
        for listening in self._listening:
            listening.close()
        self._listening.clear()

    async def _take_accepted(self) -> None:
        """Serve the connections that the kernel accepted for us and that wait.

        It resets those that are in the queue when that is closed: nothing happens in between.
        """
        accepted = [connection for queue in self._queues for connection, _ in waiting(queue)]
        self._stop()
        loop = asyncio.get_running_loop()
        for connection in accepted:
            await loop.connect_accepted_socket(lambda: Connection(self), connection)


def _unread(connection: Connection) -> bool:
    """Whether the first bytes of a request wait in a connection's socket."""
    sock = connection.transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return False
    waiting: int = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.FIONREAD, b"\0" * 4))[0]
    return waiting > 0


async def make_server(application: Application, settings: Settings) -> Server:
    """The HTTP server of an application that the settings ask for, not yet listening."""
    if settings.server.http == "tornado":
        return reference_server(application, settings)
    return FastServer(application, settings)
