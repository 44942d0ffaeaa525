"""Processes for whole runs. No state outlives a request, so the next one on its models reuses them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from streamsim.models.workers import ModelWorkers, Refusal
from streamsim.sandbox.host.pool import Worker
from streamsim.storage.contract.runs import Model
from streamsim.waiting import Room

Key = tuple[tuple[str, str, int], ...]


class Runners:
    """At most `most` at a time for one tenant, and one more for others.

    Idle ones are kept for the next request on their models.
    """

    def __init__(self, workers: ModelWorkers, most: int) -> None:
        self._workers = workers
        self._most = most
        self._room = Room(most + 1, share=most)
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
            try:
                yield worker
            except Refusal:
                self._idle[worker] = key
                raise
            except BaseException:
                worker.kill()
                raise
            self._idle[worker] = key

    def close(self) -> None:
        """End the idle ones."""
        for worker in self._idle:
            worker.kill()
        self._idle.clear()
