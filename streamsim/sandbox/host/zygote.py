"""The host's hold on the zygote: starts it, asks it for workers, hears of their ends.

The messages are those of `streamsim.sandbox.zygote.main`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from streamsim.errors import Unavailable
from streamsim.sandbox.limits import Limits
from streamsim.sandbox.report import Report
from streamsim.sandbox.zygote import main as zygote

MAX_DATAGRAM: Final = 65536
STOP_S: Final = 5.0

_log = logging.getLogger(__name__)


class SandboxUnavailable(Unavailable):
    """No worker can be had: the kernel lacks a layer, or the zygote does not start."""


class Listener(Protocol):
    """Who is told what the zygote says. `spawned` owns the pidfd."""

    def spawned(self, number: int, pidfd: int) -> None: ...
    def refused(self, number: int, text: str) -> None: ...
    def exited(self, number: int, status: int) -> None: ...
    def zygote_died(self) -> None: ...


class Process(Protocol):
    """A zygote's, as `subprocess.Popen` has it."""

    @property
    def pid(self) -> int: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...


def execute(command: Sequence[str], environment: Mapping[str, str], control: int) -> Process:
    """A new process; of the descriptors of this one it is given `control` alone."""
    # Its own process group: an interrupt from the keyboard reaches the server alone, which then drains.
    return subprocess.Popen(
        command,
        env=environment,
        cwd="/",
        pass_fds=(control,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )


start: Callable[[Sequence[str], Mapping[str, str], int], Process] = execute
"""How a zygote is started. Tests fork theirs from a process that has imported the same."""


class Zygote:
    """One running zygote process."""

    def __init__(self, listener: Listener, options: zygote.Options) -> None:
        self.alive = True
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[Report] = self._loop.create_future()
        self._unsent: deque[tuple[bytes, int]] = deque()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._socket.setblocking(False)
            argv, environment = zygote.command(theirs.fileno(), options)
            self._process = start(argv, environment, theirs.fileno())
        except BaseException:
            self._socket.close()
            raise
        finally:
            theirs.close()
        self._loop.add_reader(self._socket, self._readable)

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        return self._process.pid

    async def ready(self, seconds: float) -> Report:
        """Wait until it confined itself and imported everything.

        :raises SandboxUnavailable: it ended before, or takes longer.
        """
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(self._ready)
        except TimeoutError:
            self._die("it did not become ready in time")
            raise SandboxUnavailable(f"the sandbox did not start within {seconds:g} s") from None

    def spawn(
        self,
        number: int,
        program: str,
        uid: int,
        limits: Limits,
        channel: socket.socket,
        processors: Sequence[int] = (),
    ) -> None:
        """Ask for a worker that serves `channel`, which this call takes over.

        :param uid: counts from 0. :param processors: those on which it begins; by default any.
        """
        message = msgspec.msgpack.encode(("spawn", number, program, uid, limits, processors))
        self._unsent.append((message, channel.detach()))
        if len(self._unsent) == 1:
            self._send()

    async def stop(self) -> None:
        """End it, and with it every worker; returns when it is gone. Also after it died by itself."""
        self._die("the sandbox was closed")
        await asyncio.to_thread(self._reap)

    def _reap(self) -> None:
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def _send(self) -> None:
        while self._unsent:
            message, descriptor = self._unsent[0]
            try:
                socket.send_fds(self._socket, [message], [descriptor])
            except BlockingIOError:
                self._loop.add_writer(self._socket, self._send)
                return
            except OSError:
                self._die("it does not listen")
                return
            os.close(descriptor)
            self._unsent.popleft()
        self._loop.remove_writer(self._socket)

    def _readable(self) -> None:
        while self.alive:
            try:
                data, descriptors, flags, _ = socket.recv_fds(self._socket, MAX_DATAGRAM, 4)
            except BlockingIOError:
                return
            except OSError:
                data, descriptors, flags = b"", [], 0
            if not data or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                for descriptor in descriptors:
                    os.close(descriptor)
                self._die("it ended")
                return
            self._hear(msgspec.msgpack.decode(data), descriptors)

    def _hear(self, message: Any, descriptors: list[int]) -> None:
        match message:
            case ["ready", report]:
                if not self._ready.done():
                    self._ready.set_result(msgspec.convert(report, Report))
            case ["failed", str(text)]:
                # It may name files, so it is for the operator alone.
                _log.error("the sandbox's zygote cannot start: %s", text)
                self._die("its log entry says why")
            case ["spawned", int(number), int(_)]:
                self._listener.spawned(number, descriptors[0])
            case ["refused", int(number), str(text)]:
                self._listener.refused(number, text)
            case ["exited", int(number), int(status)]:
                self._listener.exited(number, status)
            case _:
                raise AssertionError(f"the zygote said {message!r:.200}")

    def _die(self, why: str) -> None:
        if not self.alive:
            return
        self.alive = False
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        # It ends by itself when this channel closes.
        self._socket.close()
        for _message, descriptor in self._unsent:
            os.close(descriptor)
        self._unsent.clear()
        if not self._ready.done():
            self._ready.set_exception(SandboxUnavailable(f"the sandbox did not start: {why}"))
            self._ready.exception()
        self._listener.zygote_died()
