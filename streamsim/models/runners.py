"""Processes for whole runs. No state outlives a request, so the next one on its models reuses them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from streamsim import processors
from streamsim.models.workers import ModelWorkers, Refusal
from streamsim.sandbox.host.pool import Worker
from streamsim.sandbox.host.priority import lower
from streamsim.storage.contract.runs import Model
from streamsim.waiting import Room

LONG_S: Final = 0.1
"""Runs that take longer than this stand back."""

Key = tuple[tuple[str, str, int], ...]


class Runners:
    """At most `most` at a time for one tenant, and one more for others; while others came lately too, no more
    than its part of the processors.

    Idle ones are kept for the next request on their models. One whose run takes long goes on at a lower
    priority, and so do the later runs that it is kept for: shorter ones of other models do not share a
    processor with it alike.

    :param nice: how far it stands back.
    """

    def __init__(self, workers: ModelWorkers, most: int, nice: int = 0) -> None:
        self._workers = workers
        self._nice = nice
        self._most = most
        parted = min(most, len(processors.ALL))
        self._room = Room(most + 1, share=most, lately=most + 1, parted=parted)
        self._idle: OrderedDict[Worker, Key] = OrderedDict()

    @property
    def most(self) -> int:
        """How many may work at once."""
        return self._most

    @asynccontextmanager
    async def lend(self, models: Sequence[Model]) -> AsyncIterator[Worker]:
        """A process that has loaded these models, for the length of the context."""
        key = tuple((model.tenant, model.name, model.version) for model in models)
        async with self._room.place(models[0].tenant if models else ""):
            worker = next((idle for idle, has in self._idle.items() if has == key and idle.alive), None)
            if worker is not None:
                del self._idle[worker]
            else:
                while self._idle and len(self._idle) >= self._most:
                    self._idle.popitem(last=False)[0].kill()
                worker = await self._workers.spawn(models)
            later = asyncio.get_running_loop().call_later(LONG_S, lower, worker.pid, self._nice)
            try:
                yield worker
            except Refusal:
                self._idle[worker] = key
                raise
            except BaseException:
                worker.kill()
                raise
            finally:
                later.cancel()
            self._idle[worker] = key

    def close(self) -> None:
        """End the idle ones."""
        for worker in self._idle:
            worker.kill()
        self._idle.clear()
