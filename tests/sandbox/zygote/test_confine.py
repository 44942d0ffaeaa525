"""What code inside a worker can reach, on every kind of machine that is good enough to serve."""

from __future__ import annotations

import errno
import os
import resource
import socket
from pathlib import Path
from typing import Any

import pytest

from streamsim.sandbox import table
from streamsim.sandbox.zygote import namespaces

TRY = """
import os
def attempt(action):
    try:
        value = action()
    except Exception as error:
        return [type(error).__name__, getattr(error, "errno", None)]
    return repr(value)
"""
REFUSED = {"PermissionError", "FileNotFoundError", "OSError", "RuntimeError", "ProcessLookupError"}


def attempts(subject: Any, *expressions: str, setup: str = "", **names: Any) -> dict[str, Any]:
    """Expression -> what it raised as [type, errno], or the text of its value."""
    lines = [TRY, setup, "result = {}"]
    lines += [f"result[{text!r}] = attempt(lambda: {text})" for text in expressions]
    result: dict[str, Any] = subject.run("\n".join(lines), **names)
    return result


def all_refused(results: dict[str, Any]) -> bool:
    worked = {text: value for text, value in results.items() if isinstance(value, str)}
    assert worked == {}
    odd = {text: value for text, value in results.items() if value[0] not in REFUSED}
    assert odd == {}
    return True


@pytest.fixture
def secret(open_folder: Path) -> Path:
    """A file that its mode lets everybody read and write: only the sandbox can hide it."""
    path = open_folder / "secret"
    path.write_text("CANARY")
    path.chmod(0o666)
    open_folder.chmod(0o777)
    return path


def test_the_environment_holds_constants_only(subject: Any) -> None:
    code = """
import ctypes, os
names = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
result, index = {}, 0
while names[index]:
    name, _, value = names[index].decode().partition("=")
    result[name] = value
    index += 1
assert result == dict(os.environ)
"""
    inside = subject.run(code)
    # LC_CTYPE is Python's own for its C locale; OpenMP's runtime notes that it is loaded.
    extra = {name for name in inside if name not in table.ENVIRONMENT}
    assert extra <= {"LC_CTYPE", "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"}
    assert table.ENVIRONMENT.items() <= inside.items()


def test_nothing_of_the_host_is_in_the_initial_stack_or_arguments(subject: Any) -> None:
    assert "CANARY" not in repr(subject.run("import sys; result = sys.orig_argv"))


def test_only_the_channel_and_dev_null_are_open(subject: Any) -> None:
    code = """
import os, stat
result = {}
for number in range(4096):
    try:
        found = os.fstat(number)
    except OSError:
        continue
    result[str(number)] = [stat.S_IFMT(found.st_mode), found.st_rdev]
"""
    null = [0o020000, os.makedev(1, 3)]
    assert subject.run(code) == {"0": null, "1": null, "2": null, "3": [0o140000, 0]}


def test_files_outside_the_python_trees_cannot_be_read(subject: Any, secret: Path) -> None:
    package = Path(namespaces.package())
    paths = [
        str(secret),
        f"{os.path.dirname(os.__file__)}/../../../../../../../..{secret}",
        "/etc/passwd",
        "/etc/shadow",
        "/etc/hostname",
        "/proc/self/environ",
        "/proc/self/maps",
        "/proc/self/mem",
        f"/proc/{os.getpid()}/environ",
        "/proc/1/cmdline",
        "/proc/net/tcp",
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "/dev/kmsg",
        "/dev/zero",
        "/dev/tty",
        str(package.parent / "pyproject.toml"),
        str(package.parent / "tests" / "conftest.py"),
    ]
    folders = ["/", "/etc", "/tmp", "/proc", "/proc/self/fd", str(secret.parent), str(package.parent)]
    results = attempts(
        subject,
        *(f"open({path!r}, 'rb').read(1)" for path in paths),
        *(f"os.listdir({path!r})" for path in folders),
    )
    assert all_refused(results)


def test_a_root_of_its_own_hides_even_that_a_file_exists(machine: Any, secret: Path) -> None:
    if machine.report.root != "own":
        pytest.skip("documented: without namespaces Landlock hides contents, not names")
    results = attempts(machine.spawn(), f"os.stat({str(secret)!r})", "os.stat('/etc')", "os.stat('/proc')")
    assert {tuple(value) for value in results.values()} == {("FileNotFoundError", errno.ENOENT)}


def test_the_host_cannot_be_recognised_by_its_name(machine: Any) -> None:
    if machine.report.root != "own":
        pytest.skip("needs a namespace")
    assert machine.spawn().run("import os; result = os.uname().nodename") == "sandbox"
    assert os.uname().nodename != "sandbox"


def test_modules_that_are_not_preloaded_can_be_imported(subject: Any) -> None:
    code = """
import sys
names = ["colorsys", "wave", "_bisect", "_elementtree", "numpy.polynomial", "scipy.fft", "scipy.spatial"]
result = [name for name in names if name not in sys.modules]
for name in names:
    __import__(name)
import wave, inspect
assert inspect.getsource(wave)
"""
    assert "wave" in subject.run(code)


def test_files_cannot_be_written_or_changed(subject: Any, secret: Path) -> None:
    target, folder = repr(str(secret)), str(secret.parent)
    results = attempts(
        subject,
        f"open({target}, 'w')",
        f"open({target}, 'r+b')",
        f"open({folder + '/new'!r}, 'x')",
        "open('/tmp/streamsim-new', 'w')",
        "open('new', 'w')",
        "open('/dev/null', 'w')",
        "open('/dev/shm/new', 'w')",
        f"open({os.__file__!r}, 'r+b')",
        f"open({namespaces.package() + '/new.py'!r}, 'w')",
        f"os.open({folder!r}, os.O_TMPFILE | os.O_RDWR)",
        f"os.open({target}, os.O_RDONLY | os.O_TRUNC)",
        f"os.open({target}, os.O_RDONLY | os.O_APPEND)",
        f"os.open({target}, os.O_PATH)",
        f"os.unlink({target})",
        f"os.rename({target}, {folder + '/moved'!r})",
        f"os.truncate({target}, 0)",
        f"os.chmod({target}, 0)",
        f"os.chown({target}, 0, 0)",
        f"os.utime({target}, (0, 0))",
        f"os.link({target}, {folder + '/linked'!r})",
        f"os.symlink('/', {folder + '/linked'!r})",
        f"os.mkdir({folder + '/made'!r})",
        f"os.mkfifo({folder + '/made'!r})",
        f"os.setxattr({target}, 'user.x', b'1')",
        "os.memfd_create('x')",
        "os.chdir('/usr')",
        "os.chroot('/')",
    )
    assert all_refused(results)
    assert secret.read_text() == "CANARY"
    assert [path.name for path in secret.parent.iterdir()] == ["secret"]


def test_no_process_or_thread_can_be_started(subject: Any) -> None:
    results = attempts(
        subject,
        "os.fork()",
        "os.forkpty()",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "os.execv('/bin/true', ['true'])",
        "subprocess.run(['id'])",
        "threading.Thread(target=print).start()",
        "multiprocessing.get_context('fork').Process(target=print).start()",
        setup="import subprocess, threading, multiprocessing",
    )
    assert all_refused(results)
    assert len(subject.proc("task/../status").split("Threads:\t1\n")) == 2


def test_no_connection_can_be_opened(subject: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        results = attempts(
            subject,
            f"socket.create_connection(('127.0.0.1', {port}), 2)",
            "socket.socket(socket.AF_INET6)",
            "socket.socket(socket.AF_UNIX)",
            "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
            "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
            "socket.socketpair()",
            "socket.getaddrinfo('localhost', 80)",
            "os.pipe()",
            "os.dup2(3, 9)",
            "select.select([3], [], [], 0)",
            setup="import select, socket",
        )
        gai = results.pop("socket.getaddrinfo('localhost', 80)")
        assert gai[0] == "gaierror"
        assert all_refused(results)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_other_processes_cannot_be_signalled_traced_or_limited(machine: Any) -> None:
    subject, other = machine.spawn(0), machine.spawn(1)
    setup = """
import ctypes, resource
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *given):
    if getattr(libc, name)(*given) == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
"""
    expressions = [
        "os.kill(0, 0)",
        "os.kill(-1, 0)",
        "signal.pidfd_send_signal(3, 0)",
        "os.pidfd_open(os.getpid())",
    ]
    for pid in (os.getpid(), machine.process.pid, other.pid, 1):
        expressions += [
            f"os.kill({pid}, 10)",
            f"call('ptrace', 16, {pid}, 0, 0)",
            f"resource.prlimit({pid}, resource.RLIMIT_NOFILE)",
            f"resource.prlimit({pid}, resource.RLIMIT_NOFILE, (16, 16))",
            f"os.setpriority(os.PRIO_PROCESS, {pid}, 19)",
            f"os.sched_setaffinity({pid}, [0])",
            f"os.sched_getaffinity({pid})",
            f"os.getpgid({pid})",
        ]
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert all_refused(attempts(subject, *expressions, setup=setup + "import signal"))
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == limits
    assert other.run("result = 1") == 1


def test_its_own_limits_cannot_be_changed(subject: Any) -> None:
    most = "(resource.RLIM_INFINITY, resource.RLIM_INFINITY)"
    names = ("AS", "FSIZE", "CPU", "NOFILE", "NPROC", "CORE")
    changes = [f"resource.setrlimit(resource.RLIMIT_{name}, {most})" for name in names]
    changes += ["resource.setrlimit(resource.RLIMIT_AS, (1 << 20, 1 << 20))", "os.nice(-1)", "os.nice(1)"]
    results = attempts(subject, *changes, setup="import resource")
    # The resource module says ValueError where the kernel says EPERM.
    refusals = {("ValueError", None), ("PermissionError", errno.EPERM)}
    assert {tuple(value) for value in results.values()} == refusals


def test_the_kernel_holds_it_as_unprivileged(machine: Any) -> None:
    subject = machine.spawn(uid_index=7)
    rows = dict(line.split(":\t", 1) for line in subject.proc("status").splitlines())
    first, count = machine.report.uids
    uid = str(first + 7 if count else first)
    assert rows["Uid"].split() == [uid] * 4
    assert rows["Gid"].split() == [uid] * 4
    assert rows["Groups"].split() == []
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(rows[name], 16) == 0
    if machine.kind in ("root", "container"):
        assert int(rows["CapBnd"], 16) == 0
    assert rows["NoNewPrivs"] == "1"
    assert rows["Seccomp"] == "2"
    assert rows["SigBlk"] == "0000000000000000"
    # Not dumpable: what is below /proc belongs to root, and no core is written.
    assert os.stat(f"/proc/{subject.host_pid}/environ").st_uid == 0
    assert int(subject.proc("oom_score_adj")) >= table.OOM_SCORE_ADJ
    # A group of its own in the session of the server, without its terminal: see streamsim/terminal.py.
    assert os.getpgid(subject.host_pid) == subject.host_pid
    assert os.getsid(subject.host_pid) == os.getsid(0)
    assert subject.proc("stat").rsplit(")", 1)[1].split()[4] == "0"


def test_two_experiments_run_as_two_users(machine: Any) -> None:
    if not machine.report.uids[1]:
        pytest.skip("documented: an ordinary user's workers share its uid")
    uids = [machine.spawn(index).run("import os; result = [os.getuid(), os.getgid()]") for index in (3, 4)]
    first = machine.report.uids[0]
    assert uids == [[first + 3, first + 3], [first + 4, first + 4]]
    assert os.getuid() not in uids[0]


def test_no_privilege_can_be_won_back(subject: Any) -> None:
    calls = ["setuid(0)", "setgid(0)", "setresuid(0, 0, 0)", "setgroups([0])", "setsid()", "setpgrp()"]
    assert all_refused(attempts(subject, *(f"os.{call}" for call in calls)))


def test_no_code_can_be_made_at_run_time(subject: Any) -> None:
    setup = """
import ctypes, mmap
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_long
page = libc.mmap(None, 4096, 3, 0x22, -1, 0)
def call(name, *given):
    if getattr(libc, name)(*map(ctypes.c_long, given)) == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
"""
    expressions = [
        "mmap.mmap(-1, 4096, prot=7)",
        "mmap.mmap(-1, 4096, prot=5)",
        "mmap.mmap(-1, 4096, prot=4)",
        "call('mprotect', page, 4096, 5)",
        "call('mprotect', page, 4096, 4)",
        "call('pkey_mprotect', page, 4096, 5, -1)",
        "call('shmget', 0, 4096, 0o1700)",
        "call('personality', 0x0400000)",
        f"mmap.mmap(os.open({os.__file__!r}, 0), 4096, flags=mmap.MAP_PRIVATE, prot=6)",
    ]
    assert all_refused(attempts(subject, *expressions, setup=setup))


@pytest.mark.usefixtures("may_look_inside")
def test_no_memory_is_shared_or_both_writable_and_executable(subject: Any) -> None:
    rows = [line.split() for line in subject.proc("maps").splitlines()]
    assert len(rows) > 100
    assert [row for row in rows if "w" in row[1] and ("x" in row[1] or "s" in row[1])] == []


def test_output_goes_nowhere(subject: Any) -> None:
    # The fixture of the machine checks in the end that nothing was printed.
    subject.run("import os, sys; os.write(1, b'x' * 1000); os.write(2, b'x'); print('x', flush=True)")
