"""Requests of all kinds, drawn from a seed: right, broken, pipelined, chunked, in pieces, smuggling."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Final

from tests.server.http.raw import LAST

METHODS: Final = (b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"FETCH", b"get", b"CONNECT", b"")
TARGETS: Final = (
    b"/healthy",
    b"/getaction/abc?key=k",
    b"/getaction/abc?key=k&context=%7B%22a%22:1%7D",
    b"/setreward/abc?key=k&reward=1",
    b"/SetReward/abc",
    b"/nothing",
    b"/exp",
    b"http://x/healthy",
    b"*",
    b"healthy",
    b"/a b",
    b"/\xff\xc3",
    b"/%00%ff?%zz",
    b"//x//",
    b"/?" + b"a=1&" * 40,
    b"",
)
HEADERS: Final = (
    b"Connection: close",
    b"Connection: keep-alive",
    b"Connection: close, x",
    b"Connection: upgrade\r\nUpgrade: h2c",
    b"Expect: 100-continue",
    b"X-A: \xe9\xff",
    b"X-A:",
    b"X-A:\t a \t",
    b"X-A: a\r\n folded",
    b" X-A: a",
    b"X-A : a",
    b"X A: a",
    b"X-A: \0",
    b"X-A: a\x7f",
    b"X-A: a\rb",
    b"X-A: a\nX-B: b",
    b"no colon",
    b": a",
    b"Host: y",
    b"Content-Length: 0",
    b"Content-Length: 00",
    b"Content-Length: x",
    b"Content-Length: +1",
    b"Content-Length: 99999999999999999999",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: Chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: \x0bchunked",
    b"Content-Encoding: gzip",
    b"Cookie: user=1|x; a",
    b"Origin: https://evil.example",
    b"X-Forwarded-For: 1.2.3.4",
    b"X-Request-Id: one",
    b"Content-Type: multipart/form-data; boundary=x",
    b"Content-Type: application/x-www-form-urlencoded",
    b"X-Long: " + b"a" * 3000,
)
BODIES: Final = (
    b"",
    b"x",
    b"{}",
    b'{"key": "k"}',
    b'{"key": "k", "reward": 1}',
    b"GET /healthy HTTP/1.1\r\nHost: x\r\n\r\n",
    b" " * 1500,
    b"a=1&b=%zz",
)


def requests(seed: int) -> Iterator[list[bytes]]:
    """Without end: what one connection sends, in the pieces that it is sent in."""
    rng = Random(seed)
    while True:
        data = b"".join(_request(rng) for _ in range(rng.choice((1, 1, 1, 2, 3, 6)))) + LAST
        if rng.random() < 0.15:
            data = _damaged(rng, data)
        yield _pieces(rng, data)


def _request(rng: Random) -> bytes:
    plain = rng.random() < 0.4
    method = rng.choice(METHODS[:2] if plain else METHODS)
    target = rng.choice(TARGETS[:7] if plain else TARGETS)
    version = (
        b"HTTP/1.1"
        if plain or rng.random() < 0.8
        else rng.choice(
            (b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/11", b"http/1.1", b"RTSP/1.0", b"")
        )
    )
    lines = [method + b" " + target + b" " + version]
    if rng.random() < 0.95:
        lines.append(rng.choice((b"Host: x", b"Host: x", b"host: [::1]:80", b"Host: a/b", b"Host:")))
    if not plain:
        lines += rng.choices(HEADERS, k=rng.choice((0, 1, 1, 2, 4)))
    body = rng.choice(BODIES)
    framing = rng.random()
    if framing < 0.3:
        body = _chunked(rng, body)
        lines.append(b"Transfer-Encoding: chunked")
    elif framing < 0.6 or (body and plain):
        lines.append(b"Content-Length: %d" % len(body))
    elif framing < 0.65:
        lines += [b"Content-Length: %d" % len(body)] * 2
    else:
        body = b""
    rng.shuffle(lines[1:])
    line_end = b"\n" if rng.random() < 0.03 else b"\r\n"
    start = rng.choice((b"\r\n", b"\n", b"\r\n\r\n")) if rng.random() < 0.04 else b""
    return start + line_end.join([*lines, b"", b""]) + body


def _chunked(rng: Random, body: bytes) -> bytes:
    parts = []
    while body:
        size = rng.randint(1, len(body))
        parts.append(rng.choice((b"%x", b"%X", b"0%x")) % size + b"\r\n" + body[:size] + b"\r\n")
        body = body[size:]
    end = b"0\r\n\r\n"
    if rng.random() < 0.1:
        end = rng.choice(
            (
                b"0;a=b\r\n\r\n",
                b"0\r\nA: b\r\n\r\n",
                b"0\n\n",
                b"0x0\r\n\r\n",
                b"-0\r\n\r\n",
                b"\r\n",
                b"g\r\n",
                b"0" * 70,
            )
        )
    return b"".join(parts) + end


def _damaged(rng: Random, data: bytes) -> bytes:
    at = rng.randrange(len(data))
    how = rng.randrange(4)
    if how == 0:
        return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
    if how == 1:
        return data[:at] + rng.choice((b"\0", b"\r", b"\n", b"\r\n", b" ", b"\t")) + data[at:]
    if how == 2:
        return data[:at] + data[at + 1 :]
    return data.replace(b"\r\n", b"\n", 1)


def _pieces(rng: Random, data: bytes) -> list[bytes]:
    how = rng.random()
    if how < 0.6:
        return [data]
    if how < 0.7 and len(data) < 1500:
        return [data[at : at + 1] for at in range(len(data))]
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randint(1, 6)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
