"""What an off-policy evaluation is asked for: its log and its candidates, checked, as of one moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from streamsim.config.settings import EvaluationSettings
from streamsim.decisions.decisions import Decisions
from streamsim.decisions.gathering import window_hours
from streamsim.decisions.wire import PIECES
from streamsim.decisions.worker import properties_of
from streamsim.errors import BadRequest
from streamsim.evaluation import requests
from streamsim.evaluation.estimation import FORMATS
from streamsim.evaluation.pools import Nest, arm_field_of, theta_rows
from streamsim.evaluation.simulation import MAX_SEED, Nested
from streamsim.evaluation.value_estimators import ESTIMATORS
from streamsim.evaluation.wire import EstimatesLoad, PropensityLoad, Theta
from streamsim.experiments.experiments import Experiments
from streamsim.experiments.fields import MAX_CODE_BYTES
from streamsim.storage.contract.decisions import Experiment
from streamsim.storage.contract.store import Store

FIELDS: Final = (
    "candidate",
    "candidates",
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
    "predictions_field",
    "background",
)
MAX_RUNS: Final = 100_000
MAX_CANDIDATES: Final = 10
THETAS: Final = ("current", "empty", "split", "progressive", "replay")


class Chosen(msgspec.Struct):
    """A candidate. `theta`: what it decides on; `asked`: whether the request says so; `learnt`: whether its
    live theta comes from the log. `nested`: the experiments whose ids stand in its code."""

    load: PropensityLoad
    theta: Theta
    asked: bool
    learnt: bool
    nested: dict[str, Nested] = {}


class Plan(msgspec.Struct, frozen=True):
    """An evaluation. `candidates`: by name; "" for the only one of a request that names none. `limit`: of the
    rows of an own log. `parts`: in how many the uploaded log is stored for a job."""

    tenant: str
    experiment_id: str
    log: EstimatesLoad
    limit: int
    candidates: dict[str, Chosen]
    parts: int = 0


class Plans:
    """Makes plans of requests."""

    def __init__(
        self,
        settings: EvaluationSettings,
        store: Store,
        experiments: Experiments,
        decisions: Decisions,
        now_ms: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._store = store
        self._experiments = experiments
        self._decisions = decisions
        self._now_ms = now_ms

    async def of_request(
        self, tenant: str, experiment_id: str, body: dict[str, Any], form: str | None
    ) -> Plan:
        """:param form: of an uploaded log, None for the experiment's own.

        :raises BadRequest: naming the field. :raises Unauthorized: :raises PolicyError: of the code.
        """
        found = await self._experiments.get(tenant, experiment_id)
        seed = requests.integer(body.get("seed"), "seed", 0, 0, MAX_SEED)
        action_field = requests.text(body.get("action_field"), "action_field")
        most = self._settings.log_rows
        limit = requests.integer(body.get("rows"), "rows", most, 1, most)
        hours, default = window_of(found)
        log = EstimatesLoad(
            form=form,
            action_field=action_field or arm_field_of(found),
            reward_field=requests.text(body.get("reward_field"), "reward_field"),
            max_rows=most if form else limit,
            estimators=_estimators(body.get("estimators")),
            seed=seed,
            window_hours=hours,
            default_reward=default,
            now_ms=self._now_ms(),
            unit=requests.text(body.get("unit"), "unit"),
            propensity_field=requests.text(body.get("propensity_field"), "propensity_field"),
            context_fields=requests.names(body.get("context_fields"), "context_fields"),
            predictions_field=requests.text(body.get("predictions_field"), "predictions_field"),
            max_bytes=self._settings.log_bytes,
        )
        several, asked = _candidates(body), _theta(body.get("theta"))
        runs = requests.integer(body.get("runs"), "runs", self._settings.runs, 2, MAX_RUNS)
        chosen = {
            name: await self._candidate(found, one, asked, runs, seed, action_field)
            for name, one in several.items()
        }
        return Plan(tenant, found.id, log, limit, chosen)

    async def _candidate(
        self,
        logging: Experiment,
        given: object,
        asked: Theta | None,
        runs: int,
        seed: int,
        action_field: str | None,
    ) -> Chosen:
        if not isinstance(given, dict) or len(given) != 1 or not given.keys() <= {"experiment", "code"}:
            raise BadRequest(
                'a candidate must be {"experiment": ID} or {"code": {"get_action": CODE}}', field="candidate"
            )
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
        live = asked in (None, "current")
        rows = await theta_rows(self._store, source.id) if live else []
        nested = await Nest(self._store, logging.tenant, current=live).named(code)
        learnt = source.id == logging.id and bool(rows or nested) and bool(code["set_reward"].strip())
        load = PropensityLoad(
            source.id, code, properties_of(source), seed, rows, runs, action_field or arm_field_of(source)
        )
        theta = asked or ("split" if learnt else "current")
        return Chosen(load, theta, asked is not None, learnt, nested)


def uploaded(body: dict[str, Any]) -> tuple[bytes, str | None]:
    """The text of a log in the field `log`, and its format; None for the experiment's own.

    :raises BadRequest:
    """
    text = body.get("log")
    if text is None:
        return b"", None
    if not isinstance(text, str):
        raise BadRequest("log must be text: CSV with a header, or one JSON object per line", field="log")
    return text.encode(), form_of(body.get("format", "jsonl"))


def form_of(value: object) -> str:
    """The format of an uploaded log. :raises BadRequest:"""
    if not isinstance(value, str) or value not in FORMATS:
        raise BadRequest(f"format must be one of {', '.join(FORMATS)}", field="format")
    return value


def _candidates(body: dict[str, Any]) -> dict[str, object]:
    """Candidates by name; one without a name for the field `candidate`. :raises BadRequest:"""
    several = body.get("candidates")
    if several is None:
        return {"": body.get("candidate")}
    if body.get("candidate") is not None:
        raise BadRequest("give either candidate or candidates", field="candidates")
    if (
        not isinstance(several, dict)
        or not 1 <= len(several) <= MAX_CANDIDATES
        or not all(0 < len(name) <= 200 and name != "log" for name in several)
    ):
        raise BadRequest(
            f'candidates must be an object of 1 to {MAX_CANDIDATES} candidates by name; "log" is no name',
            field="candidates",
        )
    return several


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
    if value is None or value in THETAS:
        return value
    raise BadRequest('theta must be "current", "empty", "split", "progressive" or "replay"', field="theta")


def window_of(experiment: Experiment) -> tuple[int, dict[str, Any] | None]:
    """How many hours a decision waits for its reward, 0 for ever, and what it counts as afterwards."""
    default = experiment.properties.get("default_reward")
    hours = window_hours(experiment.properties)
    return hours or 0, default if isinstance(default, dict) else None


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
