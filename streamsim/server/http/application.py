"""The Tornado application: it routes requests, and hands those that are too large to what refuses them."""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import tornado.httputil
import tornado.web

from handlers.addresses import forwarded_address
from handlers.base import BaseHandler
from handlers.console import bundle
from handlers.openapi.document import document
from handlers.refusals import NotFoundHandler, body_too_large, no_room, refused, unread
from handlers.routes import PAGES, ROUTES, compiled
from streamsim import values
from streamsim.errors import StreamsimError
from streamsim.server.http.under_way import UnderWay
from streamsim.server.http.whose import Whose, anonymous
from streamsim.server.logs import log_access
from streamsim.services import Services

log = logging.getLogger("streamsim.http")

CONSOLE = Path(__file__).parents[1] / "console"
"""Where `make` puts the web console."""
LARGE_BYTES: Final = 256 << 10
"""A body of so many bytes is not put together before it is clear that it has to be read."""
# Paths whose handlers are remembered, and the longest of them.
MAX_KNOWN_PATHS, MAX_KNOWN_PATH = 10_000, 256


async def make_application(services: Services) -> Application:
    """The Tornado application; the secret that signs cookies is drawn once per installation and stored."""
    return Application(services, await services.store.accounts.secret("cookie", secrets.token_bytes(32)))


class Caller(NamedTuple):
    """Who made a request, and which: `user` is None where nobody logged in."""

    address: str
    user: str | None
    path: str
    request_id: str


class Application(tornado.web.Application):
    """Routes requests, counts those under way, and keeps a body over the limit out of memory."""

    def __init__(self, services: Services, cookie_secret: bytes) -> None:
        super().__init__(
            compiled((*ROUTES, *PAGES)),
            default_handler_class=NotFoundHandler,
            cookie_secret=cookie_secret.hex(),
            cross_origin_protection=True,
            services=services,
            console=bundle(CONSOLE),
            openapi=cache(lambda: values.dump(document(ROUTES, services.settings))),
        )
        self.services = services
        self._route_names: dict[type[tornado.web.RequestHandler], str] = {
            handler: template for template, handler in (*ROUTES, *PAGES)
        }
        self._access_log = services.settings.server.access_log
        self.max_body_bytes = services.settings.server.max_body_bytes
        self._idle_s = services.settings.server.idle_connection_s
        self.whose = Whose(services)
        self.busy = UnderWay(services.settings.server.bodies_bytes)
        services.metrics.gauge(
            "streamsim_body_bytes", "Bytes of large bodies of requests under way.", lambda: self.busy.bytes
        )
        self._addresses: dict[str, tuple[type[tornado.web.RequestHandler], dict[str, bytes]]] = {}

    def find_handler(self, request: tornado.httputil.HTTPServerRequest, **kwargs: Any) -> Any:
        """As Tornado's, which tries one pattern after the other, but looks up what it found before."""
        if request.connection is not None:
            self.busy.add(request.connection)
        length = request.headers.get("Content-Length", "0")
        chunked = "Transfer-Encoding" in request.headers
        addressed = self._addressed(request)
        if not chunked and length == "0":
            return addressed
        # Of both servers' connections, but not of Tornado's interface.
        connection: Any = request.connection
        connection.set_body_timeout(self._idle_s)
        if getattr(addressed.handler_class, "streamed", False):
            # It takes the body as it comes, and bounds it itself.
            return addressed
        # More digits than any size has; and what int() takes beside digits is no length.
        known = length.isascii() and length.isdigit()
        too_large = chunked or (known and (len(length) > 18 or int(length) > self.max_body_bytes))
        return _Bounded(self, request, addressed, self.max_body_bytes if too_large else None)

    def admit(self, request: tornado.httputil.HTTPServerRequest, more: int) -> bool:
        """Whether there is room for so many more bytes of a request's body, beside those of all others."""
        if request.connection is None:
            return True

        def caller() -> str:
            return forwarded_address(
                request.remote_ip or "",
                request.headers.get("X-Forwarded-For", ""),
                self.services.settings.server.trusted_proxies,
            )

        return self.busy.take(request.connection, caller, more)

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
        # A handler may be answered for by another, which then descends from it.
        named = (self._route_names[one] for one in type(handler).__mro__ if one in self._route_names)
        request, route = handler.request, next(named, "other")
        if isinstance(handler, BaseHandler):
            self._asked(handler)

        def who() -> Caller:
            address = handler.client()[0] if isinstance(handler, BaseHandler) else request.remote_ip or ""
            user = getattr(handler, "user", None)
            return Caller(address, user and user.name, request.path, getattr(handler, "request_id", ""))

        method, status = request.method or "", handler.get_status()
        if isinstance(handler, BaseHandler) and handler.trace is not None:
            handler.trace.end(route, method, status, handler.request_id)
        self.log_answer(route, method, status, request.request_time(), who)

    def _asked(self, handler: BaseHandler) -> None:
        """Remember whose requests look like this one's. Calls with a key were noted where that was right."""
        user = getattr(handler, "user", None)
        if user is not None:
            self.whose.learn(handler.request.headers, user.name)
        elif handler.access != "key" or handler.get_status() == 401:
            self.services.lately.asked(anonymous(handler.client()[0]))

    def log_answer(
        self,
        route: str,
        method: str,
        status: int,
        seconds: float,
        who: Callable[[], Caller],
    ) -> None:
        """Count an answer, and log it if that is wanted. :param who: asked only then."""
        self.services.metrics.request(route, method, status, seconds)
        # 503 and 504 are an outage or slow policy code, which say so themselves; 500 is a bug.
        if self._access_log or status == 500:
            level = logging.ERROR if status == 500 else logging.INFO
            address, user, path, request_id = who()
            log_access(
                log,
                level,
                address=address,
                user=user,
                method=method,
                path=path,
                status=status,
                seconds=seconds,
                request_id=request_id,
            )


class _Bounded(tornado.httputil.HTTPMessageDelegate):
    """Passes a message on to a handler, or to one that refuses it: once its body is over a limit that it may
    exceed, or there is no room for it beside those of others; or when it is whole, and its handler has no
    room for it (`BaseHandler.refusal`): a large body is not read then."""

    def __init__(
        self,
        application: Application,
        request: tornado.httputil.HTTPServerRequest,
        addressed: Any,
        limit: int | None,
    ) -> None:
        self._application = application
        self._request = request
        self._handler_class = addressed.handler_class
        self._path: dict[str, bytes] = addressed.path_kwargs
        self._pieces: list[bytes] = []
        self._size = 0
        self._delegate: tornado.httputil.HTTPMessageDelegate = addressed
        self._left = math.inf if limit is None else limit
        self._refused = False

    def headers_received(self, start_line: Any, headers: tornado.httputil.HTTPHeaders) -> Any:
        return self._delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Any:
        if self._refused:
            return None
        self._left -= len(chunk)
        if self._left < 0:
            settings = self._application.services.settings
            return self._refuse(refused(self._handler_class), body_too_large(settings))
        if not self._application.admit(self._request, len(chunk)):
            return self._refuse(refused(self._handler_class), no_room())
        self._pieces.append(chunk)
        self._size += len(chunk)
        return None

    def _refuse(self, handler_class: type[BaseHandler], error: StreamsimError) -> None:
        self._refused = True
        self._pieces.clear()
        self._delegate = self._application.get_handler_delegate(
            self._request, handler_class, {"error": error}
        )

    def finish(self) -> None:
        if self._size >= LARGE_BYTES and self._pieces and self._request.method == "POST":
            error = self._handler_class.refusal(self._application.services, self._path, self._pieces)
            if error is not None:
                self._refuse(unread(self._handler_class), error)
        for piece in self._pieces:
            self._delegate.data_received(piece)
        self._pieces.clear()
        self._delegate.finish()

    def on_connection_close(self) -> None:
        self._delegate.on_connection_close()
