"""The HTTP server: the Tornado application, and connections that drain."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import time
from functools import cache
from typing import Any, NamedTuple, cast

import tornado.http1connection
import tornado.httpserver
import tornado.httputil
import tornado.ioloop
import tornado.iostream
import tornado.web

from handlers.base import NotFoundHandler, refusing
from handlers.openapi.document import document
from handlers.routes import ROUTES, compiled
from streamsim import values
from streamsim.config import Settings
from streamsim.services import Services

log = logging.getLogger("streamsim.http")

# A body over the limit is read and thrown away up to here, so that its sender sees the answer.
DISCARD_BYTES = 64 << 20
# Paths whose handlers are remembered, and the longest of them.
MAX_KNOWN_PATHS, MAX_KNOWN_PATH = 10_000, 256
# How long a connection without a request stays open after the server was told to stop.
IDLE_GRACE_S = 0.3


async def make_application(services: Services) -> Application:
    """The Tornado application; the secret that signs cookies is drawn once per installation and stored."""
    return Application(services, await services.store.accounts.secret("cookie", secrets.token_bytes(32)))


class Application(tornado.web.Application):
    """Routes requests, counts those under way, and keeps a body over the limit out of memory."""

    def __init__(self, services: Services, cookie_secret: bytes) -> None:
        super().__init__(
            compiled(ROUTES),
            default_handler_class=NotFoundHandler,
            cookie_secret=cookie_secret.hex(),
            cross_origin_protection=True,
            services=services,
            openapi=cache(lambda: values.dump(document(ROUTES, services.settings))),
        )
        self.services = services
        self._route_names: dict[type[tornado.web.RequestHandler], str] = {
            handler: template for template, handler in ROUTES
        }
        self._access_log = services.settings.server.access_log
        self._max_body_bytes = services.settings.server.max_body_bytes
        self._idle_s = services.settings.server.idle_connection_s
        self.busy: set[tornado.httputil.HTTPConnection] = set()
        self._addresses: dict[str, tuple[type[tornado.web.RequestHandler], dict[str, bytes]]] = {}

    def find_handler(self, request: tornado.httputil.HTTPServerRequest, **kwargs: Any) -> Any:
        """As Tornado's, which tries one pattern after the other, but looks up what it found before."""
        if request.connection is not None:
            self.busy.add(request.connection)
        length = request.headers.get("Content-Length", "0")
        chunked = "Transfer-Encoding" in request.headers
        if chunked or length != "0":
            connection = cast(tornado.http1connection.HTTP1Connection, request.connection)
            connection.set_body_timeout(self._idle_s)
        if chunked or (length.isdigit() and int(length) > self._max_body_bytes):
            addressed = self._addressed(request)
            refused = self.get_handler_delegate(request, refusing(addressed.handler_class))
            return _Bounded(addressed, refused, self._max_body_bytes)
        return self._addressed(request)

    def _addressed(self, request: tornado.httputil.HTTPServerRequest) -> Any:
        known = self._addresses.get(request.path)
        if known is not None:
            return self.get_handler_delegate(request, known[0], path_kwargs=known[1])
        found: Any = super().find_handler(request)
        if len(request.path) <= MAX_KNOWN_PATH and found.handler_class is not NotFoundHandler:
            if len(self._addresses) >= MAX_KNOWN_PATHS:
                self._addresses.clear()
            self._addresses[request.path] = found.handler_class, found.path_kwargs
        return found

    def log_request(self, handler: tornado.web.RequestHandler) -> None:
        request, status, seconds = handler.request, handler.get_status(), handler.request.request_time()
        route = self._route_names.get(type(handler), "other")
        self.services.metrics.request(route, request.method or "", status, seconds)
        # 503 and 504 are an outage or slow policy code, which say so themselves; 500 is a bug.
        if self._access_log or status == 500:
            level = logging.ERROR if status == 500 else logging.INFO
            # The path only: a query may hold keys.
            log.log(level, "%d %s %s %.1f ms", status, request.method, request.path, seconds * 1000)


class _Bounded(tornado.httputil.HTTPMessageDelegate):
    """Passes a message on to a handler, or to the one that refuses it once its body is over the limit."""

    def __init__(
        self,
        handler: tornado.httputil.HTTPMessageDelegate,
        refused: tornado.httputil.HTTPMessageDelegate,
        limit: int,
    ) -> None:
        self._delegate = handler
        self._refused = refused
        self._left = limit

    def headers_received(self, start_line: Any, headers: tornado.httputil.HTTPHeaders) -> Any:
        return self._delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Any:
        self._left -= len(chunk)
        if self._left >= 0:
            return self._delegate.data_received(chunk)
        self._delegate = self._refused
        return None

    def finish(self) -> None:
        self._delegate.finish()

    def on_connection_close(self) -> None:
        self._delegate.on_connection_close()


class _Current(NamedTuple):
    """The request of a connection that is awaited or under way, and since when."""

    request: tornado.httputil.HTTPConnection
    since: float


class Server(tornado.httpserver.HTTPServer):
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

    def stop(self) -> None:
        self._sweeping.stop()
        super().stop()

    def handle_stream(self, stream: tornado.iostream.IOStream, address: tuple[str, int]) -> None:
        # Answers are written whole: holding back small pieces, switched twice for each, is of no use.
        stream.set_nodelay(True)
        stream.set_nodelay = lambda value: None  # type: ignore[method-assign]
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
        # What the kernel accepted for us is in the queue of the listening socket; take it.
        await asyncio.sleep(0.05)
        self.stop()
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


def _unread(stream: tornado.iostream.IOStream) -> bool:
    """Whether the first bytes of a request wait in the stream's socket, or are being parsed."""
    if stream.closed() or not stream.reading():
        return not stream.closed()
    try:
        return bool(stream.socket.recv(1, socket.MSG_PEEK))
    except OSError:
        return False


def make_server(application: Application, settings: Settings) -> Server:
    """The HTTP server of an application, not yet listening."""
    server = settings.server
    return Server(
        application,
        max_header_size=server.max_header_bytes,
        max_body_size=max(server.max_body_bytes, DISCARD_BYTES),
        max_buffer_size=max(server.max_body_bytes, DISCARD_BYTES) + server.max_header_bytes,
        idle_s=server.idle_connection_s,
    )
