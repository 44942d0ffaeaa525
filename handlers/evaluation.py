"""The evaluation API: simulate, simulation jobs, comparisons, off-policy estimates."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from handlers.base import Access, BaseHandler
from handlers.job_events import JobEventsHandler
from handlers.uploads import UploadHandler
from streamsim import values
from streamsim.errors import BadRequest, refuse_unknown
from streamsim.evaluation import plans, requests
from streamsim.evaluation.answer_stream import HELD_BYTES, simulation_answer
from streamsim.evaluation.drawing import Form
from streamsim.evaluation.evaluations import Evaluations
from streamsim.evaluation.pictures import check_plots
from streamsim.experiments import fields as experiment_fields

MAX_LISTED = 200
RATIO_FIELDS = ("counts", "shares", "action_field", "unit", "format")
TYPES: dict[Form, str] = {
    "json": "application/json; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
}


class EvaluationHandler(BaseHandler):
    """What these endpoints share."""

    access: ClassVar[Access] = "user"

    @property
    def evaluations(self) -> Evaluations:
        return self.services.evaluations

    def flag(self, name: str, default: bool) -> bool:
        """A boolean in the query. :raises BadRequest:"""
        text = self.text_argument(name)
        return default if text is None else experiment_fields.boolean(text, name)

    def body(self, fields: tuple[str, ...]) -> dict[str, Any]:
        """The JSON body; an empty one has no fields. :raises BadRequest:"""
        return self.json_body(fields) if self.request.body else {}


class SimulateHandler(EvaluationHandler):
    """`/eval/{exp_id}/simulate`"""

    async def get(self, exp_id: str) -> None:
        """Query: N?, log_stats?, verbose?, seed?, theta?. Runs the closed loop on theta of its own.

        `_`, which browsers' libraries add so that no cache answers, is ignored.
        A long answer is streamed. If a draw fails after its beginning was sent, `simulate` is "failed", and
        `error` says why.
        """
        known = ("N", "log_stats", "verbose", "seed", "theta", "_")
        refuse_unknown(self.request.query_arguments, known, "parameter")
        draws = requests.draws(self.text_argument("N"), self.evaluations.settings)
        seed = requests.seed(self.text_argument("seed"))
        verbose, logged = self.flag("verbose", True), self.flag("log_stats", False)
        start = requests.start(self.text_argument("theta"))
        answer = simulation_answer(
            self.evaluations, self.user.name, exp_id, draws, seed, start, verbose=verbose, logged=logged
        )
        await self.stream(answer, HELD_BYTES)


class SimulationsHandler(EvaluationHandler):
    """`/eval/{exp_id}/simulations`"""

    async def get(self, exp_id: str) -> None:
        """Query: limit?, before?. The experiment's simulation jobs, newest first."""
        limit = self.integer_argument("limit", MAX_LISTED, 1, MAX_LISTED)
        before = self.text_argument("before") or ""
        await self.services.experiments.get(self.user.name, exp_id)
        jobs = self.evaluations.jobs
        page = await jobs.page(self.user.name, exp_id, limit=limit, before=before)
        if len(page) == limit:
            self.link_next(limit=limit, before=page[-1].id)
        self.write_json([jobs.shown(job) for job in page])

    async def post(self, exp_id: str) -> None:
        """Body: N?, replications?, seed?, theta?, points?, action_field?, reward_field?. Answers 202."""
        body = self.body(requests.JOB_FIELDS)
        job = await self.evaluations.create_job(self.user.name, exp_id, body)
        self.set_status(202)
        self.set_header("Location", f"/eval/{exp_id}/simulations/{job['id']}")
        self.write_json(job)


class SimulationHandler(EvaluationHandler):
    """`/eval/{exp_id}/simulations/{job}`"""

    async def get(self, exp_id: str, job: str) -> None:
        """State, progress and, when done, the result."""
        await self.services.experiments.get(self.user.name, exp_id)
        jobs = self.evaluations.jobs
        self.write_json(jobs.shown(await jobs.get(self.user.name, job, exp_id)))

    async def delete(self, exp_id: str, job: str) -> None:
        """Cancels the job or, when it is finished, removes it."""
        await self.services.experiments.get(self.user.name, exp_id)
        jobs = self.evaluations.jobs
        outcome = await jobs.cancel(await jobs.get(self.user.name, job, exp_id))
        self.write_json({"status": "success", "simulation": outcome})


class SimulationEventsHandler(EvaluationHandler, JobEventsHandler):
    """`/eval/{exp_id}/simulations/{job}/events`"""

    async def get(self, exp_id: str, job: str) -> None:
        """Server-sent events with state and progress: `progress` at every change, at last `end`."""
        await self.services.experiments.get(self.user.name, exp_id)
        await self.follow(partial(self.evaluations.jobs.get, self.user.name, job, exp_id))


class CompareHandler(EvaluationHandler):
    """`/eval/compare`"""

    async def post(self) -> None:
        """Body: experiments, environment?, N?, replications?, seed?, theta?, points?, action_field?,
        reward_field?. JSON, CSV or a plot, as `Accept` or the query's `format` asks.
        """
        form = self.format_argument(TYPES)
        if form in ("svg", "png"):
            check_plots()
        body = self.body(requests.COMPARE_FIELDS)
        comparison = await self.while_connected(self.evaluations.compare(self.user.name, body, form))
        self.set_header("Content-Type", TYPES[form])
        self.set_header("Vary", "Accept")
        self.finish(comparison)


class ComparisonsHandler(EvaluationHandler):
    """`/eval/comparisons`"""

    async def post(self) -> None:
        """Body: as that of `/eval/compare`. Answers 202 and a job, whose result is the comparison."""
        body = self.body(requests.COMPARE_FIELDS)
        job = await self.evaluations.create_comparison(self.user.name, body)
        self.set_status(202)
        self.set_header("Location", f"/jobs/{job['id']}")
        self.write_json(job)


class ComparisonHandler(EvaluationHandler):
    """`/eval/comparisons/{job}`"""

    async def get(self, job: str) -> None:
        """What a job has found: JSON, CSV or a plot, as `Accept` or the query's `format` asks."""
        form = self.format_argument(TYPES)
        if form in ("svg", "png"):
            check_plots()
        found = await self.while_connected(self.evaluations.comparison(self.user.name, job, form))
        self.set_header("Content-Type", TYPES[form])
        self.set_header("Vary", "Accept")
        self.finish(found)


class OffPolicyHandler(UploadHandler):
    """`/eval/{exp_id}/offpolicy`"""

    async def post(self, exp_id: str) -> None:
        """Body: candidate or candidates, estimators?, theta?, seed?, runs?, rows?, log?, format?,
        action_field?, reward_field?, propensity_field?, context_fields?, predictions_field?, unit?,
        background?.

        Or a log alone, as text/csv, application/x-ndjson or application/gzip, with ids of candidates and the
        other fields in the query. With `background` it answers 202 and a job.
        """
        offline = self.services.offline
        fields, parts, form = await self.received(plans.FIELDS, ("estimators", "context_fields"))
        lines = 0 if self.upload is None else self.upload.lines
        if form is None:
            text, form = plans.uploaded(fields)
            parts, lines = [text] if form else [], text.count(b"\n") + 1
        else:
            fields |= _candidates(fields)
        if not requests.flag(fields.get("background"), "background"):
            work = offline.evaluate(self.user.name, exp_id, fields, parts, form)
            self.write_json(await self.while_connected(work))
            return
        job = await offline.create_job(self.user.name, exp_id, fields, parts, form, lines)
        self.set_status(202)
        self.set_header("Location", f"/jobs/{job['id']}")
        self.write_json(job)


def _candidates(query: dict[str, Any]) -> dict[str, Any]:
    """Candidates that a query names by their ids."""
    found: dict[str, Any] = {}
    if "candidate" in query:
        found["candidate"] = {"experiment": query["candidate"]}
    if "candidates" in query:
        found["candidates"] = {name: {"experiment": name} for name in query["candidates"].split(",")}
    return found


class SampleRatioHandler(UploadHandler):
    """`/eval/sample-ratio`"""

    async def post(self) -> None:
        """Body: counts, shares?. Or a log, with action_field?, unit? and shares? (JSON) in the query."""
        fields, parts, form = await self.received(RATIO_FIELDS)
        if form is not None and isinstance(fields.get("shares"), str):
            try:
                fields["shares"] = values.parse(fields["shares"], "shares")
            except values.InvalidValue as error:
                raise BadRequest(str(error), field="shares") from None
        work = self.services.offline.ratio(self.user.name, fields, parts, form)
        self.write_json(await self.while_connected(work))


routes = [
    ("/eval/compare", CompareHandler),
    ("/eval/comparisons", ComparisonsHandler),
    ("/eval/comparisons/{job}", ComparisonHandler),
    ("/eval/sample-ratio", SampleRatioHandler),
    ("/eval/{exp_id}/simulate", SimulateHandler),
    ("/eval/{exp_id}/simulations", SimulationsHandler),
    ("/eval/{exp_id}/simulations/{job}", SimulationHandler),
    ("/eval/{exp_id}/simulations/{job}/events", SimulationEventsHandler),
    ("/eval/{exp_id}/offpolicy", OffPolicyHandler),
]
