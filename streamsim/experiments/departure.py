"""What becomes of what a removed user owned: a later user of that name finds none of it."""

from __future__ import annotations

from typing import Final, Literal

from streamsim.experiments.experiments import Experiments
from streamsim.storage.contract.runs import RunQuery
from streamsim.storage.contract.store import Store

_AT_ONCE: Final = 200
_KINDS: Final[tuple[Literal["instance", "run"], ...]] = ("instance", "run")


class Departure:
    """Archives a tenant's experiments, whose logs stay, and deletes its models, runs, instances and jobs."""

    def __init__(self, store: Store, experiments: Experiments) -> None:
        self._store = store
        self._experiments = experiments

    async def of(self, tenant: str) -> None:
        """Leave nothing that is reached by the tenant's name. Done twice, it does no more than once."""
        await self._experiments.archive_all(tenant)
        runs, jobs = self._store.runs, self._store.jobs
        # A running job notices at its next report that it is gone.
        while found := await jobs.list_jobs(tenant, None, limit=_AT_ONCE):
            for job in found:
                await jobs.delete_job(tenant, job.id)
        for kind in _KINDS:
            query = RunQuery(tenant=tenant, kind=kind, limit=_AT_ONCE)
            while page := (await runs.list_runs(query))[0]:
                await runs.delete_runs([run.id for run in page])
        for model in await runs.list_models(tenant):
            await runs.delete_model(tenant, model.name)
