"""A fork whose child begins in a control group (clone3(2), CLONE_INTO_CGROUP; Linux 5.7).

To move a process that runs already takes 10 to 15 ms where others compute: the kernel first waits until every
processor has passed through it. A child that begins in its group waits for nobody.
"""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final

from streamsim.sandbox import table
from streamsim.sandbox.zygote import kernel

FAILED: Final = -1
_INTO_CGROUP, _CHILD_CLEARTID, _CHILD_SETTID = 0x2_0000_0000, 0x0020_0000, 0x0100_0000
_PR_GET_TID_ADDRESS: Final = 40
# It holds the interpreter's lock across calls, as a fork of Python's own does.
_PYTHON: Final = ctypes.PyDLL(None)
for _hook in ("PyOS_BeforeFork", "PyOS_AfterFork_Child", "PyOS_AfterFork_Parent"):
    getattr(_PYTHON, _hook).restype = None
_PYTHON.syscall.restype = ctypes.c_long


class _Arguments(ctypes.Structure):
    """`struct clone_args` of clone3(2), in its third version."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            "flags",
            "pidfd",
            "child_tid",
            "parent_tid",
            "exit_signal",
            "stack",
            "stack_size",
            "tls",
            "set_tid",
            "set_tid_size",
            "cgroup",
        )
    )


def into(group: int) -> int:
    """As `os.fork`, of a process with one thread, into the group of a folder's descriptor.

    :return: 0 in the child, its pid in the parent, `FAILED` without a child: the kernel, a filter of system
        calls or the C library does not offer it.
    """
    tid = _tid()
    if not tid:
        return FAILED
    arguments = _Arguments(
        flags=_INTO_CGROUP | _CHILD_CLEARTID | _CHILD_SETTID,
        child_tid=tid,
        exit_signal=signal.SIGCHLD,
        cgroup=group,
    )
    number = ctypes.c_long(table.number(table.SETUP["clone3"]))
    size = ctypes.c_long(ctypes.sizeof(arguments))
    _PYTHON.PyOS_BeforeFork()
    pid = int(_PYTHON.syscall(number, ctypes.byref(arguments), size))
    if pid == 0:
        _PYTHON.PyOS_AfterFork_Child()
    else:
        _PYTHON.PyOS_AfterFork_Parent()
    return pid


def _tid() -> int:
    """Where glibc keeps the id of this thread, which a child needs to have anew; 0 if that is not known."""
    if "CS_GNU_LIBC_VERSION" not in os.confstr_names or not os.confstr("CS_GNU_LIBC_VERSION"):
        return 0
    address = ctypes.c_void_p()
    try:
        kernel.prctl(_PR_GET_TID_ADDRESS, ctypes.byref(address))
    except OSError:
        return 0  # a kernel without checkpoints
    return address.value or 0
