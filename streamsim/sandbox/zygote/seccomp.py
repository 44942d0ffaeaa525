"""The system call filter: a classic BPF program built from the table (seccomp(2), bpf(4))."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Container
from typing import Final

from streamsim.sandbox import table
from streamsim.sandbox.zygote import kernel

# Opcodes of linux/filter.h.
LD, AND, JEQ, JSET, RET = 0x20, 0x54, 0x15, 0x45, 0x06
# Offsets in struct seccomp_data; arguments are little-endian 64-bit words on both machines.
NUMBER, ARCH, ARGUMENTS = 0, 4, 16
ALLOW, ERRNO, KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
SET_MODE_FILTER, GET_ACTION_AVAIL = 1, 2

Instruction = tuple[int, int, int, int]
"""(opcode, jump if true, jump if false, constant)."""


def program(pid: int, machine: str = table.MACHINE, without: Container[str] = ()) -> list[Instruction]:
    """The filter for a worker with process id `pid`.

    :param without: names of the table that are refused nevertheless.

    A foreign architecture or ABI ends the process; a call of the table is allowed if its arguments pass;
    anything else answers EPERM (clone3: ENOSYS).

    :raises NotImplementedError: for a machine that the table does not know.
    """
    column = list(table.ARCHES).index(machine) if machine in table.ARCHES else -1
    if column < 0:
        raise NotImplementedError(f"no system call table for {machine}")
    arch = table.ARCHES[machine]
    code: list[Instruction] = [
        (LD, 0, 0, ARCH),
        (JEQ, 1, 0, arch.audit),
        (RET, 0, 0, KILL_PROCESS),
        (LD, 0, 0, NUMBER),
    ]
    if arch.x32_bit:
        code += [(JSET, 0, 1, arch.x32_bit), (RET, 0, 0, KILL_PROCESS)]
    for *numbers, answer in table.DENIED_OTHERWISE.values():
        code += [(JEQ, 0, 1, numbers[column]), (RET, 0, 0, ERRNO | answer)]
    for call in table.CALLS:
        number = (call.x86_64, call.aarch64)[column]
        if number is None or call.name in without:
            continue
        block = _rows(call, pid) if call.when else [(RET, 0, 0, ALLOW)]
        code += [(JEQ, 0, len(block), number), *block]
    return [*code, (RET, 0, 0, ERRNO | table.DENIED)]


def _rows(call: table.Call, pid: int) -> list[Instruction]:
    """Allow if every test of one row holds, else refuse."""
    block: list[Instruction] = []
    for row in call.when:
        tests = [_test(test, pid) for test in row]
        left = sum(map(len, tests)) + 1
        for test in tests:
            left -= len(test)
            # The last instruction of a test jumps over what is left of the row when no value matched.
            opcode, _, _, value = test[-1]
            block += [*test[:-1], (opcode, 0, left, value)]
        block.append((RET, 0, 0, ALLOW))
    return [*block, (RET, 0, 0, ERRNO | table.DENIED)]


def _test(test: table.Test, pid: int) -> list[Instruction]:
    code: list[Instruction] = [(LD, 0, 0, ARGUMENTS + 8 * test.arg + 4 * test.high)]
    if test.mask != table.ALL:
        code.append((AND, 0, 0, test.mask))
    values = [pid if value == table.OWN_PID else value for value in test.values]
    code += [(JEQ, len(values) - 1 - index, 0, value) for index, value in enumerate(values)]
    return code


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def assemble(code: list[Instruction]) -> bytes:
    """The program as an array of struct sock_filter."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def available() -> bool:
    """Whether this kernel can filter system calls and end a process for a foreign one."""
    action = ctypes.c_uint32(KILL_PROCESS)
    number = table.number(table.SETUP["seccomp"])
    return kernel.syscall(number, GET_ACTION_AVAIL, 0, ctypes.byref(action)) == 0


class Filter:
    """The assembled program; only the process id is filled in after the fork."""

    PLACEHOLDER: Final = 0x7FFFFFFE

    def __init__(self, without: Container[str] = ()) -> None:
        self._code = assemble(program(self.PLACEHOLDER, without=without))
        self._mark = struct.pack("=I", self.PLACEHOLDER)

    def install(self, pid: int) -> None:
        """Puts this process under the filter, for good.

        :raises OSError: if the kernel refuses.
        """
        code = self._code.replace(self._mark, struct.pack("=I", pid))
        kernel.setup("seccomp", SET_MODE_FILTER, 0, ctypes.byref(_Program(len(code) // 8, code)))
