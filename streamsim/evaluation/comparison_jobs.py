"""Comparisons as jobs: replications of every policy, each stored when it is finished.

The numbers are those of a comparison at once, because every replication has a seed of its own.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from streamsim.config import EvaluationSettings
from streamsim.evaluation.figures import figures, of_curves
from streamsim.evaluation.pools import Nest, Pool
from streamsim.evaluation.replicated import of_one, replicated
from streamsim.evaluation.requests import Replications
from streamsim.evaluation.simulation import Curve, Nested, points_of
from streamsim.evaluation.wire import SimulationLoad
from streamsim.evaluation.workers import BatchWorkers
from streamsim.jobs.jobs import JobDesk
from streamsim.storage.contract.jobs import Job
from streamsim.storage.contract.store import Store

COMPARISON: Final = "comparison"
_curve = msgspec.msgpack.Decoder(Curve)


class ComparisonSpec(msgspec.Struct, frozen=True):
    """What a job is asked for, with the code and theta of the moment it was made.

    :ivar experiments: ids; `environment`: likewise.
    :ivar loads: of each experiment by its name. `arm_fields`: the field of its actions that names the arm,
        where it declares one.
    :ivar world: name of the environment. `world_field`: its field of the arm.
    :ivar nested: the experiments whose ids stand in the code.
    """

    request: Replications
    experiments: list[str]
    environment: str
    loads: dict[str, SimulationLoad]
    arm_fields: dict[str, str | None]
    world: str
    world_field: str | None
    nested: dict[str, Nested] = {}

    @property
    def total(self) -> int:
        """Draws in all."""
        return self.request.draws * self.request.replications * len(self.loads)


_spec = msgspec.json.Decoder(ComparisonSpec)


class Comparisons:
    """The kind of job that compares."""

    name: Final = COMPARISON

    def __init__(self, store: Store, pool: Pool, settings: EvaluationSettings, workers: BatchWorkers) -> None:
        self._store = store
        self._pool = pool
        self._workers = workers
        self.at_once: Final = settings.workers

    def asked(self, spec: bytes) -> dict[str, Any]:
        """As `JobKind.asked`."""
        decoded = _spec.decode(spec)
        return {
            "experiments": decoded.experiments,
            "environment": decoded.environment,
            **decoded.request.asked(),
        }

    async def work(self, job: Job, desk: JobDesk) -> bytes:
        """As `JobKind.work`: a part is the curve of one replication of one policy."""
        spec = _spec.decode(job.spec)
        request, names = spec.request, list(spec.loads)
        known = {
            (names[part % len(names)], part // len(names)): _curve.decode(data)
            for part, data in desk.parts.items()
        }
        desk.done = len(known) * request.draws

        async def keep(name: str, number: int, curve: Curve) -> None:
            await desk.keep(number * len(names) + names.index(name), msgspec.msgpack.encode(curve))

        identity = f"{job.tenant}/compare"
        curves = await replicated(
            self._pool,
            spec.loads,
            Nest(self._store, job.tenant, current=request.theta == "current", known=spec.nested),
            request,
            identity=identity,
            progress=desk.add,
            failed=lambda name, error: of_one(
                error, name, spec.arm_fields[name], spec.world, spec.world_field
            ),
            known=known,
            keep=keep,
        )
        return await figures(
            self._workers,
            of_curves(curves),
            "compare",
            points_of(request.draws, request.points),
            request.replications,
            request.seed,
            "json",
            identity=identity,
            lane="batch",
        )
