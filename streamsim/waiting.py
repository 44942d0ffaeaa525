"""Waiting for something, but not for ever, and not behind all that somebody else wants."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final

HOLD_S: Final = 0.1
"""How long a refusal is held back at least."""
HOLD_MOST_S: Final = 2.0
"""And at most."""
APART_S: Final = 0.1
"""Refusals of one caller leave so far apart."""

on_behalf_of: Final[ContextVar[str]] = ContextVar("on_behalf_of", default="")
"""The tenant for whom this task works, where it is known: what many tasks share is shared between tenants."""


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
    """Callers that wait for room: one tenant after the other, each tenant's in the order in which they came.

    So however many wait of one, the next of another waits for one of them.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def tenants(self) -> list[str]:
        """Who waits, whose turn it is first."""
        return list(self._waiting)

    def of(self, tenant: str) -> int:
        """How many wait of one tenant."""
        return len(self._waiting.get(tenant, ()))

    async def wait(self, tenant: str = "", give_back: Callable[[], object] | None = None) -> None:
        """Return when it is this caller's turn.

        :param give_back: what is done instead of `give` if the caller is cancelled after it got its turn.
        """
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                (give_back or self.give)()
            else:
                self._leave(tenant, turn)
            raise

    def give(self, may: Callable[[str], bool] = lambda tenant: True) -> str | None:
        """There is room: whose turn it is goes on; its tenant, or None if nobody waits.

        :param may: whether a tenant may have more.
        """
        for tenant in list(self._waiting):
            if not may(tenant):
                continue
            turns = self._waiting[tenant]
            while turns:
                turn = turns.popleft()
                if turns:
                    self._waiting.move_to_end(tenant)
                else:
                    del self._waiting[tenant]
                # One that has just given up does not know it yet.
                if not turn.done():
                    turn.set_result(None)
                    return tenant
        return None

    def _leave(self, tenant: str, turn: asyncio.Future[None]) -> None:
        turns = self._waiting.get(tenant)
        if turns is not None and turn in turns:
            turns.remove(turn)
            if not turns:
                del self._waiting[tenant]


class Room:
    """Room for so many at once, which tenants share.

    :param most: places. :param share: most places of one tenant; by default all.
    :param lately: while others had one of so many last places, a tenant has no more than its part.
    :param parted: so many places are parted among them then; by default all.
    """

    def __init__(
        self, most: int, share: int | None = None, *, lately: int = 0, parted: int | None = None
    ) -> None:
        self.most = most
        self._share = most if share is None else max(share, 1)
        self._turns = Turns()
        self._held: Counter[str] = Counter()
        self._last: deque[str] = deque(maxlen=lately)
        self._parted = most if parted is None else parted

    def waiting(self, tenant: str) -> int:
        """How many wait of one tenant."""
        return self._turns.of(tenant)

    def others(self, tenant: str) -> set[str]:
        """Who else had one of the last places."""
        # What the service does for itself is nobody's.
        return {*self._last} - {"", tenant}

    def full(self, tenant: str) -> bool:
        """Whether the next of this tenant has to wait."""
        return self._held.total() >= self.most or not self._may(tenant)

    @asynccontextmanager
    async def place(self, tenant: str) -> AsyncIterator[None]:
        """A place, for the length of the context; waits for it."""
        await self.take(tenant)
        try:
            yield
        finally:
            self.free(tenant)

    async def take(self, tenant: str) -> None:
        """Wait for a place, which is this tenant's until it is freed."""
        if self.full(tenant):
            await self._turns.wait(tenant, lambda: self.free(tenant))
        else:
            self._hold(tenant)

    def free(self, tenant: str) -> None:
        """Give a place back."""
        self._held[tenant] -= 1
        if not self._held[tenant]:
            del self._held[tenant]
        while self._held.total() < self.most:
            found = self._turns.give(self._may)
            if found is None:
                return
            self._hold(found)

    def _hold(self, tenant: str) -> None:
        self._held[tenant] += 1
        self._last.append(tenant)

    def _may(self, tenant: str) -> bool:
        """Whether a tenant has less than its share."""
        others = self.others(tenant)
        part = max(self._parted // (len(others) + 1), 1) if others else self.most
        return self._held[tenant] < min(self._share, part)


class Lately:
    """Whether several tenants asked for something lately.

    `stands_back`: whether what a tenant's requests do makes way now for another's; who takes turns says so.

    :param now: the time in seconds.
    """

    stands_back: Callable[[str], bool] = staticmethod(lambda tenant: False)

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._last = ""
        self._last_s = self._other_s = -math.inf

    def asked(self, tenant: str) -> None:
        """One asked now."""
        if tenant != self._last:
            self._last, self._other_s = tenant, self._last_s
        self._last_s = self._now()

    def several(self, seconds: float) -> bool:
        """Whether more than one asked in the last seconds."""
        return self._now() - self._other_s < seconds


class Refusals:
    """How long each 429 is held back: to be refused at once and to ask again would cost others more.

    Those of one caller leave one by one, for callers that are refused together also ask again together, and
    whoever comes then waits for all of them.

    :param now: the time in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._next: dict[str, float] = {}
        self._many = 1000

    def hold_s(self, caller: str) -> float:
        """How long the next refusal of this caller is held back, in seconds."""
        now = self._now()
        if len(self._next) >= self._many:
            self._next = {name: at for name, at in self._next.items() if at > now}
            self._many = max(1000, 2 * len(self._next))
        at = min(max(now + HOLD_S, self._next.get(caller, 0.0)), now + HOLD_MOST_S)
        self._next[caller] = at + APART_S
        return at - now
