"""Real zygotes on the real kernel, launched as on the kinds of machine that `launching.py` names."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec
import pytest

from streamsim.config import SandboxSettings
from streamsim.sandbox import wire
from streamsim.sandbox.host import zygote as host
from streamsim.sandbox.limits import MIB, Limits
from streamsim.sandbox.report import Report
from streamsim.sandbox.zygote import kernel, namespaces
from streamsim.sandbox.zygote import main as zygote
from tests.patience import PATIENCE_S

LAUNCHING = Path(__file__).with_name("launching.py")
CANARY = "CANARY-7a31d0"
CAP_SYS_PTRACE, CAP_SYS_ADMIN = 19, 21
LIMITS = Limits(cpu_ms=20_000, wall_ms=20_000, memory_bytes=256 * MIB)
RUNNER = """
def handle(request, channel):
    names = dict(request["names"])
    exec(request["code"], names)
    return names.get("result")
"""
PROBE = "streamsim.sandbox.worker.probe"
LIGHT = f"zygote.SCIENCE, zygote.LIBRARIES, zygote.PROGRAMS = ({PROBE!r},), (), {{}}"
SERVING = ("root", "user", "container", "container-user")


class NotReady(Exception):
    """What the zygote said instead."""


class CodeFailed(Exception):
    """The code raised: (type, message)."""


class Subject:
    """A confined worker that runs code for the test."""

    def __init__(self, machine: Machine, number: int, pid: int, pidfd: int, channel: socket.socket) -> None:
        self.pid, self.pidfd, self.channel = pid, pidfd, channel
        self.host_pid = zygote.host_pid(pidfd)
        self._machine, self._number = machine, number
        self._exchange({"code": RUNNER})

    def run(self, code: str, **names: Any) -> Any:
        """What the code leaves in `result`.

        :raises CodeFailed: what it raised.
        """
        return self._exchange({"code": code, "names": names})

    def start(self, code: str) -> None:
        """Runs code without waiting for its end."""
        self._send({"code": code, "names": {}})

    def status(self) -> int:
        """Waits for the worker's end: its raw wait status."""
        while self._number not in self._machine.exits:
            self._machine.receive()
        return self._machine.exits[self._number]

    def gone(self) -> bool:
        """Waits until the process is gone, seen from outside."""
        return bool(select.select([self.pidfd], [], [], PATIENCE_S)[0])

    def proc(self, name: str) -> str:
        """A file of the process below /proc, as the host sees it."""
        return Path(f"/proc/{self.host_pid}/{name}").read_text()

    def close(self) -> None:
        self.channel.close()
        os.close(self.pidfd)

    def _send(self, request: object) -> None:
        self.channel.sendall(wire.encode("call", os.urandom(16), 0, request))

    def _exchange(self, request: object) -> Any:
        self._send(request)
        header = self._read(wire.HEADER.size)
        frame = wire.decode(self._read(wire.length(header, LIMITS.frame_bytes)))
        if frame.kind == "failed":
            failure = msgspec.msgpack.decode(frame.body, type=wire.Failure)
            raise CodeFailed(failure.type, failure.message)
        assert frame.kind == "done"
        return msgspec.msgpack.decode(frame.body)

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.channel.recv(size - len(data))
            if not piece:
                raise EOFError("the worker has ended")
            data += piece
        return data


class Machine:
    """A zygote that was launched on one kind of machine.

    `boot`: lines that it executes before its own main function.
    """

    def __init__(self, kind: str, boot: str, **options: Any) -> None:
        self.kind = kind
        self.exits: dict[int, int] = {}
        self.subjects: list[Subject] = []
        self._count = 0
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(PATIENCE_S)
        argv, environment = zygote.command(theirs.fileno(), zygote.Options(**options))
        at = argv.index("-c") + 1
        lines = argv[at].split("; ")
        argv[at] = "\n".join([*lines[:-1], boot, lines[-1]])
        self.output = tempfile.TemporaryFile()  # noqa: SIM115
        os.set_inheritable(theirs.fileno(), True)
        self.process = subprocess.Popen(
            [sys.executable, str(LAUNCHING), kind, *argv],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=self.output,
            close_fds=False,  # the zygote itself must close what it inherits
        )
        theirs.close()
        message, _ = self.answer()
        if message[0] != "ready":
            self.close()
            raise NotReady(*message)
        self.report = msgspec.convert(message[1], Report)

    def receive(self) -> tuple[Any, list[int]]:
        """The next message; ends of workers are noted."""
        data, descriptors, _, _ = socket.recv_fds(self.control, 65536, 1)
        assert data, f"the zygote ended: {self.printed()}"
        message = msgspec.msgpack.decode(data)
        if message[0] == "exited":
            self.exits[message[1]] = message[2]
        return message, descriptors

    def answer(self) -> tuple[Any, list[int]]:
        """The next message that is not about an end."""
        while True:
            message, descriptors = self.receive()
            if message[0] != "exited":
                return message, descriptors

    def printed(self) -> str:
        """All that the zygote and its workers wrote to their standard output and error."""
        self.output.seek(0)
        return self.output.read().decode()

    def ask(
        self, uid_index: int = 0, limits: Limits = LIMITS, processors: Sequence[int] = ()
    ) -> tuple[Any, list[int], socket.socket]:
        """Asks for a worker: the zygote's answer with its descriptors, and the host's end of the channel."""
        self._count += 1
        ours, theirs = socket.socketpair()
        ours.settimeout(PATIENCE_S)
        text = msgspec.msgpack.encode(["spawn", self._count, "probe", uid_index, limits, processors])
        socket.send_fds(self.control, [text], [theirs.fileno()])
        theirs.close()
        message, descriptors = self.answer()
        return message, descriptors, ours

    def spawn(self, uid_index: int = 0, limits: Limits = LIMITS, processors: Sequence[int] = ()) -> Subject:
        message, descriptors, channel = self.ask(uid_index, limits, processors)
        if message[0] != "spawned":
            channel.close()
            raise AssertionError(message)
        subject = Subject(self, message[1], message[2], descriptors[0], channel)
        self.subjects.append(subject)
        return subject

    def refused(self) -> str:
        """Why a worker that is asked for is refused."""
        message, _, channel = self.ask()
        channel.close()
        assert message[0] == "refused"
        return str(message[2])

    def end_subjects(self) -> None:
        for subject in self.subjects:
            subject.close()
        self.subjects.clear()

    def close(self) -> None:
        self.end_subjects()
        self.control.close()
        self.process.wait(PATIENCE_S)
        self.output.close()


def launchable(kind: str) -> None:
    """Skips the test where this machine cannot play that kind."""
    if os.geteuid() != 0 and kind not in ("user", "container-user", "podman-user"):
        pytest.skip("needs root")
    closed = [
        parent
        for path in (sys.prefix, sys.base_prefix, __file__)
        for parent in Path(path).resolve().parents
        if not parent.stat().st_mode & 1
    ]
    if closed and not kernel.capabilities()[0] >> CAP_SYS_ADMIN & 1 and os.geteuid() == 0:
        pytest.skip("needs CAP_SYS_ADMIN to let an ordinary user reach this Python")


@pytest.fixture(scope="module")
def executed() -> Iterator[None]:
    """Sandboxes execute their zygotes, as the service does it."""
    kept, host.start = host.start, host.execute
    yield
    host.start = kept


@pytest.fixture
def may_look_inside() -> None:
    """Skips the test where this process may not look into one that is not dumpable."""
    if not kernel.capabilities()[0] >> CAP_SYS_PTRACE & 1:
        pytest.skip("needs CAP_SYS_PTRACE")


@pytest.fixture(scope="session")
def namespaces_work() -> bool:
    """Whether this process can make namespaces at all, so that the kinds root and user must reach them."""
    return namespaces.attempt(namespaces.HOST, namespaces.trees()) is None


@pytest.fixture
def require_kind() -> Callable[[str], Path]:
    """Gives the launching script, or skips the test."""

    def require(kind: str) -> Path:
        launchable(kind)
        return LAUNCHING

    return require


@pytest.fixture
def launch() -> Iterator[Callable[..., Machine]]:
    machines: list[Machine] = []

    def start(kind: str, boot: str = "", **options: Any) -> Machine:
        launchable(kind)
        machines.append(Machine(kind, f"{LIGHT}\n{boot}", **options))
        return machines[-1]

    yield start
    for machine in machines:
        machine.close()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user of the machine may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="streamsim-test-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


class Machines:
    """Machines as a server starts them, one of each kind: a start is mostly imports.

    `secret` is open in all.
    """

    def __init__(self, secret: IO[bytes]) -> None:
        self._secret = secret
        self._running: dict[str, Machine] = {}

    def of(self, kind: str) -> Machine:
        if kind not in self._running:
            os.set_inheritable(self._secret.fileno(), True)
            preload = list(SandboxSettings().preload)
            self._running[kind] = Machine(kind, boot="", preload=preload)
            os.set_inheritable(self._secret.fileno(), False)
        return self._running[kind]

    def close(self) -> None:
        for machine in self._running.values():
            machine.close()


@pytest.fixture(scope="session")
def machines() -> Iterator[Machines]:
    with tempfile.TemporaryFile() as secret:
        secret.write(CANARY.encode())
        secret.flush()
        machines = Machines(secret)
        yield machines
        machines.close()


@pytest.fixture(scope="module", params=SERVING)
def shared_machine(request: pytest.FixtureRequest, machines: Machines) -> Iterator[Machine]:
    launchable(request.param)
    os.environ["STREAMSIM_REDIS_PASSWORD"] = CANARY
    machine = machines.of(request.param)
    yield machine
    del os.environ["STREAMSIM_REDIS_PASSWORD"]
    assert machine.printed() == ""


@pytest.fixture
def machine(shared_machine: Machine) -> Iterator[Machine]:
    yield shared_machine
    shared_machine.end_subjects()


@pytest.fixture
def subject(machine: Machine) -> Subject:
    return machine.spawn()
