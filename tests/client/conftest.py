"""Both kinds of the client, as one, against a real server on each backend.

A case is written once: `client` calls the blocking client, or the asyncio one through an event loop of the
test. What was called with success is remembered, so that a module can show that it called everything.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest

from streamsim_client import AsyncClient, Client, Retries
from streamsim_client.groups import Group, call, each
from tests.backends import Storage, chosen
from tests.support import PASSWORD, Server

KINDS = ("blocking", "asyncio")
Run = Callable[[Coroutine[Any, Any, Any]], Any]
Called = set[tuple[type[Group[Any]], str]]
_numbers = count(1)


class Shown:
    """A client, or one of its groups, whose calls are remembered and give results in either kind."""

    def __init__(self, of: Any, called: Called, run: Run) -> None:
        self._of, self._called, self._run = of, called, run

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._of, name)
        if isinstance(found, Group):
            return Shown(found, self._called, self._run)
        if not callable(found):
            return found

        def used(*args: Any, **kwargs: Any) -> Any:
            answer = found(*args, **kwargs)
            if isinstance(answer, Group):
                return Shown(answer, self._called, self._run)
            if inspect.isgenerator(answer) or inspect.isasyncgen(answer):
                return self._iterated(name, answer)
            if inspect.iscoroutine(answer):
                answer = self._run(answer)
            self._note(name)
            return answer

        return used

    def _iterated(self, name: str, items: Any) -> Iterator[Any]:
        try:
            if inspect.isgenerator(items):
                yield from items
            else:
                while True:
                    try:
                        item = self._run(items.asend(None))
                    except StopAsyncIteration:
                        break
                    yield item
            self._note(name)
        finally:
            if inspect.isasyncgen(items):
                self._run(items.aclose())

    def _note(self, name: str) -> None:
        if isinstance(self._of, Group):
            self._called.add((type(self._of), name))


def public_calls(group: type[Group[Any]]) -> set[tuple[type[Group[Any]], str]]:
    """All calls of a group."""
    return {
        (group, name)
        for one in group.__mro__
        for name, value in vars(one).items()
        if isinstance(value, call | each) and not name.startswith("_")
    }


@pytest.fixture(scope="session")
def servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Storage], Server]]:
    """Starts a server on a backend, or finds the one that is started."""
    started: dict[object, Server] = {}
    if "production" in chosen(request.config):
        # Before this, so that they end after it.
        request.getfixturevalue("redis_server")
        request.getfixturevalue("mongo_server")

    def server(storage: Storage) -> Server:
        backend = storage.get("storage.redis")
        if backend not in started:
            settings = {"login.address_attempts": 100_000, **storage}
            started[backend] = Server(tmp_path_factory.mktemp("server"), settings=settings).__enter__()
        return started[backend]

    yield server
    for one in started.values():
        one.__exit__(None, None, None)


@pytest.fixture(scope="module")
def server(servers: Callable[[Storage], Server], shared_storage: Storage) -> Server:
    return servers(shared_storage)


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def called(server: Server, kind: str) -> Called:
    """What this module called with success, of one kind on one backend."""
    return set()


@pytest.fixture(scope="module")
def token(server: Server) -> str:
    """Of the administrator."""
    return str(server.admin().post("/user/token", {}).body["token"])


Connect = Callable[..., Shown]


@contextmanager
def connections(kind: str, called: Called, run: Run) -> Iterator[Connect]:
    """Makes clients of a kind, and closes them."""
    made: list[Client | AsyncClient] = []

    def connected(url: str, **options: Any) -> Shown:
        client_class = Client if kind == "blocking" else AsyncClient
        client = client_class(url, **{"retries": Retries(base_s=0.001), **options})
        made.append(client)
        return Shown(client, called, run)

    yield connected
    for client in made:
        closing = client.close()
        if closing is not None:
            run(closing)


@pytest.fixture
def connect(kind: str, called: Called) -> Iterator[Connect]:
    """Makes clients of a server, of the kind under test."""
    with asyncio.Runner() as runner, connections(kind, called, runner.run) as connected:
        yield connected


@pytest.fixture
def nobody(connect: Connect, server: Server) -> Shown:
    """Not logged in."""
    return connect(server.url)


@pytest.fixture
def admin(connect: Connect, server: Server, token: str) -> Shown:
    return connect(server.url, token=token)


@pytest.fixture
def name() -> str:
    """Of a user that the test may make."""
    return f"user{next(_numbers)}"


@pytest.fixture
def user(admin: Shown, connect: Connect, server: Server, name: str) -> Shown:
    """A new user's client, logged in."""
    admin.accounts.add_user(name, PASSWORD)
    client = connect(server.url)
    client.accounts.log_in(name, PASSWORD)
    return client
