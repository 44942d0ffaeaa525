"""Where the runs of a sweep are computed: in processes of this server, or on a Dask cluster."""

from __future__ import annotations

from typing import Protocol

import msgspec

from streamsim.models.runners import Runners
from streamsim.models.workers import ask
from streamsim.storage.contract.runs import Model
from streamsim.values import JsonObject


class SweepPool(Protocol):
    """Computes parts of sweeps. The numbers do not depend on where."""

    async def run(self, model: Model, entry: JsonObject, calls: int) -> msgspec.Raw:
        """What the model program answers to an entry with so many runs. :raises ModelError:"""

    @property
    def at_once(self) -> int:
        """How many parts keep it busy."""


class LocalSweeps:
    """In sandboxed processes of this server."""

    def __init__(self, runners: Runners) -> None:
        self._runners = runners

    async def run(self, model: Model, entry: JsonObject, calls: int) -> msgspec.Raw:
        """As `SweepPool.run`."""
        async with self._runners.one([model]) as worker:
            return await ask(worker, [entry], calls)

    @property
    def at_once(self) -> int:
        """As `SweepPool.at_once`."""
        return self._runners.most
