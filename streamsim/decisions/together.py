"""Answers of calls that came together, awaited as one: a future for each costs a tenth of a decision."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TypeAlias

End: TypeAlias = bytes | BaseException
"""The answer of a call, or its error."""


class Together:
    """`all`: how each call ended, in order. Once that is cancelled nobody waits for any of them."""

    def __init__(self, calls: int) -> None:
        self.all: asyncio.Future[list[End]] = asyncio.get_running_loop().create_future()
        self._ends: list[End | None] = [None] * calls
        self._left = calls
        if not calls:
            self.all.set_result([])

    def places(self) -> Iterator[Place]:
        """Where the answer of each call goes."""
        return (Place(self, number) for number in range(len(self._ends)))

    def has_ended(self, number: int) -> bool:
        """Whether nobody waits for the answer of a call any more."""
        return self._ends[number] is not None or self.all.done()

    def end(self, number: int, end: End) -> None:
        """How a call ended."""
        self._ends[number] = end
        self._left -= 1
        if not self._left:
            self.all.set_result([one for one in self._ends if one is not None])


class Place:
    """The `Answer` of one of them."""

    __slots__ = ("_number", "_together")

    def __init__(self, together: Together, number: int) -> None:
        self._together = together
        self._number = number

    def done(self) -> bool:
        """Whether nobody waits for it any more."""
        return self._together.has_ended(self._number)

    def set_result(self, answer: bytes) -> None:
        """Here it is."""
        self._together.end(self._number, answer)

    def set_exception(self, error: BaseException) -> None:
        """There is none, for this reason."""
        self._together.end(self._number, error)
