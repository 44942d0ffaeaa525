"""How much the calls of one experiment have written in this minute."""

from __future__ import annotations

import asyncio

from streamsim.errors import TooManyRequests
from streamsim.storage.contract.decisions import Transaction


class Written:
    """Bytes of logs and theta in the present minute, of which there may be `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._until, self._bytes = 0.0, 0
        self._now = asyncio.get_running_loop().time

    def check(self) -> None:
        """:raises TooManyRequests: calls of this experiment have written what they may in this minute."""
        if self._bytes < self._most:
            return
        now = self._now()
        if now < self._until:
            raise TooManyRequests(
                f"calls of this experiment have written {self._most} bytes of logs and theta in this minute "
                "(lane.minute_bytes)",
                retry_after_s=int(self._until - now) + 1,
            )

    def add(self, transaction: Transaction) -> None:
        """Count what a batch has written."""
        now = self._now()
        if now >= self._until:
            self._until, self._bytes = now + 60, 0
        self._bytes += transaction.written_bytes
