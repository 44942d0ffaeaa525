"""How processes that compute stand back behind live decisions."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Final

from streamsim import processors
from streamsim.sandbox.host.owner import for_owner

log = logging.getLogger(__name__)

LONG_S: Final = 0.25
"""What somebody waits for, and takes longer than this, goes behind what does not."""


class Priority:
    """The priority of one server process's evaluations, and the processors that they use.

    A lower priority alone does not make way: what computes in the kernel, as when it begins or ends, is not
    interrupted for some milliseconds, whatever has just become ready to run on the same processor. So while
    experiments are live, all of them are kept off some processors, and are forked on the others.

    Of what a tenant waits for, one process goes ahead, and the others stand back as jobs do: however many
    somebody has, the first one of somebody else does not share a processor with all of them alike.

    :param nice: how far jobs stand back, 0 to 19; what somebody waits for does half as far, and three
        quarters when it takes long.
    :param spare: processors that are left to live decisions, of several.
    :param live: whether there are any.
    """

    def __init__(self, nice: int, spare: int, live: Callable[[], bool]) -> None:
        self._nice = nice
        self._spare = spare
        self._live = live
        self._apart = live()
        self._processes: set[int] = set()
        # A process that stands back cannot be called forward again: that takes a privilege.
        self._first: dict[str, int] = {}

    def begins(self) -> Sequence[int]:
        """The processors on which a process is to begin."""
        self.make_way()
        return self._left()

    def lower(self, pid: int, tenant: str) -> None:
        """This tenant waits for this process, until `ended`."""
        self._processes.add(pid)
        first = self._first.setdefault(tenant, pid) == pid
        lower(pid, self._nice // 2 if first else self._nice)

    def takes_long(self, pid: int) -> None:
        """What somebody waits for takes longer than one usually does."""
        if pid in self._first.values():
            lower(pid, 3 * self._nice // 4)
        self.keep_off(pid)

    def stand_back(self, pid: int) -> None:
        """It is a job's: behind all others, until `ended`."""
        lower(pid, self._nice)
        self.keep_off(pid)

    def keep_off(self, pid: int) -> None:
        """Until `ended`, it leaves processors to live decisions: there may have been none when it began."""
        self.make_way()
        self._processes.add(pid)
        place(pid, self._left())

    def ended(self, pid: int) -> None:
        """Forget it. Its number may be another's soon."""
        self._processes.discard(pid)
        self._first = {tenant: first for tenant, first in self._first.items() if first != pid}

    def make_way(self) -> None:
        """Let those that stand back leave processors to live decisions, or have them again without any."""
        if self._live() == self._apart:
            return
        self._apart = not self._apart
        for pid in self._processes:
            place(pid, self._left())

    def _left(self) -> tuple[int, ...]:
        return without(self._spare if self._apart else 0)


def lower(pid: int, nice: int) -> None:
    """Give a process a lower priority, if it is there still. It cannot have its own again.

    :param pid: 0 is one that has ended already.
    """
    if not pid:
        return  # to the kernel it is this process
    try:
        for_owner(pid, lambda: os.setpriority(os.PRIO_PROCESS, pid, nice))
    except ProcessLookupError:
        pass  # it ended, which its next exchange tells
    except PermissionError:
        log.warning("what computes runs at the priority of live decisions: this process may not lower it")


def without(spare: int) -> tuple[int, ...]:
    """The processors of this process but for so many of them; one at least."""
    return processors.last(len(processors.ALL) - spare)


def place(pid: int, where: Sequence[int]) -> bool:
    """Have a process on some of the processors of this one.

    :param pid: 0 is one that has ended already. :return: False if this process may not do that.
    """
    if not pid:
        return True  # as above
    try:
        for_owner(pid, lambda: os.sched_setaffinity(pid, where))
    except ProcessLookupError:
        pass  # it ended
    except OSError as error:
        log.warning("what computes uses all processors; to say which is refused: %s", error.strerror)
        return False
    return True
