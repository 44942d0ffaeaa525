"""Simulation jobs: replications of one simulation, each stored when it is finished.

The numbers are those of an uninterrupted job, because every replication has a seed of its own.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from streamsim.config import EvaluationSettings
from streamsim.evaluation.figures import figures, of_curves
from streamsim.evaluation.pools import Nest, Pool
from streamsim.evaluation.replicated import replicated
from streamsim.evaluation.requests import Replications
from streamsim.evaluation.simulation import Curve, Nested, points_of
from streamsim.evaluation.wire import SimulationLoad
from streamsim.evaluation.workers import BatchWorkers
from streamsim.jobs.jobs import JobDesk
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
        known = {("", number): _curve.decode(part) for number, part in desk.parts.items()}
        desk.done = len(known) * request.draws

        async def keep(_name: str, number: int, curve: Curve) -> None:
            await desk.keep(number, msgspec.msgpack.encode(curve))

        identity = f"{job.tenant}/{job.experiment_id}"
        curves = await replicated(
            self._pool,
            {"": spec.load},
            nest,
            request,
            identity=identity,
            progress=desk.add,
            known=known,
            keep=keep,
        )
        summed_up = await figures(
            self._workers, of_curves(curves), "summary", points, identity=identity, lane="batch"
        )
        result = msgspec.json.encode({"points": points, "replications": request.replications})
        return result[:-1] + b"," + summed_up[1:]
