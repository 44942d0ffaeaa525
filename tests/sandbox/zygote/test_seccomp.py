"""The system call filter against its table: as a program in an interpreter, and in the kernel."""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import mmap
import os
import re
import signal
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamsim.sandbox import table
from streamsim.sandbox.report import Report
from streamsim.sandbox.zygote import seccomp
from tests.support import ROOT

PID = 4711
LAST = 600
"""Beyond every number in use."""
ENDING = ("exit", "exit_group", "rt_sigreturn")
NAMED = {call.name: call for call in table.CALLS}
MACHINES = [*table.ARCHES]
ALLOW, DENY, KILL = seccomp.ALLOW, seccomp.ERRNO | errno.EPERM, seccomp.KILL_PROCESS
ANY = 2**64 - 1


def number(call: table.Call, machine: str) -> int | None:
    return {"x86_64": call.x86_64, "aarch64": call.aarch64}[machine]


def decide(machine: str, nr: int, arguments: tuple[int, ...] = (), arch: int | None = None) -> int:
    """What the filter answers: an interpreter for the few instructions of classic BPF that it may use."""
    arch = table.ARCHES[machine].audit if arch is None else arch
    given = [value & ANY for value in (*arguments, *[0] * (6 - len(arguments)))]
    data = struct.pack("<IIQ6Q", nr & 0xFFFFFFFF, arch, 0, *given)
    code, at, accumulator = seccomp.program(PID, machine), 0, 0
    while True:
        opcode, if_true, if_false, constant = code[at]
        at += 1
        match opcode:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, constant)
            case 0x54:
                accumulator &= constant
            case 0x15:
                at += if_true if accumulator == constant else if_false
            case 0x45:
                at += if_true if accumulator & constant else if_false
            case 0x06:
                return constant
            case _:
                raise AssertionError(f"opcode {opcode:#x}")


@pytest.mark.parametrize("machine", MACHINES)
def test_every_number_is_answered_as_the_table_says(machine: str) -> None:
    numbers = {number(call, machine): call for call in table.CALLS}
    for nr in range(LAST):
        call = numbers.get(nr)
        if nr == 435:
            assert decide(machine, nr) == seccomp.ERRNO | errno.ENOSYS
        elif call is None:
            assert decide(machine, nr) == DENY
        elif not call.when:
            assert decide(machine, nr, (ANY,) * 6) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_a_foreign_architecture_or_abi_ends_the_process(machine: str) -> None:
    others = {0x40000003, 0x40000028, 0xC000003E, 0xC00000B7} - {table.ARCHES[machine].audit}
    for nr in range(LAST):
        assert {decide(machine, nr, arch=arch) for arch in others} == {KILL}
        if machine == "x86_64":
            assert decide(machine, nr | 0x40000000) == KILL


CHECKED = [
    # call, arguments that pass, arguments that do not
    (
        "openat",
        [(0, 0, os.O_RDONLY), (0, 0, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NONBLOCK)],
        [(0, 0, flag) for flag in (1, 2, 3, os.O_CREAT, os.O_TRUNC, os.O_APPEND, os.O_PATH, os.O_TMPFILE)],
    ),
    (
        "mmap",
        [(0, 4096, 3, 0x22), (0, 4096, 5, 0x02), (0, 4096, 1, 0x02), (0, 4096, 0, 0x22)],
        [
            (0, 4096, 7, 0x02),
            (0, 4096, 6, 0x02),
            (0, 4096, 5, 0x22),
            (0, 4096, 4, 0x21),
            (0, 4096, 3, 0x40022),
        ],
    ),
    ("mprotect", [(0, 0, 3), (0, 0, 0)], [(0, 0, 4), (0, 0, 5), (0, 0, 7)]),
    ("ioctl", [(3, 0x5401), (3, 0x5413)], [(3, 0x5412), (3, 0x541B), (3, 0x8905), (3, 0)]),
    ("fcntl", [(3, 1), (3, 2), (3, 3), (3, 1030)], [(3, 0), (3, 4), (3, 8), (3, 10), (3, 1024), (3, 1033)]),
    (
        "prlimit64",
        [(0, 7, 0, 1)],
        [(1, 7, 0, 1), (PID, 7, 0, 1), (0, 7, 1, 0), (0, 7, 1 << 32, 0), (-1, 7, 0, 0)],
    ),
    ("tgkill", [(PID, PID, 9), (PID, 1, 10)], [(0, PID, 9), (1, PID, 9), (PID + 1, PID, 9), (-1, PID, 9)]),
    ("setitimer", [(0, 0, 0)], [(1, 0, 0), (2, 0, 0), (-1, 0, 0)]),
    ("sched_getaffinity", [(0, 8, 0), (PID, 8, 0)], [(1, 8, 0), (PID - 1, 8, 0)]),
    ("madvise", [(0, 4096, 4), (0, 4096, 14)], [(0, 4096, 9), (0, 4096, 12), (0, 4096, 100)]),
    ("futex", [(0, 128, 1), (0, 129, 1), (0, 128 | 256 | 9, 1)], [(0, 0, 1), (0, 1, 1), (0, 256 | 9, 1)]),
    *(
        # CPU times of others: of process 1, of thread 1, of process 4711.
        (name, [(0, 0), (1, 0), (7, 0)], [(8, 0), (~1 << 3 | 2, 0), (~1 << 3 | 6, 0), (~PID << 3 | 2, 0)])
        for name in ("clock_gettime", "clock_getres", "clock_nanosleep")
    ),
]
SWEPT = [
    # call, place of the argument that chooses what it does, values that pass
    ("ioctl", 1, {0x5401, 0x5413}),
    ("fcntl", 1, {1, 2, 3, 1030}),
    ("prlimit64", 0, {0}),
    ("tgkill", 0, {PID}),
    ("setitimer", 0, {0}),
    ("sched_getaffinity", 0, {0, PID}),
    ("madvise", 2, {0, 1, 2, 3, 4, 8, 14, 15}),
    ("clock_gettime", 0, {0, 1, 2, 3, 4, 5, 6, 7, 11}),
    ("clock_getres", 0, {0, 1, 2, 3, 4, 5, 6, 7, 11}),
    ("clock_nanosleep", 0, {0, 1, 2, 3, 4, 5, 6, 7, 11}),
]


@pytest.mark.parametrize(("name", "place", "passing"), SWEPT, ids=[row[0] for row in SWEPT])
def test_a_sweep_of_the_argument_that_chooses_finds_nothing_but_the_table(
    name: str, place: int, passing: set[int]
) -> None:
    nr = number(NAMED[name], "x86_64")
    assert nr is not None
    values = [*range(-2048, 2048), *(1 << bit for bit in range(11, 32)), 0x5401, 0x5413, PID]
    found = {value for value in values if decide("x86_64", nr, (*[0] * place, value)) == ALLOW}
    assert found == passing


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("name", "passing", "refused"), CHECKED, ids=[row[0] for row in CHECKED])
def test_arguments_are_checked(
    machine: str, name: str, passing: list[tuple[int, ...]], refused: list[tuple[int, ...]]
) -> None:
    nr = number(NAMED[name], machine)
    assert nr is not None
    assert {given: decide(machine, nr, given) for given in passing} == dict.fromkeys(passing, ALLOW)
    assert {given: decide(machine, nr, given) for given in refused} == dict.fromkeys(refused, DENY)


def test_every_checked_call_is_tested_and_explained() -> None:
    assert {name for name, *_ in CHECKED} == {call.name for call in table.CALLS if call.when}
    assert all(bool(call.when) == bool(call.only) for call in table.CALLS)
    assert len(NAMED) == len(table.CALLS)


def _oracle(name: str, machine: str) -> int | None:
    """The number that libseccomp or the kernel's headers give, None if the machine has no such call."""
    found = ctypes.util.find_library("seccomp")
    if found:
        resolve = ctypes.CDLL(found).seccomp_syscall_resolve_name_arch
        value = int(resolve(ctypes.c_uint32(table.ARCHES[machine].audit), name.encode()))
        return value if value >= 0 else None
    header = {
        "x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
        "aarch64": "/usr/include/asm-generic/unistd.h",
    }[machine]
    if not Path(header).exists():
        pytest.skip("needs libseccomp or the kernel's headers")
    rows = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", Path(header).read_text())
    return {key: int(value) for key, value in rows}.get(name)


@pytest.mark.parametrize("machine", MACHINES)
def test_the_numbers_are_the_kernels(machine: str) -> None:
    column = MACHINES.index(machine)
    ours = {call.name: number(call, machine) for call in table.CALLS}
    ours |= {name: entry[column] for name, entry in (table.SETUP | table.DENIED_OTHERWISE).items()}
    theirs = {name: _oracle(name, machine) for name in ours}
    # The oracle may be older than the kernel.
    assert {name: value for name, value in theirs.items() if value is not None or ours[name] is None} == {
        name: value for name, value in ours.items() if theirs[name] is not None or value is None
    }
    assert sum(value is not None for value in theirs.values()) > 60


SWEEP = """
import ctypes
from streamsim.sandbox.zygote import kernel
result = []
for number in numbers:
    answer = kernel.syscall(number, -1, -1, -1, -1, -1, -1)
    result.append([number, answer, ctypes.get_errno() if answer == -1 else 0])
"""


def test_a_sweep_of_every_number_finds_nothing_but_the_table(subject: Any) -> None:
    """With impossible arguments, so that an allowed call has no effect; those that end it have own tests."""
    here = {number(call, table.MACHINE): call for call in table.CALLS}
    ending = {number(NAMED[name], table.MACHINE) for name in ENDING} | {*table.UNFILTERED.values()}
    answers = subject.run(SWEEP, numbers=[nr for nr in range(LAST) if nr not in ending])
    assert len(answers) == LAST - len(ending)
    for nr, answer, code in answers:
        call = here.get(nr)
        if nr == 435:
            assert (answer, code) == (-1, errno.ENOSYS)
        elif call is None or decide(table.MACHINE, nr, (-1,) * 6) == DENY:
            assert (nr, answer, code) == (nr, -1, errno.EPERM)
        else:
            assert (nr, code) != (nr, errno.EPERM)
    assert "Threads:\t1\n" in subject.proc("status")


@pytest.mark.parametrize("name", ["exit", "exit_group"])
def test_calls_that_end_the_process_end_it(machine: Any, name: str) -> None:
    subject = machine.spawn()
    nr = number(NAMED[name], table.MACHINE)
    subject.start(f"from streamsim.sandbox.zygote import kernel\nkernel.syscall({nr}, 23)")
    assert os.waitstatus_to_exitcode(subject.status()) == 23


@pytest.mark.parametrize("nr", table.UNFILTERED.values())
def test_calls_that_the_kernel_passes_by_the_filter_are_errors(machine: Any, nr: int) -> None:
    if table.MACHINE != "x86_64":
        pytest.skip("x86-64 only")
    subject = machine.spawn()
    try:
        ((_, answer, code),) = subject.run(SWEEP, numbers=[nr])
        assert answer == -1
        assert code in (errno.EPERM, errno.ENOSYS, errno.ENXIO)
    except EOFError:
        assert os.WTERMSIG(subject.status()) in (signal.SIGILL, signal.SIGSYS)


@pytest.mark.parametrize("nr", [0, 1, 57, 59, 101, 520, 521, 547])
def test_the_x32_abi_ends_the_process(machine: Any, nr: int) -> None:
    if table.MACHINE != "x86_64":
        pytest.skip("x86-64 only")
    subject = machine.spawn()
    subject.start(f"from streamsim.sandbox.zygote import kernel\nkernel.syscall({0x40000000 | nr}, 0, 0, 0)")
    assert os.WTERMSIG(subject.status()) == signal.SIGSYS


@pytest.mark.parametrize("kind", ["root", "container-user"])
@pytest.mark.parametrize("nr", [1, 2, 11, 20, 102, 190])
def test_the_32_bit_entry_ends_the_process(launch: Any, open_folder: Path, kind: str, nr: int) -> None:
    if table.MACHINE != "x86_64":
        pytest.skip("x86-64 only")
    # mov eax, nr; int 0x80; ret. Code can only come from a file, so the test puts one where workers may read.
    path = open_folder / "code"
    path.write_bytes((b"\xb8" + struct.pack("<I", nr) + b"\xcd\x80\xc3").ljust(mmap.PAGESIZE, b"\0"))
    subject = launch(kind, libraries=[str(open_folder)]).spawn()
    code = """
import ctypes, os
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
page = libc.mmap(None, 4096, 5, 2, os.open({path!r}, os.O_RDONLY), 0)
assert page != 2**64 - 1
ctypes.CFUNCTYPE(ctypes.c_int)(page)()
"""
    subject.start(code.format(path=str(path)))
    assert os.WTERMSIG(subject.status()) == signal.SIGSYS


LIVE = """
import ctypes, os, mmap
from streamsim.sandbox.zygote import kernel
own = os.getpid()
buffer = ctypes.create_string_buffer(256)
given = ctypes.addressof(buffer)
file = os.open(os.__file__, os.O_RDONLY)
page = mmap.mmap(-1, 4096)
at = ctypes.addressof(ctypes.c_char.from_buffer(page))
values = {"own": own, "given": given, "file": file, "at": at, "path": path.encode()}
result = {}
for name, number, arguments in calls:
    words = [values.get(word, word) if isinstance(word, str) else word for word in arguments]
    answer = kernel.syscall(number, *words)
    result[f"{name} {arguments}"] = ctypes.get_errno() if answer == -1 else 0
"""


def test_checked_calls_in_the_kernel(subject: Any) -> None:
    passing = [
        ("openat", (-100, "path", os.O_RDONLY | os.O_CLOEXEC)),
        ("mmap", (0, 4096, 3, 0x22, -1, 0)),
        ("mmap", (0, 4096, 5, 0x02, "file", 0)),
        ("mprotect", ("at", 4096, 1)),
        ("fcntl", (3, 1)),
        ("fcntl", (3, 3)),
        ("prlimit64", (0, 7, 0, "given")),
        ("tgkill", ("own", "own", 0)),
        ("setitimer", (0, 0, "given")),
        ("sched_getaffinity", (0, 128, "given")),
    ]
    refused = [
        ("openat", (-100, "path", os.O_WRONLY)),
        ("openat", (-100, "path", os.O_RDWR)),
        ("openat", (-100, "path", os.O_PATH)),
        ("mmap", (0, 4096, 7, 0x22, -1, 0)),
        ("mmap", (0, 4096, 5, 0x22, -1, 0)),
        ("mmap", (0, 4096, 6, 0x02, "file", 0)),
        ("mmap", (0, 1 << 21, 3, 0x40022, -1, 0)),
        ("mprotect", ("at", 4096, 5)),
        ("ioctl", (3, 0x541B, "given")),
        ("fcntl", (3, 4, 0o4000)),
        ("fcntl", (3, 8, 1)),
        ("prlimit64", (0, 7, "given", 0)),
        ("prlimit64", (1, 7, 0, "given")),
        ("tgkill", (1, 1, 0)),
        ("setitimer", (2, "given", 0)),
        ("sched_getaffinity", (1, 128, "given")),
    ]
    calls = [(name, number(NAMED[name], table.MACHINE), given) for name, given in passing + refused]
    answers = subject.run(LIVE, calls=calls, path=os.__file__)
    assert list(answers.values()) == [0] * len(passing) + [errno.EPERM] * len(refused)


def test_the_documentation_lists_the_table() -> None:
    text = ROOT.joinpath("docs", "sandbox.md").read_text()
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line[:3] == "| `"
    ]
    documented = [row for row in rows if len(row) == 4]
    expected = [
        [f"`{call.name}`", *("" if nr is None else str(nr) for nr in (call.x86_64, call.aarch64)), call.only]
        for call in table.CALLS
    ]
    assert documented == expected


def test_the_documentation_explains_every_line_of_the_report() -> None:
    text = ROOT.joinpath("docs", "sandbox.md").read_text()
    explained = {line.split("|")[1].strip(" `") for line in text.splitlines() if line.startswith("| `")}
    assert {field.name for field in msgspec.structs.fields(Report)} - {"missing"} <= explained
    assert "missing sandbox layers" in explained
