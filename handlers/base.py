"""What all handlers of the bandit and administration endpoints share: who is asking, input, answers, errors.

Every handler class names its `access`, which is checked before its method runs:
`public` needs nothing, `key` checks an experiment's key by itself, `user` needs a login, `admin` that of an
administrator.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Container, Mapping, Sequence
from functools import cache, lru_cache, partial
from random import getrandbits
from types import TracebackType
from typing import Any, ClassVar, Literal, TypeVar
from urllib.parse import urlencode

import tornado.iostream
import tornado.web
from tornado.httputil import HTTPHeaders, format_timestamp

from handlers.addresses import forwarded_address, trusted
from handlers.failures import expected, log_failure
from streamsim import dates, values
from streamsim.accounts.accounts import Credential
from streamsim.config import Settings
from streamsim.errors import (
    BadRequest,
    ClientLeft,
    StreamsimError,
    TooManyRequests,
    Unauthorized,
    error_body,
    refuse_unknown,
)
from streamsim.services import Services
from streamsim.storage.contract.accounts import User
from streamsim.tracing import RequestTrace
from streamsim.waiting import on_behalf_of

T = TypeVar("T")
Form = TypeVar("Form", bound=str)
Access = Literal["public", "key", "user", "admin"]
COOKIE = "user"
EXPOSED, ALLOWED = "ETag, Link, Retry-After, X-Request-Id", "content-type, x-request-id"

HEADERS = {
    "Server": "streamsim",
    "Content-Type": "application/json; charset=utf-8",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@lru_cache(1)
def _date(now_s: int) -> str:
    return format_timestamp(now_s)


def date_now() -> str:
    """The header Date of an answer."""
    return _date(int(time.time()))


class BaseHandler(tornado.web.RequestHandler):
    """Answers in JSON. `self.user` is who asks, for handlers whose access is `user` or `admin`."""

    access: ClassVar[Access]
    streamed: ClassVar[bool] = False
    user: User
    services: Services
    request_id: str
    _work: asyncio.Future[Any] | None = None
    _left = False
    _held_back = False
    trace: RequestTrace | None = None

    def initialize(self) -> None:
        self.services = self.application.settings["services"]

    @property
    def service_settings(self) -> Settings:
        """The settings of the service; Tornado's own are in `self.settings`."""
        return self.services.settings

    # ---- before the method

    @classmethod
    def refusal(
        cls, services: Services, path: Mapping[str, bytes], pieces: Sequence[bytes]
    ) -> StreamsimError | None:
        """Why a POST with a large body is refused, whatever else is in it; None if it has to be read.

        :param path: the parts of its path by name. :param pieces: of its body, as they came.
        """
        return None

    def clear(self) -> None:
        """As Tornado's, in a third of its time: of headers that are the same for all, or for one second."""
        self._headers = HTTPHeaders(HEADERS)
        self._headers["Date"] = date_now()
        self.set_default_headers()
        self._write_buffer = []
        self._status_code, self._reason = 200, "OK"

    def set_default_headers(self) -> None:
        # Also called when an error replaces an answer, whose id was logged by then.
        if not hasattr(self, "request_id"):
            self.request_id = plain_id(self.request.headers.get("X-Request-Id", "")) or new_id()
        self._headers["X-Request-Id"] = self.request_id
        services: Services = self.application.settings["services"]
        origins = services.settings.server.cors_origins
        if origins:
            self.set_header("Vary", "Origin")
            origin = self.request.headers.get("Origin")
            if origin in origins:
                self.set_header("Access-Control-Allow-Origin", origin)
                self.set_header("Access-Control-Allow-Credentials", "true")
                self.set_header("Access-Control-Expose-Headers", EXPOSED)
        if services.draining:
            self.set_header("Connection", "close")

    def check_trusted_origin(self, origin: str) -> bool:
        """Whether a page of this other origin may change something."""
        return origin in self.service_settings.server.cors_origins

    @classmethod
    @cache
    def has_method(cls, method: str) -> bool:
        """Whether this resource has an HTTP method."""
        name = method.lower()
        return getattr(cls, name) is not getattr(tornado.web.RequestHandler, name)

    @classmethod
    def allowed_methods(cls) -> list[str]:
        """The HTTP methods that this resource has."""
        return [*filter(cls.has_method, _METHODS), "OPTIONS"]

    def options(self, *_args: str, **_kwargs: str) -> None:
        """Answers a browser's question before a request from another origin, and anybody's for `Allow`."""
        self.set_header("Allow", ", ".join(self.allowed_methods()))
        if self.request.headers.get("Origin") in self.service_settings.server.cors_origins:
            self.allow_calls(f"authorization, if-match, {ALLOWED}")
        self.set_status(204)

    def allow_calls(self, headers: str) -> None:
        """Tell a browser that its page may call this resource with these headers."""
        self.set_header("Access-Control-Allow-Methods", ", ".join(self.allowed_methods()))
        self.set_header("Access-Control-Allow-Headers", headers)
        self.set_header("Access-Control-Max-Age", "600")

    def begin_trace(self) -> None:
        """What this handler's methods do is traced, if anything is."""
        if self.services.tracing is not None:
            parent = self.request.headers.get("traceparent", "")
            self.trace = self.services.tracing.request(self.request.method or "", parent)
            self.trace.calls()

    async def prepare(self) -> None:
        self.begin_trace()
        if self.request.method == "OPTIONS":
            return
        if not self.has_method(self.request.method or ""):
            raise tornado.web.HTTPError(405)
        if self.access in ("user", "admin"):
            self.user = await logged_in(self.services, self.credential(), admin=self.access == "admin")

    def credential(self) -> Credential | None:
        """The secret that the caller holds: a bearer token, else the session of the signed cookie."""
        token = bearer(self.request.headers.get("Authorization", ""))
        if token is not None:
            return token
        # The server side knows when a session ends; the signature only has to outlive it.
        days = self.service_settings.login.session_hours / 24 + 1
        secret = self.get_signed_cookie(COOKIE, max_age_days=days)
        return None if secret is None else ("cookie", secret.decode("ascii", "replace"))

    # ---- input

    def json_body(self, fields: Container[str]) -> dict[str, Any]:
        """The request body as a JSON object that has no other fields than these.

        :raises BadRequest: for anything else, naming the field.
        """
        content = self.json_object()
        refuse_unknown(content, fields)
        return content

    def json_object(self, max_values: int = values.MAX_VALUES) -> dict[str, Any]:
        """The request body as a JSON object of at most so many values. :raises BadRequest: it is none."""
        try:
            content = values.parse(self.request.body, "body", max_values=max_values)
        except values.InvalidValue as error:
            raise BadRequest(str(error), field=error.where) from None
        if type(content) is not dict:
            raise BadRequest("the request body must be a JSON object", field="body")
        return content

    def text_argument(self, name: str) -> str | None:
        """A query parameter; None if it is absent."""
        return self.get_query_argument(name, None)

    def integer_argument(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number in the query.

        :raises BadRequest: if it is not one from `low` to `high`.
        """
        text = self.get_query_argument(name, None)
        if text is None:
            return default
        if not re.fullmatch(r"-?[0-9]{1,18}", text) or not low <= int(text) <= high:
            raise BadRequest(f"{name} must be an integer from {low} to {high}", field=name)
        return int(text)

    def date_argument(self, name: str) -> int | None:
        """A date in the query, in ms since 1970 UTC; None if it is absent. :raises BadRequest:"""
        text = self.get_query_argument(name, None)
        if text is None:
            return None
        try:
            return dates.parse_iso(text)
        except ValueError:
            raise BadRequest(
                f"{name} must be an ISO 8601 date, e.g. 2026-01-31 or 2026-01-31T09:30:00Z, in UTC unless "
                "it names another zone",
                field=name,
            ) from None

    def format_argument(self, types: Mapping[Form, str]) -> Form:
        """The form of the answer that the query's `format`, or else the header `Accept`, asks for.

        :param types: the media type of each form; the first is for whoever asks for none of them.
        :raises BadRequest: the query asks for another.
        """
        name = self.text_argument("format")
        if name is not None:
            for form in types:
                if form == name:
                    return form
            raise BadRequest(f"format must be one of {', '.join(types)}", field="format")
        accepted = self.request.headers.get("Accept", "")
        kinds = [part.partition(";")[0].strip().lower() for part in accepted.split(",")]
        by_type = {kind.partition(";")[0]: form for form, kind in types.items()}
        return next((by_type[kind] for kind in kinds if kind in by_type), next(iter(types)))

    def client(self) -> tuple[str, str]:
        """The caller's address and protocol; a configured proxy is believed about them, nobody else."""
        address, protocol = self.request.remote_ip or "", self.request.protocol
        proxies = self.service_settings.server.trusted_proxies
        if not trusted(address, proxies):
            return address, protocol
        address = forwarded_address(address, self.request.headers.get("X-Forwarded-For", ""), proxies)
        proto = self.request.headers.get("X-Forwarded-Proto", protocol).split(",")[-1].strip().lower()
        return address, proto if proto in ("http", "https") else protocol

    # ---- answers

    def link_next(self, **query: object) -> None:
        """Say in the header `Link` where the next page is: this path with another query."""
        where = f"{self.request.path}?{urlencode(query)}"
        self.set_header("Link", f'<{where}>; rel="next"')

    async def while_connected(self, work: Awaitable[T]) -> T:
        """The outcome of work that is for this client alone: once the client is gone it is cancelled.

        :raises ClientLeft:
        """
        self._work = task = asyncio.ensure_future(work)
        try:
            return await task
        except asyncio.CancelledError:
            if self._left:
                raise ClientLeft("the client closed its connection") from None
            raise
        finally:
            self._work = None
            task.cancel()

    def on_connection_close(self) -> None:
        self._left = True
        if self._work is not None:
            self._work.cancel()
        super().on_connection_close()

    def compute_etag(self) -> None:
        """None: hashing every answer costs more than resending one."""
        return

    def write_json(self, answer: object) -> None:
        """Finish with an answer: JSON text as bytes, or a value to write as such. NaN becomes null."""
        self.finish(answer if isinstance(answer, bytes) else values.dump(answer))

    async def stream(self, parts: AsyncGenerator[bytes, None], held: int = 0) -> None:
        """Finish with an answer in parts, each sent once the client has read most of those before.

        :param held: a part of at most so many bytes waits for the next one.
        """
        try:
            while (part := await self.while_connected(anext(parts, None))) is not None:
                self.write(part)
                if len(part) > held:
                    await self.flush()
        except tornado.iostream.StreamClosedError:
            return
        finally:
            await parts.aclose()
        self.finish()

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """As Tornado's; but an answer that fails in its middle is cut off: nobody is to take it as whole.

        And who asks for too much has to wait, see `Refusals`.
        """
        error = kwargs["exc_info"][1] if "exc_info" in kwargs else None
        if isinstance(error, TooManyRequests) and not self._held_back and not self.services.draining:
            self._held_back = True
            again = partial(self.send_error, status_code, **kwargs)
            caller = on_behalf_of.get() or f"{self.client()[0]} {self.request.path}"
            hold_s = self.services.refusals.hold_s(caller)
            asyncio.get_running_loop().call_later(hold_s, again)
            return
        if not self._headers_written:
            super().send_error(status_code, **kwargs)
            return
        connection: Any = self.request.connection
        if hasattr(connection, "abort"):
            connection.abort()
        else:  # Tornado's own server
            connection.stream.close()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Every error, in the form of its API."""
        error = expected(kwargs["exc_info"][1] if "exc_info" in kwargs else None, status_code)
        status, body = self.told(error)
        self.set_status(status)
        retry_after_s = getattr(error, "retry_after_s", None)
        if retry_after_s is not None:
            self.set_header("Retry-After", str(retry_after_s))
        if error.status == 405:
            self.set_header("Allow", ", ".join(self.allowed_methods()))
        self.finish(values.dump(body))

    def told(self, error: StreamsimError) -> tuple[int, dict[str, Any]]:
        """The status and the body that tell an error; each API has its own form."""
        return error.status, error_body(error)

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Log what is a bug or an outage, without the query: it may hold keys."""
        if typ is not None and value is not None and not isinstance(value, tornado.web.HTTPError):
            log_failure(self.request.method or "", self.request.path, self.request_id, value)


def bearer(authorization: str) -> Credential | None:
    """The token of a header `Authorization`; None of one that has none."""
    scheme, _, token = authorization.partition(" ")
    return ("token", token.strip()) if scheme.lower() == "bearer" else None


async def logged_in(services: Services, credential: Credential | None, *, admin: bool = False) -> User:
    """Who asks, for whom the running task works from now on.

    :param admin: only an administrator may. :raises Unauthorized: somebody else, or nobody who is known.
    """
    user = await services.accounts.authenticated(credential)
    if user is None:
        raise Unauthorized("log in first: POST /login, or send Authorization: Bearer TOKEN")
    if admin and not user.admin:
        raise Unauthorized("only an administrator may do this")
    on_behalf_of.set(user.name)
    services.lately.asked(user.name)
    return user


def plain_id(given: str) -> str:
    """The id of a request that its caller gives, if it is a plain one; else ""."""
    return given if _REQUEST_ID.fullmatch(given) else ""


def new_id() -> str:
    """An id of a request."""
    return f"{getrandbits(64):016x}"
