"""How the processes of evaluations stand back behind live decisions."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Final

log = logging.getLogger(__name__)

LONG_S: Final = 0.25
"""Whatever takes longer than this stands back as a job does."""


class Priority:
    """The priority of one server process's evaluations, and the processors that they use.

    A lower priority alone does not make way: what computes in the kernel, as when it begins or ends, is not
    interrupted for some milliseconds, whatever has just become ready to run on the same processor. So while
    experiments are live, what takes long is kept off some processors.

    :param nice: how far jobs stand back, 0 to 19; what somebody waits for does half as far.
    :param spare: processors that are left to live decisions, of several.
    :param live: whether there are any.
    """

    def __init__(self, nice: int, spare: int, live: Callable[[], bool]) -> None:
        self._nice = nice
        self._spare = spare
        self._live = live
        self._apart = live()
        self._long: set[int] = set()

    def lower(self, pid: int) -> None:
        """Somebody waits for this process."""
        _lower(pid, self._nice // 2)

    def stand_back(self, pid: int) -> None:
        """It is a job's, or takes longer than one waits for: behind all others, until `ended`."""
        _lower(pid, self._nice)
        self.keep_off(pid)

    def keep_off(self, pid: int) -> None:
        """It takes long: until `ended`, it leaves processors to live decisions."""
        self.make_way()
        self._long.add(pid)
        _place(pid, self._spare if self._apart else 0)

    def ended(self, pid: int) -> None:
        """Forget it. Its number may be another's soon."""
        self._long.discard(pid)

    def make_way(self) -> None:
        """Let those that stand back leave processors to live decisions, or have them again without any."""
        if self._live() == self._apart:
            return
        self._apart = not self._apart
        for pid in self._long:
            _place(pid, self._spare if self._apart else 0)


def _lower(pid: int, nice: int) -> None:
    try:
        os.setpriority(os.PRIO_PROCESS, pid, nice)
    except ProcessLookupError:
        pass  # it ended, which its next exchange tells
    except PermissionError:
        log.warning("simulations run at the priority of live decisions: this process may not lower it")


def _place(pid: int, spare: int) -> None:
    """On the processors of this process, without so many of them: all but one at most."""
    own = sorted(os.sched_getaffinity(0))
    try:
        os.sched_setaffinity(pid, own[min(spare, len(own) - 1) :])
    except ProcessLookupError:
        pass  # as above
    except PermissionError:
        log.warning("simulations use all processors: this process may not say which")
