"""Requests that are not answered yet, and the bytes of their bodies, for which there is one budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from tornado.httputil import HTTPConnection

FREE_BYTES: Final = 64 << 10
"""Of each body, never refused: what most requests send goes on however full the budget is."""


class UnderWay:
    """Connections whose request is not answered yet.

    :param most: bytes that all their bodies may have together, beyond the first `FREE_BYTES` of each; one
        address may have half of it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._connections: dict[HTTPConnection, tuple[str, int]] = {}
        self._of_address = Counter[str]()
        self._taken = 0

    def __len__(self) -> int:
        return len(self._connections)

    def __contains__(self, connection: object) -> bool:
        return connection in self._connections

    def __iter__(self) -> Iterator[HTTPConnection]:
        return iter(self._connections)

    @property
    def bytes(self) -> int:
        """Of bodies of more than `FREE_BYTES`, beyond these."""
        return self._taken

    def add(self, connection: HTTPConnection) -> None:
        """A request of it has begun."""
        self._connections[connection] = "", 0

    def discard(self, connection: HTTPConnection) -> None:
        """Its request is answered, or it is gone."""
        address, size = self._connections.pop(connection, ("", 0))
        self._count(address, min(FREE_BYTES - size, 0))

    def take(self, connection: HTTPConnection, caller: Callable[[], str], more: int) -> bool:
        """Whether there is room for so many more bytes of its body. Refused, it gives up what it had.

        :param caller: tells the caller's address; asked once the body is no small one.
        """
        address, size = self._connections.get(connection, ("", 0))
        over = max(size + more - FREE_BYTES, 0) - max(size - FREE_BYTES, 0)
        if over:
            address = address or caller()
        if over and (self._taken + over > self._most or self._of_address[address] + over > self._most // 2):
            self.discard(connection)
            self.add(connection)
            return False
        self._connections[connection] = address, size + more
        self._count(address, over)
        return True

    def _count(self, address: str, more: int) -> None:
        if more:
            self._taken += more
            self._of_address[address] += more
            if not self._of_address[address]:
                del self._of_address[address]
