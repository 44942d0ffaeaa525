"""Whose request the event loop begins with next, where several tenants ask.

Without turns a request waits for all that came before it, and so does each step of one that is under way: one
tenant with many connections would hold another's decision up for as long as all of its own take together.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Set
from typing import Final, Protocol

from streamsim.waiting import Lately

TOGETHER_S: Final = 1.0
"""Who asked so lately shares with others."""
_BESIDE_S: Final = 0.003
"""For so long another's request is taken to be under way: most decisions are made by then."""
_MANY_S: Final = 0.02
"""For so long after several of a tenant's waited its own are none that others stand back for."""
_APART_S: Final = 0.0005
"""One that comes sooner after the last of its tenant waits."""
_REST_S: Final = 0.002
"""After one that began beside another's the next ones rest until that is answered, or for so long."""
_PAUSES: Final = 8
"""Turns of the loop between requests that begin soon after another's: what is next of that comes between."""
_SLICE_S, _SLICE_BESIDE_S = 0.0001, 0.00005
"""So long requests begin in one turn of the loop: alone, and beside another's."""


class Begins(Protocol):
    """Has a request that waits."""

    def begin(self) -> bool:
        """Begin with it, if it is not gone: whether it is an expensive one, for which a handler works from
        now on, or whose connection ends with it."""


class Sharing:
    """Requests that wait for their turn.

    One begins at once unless others of its tenant wait, or one began just before. Those that wait begin one
    by one, one tenant's after the other's.
    """

    def __init__(self, lately: Lately, now: Callable[[], float] = time.monotonic) -> None:
        self._lately = lately
        self._now = now
        self._waiting: OrderedDict[str, deque[Begins]] = OrderedDict()
        self._began = _Moments(_BESIDE_S, now)
        self._many = _Moments(_MANY_S, now)
        # Whose requests that began at once are not answered, and how many of each.
        self._under_way = Counter[str]()
        self._rest: asyncio.TimerHandle | None = None
        self._pauses = 0
        self._turning = False
        self._loop = asyncio.get_running_loop()
        lately.stands_back = self.stands_back

    @property
    def needed(self) -> bool:
        """Whether several tenants ask."""
        return self._lately.several(TOGETHER_S)

    def begins(self, tenant: str) -> bool:
        """Whether a tenant's request begins at once, to be `answered` later. If not it is to `wait`."""
        if tenant in self._waiting or self._began.since(tenant) < _APART_S:
            return False
        self._began.now(tenant)
        self._under_way[tenant] += 1
        self._go_on()
        return True

    def answered(self, tenant: str) -> None:
        """A request that began at once is answered, or nobody waits for that any more."""
        self._under_way[tenant] -= 1
        if not self._under_way[tenant]:
            del self._under_way[tenant]
        self._go_on(_PAUSES)

    def stands_back(self, tenant: str) -> bool:
        """Whether many of a tenant's requests waited, and one of another's that did not is or was under way.

        Who has just been answered may ask again, and would wait for what the tenant does meanwhile.
        """
        return tenant in self._many.lately() and bool(self._few())

    def wait(self, tenant: str, request: Begins) -> None:
        """Have it begin when it is its turn."""
        if tenant in self._waiting:
            self._many.now(tenant)
        self._waiting.setdefault(tenant, deque()).append(request)
        self._turn()

    def _turn(self) -> None:
        """Do something in the loop's next turn, unless that is so, or those that wait rest."""
        if not self._turning and self._rest is None and (self._waiting or self._pauses):
            self._turning = True
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        """One turn of the loop."""
        self._turning = False
        if self._pauses:
            self._pauses -= 1
        else:
            self._slice()
        self._turn()

    def _go_on(self, pauses: int = 0) -> None:
        """The rest, if there is one, is over."""
        if self._rest is not None:
            self._rest.cancel()
            self._rest, self._pauses = None, pauses
            self._turn()

    def _few(self) -> set[str]:
        """Whose request began lately, but for those of whom many waited."""
        return set(self._began.lately() - self._many.lately())

    def _slice(self) -> None:
        """Begin with some requests; beside another's with no more than one expensive one."""
        others = self._few()
        beside = bool(others)
        ends = self._now() + (_SLICE_BESIDE_S if beside else _SLICE_S)
        expensive = False
        while self._waiting and not (beside and expensive) and self._now() < ends:
            tenant, requests = self._waiting.popitem(last=False)
            request = requests.popleft()
            if requests:
                self._waiting[tenant] = requests
            self._began.now(tenant)
            expensive = request.begin() or expensive
            others.discard(tenant)
        if others & self._under_way.keys():
            self._rest = self._loop.call_later(_REST_S, self._go_on)
        elif beside:
            self._pauses = _PAUSES


class _Moments:
    """When something was last so of each tenant, for a while."""

    def __init__(self, kept_s: float, now: Callable[[], float]) -> None:
        self._kept_s = kept_s
        self._now = now
        self._at: OrderedDict[str, float] = OrderedDict()

    def now(self, tenant: str) -> None:
        """It is so."""
        self.lately()
        self._at[tenant] = self._now()
        self._at.move_to_end(tenant)

    def since(self, tenant: str) -> float:
        """How long ago it was so, in seconds."""
        return self._now() - self._at.get(tenant, -math.inf)

    def lately(self) -> Set[str]:
        """Of which tenants it was; others are forgotten."""
        oldest = self._now() - self._kept_s
        while self._at and next(iter(self._at.values())) < oldest:
            self._at.popitem(last=False)
        return self._at.keys()
