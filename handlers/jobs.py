"""The jobs API: sweeps, at once or as jobs, and all jobs of a user. Errors are those of the scenario API."""

from __future__ import annotations

from functools import partial

from handlers.job_events import JobEventsHandler
from handlers.scenarios import ScenarioHandler
from streamsim.models import requests
from streamsim.models.sweeps import SWEEP

MAX_LISTED = 200


class SweepHandler(ScenarioHandler):
    """`/sweep`"""

    async def post(self) -> None:
        """Body: scenario_manager, scenario, equations or agents, parameters, runs?, seed?, seeds?,
        quantiles?, everyRun?.

        Answers when it is done; with `background` at once with 202 and a job.
        """
        body = self.body()
        sweeps, jobs = self.services.sweeps, self.services.jobs
        background = requests.flag(body, "background")
        plan = await sweeps.plan(self.tenant, body)
        if not background:
            self.write_json(await sweeps.answer(self.tenant, plan))
            return
        job = await jobs.create(self.tenant, SWEEP, plan, len(plan.rows))
        self.set_status(202)
        self.set_header("Location", f"/jobs/{job.id}")
        self.write_json(jobs.shown(job))


class JobsHandler(ScenarioHandler):
    """`/jobs`"""

    async def get(self) -> None:
        """Query: limit?, before?. All of the user's jobs, sweeps and simulations, newest first."""
        jobs = self.services.jobs
        limit = self.integer_argument("limit", MAX_LISTED, 1, MAX_LISTED)
        page = await jobs.page(self.tenant, None, limit=limit, before=self.text_argument("before") or "")
        if len(page) == limit:
            self.link_next(limit=limit, before=page[-1].id)
        self.write_json([jobs.shown(job) for job in page])


class JobHandler(ScenarioHandler):
    """`/jobs/{job}`"""

    async def get(self, job: str) -> None:
        """State and progress, and the result once it is done."""
        jobs = self.services.jobs
        self.write_json(jobs.shown(await jobs.get(self.tenant, job)))

    async def delete(self, job: str) -> None:
        """Cancels it or, when it is finished, removes it."""
        jobs = self.services.jobs
        outcome = await jobs.cancel(await jobs.get(self.tenant, job))
        self.write_json({"status": "success", "job": outcome})


class JobEventsOfUserHandler(ScenarioHandler, JobEventsHandler):
    """`/jobs/{job}/events`"""

    async def get(self, job: str) -> None:
        """Server-sent events with state and progress: `progress` at every change, at last `end`."""
        await self.follow(partial(self.services.jobs.get, self.tenant, job))


routes = [
    ("/sweep", SweepHandler),
    ("/jobs", JobsHandler),
    ("/jobs/{job}", JobHandler),
    ("/jobs/{job}/events", JobEventsOfUserHandler),
]
