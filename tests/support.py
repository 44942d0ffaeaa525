"""A real server as a process of its own, and a small blocking client for it."""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from tests.brood import BROOD
from tests.patience import PATIENCE_S
from tests.warm import Forked, warm

ROOT = Path(__file__).parents[1]
ADMIN, PASSWORD = "admin", "correct horse"


_prctl = ctypes.CDLL(None).prctl
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """In a child: a test run that is killed leaves no server behind. Its parent is a thread."""
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


class Answer(NamedTuple):
    """Status, parsed JSON (or the text, if it is none) and headers (lower case) of an answer."""

    status: int
    body: Any
    headers: dict[str, str]


class Server:
    """`streamsim serve` on a free port with its data in `folder`; a context that ends it.

    :param settings: dotted option names to values, passed through the environment.
    :param processes: server processes on the port.
    :param executed: whether the command is executed, or a process that has imported the same forks; None as
        the class says.
    :param executed_zygotes: whether the zygotes of a forked server are executed, and so its children.
    """

    executed = True
    """Of tests false, as their conftest says: a start is mostly imports. What is measured is executed."""

    def __init__(
        self,
        folder: Path,
        *,
        processes: int = 1,
        settings: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        executed: bool | None = None,
        executed_zygotes: bool = False,
    ) -> None:
        if executed is not None:
            self.executed = executed
        self.executed_zygotes = executed_zygotes
        self.folder = folder
        self.processes = processes
        self.log = folder / "server.log"
        self.port = 0
        # What is preloaded beside NumPy and SciPy would be a third of every start, and few tests need it.
        given = {"login.bcrypt_rounds": 4, "sandbox.preload": "", **(settings or {})}
        self._environment = {
            **os.environ,
            **{f"STREAMSIM_{name.replace('.', '_').upper()}": str(value) for name, value in given.items()},
            "STREAMSIM_ADMIN_PASSWORD": PASSWORD,
            **(environment or {}),
        }
        self.process: subprocess.Popen[bytes] | Forked | None = None
        self._kept: socket.socket | None = None
        self._clients: list[Client] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, on the port it had before if there was one, and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [str(Path(sys.executable).with_name("streamsim")), "serve", "--port", str(self.port)]
        command += ["--processes", str(self.processes), "--data", str(self.folder / "data")]
        with self.log.open("ab") as log:
            began = log.tell()
            if self.executed:
                self.process = subprocess.Popen(
                    command,
                    env=self._environment,
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    process_group=0,
                    preexec_fn=die_with_parent,
                )
            else:
                self.process = warm.start(
                    command,
                    self._environment,
                    self.folder,
                    log,
                    several=self.processes > 1,
                    executed_zygotes=self.executed_zygotes,
                )
        deadline = time.monotonic() + PATIENCE_S
        while not self._healthy(began):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"the server did not start:\n{self.log.read_text()}")
            time.sleep(0.02)
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def stop(self) -> int:
        """SIGTERM; its exit status once it ended."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(PATIENCE_S)
        self._keep_port()
        return status

    def kill(self) -> None:
        """SIGKILL to the process that was started; wait for its end, and until nobody listens any more.

        The processes of a parent that was killed notice, and first of all cease to listen.
        """
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE_S)
            deadline = time.monotonic() + PATIENCE_S
            while self.processes > 1 and self.listening():
                assert time.monotonic() < deadline, f"somebody listens on port {self.port} still"
                time.sleep(0.01)
            self._keep_port()

    def listening(self) -> set[int]:
        """The inodes of sockets that listen on its port."""
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return {
            int(line[9]) for line in lines if line[3] == "0A" and int(line[1].split(":")[1], 16) == self.port
        }

    def _keep_port(self) -> None:
        """No other test may listen where this server will again. Bound alone, it is in nobody's way."""
        if self.port and self._kept is None:
            self._kept = kept = socket.socket()
            weakref.finalize(self, kept.close)
            for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
                kept.setsockopt(socket.SOL_SOCKET, option, 1)
            with contextlib.suppress(OSError):  # another server listens there, as a few tests want
                kept.bind(("127.0.0.1", self.port))

    def children(self) -> list[int]:
        """Process ids of the server processes of a parent with several."""
        assert self.process is not None
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in found if _name(pid) not in (None, BROOD)]

    def client(self) -> Client:
        """A client that is not logged in; closed with the server."""
        client = Client(self.url)
        self._clients.append(client)
        return client

    def admin(self) -> Client:
        """A client logged in as the administrator."""
        client = self.client()
        assert client.post("/login", {"username": ADMIN, "password": PASSWORD}).status == 200
        return client

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients:
            client.close()
        if self.process is not None and self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill()
                raise

    def _healthy(self, began: int) -> bool:
        with self.log.open("rb") as log:
            log.seek(began)
            found = re.findall(rb"serves on http://[^:]+:(\d+)", log.read())
        if len(found) < self.processes:
            return False
        self.port = int(found[0])
        client = Client(self.url)
        try:
            return client.get("/healthy").status == 200
        except OSError:
            return False
        finally:
            client.close()


class Client:
    """One keep-alive connection with the cookies that the server set."""

    def __init__(self, url: str, timeout_s: float = PATIENCE_S) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
        self.cookies: dict[str, str] = {}
        self.token: str | None = None

    def get(self, path: str, **query: object) -> Answer:
        return self.request("GET", path, query=query)

    def post(self, path: str, body: object) -> Answer:
        return self.request("POST", path, body=body)

    def put(self, path: str, body: object) -> Answer:
        return self.request("PUT", path, body=body)

    def delete(self, path: str) -> Answer:
        return self.request("DELETE", path)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request. A `body` that is not bytes goes as JSON, and so do query values that are not text.

        :raises OSError: if the connection breaks; the next request opens a new one.
        """
        try:
            self._connection.request(
                method,
                with_query(path, query),
                body=encoded(body),
                headers=request_headers(self.cookies, self.token, headers),
            )
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise error if isinstance(error, OSError) else ConnectionError(repr(error)) from error
        for line in response.headers.get_all("Set-Cookie", []):
            keep_cookie(self.cookies, line)
        given = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, parsed(content), given)

    def close(self) -> None:
        self._connection.close()


def _name(pid: str) -> bytes | None:
    """A process's name; None if it has just ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_bytes().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None


def with_query(path: str, query: Mapping[str, object] | None) -> str:
    """A path with a query string; values that are not text go as JSON."""
    given = {name: value for name, value in (query or {}).items() if value is not None}
    if not given:
        return path
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}
    return f"{path}?{urlencode(texts)}"


def encoded(body: object) -> bytes | None:
    """A request body: bytes as they are, anything else as JSON."""
    return body if body is None or isinstance(body, bytes) else json.dumps(body).encode()


def request_headers(
    cookies: Mapping[str, str], token: str | None, headers: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Headers that say who asks."""
    result = {"Content-Type": "application/json"}
    if cookies:
        result["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
    if token is not None:
        result["Authorization"] = f"Bearer {token}"
    return {**result, **(headers or {})}


def keep_cookie(cookies: dict[str, str], line: str) -> None:
    """Take over a Set-Cookie header; an empty value clears the cookie."""
    name, _, value = line.partition(";")[0].partition("=")
    value = value.strip('"')
    if value:
        cookies[name] = value
    else:
        cookies.pop(name, None)


def parsed(content: bytes) -> Any:
    """JSON where it is JSON, else text, else bytes."""
    try:
        return json.loads(content)
    except ValueError:
        try:
            return content.decode()
        except UnicodeDecodeError:
            return content
