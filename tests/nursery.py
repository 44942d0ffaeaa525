"""Zygotes that are forked from a process that has imported the same: most of a start is imports.

They are children of that process, not of the server; all else is as when they are executed.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from streamsim.sandbox.zygote import main as zygote


class Adopted:
    """A process that is no child of this one."""

    def __init__(self, command: Sequence[str], answer: socket.socket) -> None:
        self.args = command
        self._answer = answer
        self._lock = threading.Lock()
        self._known: tuple[int, int] | None = None

    @property
    def pid(self) -> int:
        return self._process()[0]

    def wait(self, timeout: float | None = None) -> int:
        """Returns once it ended; its parent alone is told how. :raises subprocess.TimeoutExpired:"""
        if not select.select([self._process()[1]], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return 0

    def send_signal(self, number: int) -> None:
        signal.pidfd_send_signal(self._process()[1], number)

    def _process(self) -> tuple[int, int]:
        """Its id and a pidfd, once they are known."""
        with self._lock:
            if self._known is None:
                with self._answer:
                    data, descriptors, _, _ = socket.recv_fds(self._answer, 100, 1)
                if not data:
                    raise RuntimeError(
                        "the process that zygotes are forked from has ended; it says why above"
                    )
                self._known = int(data), descriptors[0]
            return self._known

    def __del__(self) -> None:
        if self._known is not None:
            os.close(self._known[1])
        self._answer.close()


class Nursery:
    """The process that zygotes are forked from; started when `address` is first asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._address = b""
        self._hold: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def address(self) -> bytes:
        """Where zygotes are asked for."""
        with self._lock:
            if self._process is None:
                self._begin()
            return self._address

    def _begin(self) -> None:
        self._hold, theirs = socket.socketpair()
        with theirs, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as source:
            source.bind("")  # the kernel gives it a name
            self._address = source.getsockname()
            passed = source.fileno(), theirs.fileno()
            argv, environment = zygote.command(passed[0], zygote.Options(plain=True))
            script = str(Path(__file__).with_name("warm_zygote.py"))
            self._process = subprocess.Popen(
                [*argv[: argv.index("-c")], script, *map(str, passed)],
                env=environment,
                cwd="/",
                pass_fds=passed,
                stdin=subprocess.DEVNULL,
                process_group=0,
            )

    def close(self) -> None:
        """End it, and all zygotes of it."""
        if self._process is not None and self._hold is not None:
            self._hold.close()
            self._process.wait()
            self._process = None


nursery = Nursery()


def fork(address: bytes, command: Sequence[str], _environment: Mapping[str, str], control: int) -> Adopted:
    """In place of `execute`: a zygote from the nursery of that address, whose environment is that of all."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
        asking.connect(address)
        socket.send_fds(asking, [command[-1].encode()], [theirs.fileno(), control])
    return Adopted(command, ours)
