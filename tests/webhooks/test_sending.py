"""One attempt to send a message, to receivers that behave and to ones that do not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from streamsim.webhooks.destinations import Destinations
from streamsim.webhooks.sending import NotDelivered, send, signature
from tests.patience import PATIENCE_S

HERE = Destinations(["127.0.0.1"])
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def attempt(serve: Serve, *, timeout_s: float = PATIENCE_S, path: str = "/x?y=1") -> None:
    """Send a message to a server of its own."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{path}"
        await send(HERE, url, "a secret", "id-1", b'{"a":1}', 1_700_000_000, timeout_s)
    finally:
        server.close()


def answers(answer: bytes, seen: list[bytes] | None = None) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(7)
        if seen is not None:
            seen.append(request)
        writer.write(answer)
        await writer.drain()

    return serve


def test_a_message_has_the_headers_of_standard_webhooks(run: Any) -> None:
    seen: list[bytes] = []
    run(attempt(answers(b"HTTP/1.1 204 No Content\r\n\r\n", seen)))
    head, _, body = seen[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    assert lines[0] == "POST /x?y=1 HTTP/1.1"
    assert headers["Host"].startswith("127.0.0.1:")
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("id-1", "1700000000")
    assert headers["webhook-signature"] == signature("a secret", "id-1", 1_700_000_000, body)
    assert body == b'{"a":1}'


def test_the_signature_is_that_of_the_standards_own_example() -> None:
    # From the specification of Standard Webhooks and its libraries' tests.
    body = b'{"test": 2432232314}'
    found = signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body
    )
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_interim_answers_are_passed_over(run: Any) -> None:
    run(attempt(answers(b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")))


@pytest.mark.parametrize(
    ("answer", "why", "final"),
    [
        (b"HTTP/1.1 500 No\r\n\r\n", "answered 500", False),
        (b"HTTP/1.1 410 Gone\r\n\r\n", "answered 410", True),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n", "redirects are not followed", False),
        (b"nonsense\r\n\r\n", "no HTTP answer", False),
        (b"", "no HTTP answer", False),
        (b"x" * 100_000, "no HTTP answer", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 300, "no HTTP answer", False),
    ],
)
def test_an_answer_that_is_no_success_says_why(run: Any, answer: bytes, why: str, final: bool) -> None:
    with pytest.raises(NotDelivered, match=why) as caught:
        run(attempt(answers(answer)))
    assert caught.value.final is final


def test_a_receiver_that_says_nothing_is_left_after_a_while(run: Any) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the sender goes

    with pytest.raises(NotDelivered, match=r"no answer within 0\.2 s"):
        run(attempt(serve, timeout_s=0.2))


def test_an_answer_without_end_is_left_once_its_status_is_known(run: Any) -> None:
    sent = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent.append(65536)

    run(attempt(serve))
    assert sum(sent) < 64 << 20


def test_a_port_that_nobody_listens_on_is_refused(run: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        with pytest.raises(NotDelivered, match="refused"):
            run(send(HERE, url, "a secret", "id", b"{}", 1, PATIENCE_S))


def test_a_url_that_is_not_allowed_any_more_is_not_called(run: Any) -> None:
    with pytest.raises(NotDelivered, match=r"webhooks\.allow"):
        run(send(Destinations([]), "http://127.0.0.1:1/", "a secret", "id", b"{}", 1, PATIENCE_S))


def test_tls_is_checked(run: Any) -> None:
    async def body() -> None:
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        try:
            await send(HERE, url, "a secret", "id", b"{}", 1, PATIENCE_S)
        finally:
            server.close()

    with pytest.raises(NotDelivered):
        run(body())
