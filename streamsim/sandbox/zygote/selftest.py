"""What a confined worker tries before it serves: each of these must fail (fail closed)."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import stat
from typing import Final

from streamsim.sandbox import table
from streamsim.sandbox.zygote import confine, kernel

# (name, x86_64, aarch64, arguments...); the answer must be EPERM, the filter's own.
FORBIDDEN: Final[tuple[tuple[str, *tuple[int, ...]], ...]] = (
    ("fork", 57, 220, 17),
    ("execve", 59, 221),
    ("socket", 41, 198, 1, 1, 0),
    ("connect", 42, 203, confine.CHANNEL, 0, 0),
    ("sendmsg", 46, 211, confine.CHANNEL, 0, 0),
    ("ptrace", 101, 117, 16, 1),
    ("process_vm_readv", 310, 270, 1),
    ("kill", 62, 129, 1, 0),
    ("tgkill of another process", 234, 131, 1, 1, 0),
    ("prlimit64 of another process", 302, 261, 1, 7, 0, 0),
    ("setresuid", 117, 147, 0, 0, 0),
    ("unshare", 272, 97, 0),
    ("mount", 165, 40),
    ("bpf", 321, 280),
    ("io_uring_setup", 425, 425, 1, 0),
    ("prctl", 157, 167, kernel.PR_SET_DUMPABLE, 1),
    ("writable and executable memory", 9, 222, 0, 4096, 7, 0x22, -1, 0),
    ("memory made executable", 10, 226, 0, 0, 4),
    ("ioctl TIOCSTI", 16, 29, 0, 0x5412, 0),
    ("fcntl F_SETOWN", 72, 25, confine.CHANNEL, 8, 1),
)
# (path, flags, layers of which one is enough)
HIDDEN: Final = (
    ("/etc/passwd", os.O_RDONLY, ("landlock", "root")),
    ("/proc/self/environ", os.O_RDONLY, ("landlock", "root")),
    ("/dev/null", os.O_WRONLY, ("landlock", "seccomp")),
    ("/selftest", os.O_WRONLY | os.O_CREAT, ("landlock", "seccomp")),
)


def run(layers: confine.Layers, request: confine.Request) -> None:
    """Checks the confinement from inside, as far as `layers` promise it.

    :raises confine.Failed: with every check that did not hold.
    """
    there = {"landlock": layers.rules >= 0, "seccomp": layers.filter is not None, "root": layers.own_root}
    reached = {name for name, in_force in there.items() if in_force}
    wrong = [f"could open {path}" for path, flags, by in HIDDEN if reached & {*by} and _opens(path, flags)]
    if layers.filter is not None:
        wrong += [f"{name} was not refused" for name, *call in FORBIDDEN if _errno(*call) != errno.EPERM]
        if _errno(435, 435) != errno.ENOSYS:
            wrong.append("clone3 did not answer ENOSYS")
    if not _descriptors_as_wanted(request):
        wrong.append("another descriptor is open")
    if not _user_as_wanted(layers, request):
        wrong.append("the user is not the worker's own")
    if not _limits_as_wanted(request):
        wrong.append("resource limits are not in force")
    if wrong:
        raise confine.Failed("self-test: " + "; ".join(wrong))


def _errno(x86_64: int, aarch64: int, *arguments: int) -> int:
    number = table.number((x86_64, aarch64))
    return ctypes.get_errno() if kernel.syscall(number, *arguments) == -1 else 0


def _opens(path: str, flags: int) -> bool:
    try:
        os.close(os.open(path, flags))
    except OSError:
        return False
    return True


def _descriptors_as_wanted(request: confine.Request) -> bool:
    null = os.makedev(1, 3)
    if any(os.fstat(number).st_rdev != null for number in range(3)):
        return False
    if not stat.S_ISSOCK(os.fstat(confine.CHANNEL).st_mode):
        return False
    others = {*range(confine.CHANNEL + 1, table.RLIMITS[resource.RLIMIT_NOFILE])} - {request.status}
    # Without an exception for each, which would take as long as the rest of the test.
    return all(kernel.LIBC.fcntl(number, fcntl.F_GETFD) == -1 for number in others)


def _user_as_wanted(layers: confine.Layers, request: confine.Request) -> bool:
    first, count = layers.uids
    uid = first + (request.uid_index if count else 0)
    return os.getuid() == os.geteuid() == uid and (not count or os.getgid() == os.getegid() == uid)


def _limits_as_wanted(request: confine.Request) -> bool:
    wanted = dict(table.RLIMITS)
    wanted |= {
        which: used + request.budget
        for which, used in zip(table.MEMORY_RLIMITS, request.baseline, strict=True)
    }
    for which, most in wanted.items():
        soft, hard = resource.getrlimit(which)
        if hard == resource.RLIM_INFINITY or not soft <= hard <= most:
            return False
    return True
