"""The zygote's loop: forks confined workers, hands them to the host, reports their ends."""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

import msgspec

from streamsim.sandbox import table
from streamsim.sandbox.report import Report
from streamsim.sandbox.zygote import cgroup, confine, fork, kernel, landlock, seccomp, selftest

PACKET_BYTES: Final = 65_536
CONFINE_SECONDS: Final = 10
CONFINED: Final = b"\0"
UNCONFINED, RETURNED = 97, 98
"""Exit statuses: confinement or self-test failed; the worker's main function came back, which it must not."""

Main = Callable[..., object]
"""`main(fd, program, limits)` of a worker."""


class Spawner:
    """Prepares the layers once, then serves the control socket."""

    def __init__(
        self, channel: socket.socket, statm: int, degraded: bool, main: Main, groups: cgroup.Groups | None
    ) -> None:
        self.missing: dict[str, str] = {}
        self.readable = False
        self.abi = landlock.abi()
        self._socket = channel
        self._statm = statm
        self._degraded = degraded
        self._main = main
        self._groups = groups
        self._page = os.sysconf("SC_PAGE_SIZE")
        self._poll = select.poll()
        self._workers: dict[int, tuple[int, int]] = {}
        # The processors that this process may use, and those that it is on.
        self._usual = self._at = os.sched_getaffinity(0)

    @property
    def filtered(self) -> bool:
        """Whether workers run under the system call filter."""
        return self._layers.filter is not None

    def prepare(self, own_root: bool, uids: tuple[int, int], readable: list[str]) -> None:
        """Gives up what spawning does not need, prepares the layers, and tries them on a first worker."""
        confine.drop_bounding_set()
        needed = (kernel.CAP_KILL, kernel.CAP_SETGID, kernel.CAP_SETUID, kernel.CAP_SETPCAP)
        held = kernel.capabilities()[1]
        kernel.set_capabilities(*(capability for capability in needed if held >> capability & 1))
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        if not self.abi:
            self.missing["landlock"] = (
                "the kernel offers no Landlock (Linux 5.13, and `landlock` in its lsm= list)"
            )
        if not seccomp.available():
            self.missing["seccomp"] = "the kernel does not let this process filter system calls"
        # Degraded, with nothing that hides files: then no file can be opened at all.
        without = () if self.abi or own_root else ("openat",)
        self._layers = confine.Layers(
            rules=landlock.ruleset(self.abi, [*readable, *table.DEVICES]) if self.abi else -1,
            abi=self.abi,
            filter=None if "seccomp" in self.missing else seccomp.Filter(without),
            uids=uids,
            parent=os.getpid(),
            own_root=own_root,
            signals=confine.handled(),
        )
        gc.collect()
        gc.freeze()
        self._try(readable)

    def _try(self, readable: list[str]) -> None:
        ours, theirs = socket.socketpair()

        def list_trees() -> NoReturn:
            for tree in readable:
                os.listdir(tree)
            os._exit(0)

        pid, failed = self._fork("trial", theirs.detach(), 0, 64 * table.MIB, list_trees)
        ours.close()
        if failed:
            self.missing.setdefault(failed.partition(":")[0], failed)
            return
        _, status = os.waitpid(pid, 0)
        self._forget_group("trial")
        self.readable = status == 0

    def serve(self, report: Report) -> None:
        """Says that it is ready, serves requests and reports ends until the control channel closes."""
        control = self._socket.fileno()
        self._poll.register(control, select.POLLIN)
        try:
            self.say(["ready", report])
            while True:
                for descriptor, _ in self._poll.poll():
                    if descriptor != control:
                        self._reap(descriptor)
                    elif not self._hear():
                        return
        except (BrokenPipeError, ConnectionResetError):
            return

    def end(self) -> None:
        """Kills and reaps every worker."""
        for _, pid in self._workers.values():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def say(self, message: list[Any], descriptors: Sequence[int] = ()) -> None:
        """One datagram to the host."""
        socket.send_fds(self._socket, [msgspec.msgpack.encode(message)], descriptors)

    def _hear(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._socket, PACKET_BYTES, 1)
        if not data:
            return False
        _, number, program, uid_index, limits, processors = msgspec.msgpack.decode(data)
        self._go(processors)
        self._spawn(number, program, uid_index, limits, descriptors[0])
        return True

    def _go(self, processors: Sequence[int]) -> None:
        """Go where the next worker begins, which stays there; [] is any.

        To fork, and to reap, is work in the kernel, which holds up whatever is to run on the same processor
        next. So this process stays there too: who begins one there is likely to begin the next one.
        """
        wanted = self._usual.intersection(processors) or self._usual
        if wanted != self._at:
            os.sched_setaffinity(0, wanted)
            self._at = wanted

    def _spawn(self, number: int, program: str, uid_index: int, limits: dict[str, int], channel: int) -> None:
        if self.missing and not self._degraded:
            os.close(channel)
            self.say(["refused", number, "; ".join(self.missing.values())])
            return

        def run() -> None:
            self._main(fd=confine.CHANNEL, program=program, limits=limits)

        pid, failed = self._fork(str(number), channel, uid_index, limits["memory_bytes"], run)
        if failed:
            self.say(["refused", number, failed])
            return
        pidfd = os.pidfd_open(pid)
        self._workers[pidfd] = (number, pid)
        self._poll.register(pidfd, select.POLLIN)
        self.say(["spawned", number, pid], [pidfd])

    def _fork(
        self, name: str, channel: int, uid_index: int, budget: int, run: Callable[[], None]
    ) -> tuple[int, str]:
        """Forks a worker and waits for its word: its pid and "", or, when it has ended, what failed."""
        group = self._groups.make(name, budget) if self._groups else -1
        reader, writer = os.pipe()
        fields = os.pread(self._statm, 200, 0).split()
        baseline = (int(fields[0]) * self._page, int(fields[5]) * self._page)
        pid = fork.into(group) if group >= 0 else fork.FAILED
        entered = pid != fork.FAILED
        if not entered:
            pid = os.fork()
        if pid == 0:
            enter = -1 if entered else group
            self._become_worker(confine.Request(channel, writer, enter, uid_index, baseline, budget), run)
        for descriptor in (writer, channel, group):
            if descriptor >= 0:
                os.close(descriptor)
        word = _read_all(reader)
        os.close(reader)
        if word == CONFINED:
            return pid, ""
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self._forget_group(name)
        return pid, word.decode(errors="replace") or "confinement: the worker ended without a word"

    def _become_worker(self, request: confine.Request, run: Callable[[], None]) -> NoReturn:
        try:
            # Python's object would some day close its descriptor, which is the channel from here on.
            self._socket.detach()
            try:
                confine.worker(self._layers, request)
                selftest.run(self._layers, request)
            except BaseException as error:
                os.write(request.status, (str(error) or repr(error)).encode())
                os._exit(UNCONFINED)
            gc.enable()
            os.write(request.status, CONFINED)
            os.close(request.status)
            run()
        finally:
            os._exit(RETURNED)

    def _reap(self, pidfd: int) -> None:
        number, pid = self._workers.pop(pidfd)
        self._poll.unregister(pidfd)
        _, status = os.waitpid(pid, 0)
        os.close(pidfd)
        self._forget_group(str(number))
        self.say(["exited", number, status])

    def _forget_group(self, name: str) -> None:
        if self._groups:
            self._groups.remove(name)


def _read_all(reader: int) -> bytes:
    """Bytes of a pipe until it closes, or so far when it takes too long."""
    data = b""
    waiting = select.poll()
    waiting.register(reader, select.POLLIN)
    while waiting.poll(CONFINE_SECONDS * 1000):
        piece = os.read(reader, 4096)
        if not piece:
            break
        data += piece
    return data
