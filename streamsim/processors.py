"""The processors that this process may use, and those that its threads are on."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

ALL: Final = tuple(sorted(os.sched_getaffinity(0)))
"""Their numbers, as this process began; what its threads leave for a while is among them."""


def last(count: int) -> tuple[int, ...]:
    """So many of them, the last ones; one at least, and all at most."""
    return ALL[-min(max(count, 1), len(ALL)) :]


def stay_on(processors: Iterable[int]) -> None:
    """Have every thread of this process, and what they start, on these alone.

    :raises OSError: none of them is this process's any more.
    """
    wanted = frozenset(processors)
    for thread in map(int, os.listdir("/proc/self/task")):
        try:
            os.sched_setaffinity(thread, wanted)
        except ProcessLookupError:
            pass  # it has just ended
