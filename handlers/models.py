"""The models API: upload, new versions, listing."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from handlers.base import Access
from handlers.job_events import JobEventsHandler
from handlers.scenarios import ScenarioHandler
from streamsim.errors import BadRequest
from streamsim.models import library, requests
from streamsim.models.sweeps import SWEEP

MAX_LISTED = 200


class ModelHandler(ScenarioHandler):
    """What both paths share. Errors are those of the scenario API."""

    access: ClassVar[Access] = "user"

    def upload(self) -> dict[str, Any]:
        """The body of an upload. :raises BadRequest: naming a field that does not exist."""
        body = self.body()
        for name in body:
            if name not in library.FIELDS:
                raise BadRequest(f"there is no field {name[:100]}: expecting {', '.join(library.FIELDS)}")
        return body


class ModelsHandler(ModelHandler):
    """`/models`"""

    async def get(self) -> None:
        """All models of the user."""
        self.write_json([library.shown(model) for model in await self.services.models.list(self.tenant)])

    async def post(self) -> None:
        """Body: name, files, engine?, main?, scenarios?, manager?. Loads and stores a model."""
        model = await self.services.models.create(self.tenant, self.upload())
        self.set_status(201)
        self.write_json(library.shown(model))


class OneModelHandler(ModelHandler):
    """`/models/{model}`"""

    async def get(self, model: str) -> None:
        """What loading it found, and its files."""
        found = await self.services.models.get(self.tenant, model)
        self.write_json({**library.shown(found), "files": found.files})

    async def put(self, model: str) -> None:
        """Body: files, and what is to change. A new version; runs keep the one that they began with."""
        changed = await self.services.models.update(self.tenant, model, self.upload())
        self.write_json(library.shown(changed))

    async def delete(self, model: str) -> None:
        """Deletes it; runs that have it go on."""
        await self.services.models.delete(self.tenant, model)
        self.write_json({"msg": "Model deleted."})


class SweepHandler(ScenarioHandler):
    """`/sweep`"""

    async def post(self) -> None:
        """Body: scenario_manager, scenario, equations, parameters, runs?, seed?, quantiles?, everyRun?.

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
        found = await jobs.page(self.tenant, None, limit=limit, before=self.text_argument("before") or "")
        if len(found) == limit:
            self.link_next(limit=limit, before=found[-1].id)
        self.write_json([jobs.shown(job) for job in found])


class JobHandler(ScenarioHandler):
    """`/jobs/{job}`"""

    async def get(self, job: str) -> None:
        """State and progress, and the result once it is done."""
        jobs = self.services.jobs
        self.write_json(jobs.shown(await jobs.get(self.tenant, job)))

    async def delete(self, job: str) -> None:
        """Cancels it or, when it is finished, removes it."""
        jobs = self.services.jobs
        end = await jobs.cancel(await jobs.get(self.tenant, job))
        self.write_json({"status": "success", "job": end})


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
    ("/models", ModelsHandler),
    ("/models/{model}", OneModelHandler),
]
