"""Server processes that are forked from one that has imported everything: most of a start is imports."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from tests.brood import taking_over
from tests.nursery import nursery


class Forked:
    """A child of this process, as `subprocess.Popen` would be one."""

    def __init__(self, command: Sequence[str], pid: int) -> None:
        self.args = command
        self.pid = pid
        self.returncode: int | None = None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """The exit status, negative after a signal; None while it runs."""
        with self._lock:
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status once it ended. :raises subprocess.TimeoutExpired:"""
        if self.poll() is None:
            ends = os.pidfd_open(self.pid)
            try:
                select.select([ends], [], [], timeout)
            finally:
                os.close(ends)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return status

    def send_signal(self, number: int) -> None:
        """Only to a process that is there: its id may be another's afterwards."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Warm:
    """The process that servers are forked from; started when the first one is asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        output: IO[bytes],
        *,
        several: bool = False,
        executed_zygotes: bool = False,
    ) -> Forked:
        """`streamsim ...` in a process group of its own; it ends with this process.

        :param several: whether it has server processes below it, which then are forked, too.
        """
        request = {
            "command": [*command],
            "environment": dict(environment),
            "folder": str(folder),
            "parent": os.getpid(),
            "several": several,
            "nursery": None if executed_zygotes else nursery.address().hex(),
        }
        with self._lock, open(os.devnull, "rb") as nothing, taking_over():
            channel = self._channel = self._channel or self._begin()
            streams = [nothing.fileno(), output.fileno(), output.fileno()]
            socket.send_fds(channel, [json.dumps(request).encode()], streams)
            answer = channel.recv(100)
        if not answer:
            raise RuntimeError("the process that servers are forked from has ended; it says why above")
        return Forked(command, int(answer))

    def _begin(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # It ends when the socket does, so with this process.
            self._process = subprocess.Popen(
                # Not the folder of the tests: some of it is named as what is tested.
                [sys.executable, "-P", str(Path(__file__).with_name("warm_server.py")), str(theirs.fileno())],
                # Threads of linear algebra would not be in its children.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                process_group=0,
            )
        return ours

    def close(self) -> None:
        """End it; its children go on."""
        if self._channel is not None and self._process is not None:
            self._channel.close()
            self._process.wait()
            self._channel = self._process = None


warm = Warm()
