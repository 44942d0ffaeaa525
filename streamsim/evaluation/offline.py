"""Off-policy evaluation as clients ask for it: a log, a candidate, and what it would have earned."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from streamsim.config.settings import EvaluationSettings
from streamsim.decisions.decisions import Decisions
from streamsim.decisions.wire import PIECES
from streamsim.decisions.worker import properties_of
from streamsim.errors import BadRequest
from streamsim.evaluation import requests
from streamsim.evaluation.candidate import Replay
from streamsim.evaluation.deadline import HEALTH, OWN_LOG, UPLOAD, in_time
from streamsim.evaluation.estimating import Estimating, estimating
from streamsim.evaluation.estimation import FORMATS, NO_REWARDS
from streamsim.evaluation.figures import figures, of_rows
from streamsim.evaluation.pools import Nest, arm_field_of, theta_rows
from streamsim.evaluation.simulation import MAX_SEED, Broken
from streamsim.evaluation.value_estimators import ESTIMATORS
from streamsim.evaluation.wire import EstimatesLoad, PropensityLoad, Theta
from streamsim.evaluation.workers import BatchWorkers
from streamsim.experiments.experiments import Experiments
from streamsim.experiments.fields import MAX_CODE_BYTES
from streamsim.storage.contract.decisions import Experiment
from streamsim.storage.contract.logs import LogKind, pages
from streamsim.storage.contract.store import Store

FIELDS: Final = (
    "candidate",
    "estimators",
    "theta",
    "seed",
    "runs",
    "rows",
    "log",
    "format",
    "action_field",
    "reward_field",
    "unit",
    "propensity_field",
    "context_fields",
)
MAX_RUNS: Final = 100_000
_PAGE: Final = 1000
KINDS: Final[tuple[LogKind, ...]] = ("reward", "action")
"""The logs that an evaluation reads."""
HEALTH_KINDS: Final[tuple[LogKind, ...]] = ("action", "reward", "error")
"""The logs that checks of health read."""


SELF_JUDGED: Final = (
    "The candidate learned from the decisions of this log and is judged on the same ones: the estimate is "
    'too high, and no interval holds. With theta "split" it learns from one half and is judged on the other.'
)


@dataclass
class Chosen:
    """A candidate. `theta`: what it decides on; `asked`: whether the request says so; `learnt`: whether its
    live theta comes from the log."""

    load: PropensityLoad
    theta: Theta
    asked: bool
    learnt: bool


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
    ) -> None:
        self._settings = settings
        self._store = store
        self._experiments = experiments
        self._workers = workers
        self._decisions = decisions
        self._now_ms = now_ms

    async def evaluate(self, tenant: str, experiment_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """Estimates of what a candidate would have earned on the experiment's log, or on an uploaded one.

        :raises BadRequest: naming the field. :raises Unauthorized: :raises PolicyError: the candidate fails.
        """
        found = await self._experiments.get(tenant, experiment_id)
        names = _estimators(body.get("estimators"))
        seed = requests.integer(body.get("seed"), "seed", 0, 0, MAX_SEED)
        action_field = requests.text(body.get("action_field"), "action_field")
        reward_field = requests.text(body.get("reward_field"), "reward_field")
        most = self._settings.log_rows
        limit = requests.integer(body.get("rows"), "rows", most, 1, most)
        text, form = _uploaded(body)
        chosen = await self._candidate(found, body, seed, action_field)
        log = EstimatesLoad(
            form,
            action_field or arm_field_of(found),
            reward_field,
            most if form else limit,
            names,
            seed,
            *_window(found),
            self._now_ms(),
            requests.text(body.get("unit"), "unit"),
            requests.text(body.get("propensity_field"), "propensity_field"),
            requests.names(body.get("context_fields"), "context_fields"),
        )
        identity = f"{tenant}/offpolicy"
        async with (
            in_time(self._settings.request_s, OWN_LOG if form is None else UPLOAD),
            estimating(self._workers, log, identity=identity) as estimates,
        ):
            if form is None:
                await self._logged(found, limit, estimates)
            else:
                await estimates.add_text(text)
            decisions = await estimates.read()
            if not decisions:
                raise BadRequest(NO_REWARDS, field="log")
            warnings = await self._replay(tenant, chosen, estimates, decisions, identity)
            return await estimates.answer(chosen.load.runs, chosen.theta, warnings)

    async def _replay(
        self, tenant: str, chosen: Chosen, estimates: Estimating, decisions: int, identity: str
    ) -> list[str]:
        """Tell the evaluation what the candidate would do; warnings about what it decided on."""

        def replay(load: PropensityLoad, *, current: bool) -> Replay:
            nest = Nest(self._store, tenant, current=current)
            return Replay(self._workers, load, nest, estimates, decisions, identity=identity)

        if chosen.theta in ("split", "progressive"):
            fresh = msgspec.structs.replace(chosen.load, theta=[])
            try:
                await replay(fresh, current=False).learn_and_judge(chosen.theta)
            except (Broken, BadRequest) as error:
                if chosen.asked:
                    raise
                await estimates.forget()
                chosen.theta = "current"
                await replay(chosen.load, current=True).judge()
                return [f"{SELF_JUDGED} It could not learn anew from a part of it: {error.message}"]
            return []
        await replay(chosen.load, current=chosen.theta == "current").judge()
        return [SELF_JUDGED] if chosen.theta == "current" and chosen.learnt else []

    async def _candidate(
        self, logging: Experiment, body: dict[str, Any], seed: int, action_field: str | None
    ) -> Chosen:
        given = body.get("candidate")
        if not isinstance(given, dict) or len(given) != 1 or not given.keys() <= {"experiment", "code"}:
            raise BadRequest(
                'candidate must be {"experiment": ID} or {"code": {"get_action": CODE}}', field="candidate"
            )
        asked = _theta(body.get("theta"))
        runs = requests.integer(body.get("runs"), "runs", self._settings.runs, 2, MAX_RUNS)
        if "experiment" in given:
            if not isinstance(given["experiment"], str):
                raise BadRequest("candidate.experiment must be an id", field="candidate")
            source = await self._experiments.get(logging.tenant, given["experiment"])
            code = source.code
        else:
            source, code = logging, _code(given["code"])
            await self._decisions.check_code(logging.tenant, code)
            # What the candidate decides on is what the experiment's own code learned.
            code["set_reward"] = code["set_reward"] or logging.code["set_reward"]
        rows = await theta_rows(self._store, source.id) if asked != "empty" else []
        nested = await Nest(self._store, logging.tenant, current=False).named(code)
        learnt = source.id == logging.id and bool(rows or nested) and bool(code["set_reward"].strip())
        load = PropensityLoad(
            source.id, code, properties_of(source), seed, rows, runs, action_field or arm_field_of(source)
        )
        return Chosen(load, asked or ("split" if learnt else "current"), asked is not None, learnt)

    async def _logged(self, experiment: Experiment, limit: int, estimates: Estimating) -> None:
        """Pass on the newest rows of an experiment's own log."""
        for kind in KINDS:
            async for page in pages(self._store.logs, experiment.id, kind, limit, _PAGE):
                await estimates.add_rows(kind, [(row.data, row.date_ms) for row in page])

    async def health(self, tenant: str, experiment_id: str, limit: int) -> bytes:
        """Checks of the newest `limit` decisions, and of the rewards and errors since the first.

        JSON text.

        :raises Unauthorized: :raises BadRequest: it takes too long.
        """
        found = await self._experiments.get(tenant, experiment_id)
        async with in_time(self._settings.request_s, HEALTH):
            return await figures(
                self._workers,
                of_rows(self._newest(experiment_id, limit)),
                "health",
                found.properties,
                self._now_ms(),
                identity=f"{tenant}/{experiment_id}",
                lane="request",
            )

    async def _newest(
        self, experiment_id: str, limit: int
    ) -> AsyncIterator[tuple[str, list[tuple[bytes, int]]]]:
        """Pages of the newest rows that checks of health are about."""
        for kind in HEALTH_KINDS:
            async for page in pages(self._store.logs, experiment_id, kind, limit, _PAGE):
                yield kind, [(row.data, row.date_ms) for row in page]


def _estimators(value: object) -> list[str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise BadRequest(f"estimators must be a list out of {', '.join(ESTIMATORS)}", field="estimators")
    for name in value:
        if name not in ESTIMATORS:
            raise BadRequest(
                f"no estimator {name[:50]!r}; there are {', '.join(ESTIMATORS)}", field="estimators"
            )
    return value


def _theta(value: object) -> Theta | None:
    if value is None or value in ("current", "empty", "split", "progressive"):
        return value
    raise BadRequest('theta must be "current", "empty", "split" or "progressive"', field="theta")


def _window(experiment: Experiment) -> tuple[int, dict[str, Any] | None]:
    """How many hours a decision waits for its reward, 0 for ever, and what it counts as afterwards."""
    hours, default = (experiment.properties.get(name) for name in ("delta_hours", "default_reward"))
    return hours if isinstance(hours, int) else 0, default if isinstance(default, dict) else None


def _code(value: object) -> dict[str, str]:
    if (
        not isinstance(value, dict)
        or not value.keys() <= set(PIECES)
        or not all(isinstance(text, str) and len(text.encode()) <= MAX_CODE_BYTES for text in value.values())
        or "get_action" not in value
    ):
        raise BadRequest(
            f"candidate.code must be an object with get_action, code of at most {MAX_CODE_BYTES} bytes",
            field="candidate",
        )
    return dict.fromkeys(PIECES, "") | value


def _uploaded(body: dict[str, Any]) -> tuple[bytes, str | None]:
    """The text of an uploaded log and its format; None for the experiment's own."""
    text, form = body.get("log"), body.get("format", "jsonl")
    if text is None:
        return b"", None
    if not isinstance(text, str):
        raise BadRequest("log must be text: CSV with a header, or one JSON object per line", field="log")
    if not isinstance(form, str) or form not in FORMATS:
        raise BadRequest(f"format must be one of {', '.join(FORMATS)}", field="format")
    return text.encode(), form
