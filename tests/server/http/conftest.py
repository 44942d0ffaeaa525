"""Both servers on one application."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets

from streamsim.config import Settings
from streamsim.server.http.application import Application
from streamsim.server.http.reference import reference_server
from streamsim.server.http.server import FastServer, Server


async def _fast(app: Application, settings: Settings) -> Server:
    return FastServer(app, settings)


async def _reference(app: Application, settings: Settings) -> Server:
    return reference_server(app, settings)


@pytest.fixture
def ports(io_loop: IOLoop, app: Application, settings: Settings) -> Iterator[dict[str, int]]:
    """Ports of the servers, by their names in `server.http`."""
    servers, ports = [], {}
    for name, make in (("fast", _fast), ("tornado", _reference)):
        server: Server = io_loop.run_sync(lambda make=make: make(app, settings))
        sockets = bind_sockets(0, "127.0.0.1")
        io_loop.run_sync(lambda server=server, sockets=sockets: server.listen_on(sockets))
        servers.append(server)
        ports[name] = sockets[0].getsockname()[1]
    yield ports
    for server in servers:
        io_loop.run_sync(server.close)


@pytest.fixture(params=["fast", "tornado"])
def port(ports: dict[str, int], request: pytest.FixtureRequest) -> int:
    """The port of one server; the test runs on each."""
    return ports[request.param]
