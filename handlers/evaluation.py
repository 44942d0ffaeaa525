"""The evaluation API: simulate, simulation jobs, comparisons, off-policy estimates."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import msgspec
import tornado.iostream

from handlers.base import Access, BaseHandler, error_body
from handlers.job_events import JobEventsHandler
from handlers.stats import LogHandler
from streamsim import values
from streamsim.errors import BadRequest, StreamsimError
from streamsim.evaluation import live_health, offline, requests
from streamsim.evaluation.compare import Comparison, to_csv
from streamsim.evaluation.evaluations import Evaluations
from streamsim.evaluation.plots import plot
from streamsim.experiments import fields as experiment_fields
from streamsim.storage.contract.logs import LogKind

# An answer that is shorter is sent as a whole, so that an error in it still has its status.
HELD_BYTES = 1 << 20
MAX_LISTED = 200
LOG_TYPES = {
    "text/csv": "csv",
    "application/x-ndjson": "jsonl",
    "application/jsonl": "jsonl",
    "application/json-lines": "jsonl",
}
FORMATS = ("json", "csv", "svg", "png")
TYPES = {
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

        A long answer is streamed. If a draw fails after its beginning was sent, `simulate` is "failed", and
        `error` says why.
        """
        for name in self.request.query_arguments:
            if name not in ("N", "log_stats", "verbose", "seed", "theta"):
                raise BadRequest(f"there is no parameter {name[:100]}", field=name[:100])
        draws = requests.draws(self.text_argument("N"), self.evaluations.settings)
        seed = requests.seed(self.text_argument("seed"))
        verbose, logged = self.flag("verbose", True), self.flag("log_stats", False)
        start = requests.start(self.text_argument("theta"))
        held, size, number, sent = [values.dump({"experiment": exp_id, "seed": seed})[:-1]], 0, 0, False
        if verbose:
            held.append(b',"data":{')
        ending: dict[str, Any] = {"simulate": "success"}
        theta: list[Any] = []
        pieces = self.evaluations.simulate(
            self.user.name, exp_id, draws, seed, start, records=verbose, logged=logged
        )
        try:
            async for some in pieces:
                theta = some.theta
                for record in some.records if verbose else ():
                    held.append(b'%s"%d":%s' % (b"," if number else b"", number, record))
                    number += 1
                    size += len(record)
                if size > HELD_BYTES:
                    sent = True
                    self.write(b"".join(held))
                    await self.flush()
                    held, size = [], 0
        except StreamsimError as error:
            if not sent:
                raise
            ending = {"simulate": "failed", **error_body(error)}
        except tornado.iostream.StreamClosedError:
            return
        finally:
            await pieces.aclose()
        if verbose:
            held.append(b"}")
        else:
            ending["theta"] = shown_theta(theta)
        self.finish(b"".join(held) + b"," + values.dump(ending)[1:])


class HealthHandler(EvaluationHandler):
    """`/stats/{exp_id}/health`"""

    async def get(self, exp_id: str) -> None:
        """Query: rows?. Checks of the newest decisions, rewards and errors."""
        rows = self.integer_argument("rows", live_health.DEFAULT_ROWS, 1, live_health.MAX_ROWS)
        self.write_json(await self.services.offline.health(self.user.name, exp_id, rows))


class ErrorLogHandler(LogHandler):
    """`/stats/{exp_id}/errorlog`"""

    kind: ClassVar[LogKind] = "error"


class SimulationLogHandler(LogHandler):
    """`/stats/{exp_id}/simulationlog`"""

    kind: ClassVar[LogKind] = "simulation"


class SimulationsHandler(EvaluationHandler):
    """`/eval/{exp_id}/simulations`"""

    async def get(self, exp_id: str) -> None:
        """Query: limit?, before?. The experiment's simulation jobs, newest first."""
        limit = self.integer_argument("limit", MAX_LISTED, 1, MAX_LISTED)
        before = self.text_argument("before") or ""
        await self.services.experiments.get(self.user.name, exp_id)
        jobs = self.evaluations.jobs
        found = await jobs.page(self.user.name, exp_id, limit=limit, before=before)
        if len(found) == limit:
            self.link_next(limit=limit, before=found[-1].id)
        self.write_json([jobs.shown(job) for job in found])

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
        end = await jobs.cancel(await jobs.get(self.user.name, job, exp_id))
        self.write_json({"status": "success", "simulation": end})


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
        form = self._format()
        comparison = await self.evaluations.compare(self.user.name, self.body(requests.COMPARE_FIELDS))
        self.set_header("Content-Type", TYPES[form])
        self.set_header("Vary", "Accept")
        self.finish(await asyncio.to_thread(_WRITERS[form], comparison))

    def _format(self) -> str:
        """:raises BadRequest: the query asks for another."""
        asked = self.text_argument("format")
        if asked is not None:
            if asked not in FORMATS:
                raise BadRequest(f"format must be one of {', '.join(FORMATS)}", field="format")
            return asked
        accepted = self.request.headers.get("Accept", "")
        kinds = [part.partition(";")[0].strip().lower() for part in accepted.split(",")]
        by_type = {kind.partition(";")[0]: form for form, kind in TYPES.items()}
        return next((by_type[kind] for kind in kinds if kind in by_type), "json")


_WRITERS: dict[str, Callable[[Comparison], Any]] = {
    "json": values.dump,
    "csv": to_csv,
    "svg": lambda comparison: plot(comparison, "svg"),
    "png": lambda comparison: plot(comparison, "png"),
}


class OffPolicyHandler(EvaluationHandler):
    """`/eval/{exp_id}/offpolicy`"""

    async def post(self, exp_id: str) -> None:
        """Body: candidate, estimators?, theta?, seed?, runs?, rows?, log?, format?, action_field?,
        reward_field?.

        Or a log alone, as text/csv or application/x-ndjson, with the candidate experiment's id and the other
        fields in the query.
        """
        self.write_json(await self.services.offline.evaluate(self.user.name, exp_id, self._fields()))

    def _fields(self) -> dict[str, Any]:
        form = LOG_TYPES.get(self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower())
        if form is None:
            return self.body(offline.FIELDS)
        try:
            fields: dict[str, Any] = {"log": self.request.body.decode("utf-8-sig"), "format": form}
        except UnicodeDecodeError:
            raise BadRequest("log is not UTF-8 text", field="log") from None
        for name in self.request.query_arguments:
            if name not in offline.FIELDS or name in ("log", "format"):
                raise BadRequest(f"there is no parameter {name[:100]}", field=name[:100])
            fields[name] = self.text_argument(name)
        if "candidate" in fields:
            fields["candidate"] = {"experiment": fields["candidate"]}
        if "estimators" in fields:
            fields["estimators"] = fields["estimators"].split(",")
        return fields


def shown_theta(rows: list[tuple[str, str, str, str, bytes]]) -> Any:
    """The rows of the default set as `get_theta()` gives them to policy code."""
    view = {
        f"{key}:{value}" if value else key: msgspec.Raw(data)
        for _, name, key, value, data in rows
        if name == "_theta"
    }
    return view[""] if list(view) == [""] else view


routes = [
    ("/eval/compare", CompareHandler),
    ("/eval/{exp_id}/simulate", SimulateHandler),
    ("/eval/{exp_id}/simulations", SimulationsHandler),
    ("/eval/{exp_id}/simulations/{job}", SimulationHandler),
    ("/eval/{exp_id}/simulations/{job}/events", SimulationEventsHandler),
    ("/eval/{exp_id}/offpolicy", OffPolicyHandler),
    ("/stats/{exp_id}/simulationlog", SimulationLogHandler),
    ("/stats/{exp_id}/errorlog", ErrorLogHandler),
    ("/stats/{exp_id}/health", HealthHandler),
]
