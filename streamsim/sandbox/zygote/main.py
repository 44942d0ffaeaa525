"""The process that every worker is forked from; the host executes it, so it never held a secret of the host.

It confines itself, preloads what policy code may import, and then serves its control socket (SOCK_SEQPACKET,
one msgpack array per datagram) until that closes; with it end all workers.

    host -> zygote   ["spawn", id, program, uid_index, limits, processors] + the worker's end of a stream
                     socketpair
    zygote -> host   ["ready", report]            once
                     ["spawned", id, pid] + pidfd the worker is confined and has passed its self-test
                     ["refused", id, text]        it has not; no policy byte was read
                     ["exited", id, status]       a spawned worker has ended (raw wait status)

`pid` is the number inside the sandbox's namespace; `host_pid(pidfd)` gives the host's. `processors` are those
that the worker begins on; [] is any.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import os
import pkgutil
import platform
import signal
import socket
import sys
import time
from collections.abc import Collection
from typing import Final, NoReturn

import msgspec

from streamsim import slices, terminal
from streamsim.sandbox import table
from streamsim.sandbox.registry import LIBRARIES, PLAIN, PROGRAMS
from streamsim.sandbox.report import Report
from streamsim.sandbox.zygote import cgroup, kernel, namespaces
from streamsim.sandbox.zygote.spawner import Spawner

COMMON: Final = ("numpy", "msgspec", "msgpack")
SCIENCE: Final = ("scipy.stats", "scipy.special", "scipy.optimize", "scipy.linalg")
CONTROL: Final = 3
"""The zygote's descriptor of its control socket."""
WORKER: Final = "streamsim.sandbox.worker.main"
_BOOT: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); from streamsim.sandbox.zygote import main as zygote; "
    "del sys.path[0]; zygote.main(*sys.argv[2:])"
)


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to start. `libraries`: more directories that workers may read and import from.

    `degraded`: spawn workers even where a required layer is missing. `plain`: import NumPy alone, and no
    program that needs more. `preload`: more modules to import before workers are forked; those that are not
    installed are left out. `processors`: those that it and its workers use; [] for those of who starts it.
    """

    libraries: list[str] = []
    degraded: bool = False
    plain: bool = False
    preload: list[str] = []
    processors: list[int] = []


def command(control: int, options: Options) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment with which the host executes the zygote; pass `control` on (`pass_fds`)."""
    text = msgspec.json.encode(options).decode()
    root = os.path.dirname(namespaces.package())
    # Not -I: it would ignore the one PYTHON variable of the environment, which is all of it that there is.
    argv = [sys.executable, "-s", "-P", "-B", "-X", "utf8", "-c", _BOOT, root, str(control), text]
    return argv, dict(table.ENVIRONMENT)


def host_pid(pidfd: int) -> int:
    """The process id, in this process's own namespace, behind a pidfd; -1 if it has ended and was reaped."""
    # Python's own files take longer, and the event loop waits for it.
    file = os.open(f"/proc/self/fdinfo/{pidfd}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = os.read(file, 4096).partition(b"\nPid:")[2].split(maxsplit=1)
    finally:
        os.close(file)
    if not found:
        raise ValueError(f"descriptor {pidfd} is no pidfd")
    return int(found[0])


def main(control: str, options: str) -> NoReturn:
    """The zygote's life; never returns."""
    started = time.monotonic()
    descriptor = os.dup2(int(control), CONTROL) if int(control) != CONTROL else CONTROL
    channel = socket.socket(fileno=descriptor)
    try:
        _detach()
        chosen = msgspec.json.decode(options, type=Options)
        if chosen.processors:
            with contextlib.suppress(OSError):  # it has others now, as who starts it has
                os.sched_setaffinity(0, chosen.processors)
        spawner, groups, report = _start(channel, chosen)
    except Exception as error:
        channel.send(msgspec.msgpack.encode(["failed", f"{type(error).__name__}: {error}"]))
        raise
    report = msgspec.structs.replace(report, start_ms=round((time.monotonic() - started) * 1000))
    spawner.serve(report)
    spawner.end()
    if groups and report.root == "shared":
        groups.close()
    os._exit(0)


def _start(channel: socket.socket, options: Options) -> tuple[Spawner, cgroup.Groups | None, Report]:
    notes = _raise_oom_score()
    readable = namespaces.trees(options.libraries)
    through, refusals = _reachable(readable)
    uids = _worker_uids()
    groups = cgroup.groups()
    sys.path += options.libraries
    versions = preload(options.preload, plain=options.plain)
    worker = importlib.import_module(WORKER)
    worker.state.watch()
    # The new root has no /proc; through this descriptor the zygote still sees itself.
    proc = os.open("/proc", os.O_DIRECTORY | os.O_CLOEXEC)
    own = through != namespaces.NONE
    if own:
        notes += namespaces.enter(through, readable)
        _become_first_process(channel, groups)
    else:
        notes.append("no namespaces: " + "; ".join(refusals))
    statm = os.open("self/statm", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
    os.close(proc)
    spawner = Spawner(channel, statm, options.degraded, worker.main, groups)
    spawner.prepare(own, uids, readable)
    if not spawner.readable:
        notes.append(f"user {uids[0]} cannot read all Python files: only what is preloaded can be imported")
    report = Report(
        namespaces=[*namespaces.NAMES] if own else [],
        through=through,
        root="own" if own else "shared",
        landlock=spawner.abi,
        seccomp=spawner.filtered,
        uids=uids,
        cgroup=groups.controllers if groups else [],
        readable=spawner.readable,
        versions=versions,
        start_ms=0,
        missing=spawner.missing,
        notes=notes,
    )
    return spawner, groups, report


def _detach() -> None:
    """Keeps the control descriptor alone, has no terminal, dies with the host, and hurries less than it."""
    kernel.setup("close_range", CONTROL + 1, table.ALL, 0)
    terminal.leave()
    with contextlib.suppress(OSError):  # then the host could not ask either
        slices.ask(0)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    kernel.prctl(kernel.PR_SET_NAME, b"streamsim-zygo")
    os.chdir("/")


def _raise_oom_score() -> list[str]:
    try:
        with open("/proc/self/oom_score_adj", "r+") as file:
            if int(file.read()) < table.OOM_SCORE_ADJ:
                file.write(str(table.OOM_SCORE_ADJ))
    except OSError as error:
        return [f"oom_score_adj not set: {error.strerror}"]
    return []


def _reachable(readable: list[str]) -> tuple[str, list[str]]:
    """How namespaces can be had here, and why not the ways that were refused."""
    refusals: list[str] = []
    for how in (namespaces.HOST, namespaces.USER):
        refused = namespaces.attempt(how, readable)
        if refused is None:
            return how, refusals
        refusals.append(f"as {how}: {refused.strerror}")
    return namespaces.NONE, refusals


def _worker_uids() -> tuple[int, int]:
    """(first, count) of the uids that workers get: nobody else's, if this process may set them."""
    may = kernel.capabilities()[0]
    if not (may >> kernel.CAP_SETUID & 1 and may >> kernel.CAP_SETGID & 1):
        return os.getuid(), 0
    ranges = []
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/self/{name}") as file:
            ranges.append([tuple(map(int, line.split()))[::2] for line in file])
    for first, count in table.UID_RANGES:
        if all(any(a <= first and first + count <= a + n for a, n in rows) for rows in ranges):
            return first, count
    return os.getuid(), 0


def _become_first_process(channel: socket.socket, groups: cgroup.Groups | None) -> None:
    """Forks into the new process-id namespace; the parent stays behind only to end with its child."""
    child = os.fork()
    if child:
        channel.close()
        _, status = os.waitpid(child, 0)
        if groups:
            groups.close()
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)


def preload(more: Collection[str] = (), *, plain: bool = False) -> dict[str, str]:
    """Imports what user code may use, so that every worker shares it. Returns the versions.

    The time that it takes to fork a worker, and to end one, is that of its memory and of its libraries.

    :raises RuntimeError: a library started threads; nothing can be forked safely then.
    """
    gc.disable()
    wanted = (*COMMON, *(() if plain else SCIENCE), *more)
    modules = [name for name in wanted if importlib.util.find_spec(name.partition(".")[0])]
    for package in LIBRARIES:
        folder = importlib.import_module(package).__path__
        modules += [f"{package}.{module.name}" for module in pkgutil.iter_modules(folder)]
    modules += [module for program, module in PROGRAMS.items() if program in PLAIN or not plain]
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError:
            if name not in more:
                raise
            # An extra that lacks a part of its own; code that imports it is told so.
    # Linear algebra allocates large buffers when first used: here, not in every worker's budget.
    numpy = importlib.import_module("numpy")
    matrix = numpy.eye(128)
    for linalg in (numpy.linalg, sys.modules.get("scipy.linalg")):
        if linalg:
            linalg.inv(matrix) @ matrix
    if parallel := sys.modules.get("sklearn.utils.parallel"):
        # Looks at all loaded libraries, which a worker cannot, and remembers.
        getattr(parallel, "_get_threadpool_controller", lambda: None)()
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise RuntimeError(f"an imported library started {threads - 1} threads; forking is not safe then")
    names = dict.fromkeys(name.partition(".")[0] for name in wanted)
    found = {name: getattr(sys.modules.get(name), "__version__", "") for name in names}
    versions = {"python": platform.python_version(), "kernel": platform.release()}
    return versions | {name: version for name, version in found.items() if version}
