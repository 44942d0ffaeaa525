"""Bodies of all requests under way share one budget; small ones go on however full it is."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
from tornado.httputil import HTTPConnection

from streamsim.server.http.under_way import FREE_BYTES, UnderWay
from tests.servers import wait_until
from tests.support import Client, Server, request_headers

KIB = 1 << 10


def test_a_budget_is_given_back_when_a_request_ends() -> None:
    budget = UnderWay(1000 * KIB)
    first, second = HTTPConnection(), HTTPConnection()
    budget.add(first)
    budget.add(second)
    assert budget.take(first, lambda: "a", FREE_BYTES + 400 * KIB)
    assert budget.bytes == 400 * KIB
    assert not budget.take(second, lambda: "a", FREE_BYTES + 200 * KIB)
    assert budget.take(second, lambda: "b", FREE_BYTES + 500 * KIB)
    assert not budget.take(second, lambda: "b", 1)
    assert budget.bytes == 400 * KIB
    budget.discard(first)
    budget.discard(second)
    assert budget.bytes == 0
    assert len(budget) == 0
    assert budget.take(first, lambda: "a", FREE_BYTES + 500 * KIB)


def test_small_bodies_are_never_refused() -> None:
    budget = UnderWay(0)
    for _ in range(1000):
        assert budget.take(HTTPConnection(), lambda: "a", FREE_BYTES)


def begun(server: Server, user: Client, path: str, content: str, size: int) -> socket.socket:
    """A request whose body lacks its last byte."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    headers = {**request_headers(user.cookies, None), "Content-Type": content, "Content-Length": size}
    lines = [f"POST {path} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers.items())]
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + b"x" * (size - 1))
    return connection


def body_bytes(client: Client) -> int:
    """What the server says of bodies under way."""
    found = re.search(r"^streamsim_body_bytes (\S+)", client.get("/metrics").body, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


@pytest.mark.parametrize("http", ["fast", "tornado"])
@pytest.mark.parametrize(
    ("path", "content"), [("/login", "application/json"), ("/eval/x/offpolicy", "text/csv")]
)
def test_large_bodies_are_refused_beside_too_many_others(
    tmp_path: Path, http: str, path: str, content: str
) -> None:
    settings = {"server.http": http, "server.bodies_bytes": 4 << 20}
    with Server(tmp_path, settings=settings) as server:
        client, admin = Client(server.url), server.admin()
        size = 900 << 10
        held = [begun(server, admin, "/login", "application/json", size) for _ in range(2)]
        wait_until(lambda: body_bytes(client) == 2 * (size - 1 - FREE_BYTES), "both bodies are there")
        refused = begun(server, admin, path, content, size)
        try:
            refused.sendall(b"x")
            answer = refused.recv(1 << 16).decode()
            assert " 503 " in answer
            assert "Retry-After: 1" in answer
            assert "server.bodies_bytes" in answer
            # Others go on, and so do large ones once there is room.
            assert client.get("/healthy").status == 200
            assert admin.post("/exp", {"name": "small", "get_action": "pass"}).status == 200
        finally:
            for connection in [*held, refused]:
                connection.close()
        large = {"name": "large", "get_action": "pass", "get_reward": f"# {'x' * size}"}
        while (answered := admin.post("/exp", large)).status == 503:
            pass
        assert answered.status in (200, 400, 413), answered
        client.close()
        admin.close()
