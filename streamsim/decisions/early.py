"""What of the next batch runs while that gathers: the worker need not wait for its last call."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Final

from streamsim.decisions import batch
from streamsim.decisions.calls import Decision, Pending, Reward
from streamsim.decisions.queueing import gathered
from streamsim.decisions.routing import Around
from streamsim.decisions.worker import PolicyWorker

PART: Final = 4
"""So many calls are worth a message to the worker; the fewer come last, the sooner it is done with them."""
_AGAIN_S: Final = 0.002
"""Who was answered longer ago is not expected with the next calls."""
_BYTES: Final = 64 * 1024
"""Calls that are larger wait for the batch."""


class Early:
    """The calls at the head of a lane's queue that the worker was given already.

    Only those that the code is run for whatever the store says, so that in all likelihood they are the first
    of the next batch. If they are not, what they came to is forgotten. `gathering`: the next batch does, so
    that `give` may be called.
    """

    def __init__(self, worker: PolicyWorker, most: int) -> None:
        self._worker = worker
        self._most = most
        self._calls: list[Pending] = []
        self.gathering = True
        self._before = 0  # how many calls the last batch had
        self._now = asyncio.get_running_loop().time
        self._expected, self._answered_s = 0, 0.0

    @property
    def given(self) -> int:
        """How many calls of the next batch the worker was given."""
        return len(self._calls)

    def answered(self, calls: int, waiting: int) -> None:
        """So many calls have been answered while so many wait: most who were ask again at once, and are
        worth a moment, as they would wait for all that becomes of the others."""
        self._expected, self._answered_s = calls + waiting, self._now()

    async def gathered(self, queue: deque[Pending], around: Around | None) -> None:
        """Wait until the queue has what comes at once, and give the worker parts of it meanwhile."""
        self.gathering = True
        self.give(queue, around)
        lately = self._expected >= PART and self._now() - self._answered_s < _AGAIN_S
        await gathered(queue, self._most, self._expected if lately else 0)
        self.gathering = False

    def give(self, queue: deque[Pending], around: Around | None) -> None:
        """Give the worker what has come to the queue of a batch that gathers, if that is enough."""
        given, waiting = len(self._calls), min(len(queue), self._most)
        waiting = min(waiting, max(self._worker.pace.half, self._before))
        if waiting - given < PART or around is None or not around.plain:
            return
        calls = list(islice(queue, given, waiting))
        key = around.experiment.key
        if not all(_plain(call, key) for call in calls) or sum(call.size for call in calls) > _BYTES:
            return
        if self._worker.run_early(around.experiment, [batch.frame(call) for call in calls]):
            self._calls += calls

    async def rest(self, queue: deque[Pending]) -> None:
        """Forget what is not the next batch, as nothing is that does not wait."""
        if not self._calls or self._calls != list(islice(queue, len(self._calls))):
            self._calls.clear()
            await self._worker.rest()

    def dismiss(self) -> None:
        """As `rest`, without waiting: the worker ends."""
        self._calls.clear()
        self._worker.dismiss_early()

    def taken(self, calls: Sequence[Pending]) -> int:
        """How many of the first calls of a batch were given early; 0 if others were."""
        given, self._calls, self._before = self._calls, [], len(calls)
        return len(given) if calls[: len(given)] == given else 0


def _plain(call: Pending, key: str) -> bool:
    if call.key is not None and call.key != key:
        return False
    if isinstance(call, Reward):
        return call.advice_id is None and call.idempotency_key is None
    return isinstance(call, Decision)
