"""Sweeps: one scenario run many times with varied constants, in parallel, summarised over time.

A sweep is answered at once, or becomes a job whose parts are some runs each.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

import msgspec

from streamsim.config import ModelSettings
from streamsim.errors import BadRequest, ModelError, TooLarge, TooManyRequests
from streamsim.jobs.jobs import JobDesk, together
from streamsim.models import answers, requests
from streamsim.models.engines.base import Outputs, ScenarioFound
from streamsim.models.library import Models
from streamsim.models.scenarios import Scenarios
from streamsim.models.session import Begin
from streamsim.models.sweep_agents import agent_paths
from streamsim.models.sweep_pools import SweepPool
from streamsim.models.sweep_rows import Row, rows
from streamsim.models.sweep_summary import Plan
from streamsim.models.workers import ModelWorkers
from streamsim.sandbox.host.aside import Given
from streamsim.storage.contract.jobs import Job
from streamsim.values import JsonObject

AGENT_FIELDS: Final = ("agents", "agent_states", "agent_properties", "agent_property_types")
FIELDS: Final = (
    "scenario_manager",
    "scenarioManager",
    "scenario",
    "equations",
    *AGENT_FIELDS,
    "parameters",
    "runs",
    "seed",
    "seeds",
    "quantiles",
    "settings",
    "everyRun",
    "background",
)
QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
MAX_VALUES: Final = 20_000_000
MAX_EVERY_RUN: Final = 4_000_000
"""Values of one answer that has every run: as text they take the memory of five times as many in parts."""
SWEEP: Final = "sweep"
TOO_LARGE: Final = f"runs x equations x times may be at most {MAX_VALUES}"
PART_RUNS: Final = 50
PART_VALUES: Final = 500_000
REQUESTS: Final = 8
"""Sweeps of one tenant that are answered at once, at a time."""

_PLAN: Final = msgspec.json.Decoder(Plan)


class Sweeps:
    """Sweeps of all tenants' models, and the kind of job that sweeps."""

    name: Final = SWEEP

    def __init__(
        self,
        models: Models,
        scenarios: Scenarios,
        pool: SweepPool,
        workers: ModelWorkers,
        settings: ModelSettings,
    ) -> None:
        self._models = models
        self._scenarios = scenarios
        self._pool = pool
        self._workers = workers
        self._settings = settings
        self._answering: Counter[str] = Counter()
        self.at_once: Final = settings.runners

    async def plan(self, tenant: str, body: JsonObject) -> Plan:
        """Check a request. :raises BadRequest: naming the field. :raises TooLarge:"""
        for name in body:
            if name not in FIELDS:
                raise BadRequest(f"there is no field {name[:100]}: expecting {', '.join(FIELDS)}")
        known = await self._scenarios.known(tenant)
        scenario = requests.scenario_of(body, known.scenarios, ("scenario_manager", "scenarioManager"))
        manager = str(body.get("scenario_manager", body.get("scenarioManager")))
        request = {**body, "scenario_managers": [manager], "scenarios": [body["scenario"]]}
        begin = requests.begin(request, known.scenarios, frozen_stocks=self._scenarios.frozen_stocks)
        outputs = begin.scenarios[0][2]
        paths = agent_paths(outputs, scenario)
        series = len(outputs.equations) + len(paths)
        if not series:
            raise BadRequest("expecting equations or agents to be set", field="equations")
        parameters = body.get("parameters")
        if not isinstance(parameters, dict) or not parameters:
            raise BadRequest("parameters must be an object of constant -> values", field="parameters")
        for name in parameters:
            # Agent models have properties besides, which they alone know.
            if not scenario.agents and not requests.has_equation(scenario, name):
                raise BadRequest(f"unknown constant {name} in parameters", field="parameters")
            if requests.is_stock(scenario, name) and not self._scenarios.frozen_stocks:
                raise BadRequest(f"parameters.{name}: {requests.STOCK}", field="parameters")
        seed = secrets.randbits(32) if "seed" not in body else begin.seed
        steps = _steps(scenario, begin, manager, body["scenario"])
        if series * steps > MAX_VALUES:
            raise TooLarge(TOO_LARGE, field="runs")
        # It may be two million values: not on the event loop.
        made = partial(rows, body, seed, self._settings.sweep_runs, keep_whole=bool(scenario.agents))
        values, seeds = await asyncio.to_thread(made)
        if len(values) * series * steps > MAX_VALUES:
            raise TooLarge(TOO_LARGE, field="runs")
        every_run = requests.flag(body, "everyRun")
        if every_run and len(values) * series * steps > MAX_EVERY_RUN:
            raise TooLarge(
                f"with everyRun runs x equations x times may be at most {MAX_EVERY_RUN}", field="everyRun"
            )
        settings = {name: given for name, given in begin.settings.items() if name == manager}
        # Small parts at the end of the queue keep all processes busy until the last.
        size = min(PART_RUNS, -(-len(values) // (4 * self._settings.runners)))
        model = known.owner[manager]
        return Plan(
            model.name,
            model.version,
            manager,
            body["scenario"],
            outputs.equations,
            list(parameters),
            values,
            seed,
            _quantiles(body),
            settings,
            every_run,
            max(1, min(size, int(PART_VALUES / (series * steps)))),
            begin.rules,
            seeds,
            outputs,
            paths,
        )

    async def answer(self, tenant: str, plan: Plan) -> bytes:
        """The answer to a sweep as JSON text: bands over time, and every run if wanted.

        :raises TooManyRequests: :raises ModelError:
        """
        if self._answering[tenant] >= REQUESTS:
            raise TooManyRequests(f"at most {REQUESTS} sweeps at a time; with background they wait as jobs")
        self._answering[tenant] += 1
        try:
            return await self._run(tenant, plan, JobDesk())
        finally:
            self._answering[tenant] -= 1
            if not self._answering[tenant]:
                del self._answering[tenant]

    async def work(self, job: Job, desk: JobDesk) -> bytes:
        """As `Kind.work`."""
        return await self._run(job.tenant, _PLAN.decode(job.spec), desk)

    def asked(self, spec: bytes) -> JsonObject:
        """As `Kind.asked`."""
        plan = _PLAN.decode(spec)
        return {
            "scenario_manager": plan.manager,
            "scenario": plan.scenario,
            "runs": len(plan.rows),
            "seed": plan.seed,
        }

    async def _run(self, tenant: str, plan: Plan, desk: JobDesk) -> bytes:
        model = await self._models.version(tenant, plan.model, plan.version)
        total = len(plan.rows)
        parts = dict(desk.parts)
        desk.add(sum(min(plan.size, total - number * plan.size) for number in parts))
        missing = iter([number for number in range(-(-total // plan.size)) if number not in parts])

        async def run_missing() -> None:
            for number in missing:
                first = number * plan.size
                some = plan.rows[first : first + plan.size]
                answer = await self._pool.run(model, _entry(plan, first, some), len(some))
                _checked(answer, len(some), plan)
                parts[number] = bytes(answer)
                await desk.keep(number, parts[number])
                desk.add(len(some))

        await together(run_missing() for _ in range(self._pool.at_once))

        async def in_order() -> AsyncIterator[Given]:
            yield "plan", msgspec.json.encode(plan)
            for number in sorted(parts):
                yield "part", parts.pop(number)

        return await self._workers.figures(tenant, in_order(), "sweep")


def _steps(scenario: ScenarioFound, begin: Begin, manager: str, name: str) -> float:
    """Times of one run, with the runspecs that are asked for. :raises BadRequest: there are none."""
    asked = begin.settings.get(manager, {}).get(name)
    specs = asked.runspecs if asked is not None else {}
    start = specs.get("starttime", scenario.start)
    stop = specs.get("stoptime", scenario.stop)
    dt = specs.get("dt", scenario.dt)
    if not (dt > 0 and stop >= start):
        raise BadRequest("runspecs: dt must be positive and stoptime not before starttime", field="settings")
    return (stop - start) / dt + 1


def _checked(answer: msgspec.Raw, runs: int, plan: Plan) -> None:
    """:raises ModelError: it is no part of a sweep of so many runs."""
    part = answers.decoded(answers.sweep_part, answer)
    for values, wanted, times in (
        (part.values, len(plan.equations), len(part.times)),
        (part.agents, len(plan.paths), len(part.agent_times)),
    ):
        if len(values) != (runs if wanted else len(values)) or not all(
            len(run) == wanted and all(len(series) == times for series in run) for run in values
        ):
            raise ModelError("the model answered another number of runs or values than it was asked for")


def _entry(plan: Plan, first: int, rows: list[Row]) -> JsonObject:
    """What a worker is sent for some of the runs."""
    begin = Begin(
        scenarios=[(plan.manager, plan.scenario, plan.outputs or Outputs(equations=plan.equations))],
        settings=plan.settings,
        rules=plan.rules,
    )
    return {
        "op": "sweep",
        "begin": msgspec.to_builtins(begin),
        "names": plan.names,
        "rows": rows,
        "seeds": plan.seeds_of(first, len(rows)),
        "paths": plan.paths,
    }


def _quantiles(body: JsonObject) -> list[float]:
    given = body.get("quantiles", list(QUANTILES))
    if not isinstance(given, list) or not 0 < len(given) <= 100:
        raise BadRequest("quantiles must be a list of 1 to 100 numbers from 0 to 1", field="quantiles")
    if not all(type(q) in (int, float) and 0 <= q <= 1 for q in given):
        raise BadRequest("quantiles must be a list of 1 to 100 numbers from 0 to 1", field="quantiles")
    return [float(q) for q in given]
