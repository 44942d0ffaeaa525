"""The process that every worker is forked from; the host executes it, so it never held a secret of the host.

It confines itself, preloads what policy code may import, and then serves its control socket (SOCK_SEQPACKET,
one msgpack array per datagram) until that closes; with it end all workers.

    host -> zygote   ["spawn", id, program, uid_index, limits] + the worker's end of a stream socketpair
    zygote -> host   ["ready", report]            once
                     ["spawned", id, pid] + pidfd the worker is confined and has passed its self-test
                     ["refused", id, text]        it has not; no policy byte was read
                     ["exited", id, status]       a spawned worker has ended (raw wait status)

`pid` is the number inside the sandbox's namespace; `host_pid(pidfd)` gives the host's.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import os
import pkgutil
import platform
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

import msgspec

from streamsim.sandbox import confine, kernel, landlock, namespaces, seccomp, selftest, table
from streamsim.sandbox.report import Report

PACKET_BYTES: Final = 65_536
SPAWN_SECONDS: Final = 10
CONFINED: Final = b"\0"
UNCONFINED: Final = 97
"""Exit status of a child whose confinement or self-test failed."""
PRELOADED: Final = (
    "numpy",
    "scipy.stats",
    "scipy.special",
    "scipy.optimize",
    "scipy.linalg",
    "sklearn.linear_model",
    "msgspec",
    "msgpack",
)
PACKAGES: Final = ("streamsim.estimators", "streamsim.sandbox.programs")
_BOOT: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); from streamsim.sandbox import zygote; del sys.path[0]; "
    "zygote.main(*sys.argv[2:])"
)


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to start. `libraries`: more directories that workers may read and import from.

    `degraded`: spawn workers even where a required layer is missing. `worker`: module with `main(fd, program, limits)`.
    """

    libraries: list[str] = []
    degraded: bool = False
    worker: str = "streamsim.sandbox.worker"


def command(control: int, options: Options = Options()) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment with which the host executes the zygote; pass `control` on (`pass_fds`)."""
    text = msgspec.json.encode(options).decode()
    root = os.path.dirname(namespaces.package())
    argv = [sys.executable, "-I", "-B", "-X", "utf8", "-c", _BOOT, root, str(control), text]
    return argv, dict(table.ENVIRONMENT)


def host_pid(pidfd: int) -> int:
    """The process id, in this process's own namespace, behind a pidfd; -1 if it has ended and was reaped."""
    with open(f"/proc/self/fdinfo/{pidfd}") as info:
        for line in info:
            if line.startswith("Pid:"):
                return int(line.split()[1])
    raise ValueError(f"descriptor {pidfd} is no pidfd")


def main(control: str, options: str) -> NoReturn:
    """The zygote's life; never returns."""
    started = time.monotonic()
    settings = msgspec.json.decode(options, type=Options)
    descriptor = _inherit(int(control))
    notes = _raise_oom_score()
    readable = namespaces.trees(settings.libraries)
    through, refusals = _reachable(readable)
    uids = _worker_uids()
    # The new root has no /proc; through this descriptor the zygote still sees itself.
    proc = os.open("/proc", os.O_DIRECTORY | os.O_CLOEXEC)
    if through == namespaces.NONE:
        notes.append("no namespaces: " + "; ".join(refusals))
    else:
        namespaces.enter(through, readable)
        _become_first_process(descriptor)
    sys.path += settings.libraries
    versions = preload()
    threads = len(os.listdir(os.open("self/task", os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=proc)))
    if threads != 1:
        raise RuntimeError(
            f"a library started {threads - 1} threads while it was imported; cannot fork safely"
        )
    zygote = Zygote(settings, descriptor, os.open("self/statm", os.O_RDONLY, dir_fd=proc))
    os.close(proc)
    zygote.prepare(through != namespaces.NONE, uids, readable)
    report = Report(
        namespaces=[] if through == namespaces.NONE else [*namespaces.NAMES],
        through=through,
        root="shared" if through == namespaces.NONE else "own",
        landlock=zygote.abi,
        seccomp=zygote.layers.filter is not None,
        uids=uids,
        cgroup=[],
        readable=zygote.readable,
        versions=versions,
        start_ms=(time.monotonic() - started) * 1000,
        missing=zygote.missing,
        notes=notes + zygote.notes,
    )
    try:
        zygote.say(["ready", report])
        zygote.serve()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the host is gone: so is the reason to live
    os._exit(0)


def _inherit(control: int) -> int:
    """Keeps the control descriptor alone, leads a session, and dies with the host."""
    control = os.dup2(control, 3, inheritable=False) if control != 3 else 3
    kernel.setup("close_range", 4, table.ALL, 0)
    if os.getpid() != os.getsid(0):
        os.setsid()
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    kernel.prctl(kernel.PR_SET_NAME, b"streamsim-zygo")
    os.chdir("/")
    return control


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
    refusals = []
    for how in (namespaces.HOST, namespaces.USER):
        refused = namespaces.attempt(how, readable)
        if refused is None:
            return how, refusals
        refusals.append(f"as {how}: {refused.strerror}")
    return namespaces.NONE, refusals


def _worker_uids() -> tuple[int, int]:
    """(first, count) of the uids that workers get: ones that nobody else has, if this process may set them."""
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


def _become_first_process(control: int) -> None:
    """Forks into the new process-id namespace; the parent stays behind only to end with its child."""
    child = os.fork()
    if child:
        os.close(control)
        kernel.set_capabilities()
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)


def preload() -> dict[str, str]:
    """Imports what policy code may use, so that every worker shares it. Returns the versions."""
    gc.disable()
    modules = [name for name in PRELOADED if importlib.util.find_spec(name.partition(".")[0])]
    for package in PACKAGES:
        folder = importlib.import_module(package).__path__
        modules += [f"{package}.{module.name}" for module in pkgutil.iter_modules(folder)]
    for name in modules:
        importlib.import_module(name)
    names = dict.fromkeys(name.partition(".")[0] for name in PRELOADED)
    found = {name: getattr(sys.modules.get(name), "__version__", "") for name in names}
    versions = {"python": platform.python_version(), "kernel": platform.release()}
    return versions | {name: version for name, version in found.items() if version}


class Zygote:
    """The loop that forks, watches and reaps workers."""

    def __init__(self, options: Options, control: int, statm: int) -> None:
        self.options = options
        self.missing: dict[str, str] = {}
        self.notes: list[str] = []
        self.readable = False
        self.abi = landlock.abi()
        self._socket = socket.socket(fileno=control)
        self._statm = statm
        self._page = os.sysconf("SC_PAGE_SIZE")
        self._poll = select.poll()
        self._workers: dict[int, tuple[int, int]] = {}
        self._run = importlib.import_module(options.worker).main

    def prepare(self, own_root: bool, uids: tuple[int, int], readable: list[str]) -> None:
        """Gives up what spawning does not need, prepares the layers, and tries them on a worker of its own."""
        confine.drop_bounding_set()
        needed = (kernel.CAP_KILL, kernel.CAP_SETGID, kernel.CAP_SETUID, kernel.CAP_SETPCAP)
        held = kernel.capabilities()[1]
        kernel.set_capabilities(*(capability for capability in needed if held >> capability & 1))
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        if not self.abi:
            self.missing["landlock"] = (
                "the kernel offers no Landlock (needs Linux 5.13 with landlock in lsm=)"
            )
        if not seccomp.available():
            self.missing["seccomp"] = "the kernel does not let this process filter system calls"
        self.layers = confine.Layers(
            rules=landlock.ruleset(self.abi, [*readable, *table.DEVICES]) if self.abi else -1,
            filter=None if "seccomp" in self.missing else seccomp.Filter(),
            uids=uids,
            parent=os.getpid(),
            own_root=own_root,
        )
        gc.collect()
        gc.freeze()
        self._try(readable)

    def _try(self, readable: list[str]) -> None:
        ours, theirs = socket.socketpair()
        pid, text = self._fork(theirs.detach(), 0, 64 * table.MIB, lambda: os._exit(_readable(readable)))
        ours.close()
        _, status = os.waitpid(pid, 0)
        if text:
            self.missing.setdefault(text.partition(":")[0], text)
            return
        self.readable = os.waitstatus_to_exitcode(status) == 0
        if not self.readable:
            self.notes.append(
                f"user {self.layers.uids[0]} cannot read the Python files, so workers can use only preloaded modules"
            )

    def serve(self) -> None:
        """Serves requests and reports ends until the control channel closes."""
        control = self._socket.fileno()
        self._poll.register(control, select.POLLIN)
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor != control:
                    self._reap(descriptor)
                elif not self._hear():
                    return  # its death kills the workers

    def say(self, message: list[Any], descriptors: Sequence[int] = ()) -> None:
        """One datagram to the host."""
        socket.send_fds(self._socket, [msgspec.msgpack.encode(message)], descriptors)

    def _hear(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._socket, PACKET_BYTES, 1)
        if not data:
            return False
        _, number, program, uid_index, limits = msgspec.msgpack.decode(data)
        self._spawn(number, program, uid_index, limits, descriptors[0])
        return True

    def _spawn(self, number: int, program: str, uid_index: int, limits: dict[str, int], channel: int) -> None:
        if self.missing and not self.options.degraded:
            os.close(channel)
            self.say(["refused", number, "; ".join(self.missing.values())])
            return
        pid, text = self._fork(
            channel,
            uid_index,
            limits["memory_bytes"],
            lambda: self._run(fd=confine.CHANNEL, program=program, limits=limits),
        )
        if text:
            os.waitpid(pid, 0)
            self.say(["refused", number, text])
            return
        pidfd = os.pidfd_open(pid)
        self._workers[pidfd] = (number, pid)
        self._poll.register(pidfd, select.POLLIN)
        self.say(["spawned", number, pid], [pidfd])

    def _fork(self, channel: int, uid_index: int, budget: int, run: Callable[[], object]) -> tuple[int, str]:
        """Forks a worker and waits for its word: its pid, and "" once it is confined, else what failed."""
        reader, writer = os.pipe()
        fields = os.pread(self._statm, 200, 0).split()
        baseline = (int(fields[0]) * self._page, int(fields[5]) * self._page)
        pid = os.fork()
        if pid == 0:
            self._become_worker(confine.Request(channel, writer, uid_index, baseline, budget), run)
        os.close(writer)
        os.close(channel)
        text = b""
        waiting = select.poll()
        waiting.register(reader, select.POLLIN)
        while waiting.poll(SPAWN_SECONDS * 1000):
            piece = os.read(reader, 4096)
            text += piece
            if not piece:
                break
        os.close(reader)
        if text == CONFINED:
            return pid, ""
        signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGKILL)
        return pid, text.decode(errors="replace") or "confinement: the worker ended without a word"

    def _become_worker(self, request: confine.Request, run: Callable[[], object]) -> NoReturn:
        try:
            # Python's object would close descriptor 3 some day, which is the channel from here on.
            self._socket.detach()
            try:
                confine.worker(self.layers, request)
                selftest.run(self.layers, request)
            except BaseException as error:
                # Which number the status pipe has now depends on how far it came.
                for descriptor in (request.status, confine.STATUS):
                    with contextlib.suppress(OSError):
                        os.write(descriptor, str(error).encode())
                        break
                os._exit(UNCONFINED)
            gc.enable()
            os.write(confine.STATUS, CONFINED)
            os.close(confine.STATUS)
            run()
        finally:
            os._exit(UNCONFINED)

    def _reap(self, pidfd: int) -> None:
        number, pid = self._workers.pop(pidfd)
        self._poll.unregister(pidfd)
        _, status = os.waitpid(pid, 0)
        os.close(pidfd)
        self.say(["exited", number, status])


def _readable(trees: list[str]) -> int:
    """Exit status 0 if this process can list every tree."""
    try:
        for tree in trees:
            os.listdir(tree)
    except OSError:
        return 1
    return 0
