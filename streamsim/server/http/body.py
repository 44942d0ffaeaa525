"""The body of a request, cut out of what a connection receives: so many bytes, or chunks."""

from __future__ import annotations

import re
from typing import Final, Protocol

from tornado.http1connection import is_transfer_encoding_chunked
from tornado.httputil import HTTPHeaders, HTTPInputError

_MAX_SIZE_LINE: Final = 64
_SIZE: Final = re.compile(rb"[0-9A-Fa-f]+")
_LENGTH: Final = re.compile(r"[0-9]+")


class Body(Protocol):
    """A body that is being received."""

    def take(self, received: bytes) -> tuple[bytes, bytes, bool]:
        """(its content in `received`, what is left of that, whether the body has ended).

        :raises HTTPInputError: not a body of this kind, or a longer one than allowed.
        """


def body_of(headers: HTTPHeaders, largest: int) -> Body | None:
    """How the body has to be read; None if there is none.

    :raises HTTPInputError: it is not clear where it ends, or it is larger than `largest`.
    """
    if is_transfer_encoding_chunked(headers):
        return Chunked(largest)
    length = headers.get("Content-Length")
    if length is None:
        return None
    if not _LENGTH.fullmatch(length):
        raise HTTPInputError(f"Only integer Content-Length is allowed: {length}")
    if len(length) > 18 or int(length) > largest:
        raise HTTPInputError("Content-Length too long")
    return Sized(int(length)) if int(length) else None


class Sized:
    """A body of so many bytes."""

    def __init__(self, length: int) -> None:
        self._left = length

    def take(self, received: bytes) -> tuple[bytes, bytes, bool]:
        """As `Body.take`."""
        content = received[: self._left]
        self._left -= len(content)
        return content, received[len(content) :], not self._left


class Chunked:
    """A body in chunks, without extensions and trailers: nobody needs them, and proxies differ over them."""

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._left = 0
        self._at_content = False

    def take(self, received: bytes) -> tuple[bytes, bytes, bool]:
        """As `Body.take`."""
        content = []
        at, end = 0, len(received)
        while True:
            if self._at_content:
                piece = received[at : at + self._left]
                content.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
                if at + 2 > end:
                    _begins_as(received[at:], b"\r\n")
                    break
                if received[at : at + 2] != b"\r\n":
                    raise HTTPInputError("improperly terminated chunk")
                at += 2
                self._at_content = False
            line_end = received.find(b"\r\n", at, at + _MAX_SIZE_LINE)
            if line_end < 0:
                if end - at >= _MAX_SIZE_LINE:
                    raise HTTPInputError("invalid chunk size")
                line = received[at:end]
                if line and not _SIZE.fullmatch(line[:-1] if line.endswith(b"\r") else line):
                    raise HTTPInputError("invalid chunk size")
                break
            if not _SIZE.fullmatch(received, at, line_end):
                raise HTTPInputError("invalid chunk size")
            size = int(received[at:line_end], 16)
            if not size:
                if line_end + 4 > end:
                    _begins_as(received[line_end + 2 :], b"\r\n")
                    break
                if received[line_end + 2 : line_end + 4] != b"\r\n":
                    raise HTTPInputError("improperly terminated chunked request")
                return b"".join(content), received[line_end + 4 :], True
            self._largest -= size
            if self._largest < 0:
                raise HTTPInputError("chunked body too large")
            self._left, self._at_content, at = size, True, line_end + 2
        return b"".join(content), received[at:], False


def _begins_as(received: bytes, line_end: bytes) -> None:
    if not line_end.startswith(received):
        raise HTTPInputError("improperly terminated chunk")
