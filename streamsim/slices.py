"""How long a process may compute while another that has just become ready to run waits for its processor."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from typing import Final

SHORTEST_S: Final = 0.0001
"""The kernel's own bound."""
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_NUMBER: Final = {"x86_64": 314, "aarch64": 274}


class _Attributes(ctypes.Structure):
    """`struct sched_attr` of sched_setattr(2), in its first version."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime_ns", ctypes.c_uint64),
        ("deadline_ns", ctypes.c_uint64),
        ("period_ns", ctypes.c_uint64),
    )


def ask(slice_s: float, pid: int = 0) -> None:
    """Let the calling thread, or the first thread of a process, have time slices of this length.

    A thread that becomes ready to run takes the processor at once from one whose slice is longer; from
    others when their slice is over, which the kernel looks at every few milliseconds. So what answers soon
    asks for short ones. Shares of the processor stay as they are. Threads and processes begin with the slice
    of the one that starts them. Linux before 6.12 takes no notice, and a policy other than the usual one is
    left as it is.

    :param slice_s: seconds, of 0.0001 to 0.1; 0 for the kernel's own.
    :raises OSError: the process is not there or another user's, or this machine forbids or lacks the call.
    """
    if os.sched_getscheduler(pid) != os.SCHED_OTHER:
        return
    number = _NUMBER.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, f"sched_setattr has no known number on {platform.machine()}")
    attributes = _Attributes(
        size=ctypes.sizeof(_Attributes),
        policy=os.SCHED_OTHER,
        nice=os.getpriority(os.PRIO_PROCESS, pid),
        runtime_ns=round(slice_s * 1e9),
    )
    if _LIBC.syscall(ctypes.c_long(number), pid, ctypes.byref(attributes), 0) == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"sched_setattr: {os.strerror(code)}")
