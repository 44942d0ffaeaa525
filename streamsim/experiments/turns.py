"""Whose turn it is to create or change an experiment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from streamsim.errors import TooManyRequests
from streamsim.waiting import Room

AT_ONCE: Final = 16
WAITING: Final = 256


class Editing:
    """One edit of a tenant at a time: however many it sends, only one is before those of others.

    Nor does one then find that another of the same tenant came between, and begin again.
    """

    def __init__(self) -> None:
        self._room = Room(AT_ONCE, share=1)

    def waiting(self, tenant: str) -> int:
        """How many edits of one tenant wait."""
        return self._room.waiting(tenant)

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncIterator[None]:
        """The tenant's turn, for the length of the context. :raises TooManyRequests: too many wait."""
        if self.waiting(tenant) >= WAITING:
            raise TooManyRequests("too many of your edits wait; try again soon")
        async with self._room.place(tenant):
            yield
