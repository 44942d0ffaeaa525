"""Whose request the event loop begins with next, where several tenants ask.

Without turns a request waits for all that came before it, and so does each step of one that is under way: one
tenant with many connections would hold another's decision up for as long as all of its own take together.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque
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
_PAUSES: Final = 8
"""Turns of the loop after requests that began beside another's: what that one needs next comes between."""
_SLICE_S, _SLICE_BESIDE_S = 0.0005, 0.0002
"""So long requests begin in one turn of the loop: alone, and beside another's."""


class Begins(Protocol):
    """Has a request that waits."""

    def begin(self) -> bool:
        """Begin with it, if it is not gone: whether a handler works for it from now on."""


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
        self._pauses = 0
        self._turning = False
        self._loop = asyncio.get_running_loop()

    @property
    def needed(self) -> bool:
        """Whether several tenants ask."""
        return self._lately.several(TOGETHER_S)

    def begins(self, tenant: str) -> bool:
        """Whether a tenant's request begins at once. If not it is to `wait`."""
        if tenant in self._waiting or self._began.since(tenant) < _APART_S:
            return False
        self._began.now(tenant)
        return True

    def wait(self, tenant: str, request: Begins) -> None:
        """Have it begin when it is its turn."""
        if tenant in self._waiting:
            self._many.now(tenant)
        self._waiting.setdefault(tenant, deque()).append(request)
        if not self._turning:
            self._turning = True
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        """One turn of the loop."""
        if self._pauses:
            self._pauses -= 1
        else:
            self._slice()
        self._turning = bool(self._waiting or self._pauses)
        if self._turning:
            self._loop.call_soon(self._next)

    def _slice(self) -> None:
        """Begin with some requests; beside another's with no more than one that a handler works for."""
        beside = bool(self._began.lately() - self._many.lately())
        ends = self._now() + (_SLICE_BESIDE_S if beside else _SLICE_S)
        handled = False
        while self._waiting and not (beside and handled) and self._now() < ends:
            tenant, requests = self._waiting.popitem(last=False)
            request = requests.popleft()
            if requests:
                self._waiting[tenant] = requests
            self._began.now(tenant)
            handled = request.begin() or handled
        self._pauses = _PAUSES if beside else 0


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
