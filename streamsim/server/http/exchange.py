"""One request and its answer, as Tornado's handlers know it: `HTTPConnection` over our connection."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPOutputError,
    RequestStartLine,
    ResponseStartLine,
)

if TYPE_CHECKING:
    from streamsim.server.http.connection import Connection, Context

_BREAK: Final = re.compile(r"[\r\n]")


class Exchange(HTTPConnection):
    """What a handler writes its answer to.

    :param keep: whether the connection may take another request afterwards.
    """

    def __init__(
        self, connection: Connection, start_line: RequestStartLine, headers: HTTPHeaders, keep: bool
    ) -> None:
        self.context: Context = connection.context
        self.keep = keep
        self.delegate: HTTPMessageDelegate | None = None
        self.written = False
        self.body_s: float | None = None
        self._connection = connection
        self._start_line = start_line
        self._headers = headers
        self._chunked = False
        self._left: int | None = None
        self._on_close: Callable[[], None] | None = None

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Call this when the client goes away before it is answered."""
        self._on_close = callback

    def set_body_timeout(self, seconds: float) -> None:
        """Cut the connection off if the body is not there in time."""
        self.body_s = seconds

    def write_headers(  # type: ignore[override]
        self, start_line: ResponseStartLine, headers: HTTPHeaders, chunk: bytes | None = None
    ) -> asyncio.Future[None]:
        """As Tornado's; the future is done when the client keeps up with reading."""
        request, code = self._start_line, start_line.code
        bodiless = request.method == "HEAD" or code in (204, 304) or 100 <= code < 200
        self._chunked = request.version == "HTTP/1.1" and not bodiless and "Content-Length" not in headers
        # What is left of a body after its answer is not read: the connection ends with it.
        if request.version == "HTTP/1.1" and (not self.keep or self._connection.reads_body):
            headers["Connection"] = "close"
        if request.version == "HTTP/1.0" and self._headers.get("Connection", "").lower() == "keep-alive":
            headers["Connection"] = "close" if "Transfer-Encoding" in self._headers else "Keep-Alive"
        if self._chunked:
            headers["Transfer-Encoding"] = "chunked"
        if request.method == "HEAD" or code == 304:
            self._left = 0
        elif "Content-Length" in headers:
            self._left = int(headers["Content-Length"])
        lines = [f"HTTP/1.1 {code} {start_line.reason}"]
        lines += [f"{name}: {value}" for name, value in headers.get_all()]
        for line in lines:
            if _BREAK.search(line):
                raise ValueError(f"Illegal characters (CR or LF) in header: {line!r}")
        data = ("\r\n".join(lines) + "\r\n\r\n").encode("latin1")
        return self._connection.write(data + self._framed(chunk) if chunk else data)

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        """As Tornado's."""
        return self._connection.write(self._framed(chunk))

    def _framed(self, chunk: bytes) -> bytes:
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0:
                self._connection.abort()
                raise HTTPOutputError("Tried to write more data than Content-Length")
        # An empty chunk would be the end.
        return b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._chunked and chunk else chunk

    def finish(self) -> None:
        """The answer is whole."""
        if self._left and not self._connection.lost:
            self._connection.abort()
            raise HTTPOutputError(f"Tried to write {self._left} bytes less than Content-Length")
        if self._chunked:
            self._connection.write(b"0\r\n\r\n")
        self.written = True
        # They know each other: neither would be freed at once.
        self._on_close = self.delegate = None
        self._connection.answered(self)

    def abort(self) -> None:
        """End the connection in the middle of the answer."""
        self._connection.abort()

    def cut_off(self, whole: bool) -> None:
        """The client went away. :param whole: the request was received to its end."""
        callback, self._on_close = self._on_close, None
        delegate, self.delegate = self.delegate, None
        if whole:
            if callback is not None:
                callback()
        elif delegate is not None and not self.written:
            delegate.on_connection_close()
