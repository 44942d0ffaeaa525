"""Off-policy evaluation as clients ask for it: a log, candidates, and what they would have earned."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

import msgspec

from streamsim.config.settings import EvaluationSettings
from streamsim.decisions.decisions import Decisions
from streamsim.errors import BadRequest, StreamsimError
from streamsim.evaluation import ratio, requests
from streamsim.evaluation.candidate import Replay
from streamsim.evaluation.deadline import HEALTH, INFERENCE, OWN_LOG, RATIO, UPLOAD, in_time
from streamsim.evaluation.drawing import Drawing, Form
from streamsim.evaluation.estimating import Estimating, estimating
from streamsim.evaluation.estimation import NO_REWARDS
from streamsim.evaluation.figures import figures, of_rows
from streamsim.evaluation.inference.asked import Asked, with_declared
from streamsim.evaluation.inference.tally import suits
from streamsim.evaluation.kept_inference import KeptInference
from streamsim.evaluation.own_log import Logged
from streamsim.evaluation.plans import Chosen, Plan, Plans, window_of
from streamsim.evaluation.pools import Nest, arm_field_of
from streamsim.evaluation.simulation import Broken, Nested
from streamsim.evaluation.wire import EstimatesLoad, PropensityLoad
from streamsim.evaluation.workers import BatchWorkers, Lane
from streamsim.experiments.experiments import Experiments
from streamsim.jobs.jobs import JobDesk, Jobs
from streamsim.storage.contract.jobs import Job
from streamsim.storage.contract.logs import LogKind, pages
from streamsim.storage.contract.store import Store

OFF_POLICY: Final = "offpolicy"
_PAGE: Final = 1000
_JOB_STEP_S: Final = 3600.0
KINDS: Final[tuple[LogKind, ...]] = ("reward", "action")
"""The logs that an evaluation reads."""
HEALTH_KINDS: Final[tuple[LogKind, ...]] = ("action", "reward", "error")
"""The logs that checks of health read."""

SELF_JUDGED: Final = (
    "The candidate learned from the decisions of this log and is judged on the same ones: the estimate is "
    'too high, and no interval holds. With theta "split" it learns from one half and is judged on the other.'
)
_plan = msgspec.json.Decoder(Plan)


class Offline:
    """Off-policy evaluation of all tenants."""

    def __init__(
        self,
        settings: EvaluationSettings,
        store: Store,
        experiments: Experiments,
        workers: BatchWorkers,
        decisions: Decisions,
        now_ms: Callable[[], int],
        jobs: Jobs,
        drawing: Drawing,
    ) -> None:
        self.settings = settings
        self._store = store
        self._experiments = experiments
        self._workers = workers
        self._now_ms = now_ms
        self._drawing = drawing
        self._kept = KeptInference(store, workers, now_ms)
        self._plans = Plans(settings, store, experiments, decisions, now_ms)
        self.jobs = jobs
        jobs.add(Evaluating(self, settings))

    async def evaluate(
        self, tenant: str, experiment_id: str, body: dict[str, Any], parts: Sequence[bytes], form: str | None
    ) -> dict[str, Any]:
        """Estimates of what candidates would have earned on the experiment's log, or on an uploaded one.

        :param parts: the uploaded log, as it is or as gzip data; `form`: its format, None for the own log.
        :raises BadRequest: naming the field. :raises Unauthorized: :raises PolicyError: the candidate fails.
        """
        plan = await self._plans.of_request(tenant, experiment_id, body, form)
        async with in_time(self.settings.request_s, OWN_LOG if form is None else UPLOAD):
            return await self.work(plan, parts)

    async def create_job(
        self,
        tenant: str,
        experiment_id: str,
        body: dict[str, Any],
        parts: Sequence[bytes],
        form: str | None,
        rows: int,
    ) -> dict[str, Any]:
        """The same as a job, which clients see at `/jobs`. :param rows: that it will go through, about.

        :raises BadRequest: :raises Unauthorized: :raises TooManyRequests:
        """
        plan = await self._plans.of_request(tenant, experiment_id, body, form)
        plan = msgspec.structs.replace(plan, parts=len(parts))
        total = max(1, rows if form else plan.limit) * len(plan.candidates)
        return self.jobs.shown(await self.jobs.create(tenant, OFF_POLICY, plan, total, parts=parts))

    async def work(
        self,
        plan: Plan,
        parts: Sequence[bytes],
        *,
        lanes: tuple[Lane, Lane] = ("request", "candidate"),
        step_s: float | None = None,
        progress: Callable[[int], None] = lambda decisions: None,
    ) -> dict[str, Any]:
        """Do what is planned.

        :param lanes: whose processes estimate, and run candidates. :param step_s: time for each step.
        :raises BadRequest: :raises PolicyError:
        """
        identity = f"{plan.tenant}/offpolicy"
        async with estimating(
            self._workers, plan.log, identity=identity, lane=lanes[0], step_s=step_s
        ) as estimates:
            if plan.log.form is None:
                async for kind, page in self._newest(plan.experiment_id, KINDS, plan.limit):
                    await estimates.add_rows(kind, page)
            for part in parts:
                await estimates.add_text(part)
            decisions = await estimates.read()
            if not decisions:
                raise BadRequest(NO_REWARDS, field="log")

            def replay(load: PropensityLoad, nested: dict[str, Any], *, current: bool) -> Replay:
                nest = Nest(self._store, plan.tenant, current=current, known=nested)
                return Replay(
                    self._workers,
                    load,
                    nest,
                    estimates,
                    decisions,
                    identity=identity,
                    lane=lanes[1],
                    progress=progress,
                )

            for name, chosen in plan.candidates.items():
                try:
                    warnings = await _judged(chosen, estimates, replay)
                except StreamsimError as error:
                    if name and error.code.startswith("policy_"):
                        error.message = f"candidate {name}: {error.message}"
                    raise
                if not name:
                    return await estimates.answer(chosen.load.runs, chosen.theta, warnings)
                await estimates.keep(name, chosen.load.runs, chosen.theta, warnings)
            return await estimates.answers()

    async def ratio(
        self, tenant: str, body: dict[str, Any], parts: Sequence[bytes], form: str | None
    ) -> dict[str, Any]:
        """The sample ratio of counts, or of the units of an uploaded log. :raises BadRequest:"""
        shares = requests.shares(body.get("shares"))
        if form is None:
            return ratio.of_counts(requests.counts(body.get("counts")), shares)
        load = EstimatesLoad(
            form,
            requests.text(body.get("action_field"), "action_field"),
            None,
            0,
            None,
            0,
            unit=requests.text(body.get("unit"), "unit"),
            max_bytes=self.settings.log_bytes,
        )
        async with (
            in_time(self.settings.request_s, RATIO),
            estimating(self._workers, load, identity=f"{tenant}/offpolicy") as estimates,
        ):
            for part in parts:
                await estimates.add_text(part)
            return await estimates.ratio(shares)

    async def health(self, tenant: str, experiment_id: str, limit: int, unit: str | None = None) -> bytes:
        """Checks of the newest `limit` decisions, and of the rewards and errors since the first.

        JSON text.

        :param unit: the field of contexts that names the unit, each of which counts once in arm counts.
        :raises Unauthorized: :raises BadRequest: it takes too long.
        """
        found = await self._experiments.get(tenant, experiment_id)
        async with in_time(self.settings.request_s, HEALTH):
            return await figures(
                self._workers,
                of_rows(self._newest(experiment_id, HEALTH_KINDS, limit)),
                "health",
                {name: one for name, one in found.properties.items() if name != "webhooks"},
                self._now_ms(),
                found.properties.get("unit") if unit is None else unit,
                identity=f"{tenant}/{experiment_id}",
                lane="request",
            )

    async def inference(self, tenant: str, experiment_id: str, asked: Asked, form: Form) -> bytes:
        """The mean of every arm and its difference to a control, right at every look: an `Inference`.

        JSON, CSV or a picture. It rests on what is kept of the logs and on what came since; where nothing can
        be kept, on the newest `evaluation.log_rows` rows of each.

        :raises Unauthorized: :raises BadRequest: naming the parameter; or it takes too long.
        """
        found = await self._experiments.get(tenant, experiment_id)
        hours, default = window_of(found)
        most = self.settings.log_rows
        whole = msgspec.structs.replace(
            with_declared(asked, found.properties),
            arm_field=arm_field_of(found),
            window_hours=hours,
            default_reward=default,
            most=most,
            now_ms=self._now_ms(),
        )
        identity, written = f"{tenant}/{experiment_id}", "csv" if form == "csv" else "json"
        async with in_time(self.settings.request_s, INFERENCE):
            text = None
            if suits(whole) and found.properties.get("advice_id"):
                text = await self._kept.answer(experiment_id, whole, written, identity=identity)
            if text is None:
                text = await figures(
                    self._workers,
                    of_rows(self._newest(experiment_id, KINDS, most)),
                    "inference",
                    msgspec.to_builtins(whole),
                    written,
                    identity=identity,
                    lane="request",
                )
            if form in ("svg", "png"):
                return await self._drawing.picture(tenant, text, form, "inference")
            return text

    async def _newest(
        self, experiment_id: str, kinds: Sequence[LogKind], limit: int
    ) -> AsyncIterator[tuple[LogKind, list[Logged]]]:
        """Pages of the newest rows of an experiment's own logs, one log after the other."""
        for kind in kinds:
            async for page in pages(self._store.logs, experiment_id, kind, limit, _PAGE):
                yield kind, [(row.data, row.date_ms) for row in page]


class Evaluating:
    """The kind of job that evaluates off-policy. Its parts are the uploaded log."""

    name: Final = OFF_POLICY

    def __init__(self, offline: Offline, settings: EvaluationSettings) -> None:
        self._offline = offline
        self.at_once: Final = settings.workers

    def asked(self, spec: bytes) -> dict[str, Any]:
        """As `JobKind.asked`."""
        plan = _plan.decode(spec)
        return {"experiment": plan.experiment_id, "seed": plan.log.seed}

    async def work(self, job: Job, desk: JobDesk) -> bytes:
        """As `JobKind.work`. :raises BadRequest: the log did not arrive whole."""
        plan = _plan.decode(job.spec)
        if len(desk.parts) < plan.parts:
            raise BadRequest("the log did not arrive whole; send it again", field="log")
        parts = [desk.parts[number] for number in range(plan.parts)]
        desk.done = 0

        def progress(decisions: int) -> None:
            # A candidate that cannot learn anew goes through the log twice.
            desk.add(min(decisions, job.total - desk.done))

        answer = await self._offline.work(
            plan, parts, lanes=("batch", "candidate_batch"), step_s=_JOB_STEP_S, progress=progress
        )
        return msgspec.json.encode(answer)


async def _judged(chosen: Chosen, estimates: Estimating, replay: Callable[..., Replay]) -> list[str]:
    """Tell the evaluation what a candidate would do; warnings about what it decided on."""
    if chosen.theta in ("split", "progressive", "replay"):
        fresh = msgspec.structs.replace(chosen.load, theta=[])
        unlearnt: dict[str, Nested] = {id: (opened, []) for id, (opened, _) in chosen.nested.items()}
        try:
            await replay(fresh, unlearnt, current=False).learn_and_judge(chosen.theta)
        except (Broken, BadRequest) as error:
            if chosen.asked:
                raise
            await estimates.forget()
            chosen.theta = "current"
            await replay(chosen.load, chosen.nested, current=True).judge()
            return [f"{SELF_JUDGED} It could not learn anew from a part of it: {error.message}"]
        return []
    await replay(chosen.load, chosen.nested, current=chosen.theta == "current").judge()
    return [SELF_JUDGED] if chosen.theta == "current" and chosen.learnt else []
