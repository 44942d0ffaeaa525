"""A run in the memory of a server process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from streamsim.sandbox.host.pool import Worker
from streamsim.storage.contract.runs import Run


class Live:
    """A process at a position of a run's journal."""

    def __init__(
        self, run: Run, worker: Worker, models: dict[str, int], position: int, lock: asyncio.Lock
    ) -> None:
        """:param lock: the run's, which lives as long as its process."""
        self.lock = lock
        self.run = run
        self.worker = worker
        self.models = models
        self.position = position
        self.used = asyncio.get_running_loop().time()


class Alone:
    """A context in which nobody else of this process uses a run."""

    __slots__ = ("_left", "_lock")

    def __init__(self, lock: asyncio.Lock, left: Callable[[], None]) -> None:
        self._lock, self._left = lock, left

    async def __aenter__(self) -> None:
        await self._lock.acquire()

    async def __aexit__(self, *_error: object) -> None:
        self._lock.release()
        self._left()
