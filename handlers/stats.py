"""The stats API: theta, logs, counters and health of running experiments."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import ClassVar, Final

import tornado.iostream

from handlers.base import Access, BaseHandler
from streamsim.errors import BadRequest
from streamsim.evaluation import live_health, requests
from streamsim.evaluation.drawing import Form
from streamsim.evaluation.inference import asked
from streamsim.evaluation.pictures import check_plots
from streamsim.experiments.experiments import THETA
from streamsim.experiments.logs import LogFormat, LogQuery
from streamsim.storage.contract.buckets import STEP_MS
from streamsim.storage.contract.logs import LogKind

MAX_ROWS = 10_000
MAX_LISTED: Final = 100
MAX_LIVE_S = 600
TYPES: Final[dict[LogFormat, str]] = {
    "json": "application/json; charset=utf-8",
    "jsonl": "application/x-ndjson; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
}


INFERENCE_TYPES: Final[dict[Form, str]] = {
    "json": TYPES["json"],
    "csv": TYPES["csv"],
    "svg": "image/svg+xml",
    "png": "image/png",
}


class CurrentThetaHandler(BaseHandler):
    """`/stats/{exp_id}/currenttheta`"""

    access: ClassVar[Access] = "user"

    async def get(self, exp_id: str) -> None:
        """Query: name?. The current theta as `{"key:value": {...}}`."""
        name = self.text_argument("name") or THETA
        await self.stream(self.services.experiments.theta(self.user.name, exp_id, name))


class SummaryHandler(BaseHandler):
    """`/stats/{exp_id}/summary`"""

    access: ClassVar[Access] = "user"

    async def get(self, exp_id: str) -> None:
        """Numbers of getaction and setreward calls, and the dates of the last ones."""
        summary = await self.services.experiments.summary(self.user.name, exp_id)
        iso = self.services.experiments.iso
        action_ms, reward_ms = summary.last_action_ms, summary.last_reward_ms
        self.write_json(
            {
                "get_action_calls": summary.action_calls,
                "last_added_get_action": None if action_ms is None else iso(action_ms),
                "set_reward_calls": summary.reward_calls,
                "last_added_set_reward": None if reward_ms is None else iso(reward_ms),
            }
        )


class RowsHandler(BaseHandler):
    """Rows of a log, newest first."""

    def log_query(self, kind: LogKind, form: LogFormat = "json") -> LogQuery:
        """Which rows before?, from? and to? ask for. :raises BadRequest:"""
        from_ms, to_ms = self.date_argument("from"), self.date_argument("to")
        if from_ms is not None and to_ms is not None and from_ms >= to_ms:
            raise BadRequest("from must be an earlier date than to", field="from")
        return LogQuery(kind, self.text_argument("before") or "", from_ms, to_ms, form)

    def link_older(self, limit: int, more: str | None) -> None:
        """The header that leads to older rows, if there may be some."""
        if more is not None:
            given = {name: self.text_argument(name) for name in ("from", "to", "format")}
            kept = {name: text for name, text in given.items() if text is not None}
            self.link_next(limit=limit, before=more, **kept)


class LogHandler(RowsHandler):
    """A log of one kind, newest first; subclasses say which."""

    access: ClassVar[Access] = "user"
    kind: ClassVar[LogKind]

    async def get(self, exp_id: str) -> None:
        """Query: limit?, before?, from?, to?, format?. All rows; with a limit a page, of which the header
        `Link: <...>; rel="next"` leads to older rows. JSON, JSON lines or CSV, as `Accept` or `format` asks.
        """
        form = self.format_argument(TYPES)
        limit = self.integer_argument("limit", 0, 0, MAX_ROWS)
        query = self.log_query(self.kind, form)
        experiments = self.services.experiments
        if limit:
            rows, more = await experiments.log_page(self.user.name, exp_id, query, limit)
            self.link_older(limit, more)
            self._head(form)
            self.finish(rows)
            return
        self._head(form)
        await self.stream(experiments.log(self.user.name, exp_id, query))

    def _head(self, form: LogFormat) -> None:
        self.set_header("Content-Type", TYPES[form])
        self.set_header("Vary", "Accept")


class DecisionsHandler(RowsHandler):
    """`/stats/{exp_id}/decisions`"""

    access: ClassVar[Access] = "user"

    async def get(self, exp_id: str) -> None:
        """Query: limit?, before?, from?, to?, format?. Decisions, newest first, each with its rewards; with a
        limit a page, as of a log.
        """
        form = self.format_argument(TYPES)
        limit = self.integer_argument("limit", 0, 0, MAX_ROWS)
        query = self.log_query("action")
        experiments = self.services.experiments
        self.set_header("Content-Type", TYPES[form])
        self.set_header("Vary", "Accept")
        if limit:
            rows, more = await experiments.decision_page(self.user.name, exp_id, query, form, limit)
            self.link_older(limit, more)
            self.finish(rows)
            return
        await self.stream(experiments.decision_rows(self.user.name, exp_id, query, form))


class HourlyThetaHandler(LogHandler):
    """`/stats/{exp_id}/hourlytheta`"""

    kind: ClassVar[LogKind] = "theta"


class ManualLogHandler(LogHandler):
    """`/stats/{exp_id}/log`"""

    kind: ClassVar[LogKind] = "manual"


class ActionLogHandler(LogHandler):
    """`/stats/{exp_id}/actionlog`"""

    kind: ClassVar[LogKind] = "action"


class RewardLogHandler(LogHandler):
    """`/stats/{exp_id}/rewardlog`"""

    kind: ClassVar[LogKind] = "reward"


class ErrorLogHandler(LogHandler):
    """`/stats/{exp_id}/errorlog`"""

    kind: ClassVar[LogKind] = "error"


class SimulationLogHandler(LogHandler):
    """`/stats/{exp_id}/simulationlog`"""

    kind: ClassVar[LogKind] = "simulation"


class OverviewHandler(BaseHandler):
    """`/stats`"""

    access: ClassVar[Access] = "user"

    async def get(self) -> None:
        """Query: limit?, after?. The user's experiments, with state, counters and the last 24 hours."""
        limit = self.integer_argument("limit", MAX_LISTED, 1, MAX_LISTED)
        after = self.text_argument("after") or ""
        found, last = await self.services.traffic.overview(self.user.name, limit=limit, after=after)
        if last is not None:
            self.link_next(limit=limit, after=last)
        self.write_json(found)


class BucketsHandler(BaseHandler):
    """`/stats/{exp_id}/buckets`"""

    access: ClassVar[Access] = "user"

    async def get(self, exp_id: str) -> None:
        """Query: step?, from?, to?. Decisions and rewards by minute or by hour, arm by arm."""
        named = self.text_argument("step") or "minute"
        for step in STEP_MS:
            if step == named:
                break
        else:
            raise BadRequest(f"step must be one of {', '.join(STEP_MS)}", field="step")
        from_ms, to_ms = self.date_argument("from"), self.date_argument("to")
        traffic = self.services.traffic
        self.write_json(await traffic.buckets(self.user.name, exp_id, step, from_ms, to_ms))


class HealthHandler(BaseHandler):
    """`/stats/{exp_id}/health`"""

    access: ClassVar[Access] = "user"

    async def get(self, exp_id: str) -> None:
        """Query: rows?, unit?. Checks of the newest decisions, rewards and errors."""
        unit = requests.text(self.text_argument("unit"), "unit")
        rows = self.integer_argument("rows", live_health.DEFAULT_ROWS, 1, live_health.MAX_ROWS)
        self.write_json(await self.services.offline.health(self.user.name, exp_id, rows, unit))


class LiveHandler(BaseHandler):
    """`/stats/{exp_id}/live`"""

    access: ClassVar[Access] = "user"

    async def get(self, exp_id: str) -> None:
        """Query: seconds?. Server-sent events `live`: what there is, then for so long what comes."""
        seconds = self.integer_argument("seconds", 0, 0, MAX_LIVE_S)
        experiment = await self.services.experiments.get(self.user.name, exp_id)
        ends = time.monotonic() + seconds
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("X-Accel-Buffering", "no")
        try:
            async with aclosing(self.services.watching.events(experiment)) as events:
                async for event in events:
                    if event is not None:
                        self.write(b"event: live\ndata: %s\n\n" % event)
                        await self.flush()
                    if self._left or self.services.draining or time.monotonic() >= ends:
                        return
        except tornado.iostream.StreamClosedError:
            return


class InferenceHandler(BaseHandler):
    """`/stats/{exp_id}/inference`"""

    access: ClassVar[Access] = "user"

    async def get(self, exp_id: str) -> None:
        """Query: reward_field?, control?, alpha?, by?, segments?, until?, low?, high?, rewards?, horizon?,
        format?. The mean of every arm and its difference to a control, right at every look.
        """
        form = self.format_argument(INFERENCE_TYPES)
        if form in ("svg", "png"):
            check_plots()
        given = {name: self.text_argument(name) for name in asked.PARAMETERS}
        wanted = asked.parse(given, self.date_argument("until"))
        work = self.services.offline.inference(self.user.name, exp_id, wanted, form)
        answer = await self.while_connected(work)
        self.set_header("Content-Type", INFERENCE_TYPES[form])
        self.set_header("Vary", "Accept")
        self.finish(answer)


routes = [
    ("/stats", OverviewHandler),
    ("/stats/{exp_id}/currenttheta", CurrentThetaHandler),
    ("/stats/{exp_id}/hourlytheta", HourlyThetaHandler),
    ("/stats/{exp_id}/log", ManualLogHandler),
    ("/stats/{exp_id}/actionlog", ActionLogHandler),
    ("/stats/{exp_id}/rewardlog", RewardLogHandler),
    ("/stats/{exp_id}/summary", SummaryHandler),
    ("/stats/{exp_id}/simulationlog", SimulationLogHandler),
    ("/stats/{exp_id}/errorlog", ErrorLogHandler),
    ("/stats/{exp_id}/decisions", DecisionsHandler),
    ("/stats/{exp_id}/buckets", BucketsHandler),
    ("/stats/{exp_id}/health", HealthHandler),
    ("/stats/{exp_id}/live", LiveHandler),
    ("/stats/{exp_id}/inference", InferenceHandler),
]
