"""When an entry of a run is written: a moment later, if others are about to be written too.

The store makes one commit of what comes in one turn of the event loop, and syncs the disk once for it. As
with PostgreSQL's `commit_delay` and `commit_siblings`, what is done waits for those that are as good as done;
who is alone never waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

QUICK_S: Final = 0.001
"""What a process did in less time the last time, it is expected to do so again."""
LATE_S: Final = 0.005
"""Nor is it expected any more once it has taken so long."""
ENOUGH_S: Final = 0.0003
"""Once the first has waited for so long, the next that comes ends the wait: about the time of a commit."""
MOST_S: Final = 0.001
"""For so long it waits if nobody comes."""


class GroupCommit:
    """Waits of one event loop."""

    def __init__(self) -> None:
        # When what is expected began, the oldest first.
        self._expected: dict[object, float] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def expecting(self, quick: bool) -> Iterator[None]:
        """While what is to be written is being done. :param quick: it takes less than `QUICK_S`."""
        one = object()
        if quick:
            self._expected[one] = asyncio.get_running_loop().time()
        try:
            yield
        finally:
            self._expected.pop(one, None)
            if not self._expected:
                self._end()

    async def wait(self) -> None:
        """Return when it is time to write."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            self._since = loop.time()
            self._forget_late()
            if not self._expected:
                return
            self._timer = loop.call_later(MOST_S, self._end)
        elif loop.time() > self._since + ENOUGH_S:
            self._end()
            return
        waiting = loop.create_future()
        self._waiting.append(waiting)
        await waiting

    def _forget_late(self) -> None:
        late = [one for one, began in self._expected.items() if began < self._since - LATE_S]
        for one in late:
            del self._expected[one]

    def _end(self) -> None:
        waiting, self._waiting = self._waiting, []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for one in waiting:
            if not one.done():
                one.set_result(None)
