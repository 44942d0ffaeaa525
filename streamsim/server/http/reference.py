"""Tornado's own HTTP server under the application: what `server.http: tornado` chooses."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import tornado.httpserver
import tornado.httputil
import tornado.ioloop
import tornado.iostream

from streamsim.config import Settings
from streamsim.server.http.application import Application
from streamsim.server.http.limits import (
    ACCEPT_S,
    BACKLOG,
    IDLE_GRACE_S,
    largest_body,
    over_the_limit,
    waiting,
)


class _Current(NamedTuple):
    """The request of a connection that is awaited or under way, and since when."""

    request: tornado.httputil.HTTPConnection
    since: float


class ReferenceServer(tornado.httpserver.HTTPServer):
    """Knows which of its connections have a request under way, and which only wait for one.

    :param idle_s: a connection that waits for one for so long is closed, up to a quarter of that later.
    """

    def initialize(  # type: ignore[override]
        self, application: Application, idle_s: float, **options: Any
    ) -> None:
        super().initialize(application, **options)
        # One look at all connections now and then: Tornado's timer and task for each request cost an eighth.
        self.conn_params.header_timeout = None
        self._application = application
        self._idle_s = idle_s
        self._current: dict[Any, _Current] = {}
        self._sweeping = tornado.ioloop.PeriodicCallback(self._sweep, 1000 * idle_s / 4)
        self._sweeping.start()

    async def listen_on(self, sockets: Iterable[socket.socket]) -> None:
        """Take connections from bound sockets."""
        sockets = list(sockets)
        for sock in sockets:
            sock.listen(BACKLOG)
        self.add_sockets(sockets)

    async def close(self) -> None:
        """Take no more connections, and cut off those that there are."""
        self.stop()
        await self.close_all_connections()

    def stop(self) -> None:
        self._sweeping.stop()
        super().stop()

    def handle_stream(self, stream: tornado.iostream.IOStream, address: tuple[str, int]) -> None:
        # Answers are written whole: holding back small pieces, switched twice for each, is of no use.
        stream.set_nodelay(True)
        stream.set_nodelay = lambda value: None  # type: ignore[method-assign]
        most, close = self.conn_params.max_header_size or 0, stream.close

        def close_with_answer(exc_info: Any = False) -> None:
            if isinstance(exc_info, tornado.iostream.UnsatisfiableReadError) and not stream.closed():
                _answer_at_once(stream, over_the_limit(bytes(stream._read_buffer), most))
            close(exc_info)

        stream.close = close_with_answer  # type: ignore[method-assign]
        super().handle_stream(stream, address)

    def _sweep(self) -> None:
        limit = time.monotonic() - self._idle_s
        for connection, (request, since) in list(self._current.items()):
            if since < limit and request not in self._application.busy:
                connection.stream.close()

    def start_request(
        self, server_conn: object, request_conn: tornado.httputil.HTTPConnection
    ) -> tornado.httputil.HTTPMessageDelegate:
        before = self._current.get(server_conn)
        if before is not None:
            self._application.busy.discard(before.request)
        self._current[server_conn] = _Current(request_conn, time.monotonic())
        return super().start_request(server_conn, request_conn)

    def on_close(self, server_conn: object) -> None:
        before = self._current.pop(server_conn, None)
        if before is not None:
            self._application.busy.discard(before.request)
        super().on_close(server_conn)

    async def drain(self, seconds: float) -> int:
        """Take no new connections, answer what was accepted, close every connection; how many were cut off.

        An idle connection is closed a moment later than at once: a request may be on its way.

        :param seconds: the longest wait for requests under way.
        """
        loop = asyncio.get_running_loop()
        self._application.services.draining = True
        await asyncio.sleep(ACCEPT_S)
        # The kernel resets the connections that are in the queue when that is closed: nothing in between.
        accepted = [one for sock in self._sockets.values() for one in waiting(sock)]
        self.stop()
        for connection, address in accepted:
            self._handle_connection(connection, address)
        began = loop.time()
        while self._current and loop.time() < began + seconds:
            if loop.time() > began + IDLE_GRACE_S:
                for connection, (request, _) in list(self._current.items()):
                    if request not in self._application.busy and not _unread(connection.stream):
                        await connection.close()
            await asyncio.sleep(0.02)
        cut_off = len(self._application.busy)
        await self.close_all_connections()
        return cut_off


def _answer_at_once(stream: tornado.iostream.IOStream, answer: bytes) -> None:
    """Send a last answer, as far as the socket takes it, and throw away what was received: closed with bytes
    unread, the kernel would take the answer back.
    """
    try:
        stream.socket.send(answer)
        stream.socket.shutdown(socket.SHUT_WR)
        while stream.socket.recv(65536):
            pass
    except OSError:
        pass  # the client is gone, or nothing is left to read


def _unread(stream: tornado.iostream.IOStream) -> bool:
    """Whether the first bytes of a request wait in the stream's socket, or are being parsed."""
    if stream.closed() or not stream.reading():
        return not stream.closed()
    try:
        return bool(stream.socket.recv(1, socket.MSG_PEEK))
    except OSError:
        return False


def reference_server(application: Application, settings: Settings) -> ReferenceServer:
    """Tornado's server of an application, not yet listening."""
    server = settings.server
    largest = largest_body(settings)
    return ReferenceServer(
        application,
        max_header_size=server.max_header_bytes,
        max_body_size=largest,
        max_buffer_size=largest + server.max_header_bytes,
        idle_s=server.idle_connection_s,
    )
