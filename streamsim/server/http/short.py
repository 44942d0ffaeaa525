"""The short way of a request: what `handlers.short` takes goes from its head to the service, and its answer
from there to the socket, as the same bytes that its handler would write."""

from __future__ import annotations

import asyncio
import re
import time
from functools import lru_cache
from http.client import responses
from typing import TYPE_CHECKING, Final, NamedTuple

from handlers.addresses import forwarded_address
from handlers.base import HEADERS, date_now, new_id, plain_id
from handlers.failures import expected, log_failure
from handlers.short import PATH, SHORT, Asked, Given, Short, submit
from streamsim import values
from streamsim.errors import TooManyRequests
from streamsim.server.http.application import Application, Caller
from streamsim.server.http.head import Head
from streamsim.tracing import RequestTrace

if TYPE_CHECKING:
    from streamsim.server.http.connection import Connection

_HOST: Final = re.compile(rb"[0-9A-Za-z.\-]+(:[0-9]+)?")
# Headers that change what a handler does. Of those that are no key, the short way knows some values only.
_MATTER: Final[dict[bytes, frozenset[bytes] | None]] = {
    b"origin": frozenset(),
    b"sec-fetch-site": frozenset(),
    b"transfer-encoding": frozenset(),
    b"expect": frozenset(),
    b"upgrade": frozenset(),
    b"connection": frozenset({b"keep-alive", b"Keep-Alive", b"close"}),
    b"content-type": frozenset({b"application/json", b"application/json; charset=utf-8"}),
    b"content-length": None,
    b"authorization": None,
    b"x-request-id": None,
    b"traceparent": None,
    b"host": None,
}
_FIXED: Final = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())


class Addressed(NamedTuple):
    """What the headers and the path of a call say. A connection remembers those of its last one.

    `given`: None if a handler has to look at the headers.
    """

    headers: list[tuple[bytes, bytes]]
    path: bytes
    given: Given | None
    call: Short
    place: str


class ShortExchange:
    """One such call and its answer; what the service answers it writes.

    `user`: who asks, where that is known. `work`: the task that works for the answer, if there is one.
    """

    user: str | None = None
    work: asyncio.Task[None] | None = None
    trace: RequestTrace | None = None

    def __init__(
        self,
        connection: Connection,
        application: Application,
        head: Head,
        call: Short,
        given: Given,
    ) -> None:
        self._written = self._held_back = False
        self._connection = connection
        self._application = application
        self._head = head
        self._call = call
        self._request_id = given.request_id or new_id()
        self.keep = given.keep
        self._began = time.time()

    # What a lane calls.

    def done(self) -> bool:
        """Whether it was answered, or nobody is there any more to answer to."""
        return self._written or self._held_back or self._connection.lost

    def set_result(self, answer: bytes) -> None:
        """Write the answer."""
        self._write(200, "", answer)

    def set_exception(self, error: BaseException) -> None:
        """Write the error as the handler would, and when."""
        if isinstance(error, TooManyRequests) and not self._application.services.draining:
            self._held_back = True
            caller = self.user or f"{self._who().address} {self._path}"
            hold_s = self._application.services.refusals.hold_s(caller)
            asyncio.get_running_loop().call_later(hold_s, self._refuse, error)
        else:
            self._refuse(error)

    def _refuse(self, error: BaseException) -> None:
        if self._connection.lost:
            return
        log_failure(self._head.method, self._path, self._request_id, error)
        failure = expected(error, 500)
        retry_after_s = getattr(failure, "retry_after_s", None)
        retry = "" if retry_after_s is None else f"Retry-After: {retry_after_s}\r\n"
        status, body = self._call.told(self._application.services.settings, failure)
        self._write(status, retry, values.dump(body))

    def _write(self, status: int, more: str, body: bytes) -> None:
        services = self._application.services
        vary = "Vary: Origin\r\n" if services.settings.server.cors_origins else ""
        close = "Connection: close\r\n" if services.draining else ""
        end = "" if self.keep or close else "Connection: close\r\n"
        head = (
            f"{_begin(status, date_now())}{self._request_id}\r\n{vary}{close}{more}"
            f"Content-Length: {len(body)}\r\n{end}\r\n"
        )
        connection = self._connection
        connection.write(head.encode("latin1") + body)
        route, method = self._call.route, self._head.method
        if self.trace is not None:
            self.trace.end(route, method, status, self._request_id)
        self._application.log_answer(route, method, status, time.time() - self._began, self._who)
        self._written = True
        connection.answered_short(self.keep)

    @property
    def _path(self) -> str:
        return self._head.target.partition(b"?")[0].decode()

    def _who(self) -> Caller:
        settings = self._application.services.settings
        given = self._head.given(b"x-forwarded-for")
        address = forwarded_address(
            self._connection.context.remote_ip, given, settings.server.trusted_proxies
        )
        return Caller(address, self.user, self._path, self._request_id)


@lru_cache(16)
def _begin(status: int, date: str) -> str:
    """How all answers of one status begin in one second."""
    reason = responses.get(status, "Unknown")
    return f"HTTP/1.1 {status} {reason}\r\n{_FIXED}Date: {date}\r\nX-Request-Id: "


def begun(
    connection: Connection, application: Application, head: Head, received: bytes
) -> tuple[ShortExchange, bytes] | None:
    """Begin with a request if it can go the short way: its exchange, and what is left of `received`.

    None, with nothing done, if its handler has to look at it.
    """
    path, _, query = head.target.partition(b"?")
    addressed = connection.addressed
    # The parser gives the same list for the same headers.
    if addressed is None or addressed.headers is not head.headers or addressed.path != path:
        addressed = connection.addressed = _addressed(head, path)
    if addressed is None or (given := addressed.given) is None:
        return None
    length, body = given.length, None
    if head.method == "POST" and length <= len(received) and length <= application.max_body_bytes:
        body, received = received[:length], received[length:]
    elif head.method != "GET" or length:
        return None
    call = addressed.call
    exchange = ShortExchange(connection, application, head, call, given)
    asked = Asked(addressed.place, query, body, given)
    services = application.services
    if services.tracing is None:
        submitted = submit(services, call, asked, exchange)
    else:
        exchange.trace = services.tracing.request(head.method, given.traceparent.decode("latin1"))
        with exchange.trace.calling():
            submitted = submit(services, call, asked, exchange)
    return (exchange, received) if submitted else None


def _addressed(head: Head, path: bytes) -> Addressed | None:
    """What a call's headers and path say; None if it is no call that the short way knows."""
    found = PATH.fullmatch(path)
    if found is None or head.version != "1.1":
        return None
    call, place = SHORT[found[1] or found[4]], found[2] or found[3]
    return Addressed(head.headers, path, _given(head.headers), call, place.decode())


def _given(headers: list[tuple[bytes, bytes]]) -> Given | None:
    """What headers say; None if a handler has to look at them."""
    given: dict[bytes, bytes] = {}
    for name, value in headers:
        name = name.lower()
        if name in _MATTER:
            taken = _MATTER[name]
            value = value.strip(b" \t")
            if name in given or (taken is not None and value not in taken):
                return None
            given[name] = value
    if not _HOST.fullmatch(given.get(b"host", b"")):
        return None
    return Given(
        int(given.get(b"content-length", b"0")),
        b"content-type" in given,
        given.get(b"authorization", b"").decode("latin1"),
        plain_id(given.get(b"x-request-id", b"").decode("latin1")),
        given.get(b"traceparent", b""),
        given.get(b"connection") != b"close",
    )
