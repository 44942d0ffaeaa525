"""What only the user of a process may ask of it: where it runs, and at which priority."""

from __future__ import annotations

import errno
from collections.abc import Callable
from threading import Thread
from typing import Final

from streamsim.sandbox import table
from streamsim.sandbox.zygote import kernel

_SETRESUID: Final = (117, 147)


def for_owner(pid: int, ask: Callable[[], None]) -> None:
    """Do what the kernel lets only a process's own user do, or who has CAP_SYS_NICE, as containers have not.

    Workers run as users that are nobody else's. A root that may become any of them asks again from a thread
    that became that one, and ends: to the kernel each thread has a user of its own.

    :param pid: the process; :param ask: what to do, which refers to it.
    :raises OSError: `ask` is refused to its user as well, or this process may not become that user.
    """
    try:
        ask()
    except PermissionError:
        failed: list[OSError] = []
        thread = Thread(target=_as_owner, args=(pid, ask, failed), name="owner")
        thread.start()
        thread.join()
        if failed:
            raise failed[0] from None


def _as_owner(pid: int, ask: Callable[[], None], failed: list[OSError]) -> None:
    try:
        # That of libc is for all threads. The real user stays, so that no worker may signal this one.
        kernel.checked(kernel.syscall(table.number(_SETRESUID), -1, _user(pid), -1), "setresuid")
        ask()
    except OSError as error:
        failed.append(error)


def _user(pid: int) -> int:
    """The user that a process is. Its folder below /proc is root's, whoever it is."""
    try:
        with open(f"/proc/{pid}/status") as status:
            words = next(line.split() for line in status if line.startswith("Uid:"))
    except FileNotFoundError:
        raise ProcessLookupError(errno.ESRCH, "it has ended") from None
    return int(words[1])
