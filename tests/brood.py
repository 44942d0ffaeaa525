"""Server processes of several that are forked, as `tests.warm_server` does it, not executed."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

BROOD: Final = b"brood"
"""The name of the process that they are forked from: a child of their parent, as they are."""

_PR_SET_CHILD_SUBREAPER = 36
_prctl = ctypes.CDLL(None).prctl


@contextmanager
def taking_over() -> Iterator[None]:
    """Meanwhile orphans among the descendants of this process become its children."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        _prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


class Child:
    """A child of this process, as `asyncio.subprocess.Process` would be one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._ended = False

    def send_signal(self, signal: int) -> None:
        """Only to a process that is there: its id may be another's afterwards."""
        if not self._ended:
            os.kill(self.pid, signal)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """The exit status, negative after a signal."""
        ends, loop, ended = os.pidfd_open(self.pid), asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(ends, ended.set)
        try:
            await ended.wait()
            return self._reap()
        finally:
            loop.remove_reader(ends)
            os.close(ends)

    def _reap(self) -> int:
        _, status = os.waitpid(self.pid, 0)
        self._ended = True
        return os.waitstatus_to_exitcode(status)


async def fork_child(
    channel: socket.socket, given: Mapping[str, Any], port: int, alive: int, environment: Mapping[str, str]
) -> Child:
    """In place of `execute` of `streamsim.server.serve`, in a server that was asked for by `given`."""
    return _asked_for(channel, {**given, "environment": dict(environment), "port": port}, alive)


def _asked_for(channel: socket.socket, request: dict[str, Any], alive: int) -> Child:
    with open(os.devnull, "rb") as nothing, taking_over():
        socket.send_fds(channel, [json.dumps(request).encode()], [nothing.fileno(), 1, 2, alive])
        answer = channel.recv(100)
    if not answer:
        raise RuntimeError("the process that server processes are forked from has ended; it says why above")
    return Child(int(answer))
