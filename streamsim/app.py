"""The composition root: settings -> store, sandbox and services -> the Tornado application and its server."""

from __future__ import annotations

import logging
from typing import Any

import tornado.httpserver
import tornado.httputil
import tornado.web

from handlers.base import BodyTooLargeHandler, NotFoundHandler
from handlers.routes import ROUTES, compiled
from streamsim.config import Settings
from streamsim.services import Services

log = logging.getLogger("streamsim.http")

# A body over the limit is read and thrown away up to here, so that its sender sees the answer.
DISCARD_BYTES = 64 << 20


class Application(tornado.web.Application):
    """Routes requests, counts those under way, and keeps a body over the limit out of memory."""

    def __init__(self, services: Services, cookie_secret: bytes) -> None:
        super().__init__(
            compiled(ROUTES),  # type: ignore[arg-type]
            default_handler_class=NotFoundHandler,
            cookie_secret=cookie_secret.hex(),
            cross_origin_protection=True,
            services=services,
        )
        self.services = services
        self._route_names = {handler: template for template, handler in ROUTES}
        self._access_log = services.settings.server.access_log
        self._max_body_bytes = services.settings.server.max_body_bytes

    def find_handler(self, request: tornado.httputil.HTTPServerRequest, **kwargs: Any) -> Any:
        length = request.headers.get("Content-Length", "0")
        chunked = "Transfer-Encoding" in request.headers
        if chunked or (length.isdigit() and int(length) > self._max_body_bytes):
            refused = self.get_handler_delegate(request, BodyTooLargeHandler)
            return _Bounded(super().find_handler(request, **kwargs), refused, self._max_body_bytes)
        return super().find_handler(request, **kwargs)

    def log_request(self, handler: tornado.web.RequestHandler) -> None:
        request, status, seconds = handler.request, handler.get_status(), handler.request.request_time()
        route = self._route_names.get(type(handler), "other")
        self.services.metrics.request(route, request.method or "", status, seconds)
        if self._access_log or status >= 500:
            level = logging.ERROR if status >= 500 else logging.INFO
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


def make_server(application: Application, settings: Settings) -> tornado.httpserver.HTTPServer:
    """The HTTP server of an application, not yet listening."""
    server = settings.server
    return tornado.httpserver.HTTPServer(
        application,
        max_header_size=server.max_header_bytes,
        max_body_size=max(server.max_body_bytes, DISCARD_BYTES),
        max_buffer_size=max(server.max_body_bytes, DISCARD_BYTES) + server.max_header_bytes,
        idle_connection_timeout=server.idle_connection_s,
        body_timeout=server.idle_connection_s,
    )
