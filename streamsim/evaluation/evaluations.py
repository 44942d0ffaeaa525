"""What the evaluation API calls."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from streamsim import values
from streamsim.config import EvaluationSettings
from streamsim.decisions.worker import properties_of
from streamsim.errors import Conflict, NotFound
from streamsim.evaluation import requests
from streamsim.evaluation.comparison_jobs import COMPARISON, Comparisons, ComparisonSpec
from streamsim.evaluation.deadline import COMPARE, SIMULATE, in_time
from streamsim.evaluation.drawing import Drawing, Form
from streamsim.evaluation.figures import figures, of_comparison, of_curves
from streamsim.evaluation.jobs import SIMULATION, Simulations, Spec
from streamsim.evaluation.pools import LocalPool, Nest, Pool, arm_field_of, theta_rows
from streamsim.evaluation.replicated import of_one, replicated
from streamsim.evaluation.requests import Replications
from streamsim.evaluation.simulation import (
    Nested,
    Player,
    Start,
    points_of,
)
from streamsim.evaluation.wire import Draws, SimulationLoad
from streamsim.evaluation.workers import BatchWorkers
from streamsim.experiments.experiments import Experiments
from streamsim.jobs.jobs import Jobs
from streamsim.storage.contract.decisions import Experiment, Stale, Transaction
from streamsim.storage.contract.logs import LogRow
from streamsim.storage.contract.store import Store

if TYPE_CHECKING:
    from streamsim.jobs.cluster import Cluster

_LOG_AT_ONCE = 200
_EDITS = 16


class Evaluations:
    """Simulations, comparisons and jobs, of all tenants; every method takes the tenant that asks."""

    def __init__(
        self,
        settings: EvaluationSettings,
        store: Store,
        jobs: Jobs,
        experiments: Experiments,
        workers: BatchWorkers,
        pool: Pool,
        now_ms: Callable[[], int],
        comparing: Pool | None = None,
    ) -> None:
        self.settings = settings
        self.store = store
        self.experiments = experiments
        self.workers = workers
        self.jobs = jobs
        self.pool = pool
        self.comparing = comparing or pool
        self.drawing = Drawing(workers.priority)
        jobs.add(Simulations(store, pool, settings, workers))
        jobs.add(Comparisons(store, pool, settings, workers))
        self.now_ms = now_ms

    async def close(self) -> None:
        """End what runs."""
        await self.pool.close()
        await self.workers.close()

    async def simulate(
        self,
        tenant: str,
        experiment_id: str,
        draws: int,
        seed: int,
        theta: Start,
        *,
        records: bool,
        logged: bool,
    ) -> AsyncGenerator[Draws, None]:
        """Draws in order, some at a time; the last ones have the final theta.

        :param records: whether to give, and :param logged: whether to log, what happened in each.
        :raises Unauthorized: :raises Broken: :raises BadRequest: it takes too long.
        """
        found = await self.experiments.get(tenant, experiment_id)
        load = msgspec.structs.replace(await self.load(found, theta), seed=seed)
        nest = Nest(self.store, tenant, current=theta == "current")
        name, number = secrets.token_hex(8), 0
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.settings.request_s
        identity = f"{tenant}/{experiment_id}"
        async with self.workers.one("simulate", load, identity=identity, lane="request") as worker:
            pieces = Player(worker, nest).play(draws, records=records or logged, theta=True)
            while True:
                async with in_time(self.settings.request_s, SIMULATE, deadline):
                    some = await anext(pieces, None)
                if some is None:
                    return
                if logged:
                    await self._log(found, name, number, some.records)
                number += some.draws
                yield some

    async def load(self, experiment: Experiment, theta: Start) -> SimulationLoad:
        """What a simulation of an experiment starts from, without seed."""
        rows = await theta_rows(self.store, experiment.id) if theta == "current" else []
        return SimulationLoad(experiment.id, experiment.code, properties_of(experiment), 0, rows)

    async def create_job(self, tenant: str, experiment_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """A new job, as clients see it. :raises BadRequest: :raises Unauthorized: :raises TooManyRequests:"""
        found = await self.experiments.get(tenant, experiment_id)
        request = requests.replications(body, self.settings.job_draws, "evaluation.job_draws")
        load = msgspec.structs.replace(
            await self.load(found, request.theta),
            action_field=request.action_field or arm_field_of(found),
            reward_field=request.reward_field,
        )
        total = request.draws * request.replications
        nested = await Nest(self.store, tenant, current=request.theta == "current").named(found.code)
        spec = Spec(request, load, nested)
        job = await self.jobs.create(tenant, SIMULATION, spec, total, experiment_id=found.id)
        return self.jobs.shown(job)

    async def compare(self, tenant: str, body: dict[str, Any], form: Form = "json") -> bytes:
        """Several experiments in one environment, on common random numbers: a `Comparison` in a form.

        :raises BadRequest: naming the field. :raises Unauthorized: an experiment is not the tenant's.
        """
        spec = await self._comparison(
            tenant, body, self.settings.compare_draws, "evaluation.compare_draws", job=False
        )
        request = spec.request
        async with in_time(self.settings.request_s, COMPARE):
            curves = await replicated(
                self.comparing,
                spec.loads,
                Nest(self.store, tenant, current=request.theta == "current"),
                request,
                identity=f"{tenant}/compare",
                failed=lambda name, error: of_one(
                    error, name, spec.arm_fields[name], spec.world, spec.world_field
                ),
            )
            text = await figures(
                self.workers,
                of_curves(curves),
                "compare",
                points_of(request.draws, request.points),
                request.replications,
                request.seed,
                form,
                identity=f"{tenant}/compare",
                lane="compare",
            )
            if form in ("svg", "png"):
                return await self.drawing.picture(tenant, text, form)
            return text

    async def create_comparison(self, tenant: str, body: dict[str, Any]) -> dict[str, Any]:
        """A new job that compares, as clients see it; its result is what `compare` answers as JSON.

        :raises BadRequest: naming the field. :raises Unauthorized: an experiment is not the tenant's.
        :raises TooManyRequests: the user has too many jobs. :raises TooLarge: their theta is.
        """
        spec = await self._comparison(tenant, body, self.settings.job_draws, "evaluation.job_draws", job=True)
        return self.jobs.shown(await self.jobs.create(tenant, COMPARISON, spec, spec.total))

    async def comparison(self, tenant: str, job_id: str, form: Form) -> bytes:
        """What a job that compares has found, in a form.

        :raises NotFound: it is no such job of the tenant. :raises Conflict: it is not done.
        """
        job = await self.jobs.get(tenant, job_id)
        if job.kind != COMPARISON:
            raise NotFound(f"job {job_id} is no comparison but a {job.kind}")
        if job.result is None:
            raise Conflict(f"the comparison is not done: it is {job.state}")
        if form == "json":
            return job.result
        if form == "csv":
            return await figures(
                self.workers,
                of_comparison(job.result),
                "table",
                identity=f"{tenant}/compare",
                lane="compare",
            )
        async with in_time(self.settings.request_s, COMPARE):
            return await self.drawing.picture(tenant, job.result, form)

    async def _comparison(
        self, tenant: str, body: dict[str, Any], most: int, option: str, *, job: bool
    ) -> ComparisonSpec:
        """:param job: whether to look nested experiments up as well, for a later moment."""
        ids, environment = requests.experiments(body)
        request = requests.replications(body, most, option, policies=len(ids))
        found = [await self.experiments.get(tenant, one) for one in ids]
        world = await self.experiments.get(tenant, environment)
        nest = Nest(self.store, tenant, current=request.theta == "current")
        nested: dict[str, Nested] = {}
        for one in (world, *found) if job else ():
            nested |= await nest.named(one.code)
        return ComparisonSpec(
            request,
            ids,
            environment,
            {one.name: await self._compared(one, world, request) for one in found},
            {one.name: arm_field_of(one) for one in found},
            world.name,
            arm_field_of(world),
            nested,
        )

    async def _compared(self, one: Experiment, world: Experiment, request: Replications) -> SimulationLoad:
        own = one.id == world.id
        return msgspec.structs.replace(
            await self.load(one, request.theta),
            common=True,
            environment=None if own else (world.id, world.code, properties_of(world)),
            action_field=request.action_field or arm_field_of(one),
            reward_field=request.reward_field,
        )

    async def _log(self, experiment: Experiment, name: str, first: int, records: list[bytes]) -> None:
        rows = []
        for number, record in enumerate(records, first):
            data = values.dump({"simulation": name, "draw": number})[:-1] + b"," + record[1:]
            rows.append(LogRow(experiment.id, "simulation", f"{name}-{number}", self.now_ms(), data))
        for start in range(0, len(rows), _LOG_AT_ONCE):
            await self._append(experiment, rows[start : start + _LOG_AT_ONCE])

    async def _append(self, experiment: Experiment, rows: list[LogRow]) -> None:
        for _ in range(_EDITS):
            now = await self.experiments.get(experiment.tenant, experiment.id)
            transaction = Transaction(now.tenant, {now.id: now.revision}, logs=rows)
            if not isinstance(await self.store.decisions.commit(transaction), Stale):
                return
        raise Conflict("the experiment is being edited by others; try again")


def local(
    settings: EvaluationSettings,
    store: Store,
    jobs: Jobs,
    experiments: Experiments,
    workers: BatchWorkers,
    now_ms: Callable[[], int],
    cluster: Cluster | None,
) -> Evaluations:
    """Evaluations of one server process, with replications on a cluster if there is one."""
    pool: Pool = LocalPool(workers)
    comparing: Pool = LocalPool(workers, "compare")
    if cluster is not None:
        from streamsim.evaluation.dask_pool import DaskPool

        pool = comparing = DaskPool(cluster, settings, workers.limits, box=workers.box)
    return Evaluations(settings, store, jobs, experiments, workers, pool, now_ms, comparing)
