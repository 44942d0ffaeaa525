"""Waiting for something, but not for ever."""

from __future__ import annotations

import asyncio
from collections import deque


async def until(event: asyncio.Event, seconds: float) -> None:
    """Return when the event is set, or after so long.

    Not `asyncio.wait_for`, which in Python 3.11 loses a cancellation that comes together with the event.
    """
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


class Turns:
    """Callers that wait for room, in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self) -> None:
        """Return when it is this caller's turn to look for room again."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)

    def give(self) -> None:
        """There may be room: the first that waits has its turn."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
