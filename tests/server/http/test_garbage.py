"""What an answered request leaves is freed at once, not when the collector stops everybody to look."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from streamsim.server import serve
from tests.application import Caller
from tests.server.http.raw import exchanged

OURS = ("streamsim.", "handlers.", "tornado.", "httptools.")
FAST = {"get_action": 'self.action["arm"] = "a"'}
CLOSE = b"Host: x\r\nConnection: close\r\n\r\n"


@contextmanager
def collected() -> Iterator[Counter[str]]:
    """The kinds of objects of the server that only the garbage collector finds."""
    found: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        kinds = (f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.garbage)
        found.update(kind for kind in kinds if kind.startswith(OURS))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.gen_test
async def test_a_request_leaves_no_cycles(ports: dict[str, int], ann: Caller) -> None:
    made = await ann.experiment(**FAST)
    call = f"GET /getaction/{made['id']}?key={made['key']} HTTP/1.1\r\n".encode()
    cookie = "; ".join(f"{name}={value}" for name, value in ann.cookies.items())
    page = f"GET /exp/{made['id']} HTTP/1.1\r\nCookie: {cookie}\r\n".encode()
    requests = [
        [call + b"Host: x\r\n\r\n" + call + CLOSE],  # the short way, then a handler
        [page + CLOSE],
        [page[:20], page[20:], b"Host: x\r\n\r\n", page + CLOSE],
        [b"POST /login HTTP/1.1\r\nContent-Length: 2\r\n" + CLOSE + b"{}"],
        [b"GET /nowhere HTTP/1.1\r\n" + CLOSE],
    ]
    for request in requests:
        await exchanged(ports["fast"], request)
    with collected() as found:
        for request in requests:
            assert b"HTTP/1.1 " in await exchanged(ports["fast"], request)
    assert not found


def test_what_a_server_started_with_is_never_looked_through_again() -> None:
    before = gc.get_freeze_count()
    kept = [[one] for one in range(1000)]
    try:
        serve._settle()
        assert gc.get_freeze_count() >= before + len(kept)
    finally:
        gc.unfreeze()
