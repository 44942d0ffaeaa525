"""The real application in this process, on each backend: a new installation per test, one sandbox for all."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tornado.ioloop import IOLoop

from streamsim import config, dates
from streamsim.config import Settings
from streamsim.sandbox.host.pool import Sandbox
from streamsim.server.compose import running
from streamsim.server.http.application import Application, make_application
from streamsim.server.http.server import Server, make_server
from streamsim.services import Services
from streamsim.storage.sqlite import schema as sqlite_schema
from tests.backends import Storage
from tests.connections import Connections
from tests.patience import PATIENCE_S
from tests.support import Answer, encoded, keep_cookie, parsed, request_headers, with_query

T = TypeVar("T")

PASSWORD = "a good password"
OVERRIDES: dict[str, object] = {
    "login.bcrypt_rounds": 4,
    "login.attempts": 5,
    "login.address_attempts": 1000,
    "server.cors_origins": ["https://app.example.com"],
    "server.max_body_bytes": 1 << 20,
    "sandbox.workers": 8,
}


class Clock:
    """The wall clock of the service, which a test may put ahead.

    `step_ms` goes by whenever it is read, as on a slow machine.
    """

    def __init__(self) -> None:
        self.ahead_ms = self.step_ms = 0

    def __call__(self) -> int:
        self.ahead_ms += self.step_ms
        return dates.now_ms() + self.ahead_ms


class Caller:
    """An HTTP client of the application under test, with the cookies that it was given."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.name = ""
        self.cookies: dict[str, str] = {}
        self.token: str | None = None
        self._connections = Connections(url)

    async def get(self, path: str, **query: object) -> Answer:
        return await self.request("GET", path, query=query)

    async def post(self, path: str, body: object) -> Answer:
        return await self.request("POST", path, body=body)

    async def put(self, path: str, body: object) -> Answer:
        return await self.request("PUT", path, body=body)

    async def delete(self, path: str) -> Answer:
        return await self.request("DELETE", path)

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        try:
            async with asyncio.timeout(PATIENCE_S):
                found = await self._connections.request(
                    method,
                    with_query(path, query),
                    encoded(body),
                    request_headers(self.cookies, self.token, headers),
                )
        except (OSError, EOFError) as error:
            raise AssertionError(f"no answer to {method} {path}: {error!r}") from error
        for name, value in found.headers:
            if name == "set-cookie":
                keep_cookie(self.cookies, value)
        # Of several of one name, the first.
        return Answer(found.status, parsed(found.body), dict(reversed(found.headers)))

    def close(self) -> None:
        """Close its connections; a later request opens another."""
        self._connections.close()

    async def log_in(self, name: str, password: str = PASSWORD) -> Answer:
        self.name = name
        return await self.post("/login", {"username": name, "password": password})

    async def experiment(self, name: str = "an experiment", **fields: Any) -> dict[str, Any]:
        """Create one; the answer with id, name and key."""
        answer = await self.post("/exp", {"name": name, **fields})
        assert answer.status == 200, answer
        created: dict[str, Any] = answer.body
        return created


@pytest.fixture(scope="session")
def http_loop() -> Iterator[IOLoop]:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    io_loop = IOLoop.current()
    yield io_loop
    io_loop.close()


@pytest.fixture
def io_loop(http_loop: IOLoop) -> Iterator[IOLoop]:
    """In place of pytest-tornado's loop per test: a sandbox belongs to its loop, and starts slowly."""
    asyncio.set_event_loop(http_loop.asyncio_loop)  # type: ignore[attr-defined]
    yield http_loop
    asyncio.set_event_loop(None)


def outcome(io_loop: IOLoop, work: Coroutine[Any, Any, T]) -> T:
    """As `IOLoop.run_sync`, which makes a class at every call."""
    loop: asyncio.AbstractEventLoop = io_loop.asyncio_loop  # type: ignore[attr-defined]
    return loop.run_until_complete(work)


@pytest.fixture(scope="session")
def sandbox(http_loop: IOLoop) -> Iterator[Sandbox]:
    sandbox = Sandbox(workers=8)
    http_loop.run_sync(sandbox.start)
    yield sandbox
    asyncio.set_event_loop(http_loop.asyncio_loop)  # type: ignore[attr-defined]
    http_loop.run_sync(sandbox.close)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SQLite file of a new installation: to make one takes longer than to copy it."""
    path = tmp_path_factory.mktemp("empty") / "streamsim.db"
    sqlite_schema.create(path)
    with closing(sqlite_schema.connect(path, "FULL", 0)) as db:
        sqlite_schema.upgrade(db)
    return path


@pytest.fixture
def settings(tmp_path: Path, storage: Storage, request: pytest.FixtureRequest, empty_file: Path) -> Settings:
    """Settings for tests; `@pytest.mark.parametrize("settings", [{...}], indirect=True)` changes some."""
    overrides = OVERRIDES | {"storage.data": str(tmp_path)} | storage | getattr(request, "param", {})
    settings = config.load(overrides=overrides)
    if not settings.storage.redis:
        shutil.copy(empty_file, settings.storage_url().removeprefix("sqlite:///"))
    return settings


@pytest.fixture
def services(io_loop: IOLoop, settings: Settings, sandbox: Sandbox, clock: Clock) -> Iterator[Services]:
    context = running(settings, now_ms=clock, sandbox=sandbox, batch_sandbox=sandbox, upkeep=False)
    yield outcome(io_loop, context.__aenter__())
    outcome(io_loop, context.__aexit__(None, None, None))


@pytest.fixture
def app(io_loop: IOLoop, services: Services) -> Application:
    """The application that pytest-tornado serves."""
    return outcome(io_loop, make_application(services))


@pytest.fixture
def http_server(io_loop: IOLoop, app: Application, settings: Settings, _unused_port: Any) -> Iterator[Server]:
    """In place of pytest-tornado's: the server with its real limits."""
    server = outcome(io_loop, make_server(app, settings))
    outcome(io_loop, server.listen_on([_unused_port[0]]))
    yield server
    outcome(io_loop, server.close())


@pytest.fixture
def caller(io_loop: IOLoop, http_server: Server, http_port: int) -> Iterator[Callable[[], Caller]]:
    """Makes clients that are not logged in."""
    made: list[Caller] = []

    def make() -> Caller:
        made.append(Caller(f"http://127.0.0.1:{http_port}"))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def nobody(caller: Callable[[], Caller]) -> Caller:
    return caller()


@pytest.fixture
def user(io_loop: IOLoop, services: Services, caller: Callable[[], Caller]) -> Callable[..., Caller]:
    """Makes users and logs them in."""

    def make(name: str, *, admin: bool = False) -> Caller:
        client = caller()
        outcome(io_loop, services.accounts.add_user(name, PASSWORD, admin=admin))
        assert outcome(io_loop, client.log_in(name)).status == 200
        return client

    return make


@pytest.fixture
def admin(user: Callable[..., Caller]) -> Caller:
    return user("root", admin=True)


@pytest.fixture
def ann(user: Callable[..., Caller]) -> Caller:
    return user("ann")


@pytest.fixture
def bob(user: Callable[..., Caller]) -> Caller:
    return user("bob")
