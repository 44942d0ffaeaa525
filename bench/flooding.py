"""A flood under way, from a process of its own, so that it does not slow the clock of who measures."""

from __future__ import annotations

import contextlib
import itertools
import json
import multiprocessing
import os
import signal
import socket
import threading
from types import TracebackType
from typing import Any, Final

from bench.floods import FLOODS, User
from tests.support import Server, request_headers

WAIT_S: Final = 120.0
_PIECE: Final = 64 * 1024
# Each flood is a new process, forked from one that has imported this.
_PROCESSES: Final = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])


class Flooding:
    """A flood of that name by a user of its own, for the length of the context."""

    def __init__(self, server: Server, name: str, user: str = "attacker") -> None:
        flood = FLOODS[name]
        made = User(server, user, flood, flood.code)
        self._begun = _PROCESSES.Semaphore(0)
        self._connections = flood.connections
        self._process = _PROCESSES.Process(
            target=_flood,
            args=(name, server.port, made.client.cookies, made.experiments, self._begun),
            daemon=True,
        )

    def __enter__(self) -> Flooding:
        self._process.start()
        for _ in range(self._connections):
            self._begun.acquire(timeout=WAIT_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()


def _flood(
    name: str, port: int, cookies: dict[str, str], experiments: list[dict[str, Any]], begun: Any
) -> None:
    """In the process of the flood: send, until it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whoever floods has a machine of its own: a processor that does nothing else is idle for the kernel.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    flooder = _Flooder(name, port, cookies, experiments, begun)
    places = range(FLOODS[name].connections)
    threads = [threading.Thread(target=flooder.send, args=(at,), daemon=True) for at in places]
    for thread in threads:
        thread.start()
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(0)


class _Flooder:
    def __init__(
        self, name: str, port: int, cookies: dict[str, str], experiments: list[dict[str, Any]], begun: Any
    ) -> None:
        self._flood = FLOODS[name]
        self._port = port
        self._cookies = cookies
        self._experiments = experiments
        self._begun = begun

    def send(self, at: int) -> None:
        """One connection after the other, for ever."""
        # What a processor does here in one piece, as to make a body of 3 MB or to send it in one call, would
        # keep the victim's client waiting for the kernel's next tick.
        every = self._experiments
        requests = [
            memoryview(self._bytes(made)) for made in every[at :: self._flood.connections] or every[:1]
        ]
        told = False
        for request in itertools.cycle(requests):
            try:
                with socket.create_connection(("127.0.0.1", self._port), timeout=WAIT_S) as connection:
                    more = True
                    while more:
                        for start in range(0, len(request), _PIECE):
                            connection.sendall(request[start : start + _PIECE])
                        if not told:
                            told = True
                            self._begun.release()
                        if self._flood.deaf:
                            self._stuff(connection, request)
                        more = self._answered(connection)
            except OSError:
                threading.Event().wait(0.05)

    def _answered(self, connection: socket.socket) -> bool:
        """Read an answer: whether the connection takes another request."""
        if self._flood.kept:
            return bool(connection.recv(1 << 16))  # it is short, and comes in one piece
        while connection.recv(1 << 16):
            pass
        return False

    def _stuff(self, connection: socket.socket, request: memoryview) -> None:
        """Ask again and again until the server takes no more, and read nothing."""
        connection.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            while True:
                connection.sendall(request)
        threading.Event().wait()

    def _bytes(self, made: dict[str, Any]) -> bytes:
        method, path, body = self._flood.requests(made)
        content = b"" if body is None else json.dumps(body).encode()
        headers = request_headers(self._cookies, None)
        if not (self._flood.deaf or self._flood.kept):
            headers["Connection"] = "close"
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(content)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + content
