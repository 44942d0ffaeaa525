"""The confinement policy as data, for review in one sitting: what a worker may ask of the kernel.

Everything that is not named here is refused. The code that enforces it is in `seccomp`, `landlock`,
`namespaces` and `confine`; a test sweeps every system call number against this table.

Numbers: Linux `asm/unistd_64.h` (x86_64) and `asm-generic/unistd.h` (aarch64). Bits: `linux/landlock.h`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import resource
import signal
import sys
import termios
from typing import Final, NamedTuple

if sys.platform != "linux":
    raise ImportError("streamsim's sandbox is built from features of the Linux kernel")

MIB: Final = 1 << 20
ALL: Final = 0xFFFFFFFF
OWN_PID: Final = -1
"""Stands for the worker's own process id in `Test.values`; the worker fills it in."""


class Test(NamedTuple):
    """Argument `arg` (0-5): the lower 32 bits (the upper if `high`) under `mask` are one of `values`."""

    arg: int
    values: tuple[int, ...]
    mask: int = ALL
    high: bool = False


class Call(NamedTuple):
    """A system call that is allowed: if `when` is given, only if all tests of one of its rows hold.

    `only` says the same to people.
    """

    name: str
    x86_64: int | None
    aarch64: int | None
    only: str = ""
    when: tuple[tuple[Test, ...], ...] = ()


class Arch(NamedTuple):
    """What the filter must know of a machine. `x32_bit`: system calls with it belong to a foreign ABI."""

    audit: int
    x32_bit: int


ARCHES: Final = {
    "x86_64": Arch(audit=0xC000003E, x32_bit=0x40000000),
    "aarch64": Arch(audit=0xC00000B7, x32_bit=0),
}
MACHINE: Final = platform.machine()

READ_FLAGS: Final = os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
PROT_WRITE, PROT_EXEC, MAP_ANONYMOUS, MAP_HUGETLB = 2, 4, 0x20, 0x40000
TCGETS: Final = 0x5401
# The usual clocks and the own CPU times; other numbers are alarms, or name the CPU time of some process.
CLOCKS: Final = (0, 1, 2, 3, 4, 5, 6, 7, 11)
# What an allocator does: no page is shared out (MERGEABLE), poisoned, or given to other processes' images.
ADVICE: Final = (0, 1, 2, 3, 4, 8, 14, 15)
FUTEX_PRIVATE: Final = 128

CALLS: Final = (
    Call("openat", 257, 56, "for reading", ((Test(2, (0,), ALL & ~READ_FLAGS),),)),
    # Writable or executable, never both; executable only from a file. No huge pages: they are a shared stock.
    Call(
        "mmap",
        9,
        222,
        "not writable and executable, not executable without a file, not in huge pages",
        (
            (Test(2, (0,), PROT_EXEC), Test(3, (0,), MAP_HUGETLB)),
            (Test(2, (PROT_EXEC,), PROT_EXEC | PROT_WRITE), Test(3, (0,), MAP_ANONYMOUS | MAP_HUGETLB)),
        ),
    ),
    Call("mprotect", 10, 226, "never to executable", ((Test(2, (0,), PROT_EXEC),),)),
    Call("ioctl", 16, 29, "TCGETS, TIOCGWINSZ", ((Test(1, (TCGETS, termios.TIOCGWINSZ)),),)),
    Call(
        "fcntl",
        72,
        25,
        "F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC",
        ((Test(1, (fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL, fcntl.F_DUPFD_CLOEXEC)),),),
    ),
    Call(
        "prlimit64",
        302,
        261,
        "to read the own limits",
        ((Test(0, (0,)), Test(2, (0,)), Test(2, (0,), high=True)),),
    ),
    Call("tgkill", 234, 131, "to itself", ((Test(0, (OWN_PID,)),),)),
    Call("setitimer", 38, 103, "ITIMER_REAL", ((Test(0, (signal.ITIMER_REAL,)),),)),
    Call("sched_getaffinity", 204, 123, "of itself", ((Test(0, (0, OWN_PID)),),)),
    # Open descriptors: the channel, and files that were opened for reading.
    Call("read", 0, 63),
    Call("write", 1, 64),
    Call("readv", 19, 65),
    Call("writev", 20, 66),
    Call("pread64", 17, 67),
    Call("lseek", 8, 62),
    Call("close", 3, 57),
    Call("fstat", 5, 80),
    # Names of files: what Landlock and the mounts leave visible.
    Call("stat", 4, None),
    Call("lstat", 6, None),
    Call("newfstatat", 262, 79),
    Call("statx", 332, 291),
    Call("statfs", 137, 43),
    Call("access", 21, None),
    Call("faccessat", 269, 48),
    Call("faccessat2", 439, 439),
    Call("readlink", 89, None),
    Call("readlinkat", 267, 78),
    Call("getdents64", 217, 61),
    Call("getcwd", 79, 17),
    # Own memory.
    Call("brk", 12, 214),
    Call("munmap", 11, 215),
    Call("mremap", 25, 216),
    Call(
        "madvise",
        28,
        233,
        "NORMAL, RANDOM, SEQUENTIAL, WILLNEED, DONTNEED, FREE, HUGEPAGE, NOHUGEPAGE",
        ((Test(2, ADVICE),),),
    ),
    # Own signals and locks.
    Call("rt_sigaction", 13, 134),
    Call("rt_sigprocmask", 14, 135),
    Call("rt_sigreturn", 15, 139),
    Call("sigaltstack", 131, 132),
    Call("restart_syscall", 219, 128),
    # Shared ones may lie in a file that other tenants' workers have mapped, too.
    Call("futex", 202, 98, "private ones", ((Test(1, (FUTEX_PRIVATE,), FUTEX_PRIVATE),),)),
    Call("set_robust_list", 273, 99),
    Call("rseq", 334, 293),
    Call("sched_yield", 24, 124),
    # Clocks and sleep.
    Call("clock_gettime", 228, 113, "the usual clocks and its own", ((Test(0, CLOCKS),),)),
    Call("clock_getres", 229, 114, "the usual clocks and its own", ((Test(0, CLOCKS),),)),
    Call("clock_nanosleep", 230, 115, "the usual clocks and its own", ((Test(0, CLOCKS),),)),
    Call("nanosleep", 35, 101),
    Call("gettimeofday", 96, 169),
    Call("time", 201, None),
    Call("times", 100, 153),
    Call("getrusage", 98, 165),
    Call("getitimer", 36, 102),
    # Who and where am I.
    Call("getpid", 39, 172),
    Call("gettid", 186, 178),
    Call("getuid", 102, 174),
    Call("geteuid", 107, 175),
    Call("getgid", 104, 176),
    Call("getegid", 108, 177),
    Call("getcpu", 309, 168),
    Call("uname", 63, 160),
    Call("getrandom", 318, 278),
    # The end.
    Call("exit", 60, 93),
    Call("exit_group", 231, 94),
)

DENIED: Final = errno.EPERM
DENIED_OTHERWISE: Final = {
    # The C library then falls back to clone, whose answer a program understands.
    "clone3": (435, 435, errno.ENOSYS),
}

UNFILTERED: Final = {"uretprobe": 335, "uprobe": 336}
"""x86-64 calls that new kernels let through every filter: traps of their own probes, else errors."""

# System calls that only the confinement itself makes, before the filter is in place.
SETUP: Final = {
    "pivot_root": (155, 41),
    "capset": (126, 91),
    "capget": (125, 90),
    "seccomp": (317, 277),
    "open_tree": (428, 428),
    "clone3": (435, 435),
    "move_mount": (429, 429),
    "close_range": (436, 436),
    "mount_setattr": (442, 442),
    "landlock_create_ruleset": (444, 444),
    "landlock_add_rule": (445, 445),
    "landlock_restrict_self": (446, 446),
}


class Landlock(NamedTuple):
    """What one Landlock ABI can restrict: all of it is restricted. `flags`: of landlock_restrict_self."""

    abi: int
    files: int
    tcp: int
    scopes: int
    attribute_bytes: int
    flags: int = 0


LANDLOCK: Final = (
    Landlock(1, (1 << 13) - 1, 0, 0, 8),
    Landlock(2, (1 << 14) - 1, 0, 0, 8),  # + refer
    Landlock(3, (1 << 15) - 1, 0, 0, 8),  # + truncate
    Landlock(4, (1 << 15) - 1, 0b11, 0, 16),  # + TCP bind, connect
    Landlock(5, (1 << 16) - 1, 0b11, 0, 16),  # + ioctl on devices
    Landlock(6, (1 << 16) - 1, 0b11, 0b11, 24),  # + abstract Unix sockets, signals
    Landlock(7, (1 << 16) - 1, 0b11, 0b11, 24, flags=1),  # refusals need not fill the audit log
)
LANDLOCK_READ_FILE, LANDLOCK_READ_DIR = 1 << 2, 1 << 3

# Visible to a worker, read-only, beside the Python trees (`namespaces.trees`).
SYSTEM_TREES: Final = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/share/zoneinfo")
DEVICES: Final = ("/dev/null", "/dev/urandom")

CPU_SECONDS: Final = 3600
"""CPU time of a worker's whole life; the pool's own clocks bound a call."""
RLIMITS: Final = {
    resource.RLIMIT_CPU: CPU_SECONDS,
    resource.RLIMIT_FSIZE: 0,
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_NOFILE: 64,
    resource.RLIMIT_NPROC: 0,
    resource.RLIMIT_MEMLOCK: 0,
    resource.RLIMIT_MSGQUEUE: 0,
    resource.RLIMIT_SIGPENDING: 64,
    resource.RLIMIT_NICE: 0,
    resource.RLIMIT_RTPRIO: 0,
    resource.RLIMIT_STACK: 8 * MIB,
}
# File of the control group -> value; None stands for the memory budget + slack.
CGROUP: Final[dict[str, dict[str, int | None]]] = {
    "memory": {"memory.max": None, "memory.swap.max": 0, "memory.oom.group": 1},
    "pids": {"pids.max": 1},
    "hugetlb": {"hugetlb.2MB.max": 0, "hugetlb.1GB.max": 0},
}
CGROUP_SLACK: Final = 64 * MIB
"""For page cache and kernel memory, which the budget does not mean."""

MEMORY_RLIMITS: Final = (resource.RLIMIT_AS, resource.RLIMIT_DATA)
"""Baseline of the freshly forked worker + its budget."""

UID_RANGES: Final = ((1_879_048_192, 65_536), (61_184, 4_336))
"""(first, count) of worker uids: a range that nobody assigns, else systemd's dynamic one."""

OOM_SCORE_ADJ: Final = 800
"""When the machine runs out of memory, workers go before the server and its stores."""

# The zygote's whole environment: constants that say nothing about the host.
ENVIRONMENT: Final = {
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "HOME": "/",
    # Sets of text have one order in every process, so that what is run again gives the same numbers.
    "PYTHONHASHSEED": "0",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "BLIS_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "JOBLIB_MULTIPROCESSING": "0",
}


def number(entry: tuple[int, int], machine: str = MACHINE) -> int:
    """The system call number of `(x86_64, aarch64)` on `machine`.

    :raises NotImplementedError: on any other machine.
    """
    if machine not in ARCHES:
        raise NotImplementedError(
            f"no system call table for {machine}; the sandbox knows {', '.join(ARCHES)}"
        )
    return entry[list(ARCHES).index(machine)]
