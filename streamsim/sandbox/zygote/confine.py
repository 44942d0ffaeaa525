"""Steps that a freshly forked worker takes, in this order, before it sees any policy byte.

Session and descriptors, control group, resource limits, privileges, Landlock, seccomp; `selftest` follows.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
from collections.abc import Iterator
from typing import NamedTuple

from streamsim.sandbox import table
from streamsim.sandbox.zygote import cgroup, kernel, landlock, seccomp

CHANNEL = 3
"""A worker's descriptor of its channel to the host; beside 0-2, which are /dev/null, its only one."""


class Layers(NamedTuple):
    """What the zygote found and prepared once for all its workers.

    `rules`: Landlock ruleset descriptor, -1 without Landlock. `abi`: its version.
    `filter`: None without seccomp.
    `uids`: first and number of worker uids; number 0 keeps the zygote's own.
    `parent`: the zygote's process id as its workers see it. `own_root`: whether a private root is in force.
    `signals`: those that the zygote does not leave to the kernel, and a worker does.
    """

    rules: int
    abi: int
    filter: seccomp.Filter | None
    uids: tuple[int, int]
    parent: int
    own_root: bool
    signals: tuple[int, ...]


class Request(NamedTuple):
    """One worker to be: its descriptors, user and memory.

    `status`: a pipe to the zygote, until the self-test has passed. `group`: the folder of the control group
    that it has still to enter, or -1.
    `baseline`: bytes of address space and of data in use at the fork; `budget`: bytes that may be added.
    """

    channel: int
    status: int
    group: int
    uid_index: int
    baseline: tuple[int, int]
    budget: int


class Failed(Exception):
    """A layer could not be put in place; the message starts with the layer's name."""


def worker(layers: Layers, request: Request) -> None:
    """Confines this process, for good.

    :raises Failed: naming the layer; the process must then end.
    """
    with _step("descriptors"):
        _descriptors(layers.rules, layers.signals, request)
    if request.group >= 0:
        with _step("cgroup"):
            cgroup.enter(request.group)
            os.close(request.group)
    with _step("rlimits"):
        _limits(request)
    with _step("privileges"):
        _privileges(layers, request.uid_index)
    if layers.rules >= 0:
        with _step("landlock"):
            landlock.restrict(layers.rules, layers.abi)
            os.close(layers.rules)
    if layers.filter is not None:
        with _step("seccomp"):
            layers.filter.install(os.getpid())


@contextlib.contextmanager
def _step(layer: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise Failed(f"{layer}: {error}") from error


def handled() -> tuple[int, ...]:
    """The signals for which this process has another disposition than the default."""
    signals = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    return tuple(number for number in signals if signal.getsignal(number) != signal.SIG_DFL)


def _descriptors(rules: int, signals: tuple[int, ...], request: Request) -> None:
    os.setpgid(0, 0)
    kernel.prctl(kernel.PR_SET_NAME, b"streamsim-work")
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for place, descriptor in ((0, null), (1, null), (2, null), (CHANNEL, request.channel)):
        os.dup2(descriptor, place, inheritable=False)
    first = CHANNEL + 1
    for kept in sorted({rules, request.status, request.group} - {-1}):
        if kept > first:
            kernel.setup("close_range", first, kept - 1, 0)
        first = kept + 1
    kernel.setup("close_range", first, table.ALL, 0)
    for number in signals:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o777)


def _limits(request: Request) -> None:
    limits = dict(table.RLIMITS)
    for which, used in zip(table.MEMORY_RLIMITS, request.baseline, strict=True):
        limits[which] = used + request.budget
    for which, wanted in limits.items():
        _, hard = resource.getrlimit(which)
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(which, (value, value))


def _privileges(layers: Layers, uid_index: int) -> None:
    kernel.prctl(kernel.PR_CAP_AMBIENT, kernel.PR_CAP_AMBIENT_CLEAR_ALL)
    first, count = layers.uids
    if count:
        if not 0 <= uid_index < count:
            raise ValueError(f"uid index {uid_index} is not in 0..{count - 1}")
        uid = first + uid_index
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.set_capabilities()
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    # Only now: a change of user clears it.
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != layers.parent:
        raise OSError(errno.ESRCH, "the zygote has ended")
    if any(kernel.capabilities()):
        raise OSError(errno.EPERM, "a capability is left")


def drop_bounding_set() -> None:
    """Empties the capability bounding set, where the process may; the zygote does it once for all workers."""
    if not kernel.capabilities()[0] >> kernel.CAP_SETPCAP & 1:
        return
    for capability in range(64):
        try:
            kernel.prctl(kernel.PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return
