"""Where replications run: in processes of this server, or on a Dask cluster. The numbers are the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from streamsim.decisions.wire import Opened
from streamsim.decisions.worker import properties_of
from streamsim.evaluation.simulation import Curve, Find, Nested, Player, replicate
from streamsim.evaluation.wire import SimulationLoad
from streamsim.evaluation.workers import BatchWorkers, Lane
from streamsim.storage.contract.decisions import Experiment, ThetaAddress
from streamsim.storage.contract.store import Store

MAX_NAMED: Final = 100
"""So many ids in code are looked up."""
_ID: Final = re.compile(r"\b[0-9a-f]{8,64}\b")


def _nothing(draws: int) -> None:
    """Progress that nobody asks for."""


class Nest:
    """Nested experiments of one tenant, each as it was when it was first asked for.

    :param current: they start from copies of their live theta, not from nothing.
    :param known: those that were asked for before.
    """

    def __init__(
        self, store: Store, tenant: str, *, current: bool, known: Mapping[str, Nested] | None = None
    ) -> None:
        self._store = store
        self._tenant = tenant
        self._current = current
        self.known: dict[str, Nested] = dict(known or {})

    async def __call__(self, experiment_id: str) -> Nested:
        found = self.known.get(experiment_id)
        if found is None:
            one = await self._store.decisions.get_experiment(experiment_id)
            if one is None or one.archived or one.tenant != self._tenant:
                found = Opened(f"there is no experiment {experiment_id[:64]!r}"), []
            else:
                rows = await theta_rows(self._store, one.id) if self._current else []
                found = Opened("", one.code, properties_of(one)), rows
            self.known[experiment_id] = found
        return found

    async def named(self, code: dict[str, str]) -> dict[str, Nested]:
        """The experiments whose ids stand in the code, and those that their code names in turn.

        Ids that code puts together as it runs are not found.
        """
        found: dict[str, Nested] = {}
        ahead, seen = _ids(code), set[str]()
        while ahead and len(seen) < MAX_NAMED:
            experiment_id = ahead.pop()
            seen.add(experiment_id)
            nested = await self(experiment_id)
            if nested[0].error:
                del self.known[experiment_id]  # it may be one later, or just a word
            else:
                found[experiment_id] = nested
                ahead |= _ids(nested[0].code) - seen
        return found


def _ids(code: dict[str, str]) -> set[str]:
    return {id for piece in code.values() for id in _ID.findall(piece)}


def arm_field_of(experiment: Experiment) -> str | None:
    """The field of its actions that names the arm, where the experiment declares one."""
    field = experiment.properties.get("arm_field")
    return field if isinstance(field, str) else None


async def theta_rows(store: Store, experiment_id: str) -> list[tuple[str, str, str, str, bytes]]:
    """A copy of all live theta of an experiment, each named set as of one moment."""
    rows = []
    for name in await store.decisions.theta_names(experiment_id):
        found = await store.decisions.read_theta(ThetaAddress(experiment_id, name, None, None))
        rows += [(experiment_id, name, key, value, data) for (key, value), (data, _) in found.rows.items()]
    return rows


class Pool(Protocol):
    """Runs replications; as many at once as it likes."""

    async def replicate(
        self,
        load: SimulationLoad,
        nest: Nest,
        points: Sequence[int],
        *,
        identity: str,
        progress: Callable[[int], None] = _nothing,
    ) -> Curve:
        """The curve of one replication. :param progress: told how many more draws are done.

        :raises StreamsimError: the code failed, or there is no process to run it.
        """

    @property
    def at_once(self) -> int:
        """How many it takes on together."""

    async def close(self) -> None:
        """Let go of what it holds."""


class LocalPool:
    """Replications in sandboxed processes of this server."""

    def __init__(self, workers: BatchWorkers, lane: Lane = "batch") -> None:
        self._workers = workers
        self._lane = lane

    async def replicate(
        self,
        load: SimulationLoad,
        nest: Nest,
        points: Sequence[int],
        *,
        identity: str,
        progress: Callable[[int], None] = _nothing,
    ) -> Curve:
        """As `Pool.replicate`."""
        find: Find = nest
        async with self._workers.one("simulate", load, identity=identity, lane=self._lane) as worker:
            return await replicate(Player(worker, find), points, progress)

    @property
    def at_once(self) -> int:
        """As `Pool.at_once`."""
        return self._workers.settings.workers

    async def close(self) -> None:
        """Nothing to do: the processes end with `BatchWorkers`."""
