"""Reading large bodies: one piece of one of them, then whatever else there is to do."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

PIECE_BYTES: Final = 128 << 10
"""So much of a body is read at once, and no more than what the kernel gives in one call beyond it."""


class Reads(Protocol):
    """Reads a body."""

    def read_on(self) -> None:
        """Read its next piece."""


class Reading:
    """Connections with large bodies, each of which waits for its turn to read a piece.

    Without turns what the kernel holds of all of them is read in one go. One has its turn in each turn of the
    event loop, those that waited longest first.
    """

    def __init__(self) -> None:
        self._waiting: deque[Reads] = deque()
        self._given = False
        self._loop = asyncio.get_running_loop()

    def wait(self, connection: Reads) -> None:
        """Have it read on when it is its turn."""
        self._waiting.append(connection)
        self._give()

    def _give(self) -> None:
        if self._waiting and not self._given:
            self._given = True
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        self._given = False
        self._waiting.popleft().read_on()
        self._give()
