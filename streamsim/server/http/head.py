"""The head of a request: found in what a connection received, and parsed by llhttp, which is strict.

What llhttp takes and Tornado does not (two spaces in the request line, `RTSP/1.0`) is refused here.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import httptools
from tornado.httputil import HTTPHeaders, HTTPInputError, RequestStartLine, parse_request_start_line

_END: Final = b"\r\n\r\n"
_LOOSE_END: Final = re.compile(rb"\n\r?\n")
_LOOSE: Final = re.compile(rb"(?<!\r)\n")
_WITHOUT_CR: Final = "a line that ends without CR"
# What llhttp and Tornado both take, whatever the headers are.
_LINE: Final = re.compile(rb"(GET|POST) (/[0-9A-Za-z%&=+\-._~!$'()*,;:@/?]*) HTTP/1\.1")
_REMEMBERED: Final = 2048
"""Bytes of headers that a connection remembers, at most."""
# llhttp refuses bytes beyond ASCII in a target, which clients send all the same: it is shown others.
_SHOWN: Final = bytes(range(128)) + b"x" * 128


class Head(NamedTuple):
    """What stands before a body. `headers` as they were sent, in order; `version` as in `1.1`."""

    method: str
    target: bytes
    version: str
    headers: list[tuple[bytes, bytes]]

    def start_line(self) -> RequestStartLine:
        """As Tornado has it. :raises HTTPInputError: not the form of RFC 9112."""
        return parse_request_start_line(f"{self.method} {self.target.decode('latin1')} HTTP/{self.version}")

    def given(self, field: bytes) -> str:
        """The values of one header as Tornado has them, several with commas between; "" for none.

        :param field: its name in lower case.
        """
        values = (
            value.decode("latin1").strip(" \t") for name, value in self.headers if name.lower() == field
        )
        return ",".join(values)

    def fields(self) -> HTTPHeaders:
        """The headers as Tornado has them. :raises HTTPInputError: a name or value of another form."""
        fields = HTTPHeaders()
        for name, value in self.headers:
            fields.add(name.decode("latin1"), value.decode("latin1").strip(" \t"))
        return fields


def end_of_head(received: bytes, searched: int, most: int) -> int:
    """Where the first head ends, or -1 if it does not yet.

    :param searched: so many bytes hold no end.
    :param most: bytes of a head; one that is larger may be anything.
    :raises HTTPInputError: its last lines end without CR.
    """
    begin = max(0, searched - 3)
    found = received.find(_END, begin)
    if found >= 0 and received.find(b"\n\r\n", begin) > found and received.find(b"\n\n", begin, found) < 0:
        return found + 4
    loose = _LOOSE_END.search(received, begin)
    if loose is not None and loose.end() <= most:
        raise HTTPInputError(_WITHOUT_CR)
    return found + 4 if found >= 0 else -1


class HeadParser:
    """Parses one head after the other. A parser of llhttp serves as long as it saw whole requests only.

    Clients send the same headers again and again: `again` finds these without parsing them, and they are the
    same list then.
    """

    def __init__(self) -> None:
        self._method = self._block = b""
        self._name = ""
        self._parsed: list[tuple[bytes, bytes]] = []
        self._parser: httptools.HttpRequestParser | None = None
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._ended = self._whole = False

    def again(self, received: bytes) -> tuple[Head, int] | None:
        """The head that `received` begins with, and where it ends, if its headers are those of the last one;
        None says nothing."""
        line = received.find(b"\r\n")
        if not self._block or not received.startswith(self._block, line):
            return None
        plain = _LINE.fullmatch(received, 0, line)
        # What llhttp makes of headers depends on the method, and on nothing else of a line of this form.
        if plain is None or plain[1] != self._method:
            return None
        return Head(self._name, plain[2], "1.1", self._parsed), line + len(self._block)

    def parse(self, data: bytes) -> Head:
        """The head in `data`, which ends with it. :raises HTTPInputError: it is none."""
        head = self._parse(data)
        end = data.find(b"\r\n")
        plain = _LINE.fullmatch(data, 0, end)
        if plain is not None and len(data) - end <= _REMEMBERED:
            self._method, self._name = plain[1], head.method
            self._block, self._parsed = data[end:], head.headers
        return head

    def _parse(self, data: bytes) -> Head:
        parser = self._parser
        if parser is None:
            parser = self._parser = httptools.HttpRequestParser(self)
        self._target, self._headers, self._ended, self._whole = b"", [], False, False
        data = data.lstrip(b"\r\n")
        line = data[: data.find(b"\r\n")]
        shown = data if line.isascii() else line.translate(_SHOWN) + data[len(line) :]
        try:
            parser.feed_data(shown)
        except httptools.HttpParserUpgrade:
            # Another protocol is offered, and not taken.
            self._parser = None
        except httptools.HttpParserError as error:
            self._parser = None
            raise HTTPInputError(_WITHOUT_CR if _LOOSE.search(data) else str(error)) from None
        if not self._ended:
            self._parser = None
            raise HTTPInputError("no request line")
        if not self._whole or not parser.should_keep_alive():
            self._parser = None
        method, version = parser.get_method(), parser.get_http_version()
        target = self._target
        if shown is not data:
            target = line[len(method) + 1 : len(line) - len(version) - 6]
        if line != b"%b %b HTTP/%b" % (method, target, version.encode()):
            raise HTTPInputError("Malformed HTTP request line")
        return Head(method.decode("latin1"), target, version, self._headers)

    def close(self) -> None:
        """Nothing more comes. The parser of llhttp knows this one, so that neither would end by itself."""
        self._parser = None

    # What llhttp calls.

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._ended = True

    def on_message_complete(self) -> None:
        self._whole = True
