"""How processes that compute stand back behind live decisions."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Final

from streamsim import processors
from streamsim.sandbox.host.owner import for_owner

log = logging.getLogger(__name__)

LONG_S: Final = 0.25
"""What somebody waits for, and takes longer than this, goes behind what does not."""
TOGETHER_S: Final = 1.0
"""Who began with something so lately shares the processors with others."""


class Priority:
    """The priority of one server process's evaluations, and the processors that they use.

    A lower priority alone does not make way: what computes in the kernel, as when it begins or ends, is not
    interrupted for some milliseconds, whatever has just become ready to run on the same processor. So while
    decisions are made, all of them are kept off some processors, and are forked on the others.

    Of what a tenant waits for, one process goes ahead, and the others stand back as jobs do: however many
    somebody has, the first one of somebody else does not share a processor with all of them alike. Where
    there are as many processors as tenants, each tenant's processes have a part of them: what has just become
    ready to run waits up to 4 ms for what computes on the same one, whichever goes ahead.

    :param nice: how far jobs stand back, 0 to 19; what somebody waits for does half as far, and three
        quarters when it takes long.
    :param spare: processors that are left to live decisions, of several.
    :param live: whether any are made now. :param now: the time in seconds.
    """

    def __init__(
        self, nice: int, spare: int, live: Callable[[], bool], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._nice = nice
        self._spare = spare
        self._live = live
        self._now = now
        self._processes: dict[int, str] = {}
        # When each tenant last began with something, and the processors with who shares them.
        self._began: dict[str, float] = {}
        self._shared: tuple[tuple[int, ...], tuple[str, ...]] = self._left(), ()
        # A process that stands back cannot be called forward again: that takes a privilege.
        self._first: dict[str, int] = {}

    @property
    def leaves(self) -> bool:
        """Whether processes compute that leave processors to live decisions, or began to lately."""
        return self._live() and bool(self._processes or self._sharing())

    def begins(self, tenant: str) -> Sequence[int]:
        """The processors on which a process of this tenant is to begin."""
        if tenant:  # what the service does for itself is nobody's
            self._began[tenant] = self._now()
        self.make_way()
        return self._where(tenant)

    def lower(self, pid: int, tenant: str) -> None:
        """This tenant waits for this process, until `ended`."""
        self._processes[pid] = tenant
        first = self._first.setdefault(tenant, pid) == pid
        lower(pid, self._nice // 2 if first else self._nice)

    def takes_long(self, pid: int) -> None:
        """What somebody waits for takes longer than one usually does."""
        if pid in self._first.values():
            lower(pid, 3 * self._nice // 4)
        self.keep_off(pid, self._processes.get(pid, ""))

    def stand_back(self, pid: int, tenant: str) -> None:
        """It is a job's: behind all others, until `ended`."""
        lower(pid, self._nice)
        self.keep_off(pid, tenant)

    def keep_off(self, pid: int, tenant: str) -> None:
        """Until `ended`, it leaves processors to live decisions: there may have been none when it began."""
        self.make_way()
        self._processes[pid] = tenant
        place(pid, self._where(tenant))

    def ended(self, pid: int) -> None:
        """Forget it. Its number may be another's soon."""
        self._processes.pop(pid, None)
        self._first = {tenant: first for tenant, first in self._first.items() if first != pid}

    def make_way(self) -> None:
        """Let all leave processors to live decisions, or have them again without any, each in its part."""
        self._began = self._sharing()
        shared = self._left(), tuple(self._began)
        if shared == self._shared:
            return
        self._shared = shared
        for pid, tenant in self._processes.items():
            place(pid, self._where(tenant))

    def _sharing(self) -> dict[str, float]:
        """Of `_began`, those who share processors with others still."""
        lately, busy = self._now() - TOGETHER_S, set(self._processes.values())
        return {one: at for one, at in self._began.items() if at > lately or one in busy}

    def _where(self, tenant: str) -> tuple[int, ...]:
        """A tenant's part of the processors, or all where there are too few for that."""
        left, tenants = self._shared
        many = len(tenants)
        if tenant not in tenants or many > len(left):
            return left
        at = tenants.index(tenant)
        return left[at * len(left) // many : (at + 1) * len(left) // many]

    def _left(self) -> tuple[int, ...]:
        return without(self._spare if self._live() else 0)


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
