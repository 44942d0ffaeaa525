"""`warm_zygote.py SOURCE HOLD`: has imported what a zygote imports, and becomes one in every child.

The other side is `tests.nursery`. Each datagram of the socket SOURCE has the options of a zygote, and two
descriptors: where the answer goes, a process id with a pidfd, and the zygote's end of its control socket.
In the memory of this process and in its environment is what a zygote has that is executed. It ends when
nobody holds the other end of HOLD, and its zygotes with it.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import sys

import msgspec

from streamsim.sandbox.zygote import kernel, namespaces
from streamsim.sandbox.zygote import main as zygote
from streamsim.sandbox.zygote.spawner import PACKET_BYTES

Kind = tuple[bool | str, ...]
"""Whether it is plain, and what it preloads."""


class Nursery:
    """What zygotes are forked from that have imported the same, plain or not, and `more` beside it."""

    def __init__(self, source: socket.socket, hold: int, plain: bool, more: list[str]) -> None:
        zygote.preload(more, plain=plain)
        importlib.import_module(zygote.WORKER)
        namespaces.trees()  # remembers where Python has its files
        gc.collect()
        gc.freeze()
        self._source, self._hold, self._kind = source, hold, (plain, *more)
        self._poll = select.poll()
        for descriptor in (source.fileno(), hold):
            self._poll.register(descriptor, select.POLLIN)
        self._children: dict[int, int] = {}  # process ids by pidfd
        # Those who have imported more, by what; they are children as the zygotes are.
        self._others: dict[Kind, socket.socket] = {}

    def serve(self) -> None:
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor == self._hold:
                    return
                if descriptor in self._children:
                    self._reap(descriptor)
                else:
                    self._hear()

    def _hear(self) -> None:
        data, descriptors, _, _ = socket.recv_fds(self._source, PACKET_BYTES, 2)
        answer, control = descriptors
        options = msgspec.json.decode(data, type=zygote.Options)
        if (options.plain, *options.preload) == self._kind:
            pid, pidfd = self._fork()
            if pid == 0:
                for stream in (1, 2):
                    os.dup2(0, stream)
                zygote.main(str(control), data.decode())
            with socket.socket(fileno=os.dup(answer)) as asked:
                socket.send_fds(asked, [str(pid).encode()], [pidfd])
        else:
            socket.send_fds(self._other(options), [data], descriptors)
        for descriptor in descriptors:
            os.close(descriptor)

    def _other(self, options: zygote.Options) -> socket.socket:
        key: Kind = (options.plain, *options.preload)
        if key not in self._others:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            pid, _ = self._fork()
            if pid == 0:
                ours.close()
                Nursery(theirs, self._hold, options.plain, options.preload).serve()
                os._exit(0)
            theirs.close()
            self._others[key] = ours
        return self._others[key]

    def _fork(self) -> tuple[int, int]:
        """Process id and pidfd of a child that ends with this process; (0, -1) in it."""
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
            return 0, -1
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = pid
        self._poll.register(pidfd, select.POLLIN)
        return pid, pidfd

    def _reap(self, pidfd: int) -> None:
        self._poll.unregister(pidfd)
        os.waitpid(self._children.pop(pidfd), 0)
        os.close(pidfd)


if __name__ == "__main__":
    Nursery(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), True, []).serve()
