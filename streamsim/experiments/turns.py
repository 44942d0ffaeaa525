"""Whose turn it is to create or change an experiment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from streamsim.errors import TooManyRequests
from streamsim.waiting import Room

AT_ONCE: Final = 16
WAITING: Final = 256
_LATELY: Final = 8
_REST_MOST_S: Final = 0.1


class Editing:
    """One edit of a tenant at a time: however many it sends, only one is before those of others.

    Nor does one then find that another of the same tenant came between, and begin again.

    While others edit too, a tenant whose edits wait rests after each for as long as it took, so that an edit
    of somebody else meets one of them at most.
    """

    def __init__(self) -> None:
        self._room = Room(AT_ONCE, share=1, lately=_LATELY)

    def waiting(self, tenant: str) -> int:
        """How many edits of one tenant wait."""
        return self._room.waiting(tenant)

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncIterator[None]:
        """The tenant's turn, for the length of the context. :raises TooManyRequests: too many wait."""
        if self.waiting(tenant) >= WAITING:
            raise TooManyRequests("too many of your edits wait; try again soon")
        await self._room.take(tenant)
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            yield
        finally:
            if self.waiting(tenant) and self._room.others(tenant):
                rest_s = min(loop.time() - began, _REST_MOST_S)
                loop.call_later(rest_s, self._room.free, tenant)
            else:
                self._room.free(tenant)
