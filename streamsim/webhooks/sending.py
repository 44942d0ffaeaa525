"""One attempt to send a message: signed, to one address, without redirects, in bounded time and bytes.

Signed as Standard Webhooks (https://www.standardwebhooks.com) says: `webhook-signature` is `v1,` and the
base64 of the HMAC-SHA256, under the secret, of `webhook-id`, `webhook-timestamp` (seconds) and body, with
dots between.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import re
import socket
import ssl
from typing import Final

from streamsim.webhooks.destinations import Destination, Destinations, Refused

PREFIX: Final = "whsec_"
"""What a secret begins with whose rest is base64 of the key; another one is the key itself."""
_LINE_BYTES: Final = 8 << 10
_LINES: Final = 200
_REST_BYTES: Final = 64 << 10
_REST_S: Final = 1.0
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})(?: [^\r\n]*)?\r?\n")


class NotDelivered(Exception):
    """Why an attempt failed, for the experiment's owner. `final`: there is no use in another one."""

    def __init__(self, why: str, *, final: bool = False) -> None:
        super().__init__(why)
        self.final = final


def signature(secret: str, id: str, seconds: int, body: bytes) -> str:
    """The value of the header `webhook-signature`.

    >>> signature("a secret of my own", "id", 1, b"{}")
    'v1,tpOmbQ6S1QKb71Vaf9JPABUb3EvXrEIkiqOrUhQhbBE='
    """
    key = secret.encode()
    if secret.startswith(PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except (binascii.Error, ValueError):
            pass  # taken as it is, as any other text
    digest = hmac.new(key, b"%b.%d.%b" % (id.encode(), seconds, body), hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


async def send(
    destinations: Destinations, url: str, secret: str, id: str, body: bytes, seconds: int, timeout_s: float
) -> None:
    """Send a message. :param seconds: the date, since 1970 UTC. :raises NotDelivered:"""
    try:
        async with asyncio.timeout(timeout_s):
            destination = destinations.check(url)
            address = await destinations.resolve(destination)
            status = await _exchange(destination, address, _request(destination, secret, id, body, seconds))
    except Refused as error:
        raise NotDelivered(str(error)) from None
    except TimeoutError:
        raise NotDelivered(f"no answer within {timeout_s:g} s") from None
    except ssl.SSLError as error:
        raise NotDelivered(f"TLS failed: {error.reason or 'the connection was closed'}") from None
    except socket.gaierror:
        raise NotDelivered("the name of the host cannot be looked up") from None
    except ConnectionRefusedError:
        raise NotDelivered("the connection was refused") from None
    except (OSError, EOFError, ValueError):
        raise NotDelivered("the connection failed, or what came was no HTTP answer") from None
    if 300 <= status < 400:
        raise NotDelivered(f"answered {status}: redirects are not followed")
    if not 200 <= status < 300:
        raise NotDelivered(f"answered {status}", final=status == 410)


def _request(destination: Destination, secret: str, id: str, body: bytes, seconds: int) -> bytes:
    head = (
        f"POST {destination.target} HTTP/1.1\r\n"
        f"Host: {destination.named}\r\n"
        "User-Agent: streamsim\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: close\r\n"
        f"webhook-id: {id}\r\n"
        f"webhook-timestamp: {seconds}\r\n"
        f"webhook-signature: {signature(secret, id, seconds, body)}\r\n\r\n"
    )
    return head.encode() + body


async def _exchange(destination: Destination, address: str, request: bytes) -> int:
    """The status of the answer. :raises OSError: :raises EOFError: :raises ValueError: it is no answer."""
    tls = ssl.create_default_context() if destination.secure else None
    reader, writer = await asyncio.open_connection(
        address,
        destination.port,
        ssl=tls,
        server_hostname=destination.host if tls else None,
        limit=_LINE_BYTES,
    )
    try:
        writer.write(request)
        await writer.drain()
        for _ in range(_LINES):
            found = _STATUS.fullmatch(await reader.readline())
            if found is None:
                raise ValueError("no status line")
            if (status := int(found[1])) >= 200:
                await _let_finish(reader)
                return status
            while (await reader.readline()).strip():
                pass
        raise ValueError("too many interim answers")
    finally:
        writer.transport.abort()


async def _let_finish(reader: asyncio.StreamReader) -> None:
    """Read a short answer whole, so that its sender sees no broken connection; what it says is not used."""
    left = _REST_BYTES
    try:
        async with asyncio.timeout(_REST_S):
            while left > 0 and (part := await reader.read(left)):
                left -= len(part)
    except (TimeoutError, OSError):
        pass  # the status is known, and that is all that counts
