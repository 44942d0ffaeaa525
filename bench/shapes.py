"""Bodies at their limit in many shapes, for every route that takes one: what a hostile client would send."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

SIZE: Final = 4_000_000
"""Just under `server.max_body_bytes`."""
SHAPES: Final = (
    "wide list",
    "wide object",
    "many objects",
    "many lists",
    "deep lists",
    "deep objects",
    "long key",
    "long key over many values",
    "long text",
    "escaped text",
    "long number",
    "many numbers",
)


def body(shape: str, size: int = SIZE) -> bytes:
    """A JSON object of about so many bytes, under a field that most routes do not know."""
    match shape:
        case "wide list":
            inner = "[" + "1," * (size // 2 - 10) + "1]"
        case "wide object":
            inner = "{" + ",".join(f'"{n:x}":0' for n in range(size // 11)) + "}"
        case "many objects":
            inner = "[" + "{}," * (size // 3 - 10) + "{}]"
        case "many lists":
            inner = "[" + "[]," * (size // 3 - 10) + "[]]"
        case "deep lists":
            inner = "[" * (size // 2 - 10) + "]" * (size // 2 - 10)
        case "deep objects":
            inner = '{"":' * (size // 5 - 10) + "0" + "}" * (size // 5 - 10)
        case "long key":
            inner = '{"' + "k" * (size - 30) + '":0}'
        case "long key over many values":
            inner = '{"' + "k" * (size - 110_000) + '":[' + '"a",' * 19_000 + '"a"]}'
        case "long text":
            inner = '"' + "x" * (size - 30) + '"'
        case "escaped text":
            inner = '"' + "\\u00e9" * (size // 6 - 10) + '"'
        case "long number":
            inner = "1" * (size - 30)
        case "many numbers":
            inner = "[" + "1.2345678901234567e-8," * (size // 22 - 10) + "0]"
        case _:
            raise ValueError(shape)
    return b'{"context":' + inner.encode() + b"}"


def routes(document: dict[str, Any], ids: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Method and path of each operation of an OpenAPI document that takes a body."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if isinstance(operation, dict) and "requestBody" in operation:
                filled = path
                for name in _names(path):
                    filled = filled.replace(f"{{{name}}}", ids.get(name, "none"))
                yield method.upper(), filled


def _names(path: str) -> list[str]:
    return [part.partition("}")[0] for part in path.split("{")[1:]]


def heads(size: int = 250_000) -> dict[str, bytes]:
    """Headers at their limit: `server.max_header_bytes`."""
    start = b"GET /user HTTP/1.1\r\nHost: x\r\n"
    return {
        "many headers": start + b"".join(b"A%d: b\r\n" % n for n in range(size // 12)) + b"\r\n",
        "one header again": start + b"A: b\r\n" * (size // 6) + b"\r\n",
        "many cookies": start + b"Cookie: " + b"a=b; " * (size // 5) + b"\r\n\r\n",
        "quoted cookies": start + b'Cookie: user="' + b"\\101" * (size // 4 - 30) + b'"\r\n\r\n',
        "long query": b"GET /user?" + b"a=b&" * (size // 4) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        "long path": b"GET /" + b"a/" * (size // 2) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    }
