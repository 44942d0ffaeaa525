"""One connection: bytes to requests, one at a time, each handed to the application, and answers to bytes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final, cast

from tornado.httputil import HTTPInputError
from tornado.iostream import StreamClosedError

from streamsim.server.http.body import Body, body_of
from streamsim.server.http.exchange import Exchange
from streamsim.server.http.head import Head, HeadParser, end_of_head
from streamsim.server.http.limits import over_the_limit
from streamsim.server.http.reading import PIECE_BYTES
from streamsim.server.http.short import Addressed, ShortExchange, begun

if TYPE_CHECKING:
    from tornado.httputil import HTTPHeaders, RequestStartLine

    from streamsim.server.http.server import FastServer

log = logging.getLogger("streamsim.http")

_BAD_REQUEST: Final = b"HTTP/1.1 400 Bad Request\r\n\r\n"
_LINGER_S: Final = 1.0
_CONTINUE: Final = b"HTTP/1.1 100 (Continue)\r\n\r\n"


class Context:
    """Who is at the other end, as Tornado's requests are told."""

    protocol = "http"

    def __init__(self, peer: object) -> None:
        self.remote_ip = str(peer[0]) if isinstance(peer, tuple) else "0.0.0.0"

    def __str__(self) -> str:
        return self.remote_ip


class Connection(asyncio.Protocol):
    """`since`: when it began to wait for a request, or for the body of the one under way. `addressed`: what
    the last call of the short way said beside its query and its body."""

    def __init__(self, server: FastServer) -> None:
        self._server = server
        self._parser = HeadParser()
        self.addressed: Addressed | None = None
        self._received = b""
        self._searched = 0
        self._exchange: Exchange | None = None
        self._short: ShortExchange | None = None
        self._body: Body | None = None
        self._held: asyncio.Future[None] | None = None
        self._waiting: Head | None = None
        self._advancing = self._reading_paused = self._resting = False
        self._piece = 0
        self._room: asyncio.Future[None] | None = None
        self._unsent = (0, 0.0)
        self.since = server.now()
        self.closing = self.lost = False
        # For whose request under way those of others stand back.
        self._beside = ""

    @property
    def busy(self) -> bool:
        """Whether a request is under way, or waits for its turn."""
        return self._exchange is not None or self._short is not None or self._waiting is not None

    @property
    def reads_body(self) -> bool:
        """Whether the body of the request under way is not there to its end."""
        return self._body is not None

    @property
    def received(self) -> bytes:
        """What was received and belongs to no request yet."""
        return self._received

    # ---- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.context = Context(transport.get_extra_info("peername"))
        self._server.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self.closing:
            return
        self._received = self._received + data if self._received else data
        if self._body is not None or not self.busy:
            self._advance()
        if len(self._received) > self._server.max_header_bytes and not self._reading_paused:
            # More requests than one at a time; they wait in the kernel.
            self._pause()
            self._reading_paused = True
        if self._body is not None:
            self._piece += len(data)
            if self._piece >= PIECE_BYTES and not self._resting:
                self._pause()
                self._resting = True
                self._server.reading.wait(self)

    def read_on(self) -> None:
        """Read the next piece of a large body."""
        self._resting, self._piece = False, 0
        self._resume()

    def begin(self) -> bool:
        """It is the turn of the request that waits: whether it is an expensive one. See `Begins`."""
        head, self._waiting = self._waiting, None
        if head is None or self.closing:
            return False
        self._advance(head)
        short = self._short
        return self._exchange is not None if short is None else not short.keep

    def _pause(self) -> None:
        if not (self._resting or self._reading_paused or self.transport.is_closing()):
            self.transport.pause_reading()

    def _resume(self) -> None:
        if not (self._resting or self._reading_paused or self.transport.is_closing()):
            self.transport.resume_reading()

    def connection_lost(self, _error: Exception | None) -> None:
        self.closing = self.lost = True
        self._server.connections.discard(self)
        self._stood_back()
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_exception(StreamClosedError())
            room.exception()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self._server.application.busy.discard(exchange)
            try:
                exchange.cut_off(whole=self._body is None)
            except Exception:
                log.exception("Uncaught exception")
        self._parser.close()

    def pause_writing(self) -> None:
        self._room = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)
        self._advance()

    # ---- what an exchange does

    def write(self, data: bytes) -> asyncio.Future[None]:
        """Send data. The future is done when there is room for more; StreamClosedError if there never is."""
        if self.closing:
            gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            gone.set_exception(StreamClosedError())
            gone.exception()
            return gone
        self.transport.write(data)
        return self._room or self._server.written

    def answered(self, exchange: Exchange) -> None:
        """The answer of an exchange is written."""
        if exchange is not self._exchange:
            return
        self._server.application.busy.discard(exchange)
        self._stood_back()
        # The rest of a body that nobody waits for is not worth reading.
        if not exchange.keep or self._body is not None:
            self._exchange = self._body = None
            self.close()
            return
        self._exchange = None
        self.since = self._server.now()
        if self._received:
            self._advance()

    def answered_short(self, keep: bool) -> None:
        """The answer of the short way's exchange is written.

        :param keep: whether the connection may take another request.
        """
        self._short = None
        self._stood_back()
        if not keep:
            self.close()
            return
        self.since = self._server.now()
        if self._received:
            self._advance()

    def close(self) -> None:
        """Send what is written, and end."""
        self.closing = True
        self.transport.close()

    def abort(self) -> None:
        """End at once."""
        self.closing = True
        self.transport.abort()

    # ---- what the server does

    def sweep(self, now: float, idle_s: float) -> None:
        """End the connection if its client is too slow."""
        exchange, unsent = self._exchange, self.transport.get_write_buffer_size()
        if unsent != self._unsent[0]:
            self._unsent = (unsent, now)
        if not self.busy:
            slow = self.since < now - idle_s
        elif exchange is not None and self._body is not None:
            slow = exchange.body_s is not None and self.since < now - exchange.body_s
        else:
            slow = False
        if slow or (unsent and self._unsent[1] < now - idle_s):
            self.abort()

    # ---- inside

    def _advance(self, head: Head | None = None) -> None:
        """Go on with what was received as far as possible, after the request of a head whose turn it is."""
        if self._advancing:
            return
        self._advancing = True
        try:
            if head is not None:
                self._begin_with(head)
            while not (self.closing or self._held or self._room or self._short or self._waiting):
                if self._exchange is None:
                    if not self._begin():
                        break
                elif self._body is None or not self._read_body(self._exchange, self._body):
                    break
        except HTTPInputError as error:
            self._refuse(error)
        except Exception:
            log.exception("Uncaught exception")
            self.abort()
        finally:
            self._advancing = False
        room = len(self._received) <= self._server.max_header_bytes
        if self._reading_paused and room and not self.closing:
            self._reading_paused = False
            self._resume()

    def _refuse(self, error: HTTPInputError) -> None:
        log.info("Malformed HTTP message from %s: %s", self.context, error)
        self._end_with(_BAD_REQUEST)

    def _end_with(self, answer: bytes) -> None:
        """Answer, and read nothing more."""
        self._received = b""
        self.transport.write(answer)
        self.closing = True
        # Closed with bytes unread, the kernel would take the answer back: for a moment they are thrown away.
        self.transport.write_eof()
        asyncio.get_running_loop().call_later(_LINGER_S, self.transport.abort)

    def _begin(self) -> bool:
        """Begin with the next request, if its head is there."""
        received = self._received
        if not received:
            return False
        most = self._server.max_header_bytes
        known = self._parser.again(received)
        if known is not None and known[1] <= most:
            head, end = known
        else:
            end = end_of_head(received, self._searched, most)
            if end > most or (end < 0 and len(received) > most):
                self._end_with(over_the_limit(received, most))
                return False
            if end < 0:
                self._searched = len(received)
                return False
            head = self._parser.parse(received[:end])
        self._searched, self._received = 0, received[end:]
        sharing = self._server.sharing
        if sharing.needed:
            tenant = self._server.application.whose.of(head, self._received, self.context.remote_ip)
            if not sharing.begins(tenant):
                self._waiting = head
                sharing.wait(tenant, self)
                return False
            self._beside = tenant
        self._begin_with(head)
        return True

    def _stood_back(self) -> None:
        """Its request is under way no longer."""
        if self._beside:
            tenant, self._beside = self._beside, ""
            self._server.sharing.answered(tenant)

    def _begin_with(self, head: Head) -> None:
        short = begun(self, self._server.application, head, self._received)
        if short is None:
            self._hand_over(head)
        else:
            self._short, self._received = short

    def _hand_over(self, head: Head) -> None:
        """Give a request to its handler."""
        start_line, headers = head.start_line(), head.fields()
        body = body_of(headers, self._server.max_body_bytes)
        exchange = Exchange(self, start_line, headers, _keeps(start_line, headers))
        self._exchange, self._body, self.since = exchange, body, self._server.now()
        self._piece = 0
        exchange.delegate = self._server.application.start_request(self, exchange)
        self._wait_for(exchange.delegate.headers_received(start_line, headers))
        if headers.get("Expect") == "100-continue" and not exchange.written:
            self.transport.write(_CONTINUE)
        if body is None:
            self._end_body(exchange)

    def _read_body(self, exchange: Exchange, body: Body) -> bool:
        delegate = exchange.delegate
        assert delegate is not None
        content, self._received, ended = body.take(self._received)
        if content:
            self._wait_for(delegate.data_received(content))
        if ended:
            self._end_body(exchange)
        return ended

    def _end_body(self, exchange: Exchange) -> None:
        """The request is whole: its handler may answer, once it took all that it was given."""
        self._body = None
        if self._held is not None:
            self._held.add_done_callback(lambda _: self._finish(exchange))
        else:
            self._finish(exchange)

    def _finish(self, exchange: Exchange) -> None:
        if self._exchange is exchange and exchange.delegate is not None:
            exchange.delegate.finish()

    def _wait_for(self, accepted: Awaitable[None] | None) -> None:
        """Read no more until the handler is ready for it."""
        if accepted is not None:
            self._held = asyncio.ensure_future(accepted)
            self._held.add_done_callback(self._released)

    def _released(self, held: asyncio.Future[None]) -> None:
        self._held = None
        if not held.cancelled() and held.exception() is not None:
            log.error("Uncaught exception", exc_info=held.exception())
            self.abort()
            return
        asyncio.get_running_loop().call_soon(self._advance)


def _keeps(start_line: RequestStartLine, headers: HTTPHeaders) -> bool:
    """Whether the connection may take another request after this one."""
    wanted = [option.strip().lower() for option in headers.get("Connection", "").split(",")]
    if start_line.version == "HTTP/1.1":
        return "close" not in wanted
    framed = "Content-Length" in headers or start_line.method in ("HEAD", "GET")
    # HTTP/1.0 knows no Transfer-Encoding: others may see another end of the body (RFC 9112, section 6.1).
    return framed and "Transfer-Encoding" not in headers and wanted == ["keep-alive"]
