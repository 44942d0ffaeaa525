"""Thin ctypes bindings for the kernel interfaces that Python does not offer."""

from __future__ import annotations

import ctypes
import os
from typing import Any, Final

from streamsim.sandbox import table

LIBC: Final = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NAME = 1, 4, 15
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 24, 38, 47, 4
CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_SETPCAP = 5, 6, 7, 8


def checked(result: int, what: str) -> int:
    """`result` of a libc call.

    :raises OSError: naming `what`, if it is -1.
    """
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def syscall(number: int, *arguments: Any) -> int:
    """A raw system call; integers are passed as 64 bits. Returns -1 with ctypes' errno set on failure."""
    return int(LIBC.syscall(ctypes.c_long(number), *map(_word, arguments)))


def setup(name: str, *arguments: Any) -> int:
    """One of the table's set-up calls.

    :raises OSError: naming it.
    """
    return checked(syscall(table.number(table.SETUP[name]), *arguments), name)


def prctl(option: int, *arguments: Any) -> int:
    """prctl(2), unused arguments zero.

    :raises OSError: if it is refused.
    """
    words = [*map(_word, arguments), *[ctypes.c_long(0)] * (4 - len(arguments))]
    return checked(int(LIBC.prctl(ctypes.c_int(option), *words)), f"prctl {option}")


def set_capabilities(*kept: int) -> None:
    """Keeps `kept` as permitted and effective capabilities, and nothing inheritable.

    :raises OSError: if one of them is not held.
    """
    bits = sum(1 << capability for capability in kept)
    data = (ctypes.c_uint32 * 6)(bits & table.ALL, bits & table.ALL, 0, bits >> 32, bits >> 32, 0)
    setup("capset", (ctypes.c_uint32 * 2)(0x20080522, 0), data)


def capabilities() -> tuple[int, int, int]:
    """(effective, permitted, inheritable) of this process, as bit masks."""
    data = (ctypes.c_uint32 * 6)()
    setup("capget", (ctypes.c_uint32 * 2)(0x20080522, 0), data)
    return (data[0] | data[3] << 32, data[1] | data[4] << 32, data[2] | data[5] << 32)


def _word(value: Any) -> Any:
    return ctypes.c_long(value) if isinstance(value, int) else value
