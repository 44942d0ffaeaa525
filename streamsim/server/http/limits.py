"""Bounds that both HTTP servers keep."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
from typing import Any, Final

from streamsim import values
from streamsim.config import Settings

BACKLOG: Final = 1024
"""Connections that the kernel takes for a server that is busy."""
DISCARD_BYTES: Final = 64 << 20
"""A body over the limit is read and thrown away up to here, so that its sender sees the answer."""
IDLE_GRACE_S: Final = 0.3
"""How long a connection without a request stays open after the server was told to stop."""
ACCEPT_S: Final = 0.05
"""How long a server that stops still takes what the kernel accepted for it."""


# A packet filter drops TCP segments that begin a connection: with SYN (0x02) in their 14th byte, the flags.
_NO_SYN: Final = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
)
_SO_ATTACH_FILTER: Final = 26


def waiting(listening: socket.socket) -> list[tuple[socket.socket, Any]]:
    """Connections that the kernel accepted for a listening socket and nobody took yet, with addresses.

    No other one comes after them: once the socket is closed, the kernel tells who tries that nobody listens.
    Where an ordinary user may not attach the filter that sees to this, one may, until the socket is closed.
    """
    listening.setblocking(False)
    program = ctypes.create_string_buffer(_NO_SYN, len(_NO_SYN))
    attached = struct.pack("HL", len(_NO_SYN) // 8, ctypes.addressof(program))
    with contextlib.suppress(PermissionError):
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, attached)
    found: list[tuple[socket.socket, Any]] = []
    # No longer than a full queue, should more come all the time.
    for _ in range(BACKLOG + 1):
        try:
            connection, address = listening.accept()
        except BlockingIOError:
            break
        except ConnectionAbortedError:
            continue  # this client left; the one behind it has not
        connection.setblocking(False)
        found.append((connection, address))
    return found


def largest_body(settings: Settings) -> int:
    """The largest body that is read at all; what is over the limit of its resource is answered there."""
    return max(settings.server.max_body_bytes, settings.evaluation.log_bytes + (1 << 20), DISCARD_BYTES)


def over_the_limit(received: bytes, most: int) -> bytes:
    """The answer to a request whose head does not end within `most` bytes, after which nothing is read.

    414 if already its first line does not, else 431.
    """
    line = b"\n" not in received[:most].lstrip(b"\r\n")
    status = b"414 URI Too Long" if line else b"431 Request Header Fields Too Large"
    what = "the request line" if line else "the request line with its headers"
    message = f"{what} is larger than {most} bytes (server.max_header_bytes); send fields as a body"
    body = values.dump({"error": {"code": "too_large", "message": message}})
    return (
        b"HTTP/1.1 %b\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n"
        b"Connection: close\r\n\r\n%b" % (status, len(body), body)
    )
