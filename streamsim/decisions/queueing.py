"""How a lane takes the next batch off its queue."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, NamedTuple

from streamsim.decisions.calls import Pending, Reward
from streamsim.errors import Unavailable
from streamsim.storage.contract.decisions import Stale

_TURNS: Final = 8
_MOMENT_S: Final = 0.0002
"""So long after the last call that came a batch ends without those that are expected."""


class Committing(NamedTuple):
    """A batch that is committed while the next one runs."""

    calls: list[Pending]
    task: asyncio.Task[Stale | None]

    def enough(self, most: int, half: int) -> int:
        """How many calls are worth running beside its commit; fewer wait, as its clients may join them.

        :param half: as of `size`.
        """
        size = len(self.calls)
        return min(most, size + 1 if size < half else size - 1)


def size(waiting: int, most: int, half: int) -> int:
    """How many calls the next batch takes if one can run while another is committed, and none is.

    :param half: so many calls are worth a commit of their own (`Pace`).
    """
    return -(-waiting // 2) if 2 * half <= waiting <= most else most


async def gathered(queue: deque[Pending], most: int, expected: int) -> None:
    """Wait while every turn of the event loop brings more calls: it has received more than it has read. At
    most for a few turns, and for no more calls than a batch may have.

    :param expected: so many calls are worth a moment more.
    """
    now, until = asyncio.get_running_loop().time, 0.0
    came, turns = -1, 0
    while queue and len(queue) < most:
        if len(queue) > came:
            if turns == _TURNS:
                return
            came, turns, until = len(queue), turns + 1, 0.0
        elif came >= expected:
            return
        elif not until:
            until = now() + _MOMENT_S
        elif now() > until:
            return
        await asyncio.sleep(0)


def take(queue: deque[Pending], most: int, room: int, now: float, call_s: float) -> list[Pending]:
    """The next batch: at most so many calls in order, each advice id and idempotency key at most once, and no
    more than came in `room` bytes, but for a single one.

    Those that waited too long have their error, and those that nobody waits for are left out.
    """
    calls: list[Pending] = []
    seen = set[tuple[str, str | None]]()
    while queue and len(calls) < most:
        call = queue[0]
        if call.deadline < now or call.given_up:
            call.fail(Unavailable(f"the call waited longer than {call_s:g} s (lane.call_s)"))
            queue.popleft()
            continue
        if isinstance(call, Reward):
            names = {("advice", call.advice_id), ("key", call.idempotency_key)}
            names -= {("advice", None), ("key", None)}
            if names & seen:
                break
            seen |= names
        room -= call.size
        if room < 0 and calls:
            break
        calls.append(queue.popleft())
    return calls
