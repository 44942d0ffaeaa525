"""`python -P warm_server.py DESCRIPTOR`: has imported what a server imports, and becomes one in every child.

The other side is `tests.warm`. Each request on the socket is one JSON datagram with three descriptors, the
child's standard streams; the answer is its process id. It is a child of the process that asked: that takes
over orphans for as long as the request lasts, and the one between them ends at once.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from prometheus_client import values

from handlers.routes import PAGES, ROUTES, compiled
from streamsim.cli.main import main
from streamsim.experiments import catalogue
from streamsim.sandbox.host import zygote
from streamsim.sandbox.zygote import namespaces
from streamsim.server import serve as serving

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.brood import BROOD, fork_child
from tests.nursery import fork

del sys.path[0]

PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15
prctl = ctypes.CDLL(None).prctl
# What a start imports only where it is configured.
LATER = ("uvloop", "streamsim.storage.production.store")


def imports() -> None:
    """The rest of what a server may come to import, and what it makes of its package's files: half of it.

    :raises RuntimeError: something started threads.
    """
    for module in LATER:
        importlib.import_module(module)
    catalogue.entries()
    compiled((*ROUTES, *PAGES))
    namespaces.trees()
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise RuntimeError(f"{threads - 1} threads run, which a child would not have")


def serve(channel: socket.socket) -> None:
    """Fork a child for every request. Returns in each, and ends this process when nobody is there to ask."""
    while True:
        data, streams, _, _ = socket.recv_fds(channel, 1 << 20, 4)
        if not data:
            os._exit(0)
        request = json.loads(data)
        reader, writer = os.pipe()
        between = os.fork()
        if between == 0:
            if os.fork() != 0:
                os._exit(0)
            os.close(writer)
            # Ends once the process between is gone.
            os.read(reader, 1)
            os.close(reader)
            become(request, streams)
            channel.send(str(os.getpid()).encode())
            channel.close()
            return
        os.waitpid(between, 0)
        for descriptor in (reader, writer, *streams):
            os.close(descriptor)


def become(request: dict[str, Any], descriptors: list[int]) -> None:
    """Take on what an executed process would have been given."""
    command, environment = request["command"], request["environment"]
    # A child of several notices by itself that its parent has ended.
    of_several = len(descriptors) > 3
    if not of_several:
        die_with(request["parent"])
    name_process(b"streamsim")
    os.setpgid(0, 0)
    streams = descriptors[:3]
    for place, descriptor in enumerate(streams):
        os.dup2(descriptor, place)
    for descriptor in streams:
        os.close(descriptor)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    if request["nursery"] is not None:
        zygote.start = partial(fork, bytes.fromhex(request["nursery"]))
    if of_several:
        command = [*command, "--child", f"{request['port']}:{descriptors[3]}"]
        # It was chosen when this was imported, by the environment of then.
        values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]
    elif request["several"]:
        serving.start_child = partial(fork_child, keep_brood(), request)
    sys.argv = command
    sys.orig_argv = [sys.executable, *sys.argv]
    sys.path.insert(0, os.path.dirname(sys.argv[0]))
    # Python's own generator reseeds itself.
    np.random.seed()


def keep_brood() -> socket.socket:
    """Where children of this process are asked for; who forks them has nothing of what this one will open."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent = os.getpid()
    if os.fork() == 0:
        ours.close()
        die_with(parent)
        name_process(BROOD)
        serve(theirs)
        end(main())
    theirs.close()
    return ours


def end(status: int) -> NoReturn:
    """As an interpreter ends, but it does not take apart what it imported: that writes to all the memory that
    it shares, which would be most of its work."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def die_with(parent: int) -> None:
    prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def name_process(name: bytes) -> None:
    prctl(PR_SET_NAME, name, 0, 0, 0)


if __name__ == "__main__":
    imports()
    gc.collect()
    gc.freeze()
    serve(socket.socket(fileno=int(sys.argv[1])))
    end(main())
