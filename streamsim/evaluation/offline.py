"""Off-policy evaluation as clients ask for it: a log, a candidate, and what it would have earned."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec

from streamsim.config.settings import EvaluationSettings
from streamsim.decisions.decisions import Decisions
from streamsim.decisions.wire import PIECES
from streamsim.decisions.worker import properties_of
from streamsim.errors import BadRequest
from streamsim.evaluation import live_health, requests, scale
from streamsim.evaluation.candidate import Candidate, candidate
from streamsim.evaluation.deadline import in_time
from streamsim.evaluation.logs import DecisionLog, from_logs
from streamsim.evaluation.offpolicy import Evaluation as Estimates
from streamsim.evaluation.offpolicy import evaluate
from streamsim.evaluation.pools import Nest, arm_field_of, theta_rows
from streamsim.evaluation.sample import prepare
from streamsim.evaluation.simulation import MAX_SEED
from streamsim.evaluation.uploads import parse_csv, parse_json_lines
from streamsim.evaluation.value_estimators import ESTIMATORS
from streamsim.evaluation.wire import PropensityLoad
from streamsim.evaluation.workers import BatchWorkers
from streamsim.experiments.experiments import Experiments
from streamsim.experiments.fields import MAX_CODE_BYTES
from streamsim.storage.contract.decisions import Experiment
from streamsim.storage.contract.logs import LogKind
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
)
MAX_RUNS: Final = 100_000
RESAMPLES: Final = 1000
_PAGE: Final = 1000
_FORMATS: Final = {"csv": parse_csv, "jsonl": parse_json_lines}


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
        load = await self._candidate(found, body, seed, action_field)
        async with in_time(self._settings.request_s):
            if body.get("log") is None:
                most = self._settings.log_rows
                limit = requests.integer(body.get("rows"), "rows", most, 1, most)
                data = await self._logged(found, limit, action_field, reward_field)
            else:
                data = await asyncio.to_thread(
                    _uploaded, body, action_field or arm_field_of(found), reward_field, self._settings
                )
            if not len(data):
                raise BadRequest(
                    "the experiment has no logged rewards: let it serve, or upload a log", field="log"
                )
            nest = Nest(self._store, tenant, current=body.get("theta") != "empty")
            tried = await candidate(self._workers, load, nest, data, identity=f"{tenant}/offpolicy")
            runs = load.runs if tried.exact < len(data) else None
            estimates = await asyncio.to_thread(_estimates, data, tried, runs, names, seed)
        return _shown(data, tried, runs, estimates)

    async def _candidate(
        self, logging: Experiment, body: dict[str, Any], seed: int, action_field: str | None
    ) -> PropensityLoad:
        given = body.get("candidate")
        if not isinstance(given, dict) or len(given) != 1 or not given.keys() <= {"experiment", "code"}:
            raise BadRequest(
                'candidate must be {"experiment": ID} or {"code": {"get_action": CODE}}', field="candidate"
            )
        start = requests.start(body.get("theta", "current"))
        runs = requests.integer(body.get("runs"), "runs", self._settings.runs, 2, MAX_RUNS)
        if "experiment" in given:
            if not isinstance(given["experiment"], str):
                raise BadRequest("candidate.experiment must be an id", field="candidate")
            source = await self._experiments.get(logging.tenant, given["experiment"])
            code = source.code
        else:
            source, code = logging, _code(given["code"])
            await self._decisions.check_code(code)
        rows = await theta_rows(self._store, source.id) if start == "current" else []
        return PropensityLoad(
            source.id, code, properties_of(source), seed, rows, runs, action_field or arm_field_of(source)
        )

    async def _logged(
        self, experiment: Experiment, limit: int, action_field: str | None, reward_field: str | None
    ) -> DecisionLog:
        rewards = await self.rows(experiment.id, "reward", limit)
        decisions = await self.rows(experiment.id, "action", limit) if rewards else []
        arm_field = action_field or arm_field_of(experiment)
        return from_logs(decisions, rewards, action_field=arm_field, reward_field=reward_field)

    async def health(self, tenant: str, experiment_id: str, limit: int) -> dict[str, Any]:
        """Checks of the newest `limit` decisions, and of the rewards and errors since the first of them.

        :raises Unauthorized:
        """
        found = await self._experiments.get(tenant, experiment_id)
        decisions = await self.rows(experiment_id, "action", limit)
        rewards = await self.rows(experiment_id, "reward", limit)
        errors = await self.rows(experiment_id, "error", limit)
        return await asyncio.to_thread(
            live_health.examine, decisions, rewards, errors, found.properties, self._now_ms()
        )

    async def rows(self, experiment_id: str, kind: LogKind, limit: int) -> list[dict[str, Any]]:
        """The newest rows of a log, oldest first, with `date_ms`."""
        found: list[dict[str, Any]] = []
        before = ""
        while len(found) < limit:
            size = min(_PAGE, limit - len(found))
            page = await self._store.logs.read_log(experiment_id, kind, limit=size, before=before)
            found += [msgspec.json.decode(row.data) | {"date_ms": row.date_ms} for row in page]
            if len(page) < size:
                break
            before = page[-1].position
        return found[::-1]


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


def _uploaded(
    body: dict[str, Any], action_field: str | None, reward_field: str | None, settings: EvaluationSettings
) -> DecisionLog:
    text, form = body["log"], body.get("format", "jsonl")
    if not isinstance(text, str):
        raise BadRequest("log must be text: CSV with a header, or one JSON object per line", field="log")
    if not isinstance(form, str) or form not in _FORMATS:
        raise BadRequest(f"format must be one of {', '.join(_FORMATS)}", field="format")
    return _FORMATS[form](
        text, action_field=action_field, reward_field=reward_field, max_rows=settings.log_rows
    )


def _estimates(
    data: DecisionLog, tried: Candidate, runs: int | None, names: list[str] | None, seed: int
) -> Estimates:
    sample = prepare(data, tried.arms, tried.target, runs=runs, seed=seed)
    return evaluate(sample, names, resamples=RESAMPLES, seed=seed)


def _shown(data: DecisionLog, tried: Candidate, runs: int | None, estimates: Estimates) -> dict[str, Any]:
    return {
        **msgspec.to_builtins(estimates),
        "log": {
            "rows": len(data),
            "unrewarded": data.unrewarded,
            "unusable": data.unusable,
            "matched": data.matched,
            "ignored": list(data.ignored),
            "mean_reward": scale.mean(data.rewards),
        },
        "candidate": {
            "arms": tried.arms,
            "mean_probabilities": dict(zip(tried.arms, tried.target.mean(axis=0).tolist(), strict=True)),
            "exact_rows": tried.exact,
            "runs": runs,
            "probability_error": estimates.overlap.probability_error,
        },
    }
