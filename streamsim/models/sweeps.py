"""Sweeps: one scenario run many times with varied constants, in parallel, summarised over time.

A sweep is answered at once, or becomes a job whose parts are some runs each.
"""

from __future__ import annotations

import itertools
import math
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamsim.config import ModelSettings
from streamsim.errors import BadRequest, ModelError, TooLarge, TooManyRequests
from streamsim.jobs.jobs import JobDesk, together
from streamsim.models import answers, requests
from streamsim.models.engines.base import Outputs, ScenarioFound
from streamsim.models.library import Models
from streamsim.models.scenarios import Scenarios
from streamsim.models.session import Begin
from streamsim.models.sweep_pools import SweepPool
from streamsim.models.sweep_summary import Plan
from streamsim.models.workers import ModelWorkers
from streamsim.sandbox.host.aside import Given
from streamsim.storage.contract.jobs import Job
from streamsim.values import Json, JsonObject

FIELDS: Final = (
    "scenario_manager",
    "scenarioManager",
    "scenario",
    "equations",
    "parameters",
    "runs",
    "seed",
    "quantiles",
    "settings",
    "everyRun",
    "background",
)
QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
DISTRIBUTIONS: Final = {
    "uniform": ("low", "high"),
    "normal": ("mean", "sd"),
    "triangular": ("low", "mode", "high"),
    "lognormal": ("mu", "sigma"),
}
MAX_VALUES: Final = 20_000_000
MAX_RANGE: Final = 10_000
"""Values of one range."""
MAX_ROW_VALUES: Final = 2_000_000
"""Values of parameters that one sweep holds, over all its runs."""
SWEEP: Final = "sweep"
TOO_LARGE: Final = f"runs x equations x times may be at most {MAX_VALUES}"
PART_RUNS: Final = 50
PART_VALUES: Final = 500_000
REQUESTS: Final = 8
"""Sweeps of one tenant that are answered at once, at a time."""

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]


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
        equations = begin.scenarios[0][2].equations
        if not equations:
            raise BadRequest("expecting equations to be set", field="equations")
        parameters = body.get("parameters")
        if not isinstance(parameters, dict) or not parameters:
            raise BadRequest("parameters must be an object of constant -> values", field="parameters")
        for name in parameters:
            if not requests.has_equation(scenario, name):
                raise BadRequest(f"unknown constant {name} in parameters", field="parameters")
            if requests.is_stock(scenario, name) and not self._scenarios.frozen_stocks:
                raise BadRequest(f"parameters.{name}: {requests.STOCK}", field="parameters")
        seed = secrets.randbits(32) if "seed" not in body else begin.seed
        steps = _steps(scenario, begin, manager, body["scenario"])
        if len(equations) * steps > MAX_VALUES:
            raise TooLarge(TOO_LARGE, field="runs")
        rows = self._rows(parameters, body, seed)
        if len(rows) * len(equations) * steps > MAX_VALUES:
            raise TooLarge(TOO_LARGE, field="runs")
        settings = {name: given for name, given in begin.settings.items() if name == manager}
        # Small parts at the end of the queue keep all processes busy until the last.
        size = min(PART_RUNS, -(-len(rows) // (4 * self._settings.runners)))
        model = known.owner[manager]
        return Plan(
            model.name,
            model.version,
            manager,
            body["scenario"],
            equations,
            list(parameters),
            rows,
            seed,
            _quantiles(body),
            settings,
            requests.flag(body, "everyRun"),
            max(1, min(size, int(PART_VALUES / (len(equations) * steps)))),
            begin.rules,
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
                rows = plan.rows[first : first + plan.size]
                answer = await self._pool.run(model, _entry(plan, first, rows), len(rows))
                _checked(answer, len(rows))
                parts[number] = bytes(answer)
                await desk.keep(number, parts[number])
                desk.add(len(rows))

        await together(run_missing() for _ in range(self._pool.at_once))

        async def in_order() -> AsyncIterator[Given]:
            yield "plan", msgspec.json.encode(plan)
            for number in sorted(parts):
                yield "part", parts.pop(number)

        return await self._workers.figures(tenant, in_order(), "sweep")

    def _rows(self, parameters: JsonObject, body: JsonObject, seed: int) -> list[list[float]]:
        """The runs: a grid of all lists and ranges; where something is drawn, `runs` draws along it."""
        most = self._settings.sweep_runs
        listed = {name: _values(name, given) for name, given in _few(parameters).items()}
        lists = {name: numbers for name, numbers in listed.items() if numbers is not None}
        draws = {name: _draw(name, given) for name, given in parameters.items() if name not in lists}
        size = math.prod(map(len, lists.values()))
        if "runs" in body or draws:
            count = requests.count(body, "runs", most)
            if not draws and count != size:
                raise BadRequest(f"runs: the values given make {size} runs; leave it out", field="runs")
        else:
            count = size
        if not 0 < count <= most:
            raise TooLarge(f"a sweep has at most {most} runs", field="runs")
        if count * len(parameters) > MAX_ROW_VALUES:
            raise TooLarge(f"runs x parameters may be at most {MAX_ROW_VALUES}", field="runs")
        generator = np.random.Generator(np.random.PCG64(seed))
        drawn = {name: _drawn(name, draw, generator, count) for name, draw in draws.items()}
        grid = itertools.cycle(itertools.product(*lists.values()))
        points = [dict(zip(lists, point, strict=True)) for point in itertools.islice(grid, count)]
        return [
            [float(drawn[name][index] if name in drawn else point[name]) for name in parameters]
            for index, point in enumerate(points)
        ]


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


def _few(parameters: JsonObject) -> JsonObject:
    """The parameters, which list and count few enough values to be held. :raises TooLarge:"""
    total = 0
    for given in parameters.values():
        if isinstance(given, list):
            total += len(given)
        elif isinstance(given, dict) and "distribution" not in given:
            number = given.get("count")
            total += number if type(number) is int and number > 0 else 1
            if "step" in given:
                total += MAX_RANGE
    if total > MAX_ROW_VALUES:
        raise TooLarge(f"parameters list more than {MAX_ROW_VALUES} values", field="parameters")
    return parameters


def _drawn(name: str, draw: Draw, generator: np.random.Generator, count: int) -> list[float]:
    """So many draws. :raises BadRequest: the distribution has values beyond what a number can be."""
    try:
        with np.errstate(all="ignore"):
            values = draw(generator, count)
    except (OverflowError, ValueError) as error:
        raise BadRequest(f"parameters.{name}: nothing can be drawn: {error}", field="parameters") from None
    return _finite(name, values)


def _finite(name: str, values: NDArray[np.float64]) -> list[float]:
    if not np.isfinite(values).all():
        raise BadRequest(
            f"parameters.{name}: there are values beyond 1.8e308, the largest number", field="parameters"
        )
    numbers: list[float] = values.tolist()
    return numbers


def _checked(answer: msgspec.Raw, runs: int) -> None:
    """:raises ModelError: it is no part of a sweep of so many runs."""
    if len(answers.decoded(answers.sweep_part, answer).values) != runs:
        raise ModelError("the model answered another number of runs than it was asked for")


def _entry(plan: Plan, first: int, rows: list[list[float]]) -> JsonObject:
    """What a worker is sent for some of the runs."""
    begin = Begin(
        scenarios=[(plan.manager, plan.scenario, Outputs(equations=plan.equations))],
        settings=plan.settings,
        seed=(plan.seed + first) % 2**63,
        rules=plan.rules,
    )
    return {"op": "sweep", "begin": msgspec.to_builtins(begin), "names": plan.names, "rows": rows}


def _values(name: str, given: Json) -> list[float] | None:
    """Values of a list or a range `{"from", "to", "count" or "step"}`; None for a distribution."""
    form = (
        f"parameters.{name} must be a list of numbers, {{from, to, count}}, {{from, to, step}}, or "
        f"{{distribution, ...}} with one of {', '.join(DISTRIBUTIONS)}"
    )
    if isinstance(given, dict) and "distribution" in given:
        return None
    if isinstance(given, dict) and given.keys() in ({"from", "to", "count"}, {"from", "to", "step"}):
        if not all(type(value) in (int, float) for value in given.values()):
            raise BadRequest(form, field="parameters")
        first, last = given["from"], given["to"]
        if "count" in given:
            with np.errstate(all="ignore"):
                return _finite(name, np.linspace(first, last, requests.count(given, "count", MAX_RANGE)))
        steps = (last - first) / given["step"] if given["step"] else -1.0
        if not 0 <= steps < MAX_RANGE:
            raise BadRequest(form, field="parameters")
        return [first + given["step"] * index for index in range(int(steps + 1e-9) + 1)]
    if not isinstance(given, list) or not given or not all(type(value) in (int, float) for value in given):
        raise BadRequest(form, field="parameters")
    return [float(value) for value in given]


def _draw(name: str, given: JsonObject) -> Draw:
    kind = given["distribution"]
    wanted = DISTRIBUTIONS.get(kind) if isinstance(kind, str) else None
    numbers: list[Json] = [given.get(key) for key in wanted or ()]
    if (
        wanted is None
        or given.keys() != {"distribution", *wanted}
        or not all(type(n) in (int, float) for n in numbers)
    ):
        forms = "; ".join(f"{kind}: {', '.join(keys)}" for kind, keys in DISTRIBUTIONS.items())
        raise BadRequest(f"parameters.{name}: a distribution has these numbers: {forms}", field="parameters")
    ordered = numbers == sorted(numbers) and numbers[0] < numbers[-1]
    if (kind in ("uniform", "triangular") and not ordered) or (
        kind in ("normal", "lognormal") and numbers[1] < 0
    ):
        raise BadRequest(f"parameters.{name}: {', '.join(wanted)} do not make a {kind} distribution")
    return lambda generator, count: np.asarray(getattr(generator, kind)(*numbers, count))


def _quantiles(body: JsonObject) -> list[float]:
    given = body.get("quantiles", list(QUANTILES))
    if not isinstance(given, list) or not 0 < len(given) <= 100:
        raise BadRequest("quantiles must be a list of 1 to 100 numbers from 0 to 1", field="quantiles")
    if not all(type(q) in (int, float) and 0 <= q <= 1 for q in given):
        raise BadRequest("quantiles must be a list of 1 to 100 numbers from 0 to 1", field="quantiles")
    return [float(q) for q in given]
