"""Simulation jobs: replications of one simulation, each stored when it is finished.

The numbers are those of an uninterrupted job, because every replication has a seed of its own.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from streamsim.config import EvaluationSettings
from streamsim.evaluation.figures import figures, of_curves
from streamsim.evaluation.pools import Nest, Pool
from streamsim.evaluation.requests import Replications
from streamsim.evaluation.simulation import Curve, Nested, points_of, replication_seed, with_seed
from streamsim.evaluation.wire import SimulationLoad
from streamsim.evaluation.workers import BatchWorkers
from streamsim.jobs.jobs import JobDesk, together
from streamsim.storage.contract.jobs import Job
from streamsim.storage.contract.store import Store

SIMULATION: Final = "simulation"
_curve = msgspec.msgpack.Decoder(Curve)


class Spec(msgspec.Struct, frozen=True):
    """What a job is asked for, with the code and theta of the moment it was made.

    `nested`: the experiments whose ids stand in the code, likewise.
    """

    request: Replications
    load: SimulationLoad
    nested: dict[str, Nested] = {}


_spec = msgspec.json.Decoder(Spec)


class Simulations:
    """The kind of job that simulates."""

    name: Final = SIMULATION

    def __init__(self, store: Store, pool: Pool, settings: EvaluationSettings, workers: BatchWorkers) -> None:
        self._store = store
        self._pool = pool
        self._workers = workers
        self.at_once: Final = settings.workers

    def asked(self, spec: bytes) -> dict[str, Any]:
        """As `Kind.asked`."""
        return {**_spec.decode(spec).request.asked()}

    async def work(self, job: Job, desk: JobDesk) -> bytes:
        """As `Kind.work`: a part is the curve of one replication."""
        spec = _spec.decode(job.spec)
        request = spec.request
        points = points_of(request.draws, request.points)
        nest = Nest(self._store, job.tenant, current=request.theta == "current", known=spec.nested)
        curves = {number: _curve.decode(part) for number, part in desk.parts.items()}
        desk.done = len(curves) * request.draws
        missing = iter([number for number in range(request.replications) if number not in curves])

        async def some() -> None:
            for number in missing:
                load = with_seed(spec.load, replication_seed(request.seed, number))
                curve = await self._pool.replicate(
                    load, nest, points, identity=f"{job.tenant}/{job.experiment_id}", progress=desk.add
                )
                await desk.keep(number, msgspec.msgpack.encode(curve))
                curves[number] = curve

        await together(some() for _ in range(min(self._pool.at_once, request.replications)))
        ordered = [curves[number] for number in range(request.replications)]
        summed_up = await figures(
            self._workers,
            of_curves({"": ordered}),
            "summary",
            points,
            identity=f"{job.tenant}/{job.experiment_id}",
            lane="batch",
        )
        result = msgspec.json.encode({"points": points, "replications": request.replications})
        return result[:-1] + b"," + summed_up[1:]
