"""Running the service: one server process, or a parent that keeps several on one port.

Each process of several has its own listening socket on the shared port (SO_REUSEPORT): the kernel spreads
connections over them, and sends none to a process that died.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import logging
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from typing import Protocol

from prometheus_client.multiprocess import mark_process_dead

from streamsim import slices, terminal
from streamsim.config import ConfigError, Settings
from streamsim.models.library import ENGINES
from streamsim.models.workers import installed
from streamsim.sandbox.host.pool import SandboxUnavailable
from streamsim.server.compose import running
from streamsim.server.http.application import make_application
from streamsim.server.http.server import make_server
from streamsim.services import Services
from streamsim.storage.contract.errors import StoreUnavailable
from streamsim.waiting import until

log = logging.getLogger("streamsim")

ADMIN_PASSWORD = "STREAMSIM_ADMIN_PASSWORD"
# Exit status of a process that cannot serve as configured, so that its parent does not try again.
EXIT_REFUSED = 78
_BACK_OFF_S = (0.1, 10.0)
_STEADY_S = 30.0
# After its drain time a child has this long to close what it opened.
_CLOSE_S = 20.0


class CannotServe(Exception):
    """The service cannot start as configured; the message says why and what would help."""


def serve(settings: Settings, child: tuple[int, int] | None = None) -> int:
    """Serve until a signal; the exit status.

    :param child: in a process that a parent started: the port to share, and a descriptor whose end of file
        says that the parent is gone.
    :raises CannotServe:
    """
    factory = loop_factory(settings)
    _hurry()
    main: Parent | Process
    if child is not None:
        terminal.leave()
        main = Process(settings, _bound(settings, child[0], shared=True), child[1])
    elif settings.server.processes > 1:
        main = Parent(settings)
    else:
        main = Process(settings, _bound(settings, settings.server.port, shared=False), None)
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main.run())


def _hurry() -> None:
    """What has become ready here runs at once, also where processes of the sandbox compute."""
    try:
        slices.ask(slices.SHORTEST_S)
    except OSError as error:
        log.warning("decisions may wait for what computes beside them: %s", error)


def _settle() -> None:
    """What is there by now stays: to look through it again and again for what might go held all requests up
    for 20 to 40 ms at a time."""
    gc.collect()
    gc.freeze()


def loop_factory(settings: Settings) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the event loop; None for asyncio's own."""
    if not settings.server.uvloop:
        return None
    try:
        import uvloop
    except ImportError:
        # There are machines that it does not install on.
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _bound(settings: Settings, port: int, *, shared: bool) -> list[socket.socket]:
    """Sockets that are bound but do not listen: a connection is refused until there is who answers it."""
    address = settings.server.address
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, where in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # Where the port is a free one, all addresses have the same.
            sock.bind((where[0], sockets[0].getsockname()[1] or port, *where[2:]))
    except OSError as error:
        for sock in sockets:
            sock.close()
        raise _cannot_listen(settings, error) from None
    return sockets


def _cannot_listen(settings: Settings, error: OSError) -> CannotServe:
    address, port = settings.server.address, settings.server.port
    return CannotServe(f"cannot listen on {address} port {port}: {error.strerror}")


class Process:
    """One server process: serves until SIGTERM, SIGINT or the end of its parent, then drains."""

    def __init__(self, settings: Settings, sockets: list[socket.socket], parent_pipe: int | None) -> None:
        self._settings = settings
        self._sockets = sockets
        self._parent_pipe = parent_pipe
        self._stop = asyncio.Event()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._signalled)
        if self._parent_pipe is not None:
            loop.add_reader(self._parent_pipe, self._stop.set)
        try:
            async with running(self._settings) as services:
                await _first_user(services)
                server = await make_server(await make_application(services), self._settings)
                log.info("%s", described(services))
                try:
                    await server.listen_on(self._sockets)
                except OSError as error:
                    raise _cannot_listen(self._settings, error) from None
                _announce(self._sockets)
                _settle()
                await self._stop.wait()
                log.info("stopping: finishing what was accepted")
                cut_off = await server.drain(self._settings.server.drain_s)
                if cut_off:
                    log.warning("%d requests were not finished within server.drain_s", cut_off)
        except (StoreUnavailable, SandboxUnavailable, ConfigError) as error:
            raise CannotServe(str(error)) from error
        return 0

    def _signalled(self) -> None:
        if self._stop.is_set():
            log.warning("stopping at once: signalled again")
            os._exit(1)
        self._stop.set()


class Child(Protocol):
    """A child of a parent, as `asyncio.subprocess.Process` has it."""

    @property
    def pid(self) -> int: ...
    def send_signal(self, signal: int) -> None: ...
    def kill(self) -> None: ...
    async def wait(self) -> int: ...


async def execute(port: int, alive: int, environment: Mapping[str, str]) -> Child:
    """A new process that serves on `port`; of the descriptors of this one it is given `alive` alone."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *sys.orig_argv[1:],
        "--child",
        f"{port}:{alive}",
        env=environment,
        pass_fds=(alive,),
        stdin=asyncio.subprocess.DEVNULL,
        # In a process group of its own, a terminal's Ctrl-C reaches it once: through this process.
        preexec_fn=os.setpgrp,  # uvloop has no process_group
    )


start_child: Callable[[int, int, Mapping[str, str]], Awaitable[Child]] = execute
"""How a child is started. Tests fork theirs from a process that has imported the same."""


class Parent:
    """Keeps `server.processes` children alive on one port, and ends them together."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = asyncio.Event()
        self._refused = False
        self._children: set[Child] = set()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._stop.set)
        sockets = self._reserved()
        alive, held = os.pipe()
        with tempfile.TemporaryDirectory(prefix="streamsim-metrics-") as metrics:
            environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": metrics}
            port = sockets[0].getsockname()[1]
            keepers = [
                asyncio.create_task(self._keep(port, alive, environment, metrics))
                for _ in range(self._settings.server.processes)
            ]
            for keeper in keepers:
                # Unless it is to, it ends by an error alone, which is raised below.
                keeper.add_done_callback(lambda _: self._stop.set())
            await self._stop.wait()
            for child in self._children:
                child.send_signal(signal.SIGTERM)
            longest_s = self._settings.server.drain_s + _CLOSE_S
            _, late = await asyncio.wait(keepers, timeout=longest_s)
            for child in self._children:
                log.error("process %d did not stop; killing it", child.pid)
                child.kill()
            await asyncio.gather(*keepers)
        os.close(held)
        os.close(alive)
        for sock in sockets:
            sock.close()
        return EXIT_REFUSED if self._refused else 1 if late else 0

    def _reserved(self) -> list[socket.socket]:
        """The port, bound but not listening, for as long as this process lives."""
        # Two installations on one port by mistake must not share its connections: without SO_REUSEPORT the
        # second one fails here.
        probes = _bound(self._settings, self._settings.server.port, shared=False)
        port = probes[0].getsockname()[1]
        try:
            for probe in probes:
                probe.listen(1)
        except OSError as error:
            raise _cannot_listen(self._settings, error) from None
        finally:
            for probe in probes:
                probe.close()
        return _bound(self._settings, port, shared=True)

    async def _keep(self, port: int, alive: int, environment: dict[str, str], metrics: str) -> None:
        pause_s = _BACK_OFF_S[0]
        while not self._stop.is_set():
            began = time.monotonic()
            child = await start_child(port, alive, environment)
            self._children.add(child)
            if self._stop.is_set():
                child.send_signal(signal.SIGTERM)
            status = await child.wait()
            self._children.discard(child)
            mark_process_dead(child.pid, metrics)  # type: ignore[no-untyped-call]
            if self._stop.is_set():
                return
            if status == EXIT_REFUSED:
                self._refused = True
                self._stop.set()
                return
            if time.monotonic() - began > _STEADY_S:
                pause_s = _BACK_OFF_S[0]
            log.error("process %d ended (%d); another starts in %.1f s", child.pid, status, pause_s)
            await until(self._stop, pause_s)
            pause_s = min(2 * pause_s, _BACK_OFF_S[1])


async def _first_user(services: Services) -> None:
    given = os.environ.get(ADMIN_PASSWORD)
    if given and await services.accounts.users(limit=1):
        log.warning("%s changes nothing: there are users; see streamsim user passwd", ADMIN_PASSWORD)
    drawn = await services.accounts.add_first_user(given)
    if drawn is not None:
        log.info("created the user admin with the password %s (shown this once)", drawn)


def _announce(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        host, port = sock.getsockname()[:2]
        host = f"[{host}]" if sock.family == socket.AF_INET6 else host
        # The last line of a start: whoever waits for it finds a server that answers.
        log.info("streamsim %s serves on http://%s:%d", version("streamsim"), host, port)


def described(services: Services) -> str:
    """In one line: the store, the layers of the sandbox, the engines of models, whether there are plots."""
    store = ", ".join(f"{name} {value}" for name, value in services.store.describe().items())
    report = services.sandbox.report()
    layers = [f"namespaces {' '.join(report.namespaces) or 'none'}", f"root {report.root}"]
    layers += [f"landlock {report.landlock}", f"seccomp {'on' if report.seccomp else 'off'}"]
    layers += [
        f"user ids {'own' if report.uids[1] else 'shared'}",
        f"cgroup {' '.join(report.cgroup) or 'none'}",
    ]
    layers += [f"MISSING {name}" for name in report.missing]
    engines = [engine for engine in ENGINES if installed(engine)]
    plots = "yes" if importlib.util.find_spec("matplotlib") else "no"
    return (
        f"store: {store}; sandbox: {', '.join(layers)}; engines: {', '.join(engines)}; plots: {plots}; "
        f"http: {services.settings.server.http}"
    )
