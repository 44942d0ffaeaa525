"""How a commit that is sent again is told from a new one, without a key for each.

Who commits is a writer, which has one commit under way at most and numbers them. Redis keeps the number and
the outcome of each writer's last one beside what every commit reads and writes anyway. So one that comes
again is answered as it was, and one that arrives after the writer's next, its answer long given up, does
nothing. These are the sessions and serial numbers of clients in section 6.3 of Ongaro, "Consensus: Bridging
Theory and Practice", 2014.
"""

from __future__ import annotations

from uuid import uuid4

_TENANTS = 100_000


class Writer:
    """:ivar name: no other writer, of any process, has it. :ivar serial: number of its last commit."""

    __slots__ = ("name", "serial")

    def __init__(self) -> None:
        self.name = uuid4().hex[:16]
        self.serial = 0


class Writers:
    """The writers of this process: for each tenant as many as it had commits under way at once."""

    def __init__(self) -> None:
        self._free: dict[str, list[Writer]] = {}

    def take(self, tenant: str) -> Writer:
        """A writer that has nothing under way."""
        free = self._free.get(tenant)
        return free.pop() if free else Writer()

    def give_back(self, tenant: str, writer: Writer) -> None:
        """After its commit ended, or was given up."""
        if len(self._free) >= _TENANTS and tenant not in self._free:
            self._free.clear()  # others take their place; Redis forgets who was silent for an hour
        self._free.setdefault(tenant, []).append(writer)
