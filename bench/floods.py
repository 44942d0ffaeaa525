"""What one user can do to take from others what all share: floods of requests, hostile code, deaf clients."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from tests.support import Client, Server, request_headers

PASSWORD: Final = "a good password"
WAIT_S: Final = 120.0

ARM: Final = 'self.action["arm"] = "a"'
FAST: Final = {"get_action": ARM, "get_reward": 'self.reward["value"] = 1.0'}
SLEEP: Final = f"import time\ntime.sleep(1.2)\n{ARM}"
SPIN: Final = f"for n in range(20_000): pass\n{ARM}"
# Claims to have read what was never there: each commit of it is refused, for another reason each time.
STALE: Final = f"""
import gc
theta = next(o for o in gc.get_objects() if type(o).__name__ == "ThetaCache")
theta.reads = {{(self.exp_id, "_theta", "nobody", str(random.random())): 7}}
{ARM}
"""
# Says for ever that it gets on, which once began the time limit anew.
PROGRESS: Final = f"""
import gc
channel = next((o for o in gc.get_objects() if type(o).__name__ == "Channel"), None)
number = 0
while channel is not None:
    try:
        number += 1
        channel._reported = 0.0
        channel.progress(number % 1000)
    except BaseException:
        pass
{ARM}
"""

Request = tuple[str, str, object]
"""Method, path and body."""


class Flood(NamedTuple):
    """One attack.

    `resource`: what it is after. `code`: of the attacker's `experiments`. `requests`: what its `connections`
    send again and again, about one of them; `deaf`: without reading what comes. `victim`: what another user
    asks for.
    """

    resource: str
    code: dict[str, str]
    requests: Callable[[dict[str, Any]], Request]
    victim: Callable[[dict[str, Any]], Request]
    connections: int = 16
    experiments: int = 1
    deaf: bool = False


def _decision(made: dict[str, Any]) -> Request:
    return "GET", f"/getaction/{made['id']}?key={made['key']}", None


def _simulation(draws: int) -> Callable[[dict[str, Any]], Request]:
    return lambda made: ("GET", f"/eval/{made['id']}/simulate?N={draws}&verbose=false", None)


def _job(made: dict[str, Any]) -> Request:
    return "POST", f"/eval/{made['id']}/simulations", {"N": 4_000_000, "replications": 4}


def _code(made: dict[str, Any]) -> Request:
    return "PUT", f"/exp/{made['id']}", {"get_action": f"# {threading.get_ident()}\n{ARM}"}


def _large(made: dict[str, Any]) -> Request:
    return "POST", f"/getaction/{made['id']}", {"key": made["key"], "context": {"text": "x" * 3_000_000}}


def _plot(made: dict[str, Any]) -> Request:
    body = {"experiments": [made["id"]], "N": 2000, "replications": 20, "points": 200}
    return "POST", f"/eval/compare?format={quote('svg')}", body


def _document(made: dict[str, Any]) -> Request:
    return "GET", "/openapi.json", None


FLOODS: Final[dict[str, Flood]] = {
    "sleeping policies": Flood("workers", {"get_action": SLEEP}, _decision, _decision, experiments=40),
    "stale reads for ever": Flood("commits", {"get_action": STALE}, _decision, _decision),
    "calls of 3 MB": Flood("memory", {"get_action": SLEEP}, _large, _decision),
    "progress for ever": Flood(
        "simulations", FAST | {"get_action": PROGRESS}, _simulation(10), _simulation(10)
    ),
    "slow simulations": Flood(
        "simulations", FAST | {"get_action": SPIN}, _simulation(100_000), _simulation(10), connections=24
    ),
    "long jobs": Flood("processes", FAST, _job, _decision),
    "plots": Flood("processor", FAST, _plot, _decision, connections=8),
    "code that is put": Flood("checks of code", FAST, _code, _code, connections=24),
    "clients that do not read": Flood("memory", FAST, _document, _decision, connections=50, deaf=True),
}
"""By name."""


class User:
    """A user of its own on a server, with an experiment or more."""

    def __init__(self, server: Server, name: str, code: dict[str, str], experiments: int = 1) -> None:
        admin = server.admin()
        admin.post("/user", {"username": name, "password": PASSWORD})
        admin.close()
        self.client: Client = server.client()
        answer = self.client.post("/login", {"username": name, "password": PASSWORD})
        assert answer.status == 200, answer.body
        self.experiments = [
            self.client.post("/exp", {"name": f"{name} {number}", **code}).body
            for number in range(experiments)
        ]


class Flooding:
    """A flood under way, for the length of the context."""

    def __init__(self, server: Server, flood: Flood, name: str = "attacker") -> None:
        self._server = server
        self._flood = flood
        self._user = User(server, name, flood.code, flood.experiments)
        self._over = threading.Event()
        self._sockets: set[socket.socket] = set()
        number = max(flood.connections, flood.experiments)
        self.begun = threading.Semaphore(0)
        self._threads = [threading.Thread(target=self._send, args=(at,), daemon=True) for at in range(number)]

    def __enter__(self) -> Flooding:
        for thread in self._threads:
            thread.start()
        for _ in self._threads:
            self.begun.acquire(timeout=WAIT_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for one in list(self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _send(self, at: int) -> None:
        made = self._user.experiments[at % len(self._user.experiments)]
        told = False
        while not self._over.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self._server.port), timeout=WAIT_S) as connection:
                    self._sockets.add(connection)
                    connection.sendall(self._bytes(made))
                    if not told:
                        told = True
                        self.begun.release()
                    if self._flood.deaf:
                        self._stuff(connection, self._bytes(made))
                    while connection.recv(1 << 16):
                        pass
                    self._sockets.discard(connection)
            except OSError:
                self._over.wait(0.05)
        if not told:
            self.begun.release()

    def _stuff(self, connection: socket.socket, request: bytes) -> None:
        """Ask again and again until the server takes no more, and read nothing."""
        connection.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            while not self._over.is_set():
                connection.sendall(request)
        self._over.wait()

    def _bytes(self, made: dict[str, Any]) -> bytes:
        method, path, body = self._flood.requests(made)
        content = b"" if body is None else json.dumps(body).encode()
        headers = request_headers(self._user.client.cookies, None)
        if not self._flood.deaf:
            headers["Connection"] = "close"
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(content)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + content
